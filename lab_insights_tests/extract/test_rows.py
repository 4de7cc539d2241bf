"""Every committed row is seen: writers that keep transactions open against a reader that moves its bookmark as a load does."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from lab_insights.clock import Clock
from lab_insights.config import Limits
from lab_insights.extract import window
from lab_insights.extract.land import Request, steps
from lab_insights.extract.plan import plan
from lab_insights.extract.read import SourceRows
from lab_insights.extract.window import Ceiling, ceiling
from lab_insights_tests.extract.world import Server

pytestmark = pytest.mark.slow

WRITERS = 8
# How long a transaction stays open after it stamped its rows, in seconds.
OPEN = (0.0, 0.02, 0.1, 0.4)
# The first writer's stay open for longer than the margin that is kept below the floor, which alone would hide that they were not seen; it writes no row twice,
# so that none which was lost is seen by a later change.
LONG = 2.5
assert timedelta(seconds=LONG) > 2 * window.MARGIN


def target(server: Server, url: str) -> sa.URL:
    return sa.make_url(url).set(drivername={"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[server.engine])


@dataclass
class Writers:
    """Threads that insert and update rows in transactions of their own, until they are told to stop."""

    server: Server
    table: str
    stop: threading.Event = field(default_factory=threading.Event)
    outlived: threading.Event = field(default_factory=threading.Event)
    """A transaction that was open for longer than the margin is committed."""

    def __post_init__(self) -> None:
        stamp = "DATETIME(6)" if self.server.engine == "mysql" else "TIMESTAMP(6)"
        columns = f"writer INT NOT NULL, id INT NOT NULL, version INT NOT NULL, updated_at {stamp} NOT NULL, PRIMARY KEY (writer, id)"
        self.server.execute(f"CREATE TABLE {{s}}.{self.table} ({columns})")

    def work(self, number: int) -> int:
        """Write until told to stop, and return how many transactions were committed."""
        chance, done, name = random.Random(number), 0, f"{self.server.schema}.{self.table}"
        mysql = self.server.engine == "mysql"
        now = "UTC_TIMESTAMP(6)" if mysql else "clock_timestamp() AT TIME ZONE 'UTC'"
        engine = sa.create_engine(target(self.server, self.server.url), poolclass=sa.NullPool)
        with engine.connect() as connection:
            while not self.stop.is_set():
                old = chance.randrange(done) if done and number else -1
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({number}, {done}, 1, {now})")
                connection.exec_driver_sql(
                    f"UPDATE {name} SET version = version + 1, updated_at = {now} WHERE writer = {number} AND id = {old}"
                )
                connection.exec_driver_sql(f"SELECT {'SLEEP' if mysql else 'pg_sleep'}({chance.choice(OPEN) if number else LONG})").all()
                connection.commit()
                done += 1
                if not number:
                    self.outlived.set()
        engine.dispose()
        return done


@dataclass
class Reader:
    """What has been read so far, and the bookmark that a load would have stored."""

    server: Server
    table: str
    top: Callable[[], Ceiling]
    bookmark: datetime | None = None
    versions: dict[tuple[int, int], int] = field(default_factory=dict)
    polls: int = 0

    def __post_init__(self) -> None:
        self.planned = plan(self.server.table(self.table))
        assert self.planned.cursor == "updated_at"

    def poll(self) -> Ceiling:
        """Read what a run at this moment would read."""
        found = self.top()
        for step in steps(self.planned, Request(found.instant.date()), self.bookmark, found.instant, []):
            rows = SourceRows(self.planned.table, target(self.server, self.server.url), Limits(), self.planned.cursor, step.window)
            for batch in rows:
                for row in batch.to_pylist():
                    key = (row["writer"], row["id"])
                    self.versions[key] = max(self.versions.get(key, 0), row["version"])
            rows.facts()
            self.bookmark = step.window.high
        self.polls += 1
        return found

    def lost(self) -> tuple[int, int]:
        """Return how many committed rows are missing, and how many are there in an older version only."""
        with self.server.own.connect() as connection:
            rows = connection.exec_driver_sql(f"SELECT writer, id, version FROM {self.server.schema}.{self.table}").all()
        truth = {(row[0], row[1]): row[2] for row in rows}
        assert set(self.versions) <= set(truth)
        missing = set(truth) - set(self.versions)
        return len(missing), sum(self.versions[key] < truth[key] for key in set(truth) - missing)


def race(writers: Writers, reader: Reader, polls: int) -> None:
    """Poll while the writers write, at least until a long transaction is over, and then until the ceiling has passed all that they wrote."""
    with ThreadPoolExecutor(WRITERS) as pool:
        working = [pool.submit(writers.work, number) for number in range(WRITERS)]
        try:
            while reader.polls < polls or not (writers.outlived.is_set() or working[0].done()):
                reader.poll()
        finally:
            writers.stop.set()
        assert all(each.result() > 0 for each in working)
    ended = datetime.now(UTC)
    while reader.poll().instant < ended:
        pass


@pytest.fixture
def writers(server: Server) -> Iterator[Writers]:
    made = Writers(server, "raced")
    yield made
    server.execute(f"DROP TABLE {{s}}.{made.table}")


@pytest.mark.parametrize("polls", [25, pytest.param(100, marks=pytest.mark.soak)])
def test_under_eight_writers_no_row_is_missing_and_none_is_stale(server: Server, writers: Writers, polls: int) -> None:
    reader = Reader(server, writers.table, lambda: ceiling(target(server, server.url), server.engine, Limits(), Clock()))
    race(writers, reader, polls)
    assert reader.polls > polls
    assert reader.lost() == (0, 0)
    assert len(reader.versions) > WRITERS


def test_reading_up_to_the_servers_clock_loses_rows_in_this_very_test(server: Server, writers: Writers) -> None:
    def clock() -> Ceiling:
        with server.own.connect() as connection:
            now = "UTC_TIMESTAMP(6)" if server.engine == "mysql" else "clock_timestamp() AT TIME ZONE 'UTC'"
            return Ceiling(connection.exec_driver_sql(f"SELECT {now}").scalar_one().replace(tzinfo=UTC), "the server's clock")

    reader = Reader(server, writers.table, clock)
    race(writers, reader, 12)
    assert sum(reader.lost()) > 0


def test_looking_for_no_open_transaction_loses_rows_in_this_very_test(
    server: Server, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"_{server.engine}_oldest"
    honest = getattr(window, name)
    monkeypatch.setattr(window, name, lambda connection: dataclasses.replace(honest(connection), age=None))
    reader = Reader(server, writers.table, lambda: ceiling(target(server, server.url), server.engine, Limits(), Clock()))
    race(writers, reader, 12)
    assert sum(reader.lost()) > 0


def test_without_the_privilege_a_lag_longer_than_any_transaction_loses_none(server: Server, writers: Writers) -> None:
    grants = ("GRANT SELECT ON {s}.* TO {who}",) if server.engine == "mysql" else ("GRANT USAGE ON SCHEMA {s} TO {who}",)
    limits = Limits.model_validate({"lag": 4})
    with server.login("p", *grants) as url:
        reader = Reader(server, writers.table, lambda: ceiling(target(server, url), server.engine, limits, Clock()))
        race(writers, reader, 12)
        before = datetime.now(UTC)
        assert reader.poll().how == "open transactions can not be seen with this login: 4 s are kept back"
    assert reader.lost() == (0, 0)
    assert reader.bookmark is not None
    assert before <= reader.bookmark + timedelta(seconds=4) <= datetime.now(UTC)
