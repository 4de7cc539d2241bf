"""Extraction against its peers: full loads, what proof costs, peak memory, changes, many small tables, on MariaDB and PostgreSQL.

Everybody writes zstd parquet files to a local disk. Ours runs there too, with bookmarks and status on the AWS stand-in, so that what is compared is the
extraction and not the stand-in, which is a Python program on the same two cores; what a load takes with its parts on the stand-in is printed beside it.
Contenders take turns, each in a process of its own; what counts is the median of the rounds.

Wanted: `BENCH_MARIADB_URL` and `BENCH_POSTGRESQL_URL`, or servers on this machine that let root and postgres in.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contender import ContenderFailed, Job, Outcome, measure
from benchmarks.extract_goals import COUNTS, SUMS, goals
from benchmarks.goals import Findings, Result
from benchmarks.peers_of_extract import CONTENDERS as PEERS
from benchmarks.peers_of_extract import missing
from benchmarks.results import TABLE, World, servers, world
from benchmarks.server import metered
from lab_insights.local import deployer

LARGE = 20_000_000
# Some take minutes for all rows. Their rate is the same for fewer: each of them pays by the row, and these are its first ones.
SLOW = {"pandas": 10, "dlt, default": 20}
SMALL_TABLES, SMALL_ROWS = 200, 1_000
# A window ends a second before the clock at the earliest: what was changed must be older to be read.
_SETTLED = 2.5
OURS: dict[str, dict[str, Any]] = {
    COUNTS: {"proof": "counts"},
    SUMS: {"proof": "sums"},
    "ours, source proof, parts on the S3 stand-in": {"proof": "sums", "store": "s3"},
}


@dataclass
class Bench:
    """What all questions share: the server's schema, the stand-in, and where files go."""

    world: World
    endpoint: str
    directory: Path
    rounds: int
    rows: int
    number: int = 0

    def job(self, contender: str, table: str = TABLE, **more: Any) -> Job:
        """Return a job of a tenant and a directory of its own."""
        self.number += 1
        directory = self.directory / f"job_{self.number}"
        directory.mkdir()
        engine = "mysql" if self.world.mysql else "postgresql"
        job = Job(contender, self.world.url, engine, self.world.schema, table, str(directory), self.rows, self.endpoint, f"t{self.number}")
        return replace(job, **more)

    def run(self, job: Job) -> Outcome:
        """Measure a job and tell that it is done; its files are gone afterwards, but for a directory that it shares."""
        found = measure(job)
        print(f"{self.world.server}  {job.contender}  {found.seconds:.2f} s", file=sys.stderr)
        return found

    def result(self, question: str, contender: str, **more: Any) -> Result:
        return {"question": question, "server": self.world.server, "contender": contender, **more}


def run(rows: int = 2_000_000, rounds: int = 3, server: str = "", large: bool = False) -> Findings:
    """Measure every question on each server, or on the one called `server`; `large` adds the memory of a full load of 20 M rows."""
    results: list[Result] = []
    for name in servers(server):
        with tempfile.TemporaryDirectory() as directory, metered(Path(directory)) as aws, world(name) as its:
            deployer.deploy(aws.address, "bench")
            bench = Bench(its, aws.address, Path(directory), rounds, rows)
            its.create(TABLE, rows)
            its.settle(TABLE)
            for question in (_full(bench), _changes(bench), _many(bench), _large(bench) if large else iter(())):
                results.extend(question)
    return {"results": results, "goals": goals(results)}


def _full(bench: Bench) -> Iterator[Result]:
    """Contender after contender in every round, so that a busy moment of the machine meets all of them."""
    found: defaultdict[str, list[Outcome]] = defaultdict(list)
    failed: dict[str, str] = {}
    every: dict[str, dict[str, Any]] = {
        "drain": {},
        **OURS,
        **{name: {"first": bench.rows // SLOW[name]} if name in SLOW else {} for name in PEERS},
    }
    for name in PEERS:
        if why := missing(name, bench.job(name).engine):
            failed[name] = why
    for _ in range(bench.rounds):
        for name, more in every.items():
            if name in failed:
                continue
            job = bench.job("ours" if name in OURS else name, **more)
            try:
                found[name].append(bench.run(job))
            except ContenderFailed as error:
                if name not in PEERS:
                    raise
                failed[name] = str(error)
            finally:
                _clear(job)
    for name in every:
        if name in failed:
            yield bench.result("full load", name, note=f"not measured: {failed[name]}")
            continue
        runs = found[name]
        middle = sorted(runs, key=lambda outcome: outcome.seconds)[len(runs) // 2]
        yield bench.result(
            "full load",
            name,
            rows=middle.rows,
            rows_per_s=round(median(outcome.rate for outcome in runs)),
            seconds=median(outcome.seconds for outcome in runs),
            slowest=max(outcome.seconds for outcome in runs),
            cpu_s=median(outcome.cpu for outcome in runs),
            peak_mb=max(outcome.peak_mb for outcome in runs),
            parquet_mb=round(middle.bytes / 1e6, 1),
            **({"note": middle.note} if middle.note else {}),
        )


def _changes(bench: Bench) -> Iterator[Result]:
    """A full load, then the load of 1% of the rows that an application changed since."""
    full, changes, rows = [], [], []
    for number in range(bench.rounds):
        job = bench.job("ours")
        full.append(bench.run(job).seconds)
        bench.world.change(TABLE, 1, number)
        time.sleep(_SETTLED)
        found = bench.run(job)
        changes.append(found.seconds)
        rows.append(found.rows)
        _clear(job)
    yield bench.result("1% changed", "ours", rows=median(rows), seconds=median(changes), full_load_s=median(full))


def _many(bench: Bench) -> Iterator[Result]:
    """Many small tables in one run, one after the other, with parts in files and with parts on the stand-in."""
    with world(bench.world.server) as small:
        for number in range(SMALL_TABLES):
            small.create(f"small_{number:03d}", SMALL_ROWS, number * SMALL_ROWS)
        crowd = replace(bench, world=small)
        found: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(bench.rounds):
            for store in ("local", "s3"):
                job = crowd.job("ours, many tables", "small_*", store=store, tenant=f"small_{store}_{bench.number}_{len(found[store])}")
                found[store].append(crowd.run(job).seconds)
                _clear(job)
    for store, seconds in found.items():
        name = "ours" if store == "local" else "ours, parts on the S3 stand-in"
        rate = round(SMALL_TABLES / median(seconds), 1)
        yield bench.result("small tables", name, tables=SMALL_TABLES, rows_each=SMALL_ROWS, seconds=median(seconds), tables_per_s=rate)


def _large(bench: Bench) -> Iterator[Result]:
    """Peak memory once more, of a table ten times as long."""
    bench.world.create("lab_result_large", LARGE)
    bench.world.settle("lab_result_large")
    for name in (SUMS, "connectorx, streamed"):
        job = bench.job("ours" if name in OURS else name, "lab_result_large", rows=LARGE)
        found = bench.run(job)
        _clear(job)
        yield bench.result("20 M rows", name, rows=found.rows, rows_per_s=round(found.rate), seconds=found.seconds, peak_mb=found.peak_mb)


def _clear(job: Job) -> None:
    import shutil

    shutil.rmtree(job.directory, ignore_errors=True)
