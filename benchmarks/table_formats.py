"""Manifests over parquet, against Iceberg and Delta: races, kills, many tables, old tables, lines of code."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.formats import Format, Setting, Table, rows
from benchmarks.goals import Findings, Goal, Result, goal
from benchmarks.peers import installed
from benchmarks.races import BATCH, DAY, Raced, kills, race, sizes, writers
from benchmarks.server import Metered, metered, requests
from lab_insights import lake
from lab_insights.local import deployer

ROUNDS = 3
TENANTS, TABLES = 20, 5
AGES = (1, 10, 99)
MODULES = ("layout", "manifest", "storage", "fingerprint", "state", "commit", "tables")


def run() -> Findings:
    """Measure everything on one stand-in; the peers that are not installed are left out, with a line each."""
    with tempfile.TemporaryDirectory() as directory, metered(Path(directory)) as server:
        deployer.deploy(server.address, "bench")
        formats, missing = installed(Setting(server.address, "bench", Path(directory)))
        results: list[Result] = [{"question": "peers", "note": note} for note in missing]
        for question in (_lines(), _races(formats), _kills(formats, server), _many(formats, server), _old(formats, server)):
            results.extend(question)
    return {"results": results, "goals": _goals(results)}


def _lines() -> Iterator[Result]:
    folder = Path(str(lake.__file__)).parent
    counts = {name: sum(bool(line.strip()) for line in (folder / f"{name}.py").read_text().splitlines()) for name in MODULES}
    yield {"question": "lines of ours", **counts, "all": sum(counts.values())}


def _races(formats: list[Format]) -> Iterator[Result]:
    found: defaultdict[tuple[str, bool], list[Raced]] = defaultdict(list)
    with writers(formats, ("race", "warm")) as pool:
        for number in range(ROUNDS):
            for one_day in (True, False):
                for each in formats:
                    table = ("race", f"{'one' if one_day else 'own'}_{number}")
                    found[each.name, one_day].append(race(pool, each, table, one_day=one_day))
    for (name, one_day), runs in found.items():
        yield {
            "question": "eight writers",
            "days": "the same" if one_day else "one each",
            "format": name,
            "commits_per_s": round(median(each.commits_per_s for each in runs), 1),
            "failures": median(each.failures for each in runs),
            "lost": sum(each.lost for each in runs),
            "doubled": sum(each.doubled for each in runs),
        }


def _kills(formats: list[Format], server: Metered) -> Iterator[Result]:
    for each in formats:
        found = list(kills(each, server, "t"))
        yield {
            "question": "killed at every write",
            "format": each.name,
            "kills": len(found),
            "reader_saw_nothing": sum(killed.seen == 0 for killed in found),
            "reader_saw_the_batch": sum(killed.seen == BATCH for killed in found),
            "blind_rerun_doubles": sum(killed.doubles_blindly for killed in found),
            "lost": sum(killed.lost for killed in found),
            "doubled": sum(killed.doubled for killed in found),
            "objects_left": max(killed.orphans for killed in found),
        }


def _many(formats: list[Format], server: Metered) -> Iterator[Result]:
    """First day of many tables, format after format for each, so that a busy moment of the machine meets all of them."""
    asked: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    objects: defaultdict[str, list[int]] = defaultdict(list)
    beside: defaultdict[str, list[int]] = defaultdict(list)
    for number in range(TENANTS * TABLES):
        table = (f"tenant_{number // TABLES}", f"table_{number % TABLES}")
        for each in formats:
            steps: dict[str, Callable[[], object]] = {
                "create": lambda each=each, table=table: each.create(table),  # type: ignore[misc]
                "commit": lambda each=each, table=table: each.append(table, DAY, rows(0, BATCH, DAY), f"{DAY}/1"),  # type: ignore[misc]
                "read": lambda each=each, table=table: each.read(table, DAY),  # type: ignore[misc]
            }
            for step, action in steps.items():
                took, count = _measured(server, action)
                seconds[each.name, step].append(took)
                asked[each.name, step].append(count)
            there = sizes(each, table)
            objects[each.name].append(len(there))
            beside[each.name].append(sum(size for key, size in there.items() if not key.endswith(".parquet")))
    for each in formats:
        yield {
            "question": "many tables",
            "tables": TENANTS * TABLES,
            "format": each.name,
            **{f"{step}_requests": median(asked[each.name, step]) for step in ("create", "commit", "read")},
            **{f"{step}_ms": round(1000 * median(seconds[each.name, step])) for step in ("commit", "read")},
            "objects": median(objects[each.name]),
            "bytes_beside_the_data": median(beside[each.name]),
        }


def _old(formats: list[Format], server: Metered) -> Iterator[Result]:
    """One table that gets a day's batch a day: what do a commit, a partition and the whole table cost when it has become old?"""
    table: Table = ("old", "result")
    for each in formats:
        each.create(table)
        for age in range(1, max(AGES) + 1):
            day, data = DAY + timedelta(days=age), rows(age * BATCH, BATCH, DAY + timedelta(days=age))
            _, commit = _measured(server, lambda: each.append(table, day, data, f"{day}/1"))  # noqa: B023 - called at once
            if age not in AGES:
                continue
            _, partition = _measured(server, lambda: each.read(table, day))  # noqa: B023
            sent = server.counts()["bytes out"]
            _, whole = _measured(server, lambda: each.read(table))  # noqa: B023
            there = sizes(each, table)
            yield {
                "question": "old table",
                "days": age,
                "format": each.name,
                "commit_requests": commit,
                "partition_requests": partition,
                "partition_bytes": sent,
                "whole_requests": whole,
                "objects": len(there),
                "bytes_beside_the_data": sum(size for key, size in there.items() if not key.endswith(".parquet")),
            }


def _measured(server: Metered, action: Callable[[], object]) -> tuple[float, int]:
    server.reset()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start, requests(server.counts())


def _goals(results: list[Result]) -> list[Goal]:
    ours = [result for result in results if result.get("format") == "manifests"]
    hurt = sum(result["lost"] + result["doubled"] for result in ours if "lost" in result)
    killed = next(result for result in ours if "kills" in result)
    whole = killed["reader_saw_nothing"] + killed["reader_saw_the_batch"]
    reads = {result["partition_requests"] for result in ours if "partition_requests" in result}
    return [
        goal("races and kills", "no row is lost or doubled", f"{hurt} rows", met=hurt == 0),
        goal(
            "what a reader sees after a kill",
            "all of a batch or nothing",
            f"{whole} of {killed['kills']} kills",
            met=whole == killed["kills"],
        ),
        goal("a partition of an old table", "as many requests as of a new one", f"requests: {sorted(reads)}", met=len(reads) == 1),
    ]
