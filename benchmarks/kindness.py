"""Kindness to the source: how long an application's transactions take while nobody reads, while our full load does, and while others do.

All three parties (application, server, reader) share this machine's cores, which no production source does with its reader. So there is one contender
that keeps a core as busy as our reader does and never touches the source: what that costs the application is no matter of the source.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import oltp
from benchmarks.contender import measure
from benchmarks.extract import Bench
from benchmarks.goals import Findings, Goal, Result, goal
from benchmarks.results import TABLE, servers, world
from benchmarks.server import metered
from lab_insights.local import deployer

ALONE, OURS, BUSY, OTHER = "nobody", "our full loads", "a busy process that reads nothing", "connectorx, streamed"
# How much longer a transaction may take at the 95th percentile: an application that takes 10 ms is not felt to be slower at 30.
TIMES = 3.0


def run(rows: int = 2_000_000, rounds: int = 3, seconds: int = 10, server: str = "") -> Findings:
    """Measure on each server, or on the one called `server`; every phase of every round lasts about so many `seconds`."""
    results: list[Result] = []
    for name in servers(server):
        with tempfile.TemporaryDirectory() as directory, metered(Path(directory)) as aws, world(name) as its:
            deployer.deploy(aws.address, "bench")
            its.create(TABLE, rows)
            its.settle(TABLE)
            oltp.prepare(its)
            results.extend(_phases(Bench(its, aws.address, Path(directory), rounds, rows), seconds))
    return {"results": results, "goals": _goals(results)}


def _phases(bench: Bench, seconds: int) -> Iterator[Result]:
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    limits: set[str] = set()
    for _ in range(bench.rounds):
        for name, contender in {ALONE: "", OURS: "ours, repeated", BUSY: "busy", OTHER: "connectorx, repeated"}.items():
            with oltp.application(bench.world, bench.rows) as application:
                start = time.monotonic()
                if contender:
                    outcome = measure(bench.job(contender, seconds=seconds))
                    start, end = outcome.began, outcome.began + outcome.seconds
                    limits |= {outcome.note} - {""}
                else:
                    time.sleep(seconds)
                    end = start + seconds
            took = application.between(start, end)
            at = {f"p{percent}_ms": took[len(took) * percent // 100] for percent in (50, 95, 99)}
            found[name].append(at | {"transactions": len(took), "failed": application.failed})
            print(f"{bench.world.server}  {name}  p95 {at['p95_ms']:.1f} ms", file=sys.stderr)
    for name, rounds in found.items():
        figures = {what: round(median(each[what] for each in rounds), 1) for what in rounds[0]}
        told = {"limits_in_the_receipt": ", ".join(sorted(limits))} if name == OURS else {}
        yield {"question": "latency", "server": bench.world.server, "beside": name, **figures, **told}


def _goals(results: list[Result]) -> list[Goal]:
    found = []
    for server in dict.fromkeys(result["server"] for result in results):
        its = {result["beside"]: result for result in results if result["server"] == server}
        alone, ours = its[ALONE]["p95_ms"], its[OURS]
        times = ours["p95_ms"] / alone
        beside = f"{its[BUSY]['p95_ms']} ms beside a process that keeps a core busy, {its[OTHER]['p95_ms']} ms beside connectorx"
        told = f"{times:.1f} times ({alone} ms alone, {ours['p95_ms']} ms during our full loads; {beside})"
        found += [
            goal(f"{server}: p95 of an application's transactions", f"at most {TIMES:.0f} times with us", told, met=times <= TIMES),
            goal(f"{server}: no transaction fails because of us", "none", f"{ours['failed']:.0f}", met=not ours["failed"]),
            goal(
                f"{server}: the source's limits are in every receipt",
                "in all",
                ours["limits_in_the_receipt"],
                met="statement_timeout" in ours["limits_in_the_receipt"],
            ),
        ]
    return found
