"""An application beside us: `python -m benchmarks.oltp` runs short transactions against the table until its stdin ends, and prints when and how long each took.

Each transaction reads the six results of an order, changes one of them and inserts a row of a journal, as a laboratory system does when a result is
verified. Transactions start at fixed instants, however long the ones before took (each client of its own), so that a slow server does not get less to do.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.results import TABLE, World

CLIENTS = 4
# Transactions a second of each client: together about a tenth of what the server could do at most.
RATE = 20
JOURNAL = "lab_journal"
Sample = tuple[float, float]
"""When a transaction was due (seconds of the machine's monotonic clock), and seconds from then to its commit."""


@dataclass
class Application:
    """The running application."""

    process: subprocess.Popen[str]
    samples: list[Sample]
    failed: int = 0

    def between(self, start: float, end: float) -> list[float]:
        """Return the latencies of transactions that were due in a span, in milliseconds, sorted."""
        return sorted(1000 * took for due, took in self.samples if start <= due <= end)


def prepare(world: World) -> None:
    """Create the journal."""
    kind = "BIGINT AUTO_INCREMENT PRIMARY KEY" if world.mysql else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    world.execute(f"CREATE TABLE {world.schema}.{JOURNAL} (entry_id {kind}, result_id BIGINT NOT NULL, what VARCHAR(40) NOT NULL)")


@contextmanager
def application(world: World, rows: int) -> Iterator[Application]:
    """Run the application during the block; its samples are there afterwards."""
    job = {"url": world.url, "mysql": world.mysql, "schema": world.schema, "rows": rows}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.oltp", json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout  # noqa: S101
    process.stdout.readline()  # it is connected, and has run for a second
    its = Application(process, [])
    try:
        yield its
    finally:
        told, _ = process.communicate()
    found = json.loads(told)
    its.samples, its.failed = [(due, took) for due, took in found["samples"]], found["failed"]


def _client(
    number: int, job: dict[str, Any], began: threading.Event, ended: threading.Event, samples: list[Sample], failures: list[str]
) -> None:
    driver = "mysql+pymysql" if job["mysql"] else "postgresql+psycopg2"
    touched = "" if job["mysql"] else ", updated_at = clock_timestamp()"
    name, chance = f"{job['schema']}.{TABLE}", random.Random(number)
    read = sa.text(f"SELECT * FROM {name} WHERE result_id BETWEEN :low AND :low + 5")
    write = sa.text(f"UPDATE {name} SET status = 'verified'{touched} WHERE result_id = :low")
    note = sa.text(f"INSERT INTO {job['schema']}.{JOURNAL} (result_id, what) VALUES (:low, 'verified')")
    with sa.create_engine(sa.make_url(job["url"]).set(drivername=driver)).connect() as connection:
        due = time.monotonic() + number / CLIENTS / RATE
        while not ended.is_set():
            time.sleep(max(due - time.monotonic(), 0))
            low = {"low": chance.randrange(1, job["rows"] - 5)}
            try:
                connection.execute(read, low).all()
                connection.execute(write, low)
                connection.execute(note, low)
                connection.commit()
            except sa.exc.DBAPIError as error:
                failures.append(type(error).__name__)
                connection.rollback()
            samples.append((due, time.monotonic() - due))
            began.set()
            due += 1 / RATE


def main() -> None:
    """Run until stdin ends."""
    job = json.loads(sys.argv[1])
    ended, samples, failures = threading.Event(), list[Sample](), list[str]()
    began = [threading.Event() for _ in range(CLIENTS)]
    clients = [threading.Thread(target=_client, args=(number, job, its, ended, samples, failures)) for number, its in enumerate(began)]
    for client in clients:
        client.start()
    for its in began:
        its.wait(timeout=60)  # one that can not connect has said so, and is not there to begin
    print("running", flush=True)
    sys.stdin.read()
    ended.set()
    for client in clients:
        client.join()
    print(json.dumps({"samples": samples, "failed": len(failures)}))


if __name__ == "__main__":
    main()
