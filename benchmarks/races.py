"""Eight processes that commit to one table at once, and processes that are killed at every write of a commit."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from benchmarks.formats import Format, Table, rows
from benchmarks.server import Metered, requests, writes
from lab_insights.aws import Aws

WRITERS, COMMITS, BATCH = 8, 4, 500
DAY = date(2026, 1, 5)
_spawn = multiprocessing.get_context("spawn")
_start: Any = None


@dataclass(frozen=True)
class Raced:
    """What a race gave: no row may be lost or doubled."""

    commits_per_s: float
    failures: int
    lost: int
    doubled: int


@contextmanager
def writers(formats: list[Format], table: Table) -> Iterator[Any]:
    """Give a pool of `WRITERS` processes that have written with each format before."""
    barrier = _spawn.Barrier(WRITERS)
    with _spawn.Pool(WRITERS, _remember, (barrier,)) as pool:
        for each in formats:
            race(pool, each, table, one_day=False, commits=1)
        yield pool


def race(pool: Any, format_: Format, table: Table, *, one_day: bool, commits: int = COMMITS) -> Raced:
    """Let every writer commit batches to a new table: all to one day, or each to its own."""
    format_.create(table)
    done = pool.starmap(_write, [(format_, table, writer, commits, one_day) for writer in range(WRITERS)], chunksize=1)
    found = Counter(format_.read(table)["id"].to_pylist())
    seconds = max(end for _, end, _ in done) - min(start for start, _, _ in done)
    return Raced(
        WRITERS * commits / seconds,
        sum(failures for _, _, failures in done),
        WRITERS * commits * BATCH - len(found),
        sum(found.values()) - len(found),
    )


def _remember(barrier: Any) -> None:
    global _start  # noqa: PLW0603 - a pool's processes can be given a barrier in no other way
    _start = barrier
    logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # it warns of every repeated commit, which is what is counted


def _write(format_: Format, table: Table, writer: int, commits: int, one_day: bool) -> tuple[float, float, int]:
    day = DAY if one_day else DAY + timedelta(days=writer)
    _start.wait(120)
    start, failures = time.time(), 0
    for number in range(commits):
        first = (writer * commits + number) * BATCH
        try:
            failures += format_.append(table, day, rows(first, BATCH, day), f"{day}/{writer}-{number}")
        except Exception as error:  # noqa: BLE001
            # Many libraries' errors can not be sent to another process, whose pool would then wait for ever.
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
    return start, time.time(), failures


@dataclass(frozen=True)
class Killed:
    """After a kill: rows of the batch that a reader saw, whether a blind second append would double it, and what the asking next run left."""

    seen: int
    doubles_blindly: bool
    lost: int
    doubled: int
    orphans: int


def kills(format_: Format, server: Metered, name: str) -> Iterator[Killed]:
    """Kill a run after each write of its commit and after the last one, on a table with one earlier batch, and let the next run finish it."""
    clean = _table(format_, f"{name}_clean")
    server.reset()
    _append(format_, clean)
    points, objects = _writes(server), _objects(format_, clean)
    for write in range(1, points + 2):
        table = _table(format_, f"{name}_{write}")
        server.hold(write)
        child = _spawn.Process(target=_append, args=(format_, table))
        child.start()
        while child.is_alive() and not server.held:
            time.sleep(0.01)
        child.kill()
        child.join()
        server.reset()
        seen = format_.read(table).num_rows - BATCH
        through = format_.has(table, f"{DAY}/second")
        if not through:
            _append(format_, table)
        found = Counter(format_.read(table)["id"].to_pylist())
        doubled = sum(found.values()) - len(found)
        yield Killed(seen, through, 2 * BATCH - len(found), doubled, _objects(format_, table) - objects)


def _table(format_: Format, name: str) -> Table:
    table = ("killed", name)
    format_.create(table)
    format_.append(table, DAY, rows(0, BATCH, DAY), f"{DAY}/first")
    return table


def _append(format_: Format, table: Table) -> None:
    format_.append(table, DAY, rows(BATCH, BATCH, DAY), f"{DAY}/second")


def _writes(server: Metered) -> int:
    counts = server.counts()
    return requests(Counter({what: number for what, number in counts.items() if what != "bytes out" and writes(what)}))


def _objects(format_: Format, table: Table) -> int:
    return len(sizes(format_, table))


def sizes(format_: Format, table: Table) -> dict[str, int]:
    """Return the bytes of every object of a table, by key."""
    setting: Any = format_
    pages = Aws(endpoint_url=setting.endpoint).client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=setting.bucket, Prefix=format_.directory(table))
    return {entry["Key"]: entry["Size"] for page in found for entry in page.get("Contents", ())}
