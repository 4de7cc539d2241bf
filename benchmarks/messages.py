"""Messages to records, to Arrow: HL7 v2 against python-hl7 with the same fields taken, FHIR against orjson alone, which takes none.

The messages are those of the synthetic laboratory, and the public ones where `LAB_INSIGHTS_SAMPLES` points at them. CPU time of one process, best of the
rounds; both sides of a comparison take turns, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import hl7
import orjson

from benchmarks.goals import Findings, Goal, Result, goal
from lab_insights.lab.parsing import read
from lab_insights.lab.records import Records
from lab_insights.local.laboratory import LabTenant
from lab_insights.local.laboratory.generation import day_changes
from lab_insights.local.laboratory.scene import Scene
from lab_insights.names import TenantId

FIRST = date(2026, 3, 2)
# How many messages our records are held for before they become Arrow, as in the parse step.
AT_ONCE = 2_000
# What `lab_insights.lab.hl7` reads of these segments.
FIELDS = {
    "PID": (2, 3, 5, 7, 8, 11, 13),
    "PV1": (7, 19),
    "ORC": (1, 2, 3, 4, 5, 9, 12, 21, 22),
    "OBR": (2, 3, 4, 5, 6, 7, 14, 15, 16, 22, 24, 25, 27, 29),
    "OBX": (2, 3, 4, 5, 6, 7, 8, 11, 14, 15, 19, 23),
    "TQ1": (3, 7, 8, 9),
    "SPM": (2, 4, 17, 18, 20, 21, 24),
    "MRG": (1, 7),
    "NTE": (3,),
    "RXE": (1, 2, 3, 5, 7, 10, 11, 12, 13),
    "RXD": (2, 3, 4, 5, 7, 8, 9),
    "RXR": (1,),
}


def run(days: int = 20, rounds: int = 5) -> Findings:
    """Measure; `days` is how much of the laboratory, and one day and one round are enough to see that it runs."""
    results: list[Result] = []
    for name, (messages, documents) in {"laboratory": _laboratory(days), "public samples": _samples()}.items():
        if messages:
            results += [_hl7(name, messages, rounds), _fhir(name, documents, rounds)]
    return {"results": results, "goals": _goals(results)}


def _laboratory(days: int) -> tuple[list[str], list[str]]:
    scene = Scene(LabTenant(TenantId("bench"), 12, "schema"), 11, FIRST, 1.0)
    found: dict[str, list[str]] = {"hl7v2": [], "fhir": []}
    for index in range(days):
        for chunk in day_changes(scene, index):
            for change in chunk:
                if change.table == "message" and change.operation == "insert":
                    found[change.values["format"]].append(change.values["body"])
    return found["hl7v2"], found["fhir"]


def _samples() -> tuple[list[str], list[str]]:
    folder = Path(os.environ.get("LAB_INSIGHTS_SAMPLES", "/nowhere"))
    laboratory = ("ORU", "OUL", "OML", "ORM", "RDE", "RDS", "LAB", "LRI")
    hl7v2 = [path.read_bytes().decode("utf-8-sig") for path in sorted((folder / "hl7v2").glob("*.hl7")) if path.name.startswith(laboratory)]
    # That library knows one end of a segment; it is given that, so that both read the same.
    ended = ["\r".join(filter(None, body.replace("\n", "\r").split("\r"))) + "\r" for body in hl7v2]
    return ended, [path.read_text() for path in sorted((folder / "fhir-r4").glob("*.json"))]


def _ours(bodies: Sequence[str]) -> None:
    found = Records()
    for number, body in enumerate(bodies):
        read(found, str(number), None, body)
        if number % AT_ONCE == AT_ONCE - 1:
            for _ in found.drain():
                pass
    for _ in found.drain():
        pass
    if found.rejected:
        raise AssertionError


def _theirs(bodies: Sequence[str]) -> None:
    for body in bodies:
        message = hl7.parse(body)
        for segment in message:
            for number in FIELDS.get(str(segment[0]), ()):
                if number < len(segment) and len(field := segment[number]):
                    message.unescape(str(field[0]))


def _hl7(name: str, bodies: list[str], rounds: int) -> Result:
    # One of theirs is as long as fifty of ours: each gets about as much to do.
    few = bodies[:: max(len(bodies) // 60, 1)]
    # The parse step makes Arrow of two thousand messages at a time: the few public ones are read again and again until they are as many.
    many = bodies * max(AT_ONCE // len(bodies), 1)
    ours, theirs = _best(rounds, lambda: _ours(many), lambda: _theirs(few))
    mine, their = len(many) / ours, len(few) / theirs
    return {
        "question": "HL7 v2", "messages": name, "count": len(bodies), "bytes_each": sum(map(len, bodies)) // len(bodies),
        "ours_per_s": round(mine), "python_hl7_per_s": round(their), "times": round(mine / their, 1),
    }  # fmt: skip


def _fhir(name: str, bodies: list[str], rounds: int) -> Result:
    megabytes = sum(map(len, bodies)) / 1e6
    ours, plain = _best(rounds, lambda: _ours(bodies), lambda: _parse(bodies))
    return {
        "question": "FHIR", "messages": name, "count": len(bodies), "ours_mb_per_s": round(megabytes / ours, 1),
        "orjson_mb_per_s": round(megabytes / plain, 1), "share": round(plain / ours, 2),
    }  # fmt: skip


def _parse(bodies: Sequence[str]) -> None:
    for body in bodies:
        orjson.loads(body)


def _best(rounds: int, *each: Callable[[], object]) -> list[float]:
    for action in each:
        action()  # imports, caches
    best = [float("inf")] * len(each)
    for _ in range(rounds):
        for place, action in enumerate(each):
            started = time.process_time()
            action()
            best[place] = min(best[place], time.process_time() - started)
    return best


def _goals(results: list[Result]) -> list[Goal]:
    goals = []
    for result in results:
        name, kind = result["messages"], result["question"]
        if kind == "HL7 v2":
            goals.append(goal(f"HL7 v2, {name}", "50 times python-hl7", f"{result['times']} times", met=result["times"] >= 50))
        else:
            goals.append(goal(f"FHIR, {name}", "30% of orjson alone", f"{result['share']:.0%}", met=result["share"] >= 0.3))
    return goals
