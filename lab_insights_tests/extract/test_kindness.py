"""Kindness to the source: each limit is enforced where tables are read, with a clear error, and stands in the receipt."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import Limits
from lab_insights.errors import SourceError
from lab_insights.extract import live, read
from lab_insights.extract.kindness import OutsideHours, Stopwatch, connections, next_opening, receipt, session, session_settings
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import Declared, plan
from lab_insights.extract.read import SourceRows
from lab_insights.extract.readers import asking
from lab_insights.extract.streams import fetch
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, instant


def limits(**said: Any) -> Limits:
    return Limits.model_validate(said)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "opening"),
    [
        (None, "UTC", "2026-03-01 12:00", None),
        ("08:00-18:00", "UTC", "2026-03-01 08:00", None),
        ("08:00-18:00", "UTC", "2026-03-01 18:00", "2026-03-02 08:00"),
        ("08:00-18:00", "UTC", "2026-03-01 07:59", "2026-03-01 08:00"),
        ("22:00-06:00", "UTC", "2026-03-01 23:00", None),
        ("22:00-06:00", "UTC", "2026-03-01 05:59", None),
        ("22:00-06:00", "UTC", "2026-03-01 06:00", "2026-03-01 22:00"),
        ("22:00-06:00", "America/New_York", "2026-03-01 04:00", None),
        ("22:00-06:00", "America/New_York", "2026-03-01 12:00", "2026-03-02 03:00"),
    ],
)
def test_hours_are_those_of_the_sources_zone_and_may_pass_midnight(hours: str | None, zone: str, now: str, opening: str | None) -> None:
    found = next_opening(limits(hours=hours, zone=zone), at(now))
    assert (found and found.astimezone(UTC)) == (opening and at(opening))


def test_outside_its_hours_a_source_is_not_read_and_the_error_says_from_when_on(lake: Lake, server: Server) -> None:
    name = f"hours_{fresh_tenant()}"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY)", f"INSERT INTO {{s}}.{name} VALUES (1)")
    its = dataclasses.replace(plan(server.table(name, tenant=Tenant(id=fresh_tenant(), key="1")), Declared(("id",))), seconds=1.5)
    asked = (Request(day(1)), Ceiling(instant(1, 12), "of the test"))
    lake.clock.set(instant(1, 12))
    with pytest.raises(OutsideHours, match=r"may be read from 22:00-06:00 \(UTC\), and it is 2026-03-01 12:00 UTC") as raised:
        load(lake, server.source(limits={"hours": "22:00-06:00"}), Aws(), its, *asked)
    assert "from 2026-03-01 22:00 (UTC) on" in raised.value.remedy
    assert lake.state.batches("raw", its.table.tenant, its.table.table_id) == []
    [made] = load(lake, server.source(limits={"hours": "10:00-14:00", "lock_timeout": 7}), Aws(), its, *asked)
    assert made.limits == {
        "connections": 4,
        "statement_timeout": 3600,
        "lock_timeout": 7,
        "transaction_timeout": 7200,
        "hours": "10:00-14:00",
        "zone": "UTC",
    }
    assert made.predicted == 1.5
    assert made.longest_statement is not None
    assert 0 < made.longest_statement <= made.seconds
    server.execute(f"DROP TABLE {{s}}.{name}")


def test_a_receipt_claims_no_limit_that_nothing_enforces_on_its_engine() -> None:
    its = limits(hours="22:00-06:00")
    assert set(receipt(its, "dynamodb")) == {"connections", "hours", "zone"}
    assert set(receipt(its, "mysql")) > {"statement_timeout", "lock_timeout", "transaction_timeout"}


def reading(server: Server, name: str, **said: Any) -> SourceRows:
    driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[server.engine]
    return SourceRows(server.table(name), sa.make_url(server.url).set(drivername=driver), limits(**said))


@pytest.fixture
def table(server: Server) -> Any:
    name = f"kind_{fresh_tenant()}"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY)", f"INSERT INTO {{s}}.{name} VALUES (1), (2), (3)")
    yield name
    server.execute(f"DROP TABLE {{s}}.{name}")


def test_a_statement_over_its_limit_is_cut_off_by_the_server(server: Server, table: str) -> None:
    rows = reading(server, table, statement_timeout=1)
    asleep = "SELECT SLEEP(20)" if server.engine == "mysql" else "SELECT pg_sleep(20)::text"
    with pytest.raises(SourceError, match="cut the statement off at its time limit") as raised:
        list(fetch(asleep, rows.target, rows.table, rows.limits))
    assert "limits.statement_timeout" in raised.value.remedy
    assert raised.value.table == rows.table.table_id


def test_what_is_asked_beside_the_readers_keeps_the_same_limits_and_says_which_it_was(server: Server, table: str) -> None:
    rows = reading(server, table, statement_timeout=1)
    asleep = "SELECT SLEEP(20)" if server.engine == "mysql" else "SELECT pg_sleep(20)::text"
    with (
        pytest.raises(SourceError, match="cut the statement off at its time limit"),
        asking(rows),
        session(rows.target, rows.limits) as connection,
    ):
        connection.exec_driver_sql(asleep)
    if server.engine == "postgresql":
        with session(rows.target, limits(), holding="REPEATABLE READ") as connection:
            told = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("statement_timeout", "lock_timeout")]
            assert told == ["1h", "5s"]
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "0"


def test_a_lock_that_somebody_holds_is_waited_for_no_longer_than_its_limit(server: Server, table: str) -> None:
    rows = reading(server, table, lock_timeout=1)
    with server.own.execution_options(isolation_level="READ COMMITTED").connect() as holder:
        if server.engine == "mysql":
            holder.exec_driver_sql(f"LOCK TABLES {server.schema}.{table} WRITE")
        else:
            holder.exec_driver_sql(f"LOCK TABLE {server.schema}.{table} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError, match="held a lock on this table for longer") as raised:
            list(rows)
        assert "limits.lock_timeout" in raised.value.remedy
        if server.engine == "mysql":
            holder.exec_driver_sql("UNLOCK TABLES")
        holder.rollback()
    assert sum(batch.num_rows for batch in reading(server, table)) == 3


def test_a_read_that_holds_its_snapshot_too_long_is_given_up(server: Server, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reading(server, table, transaction_timeout=1)
    assert sum(batch.num_rows for batch in rows) == 3
    monkeypatch.setattr(read, "Stopwatch", lambda *given: Stopwatch(*given, time.monotonic() - 1.5))
    with pytest.raises(SourceError, match="open for more than 1 s") as raised:
        list(reading(server, table, transaction_timeout=1))
    assert "limits.transaction_timeout" in raised.value.remedy


def test_a_read_that_is_at_work_when_the_hours_end_is_given_up(
    lake: Lake, server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = plan(server.table(table, tenant=Tenant(id=fresh_tenant(), key="1")), Declared(("id",)))
    source, top = server.source(limits={"hours": "10:00-14:00"}), Ceiling(instant(1, 12), "of the test")
    lake.clock.set(instant(1, 12))
    [made] = load(lake, source, Aws(), its, Request(day(1)), top)
    monkeypatch.setattr(read, "Stopwatch", lambda table, limits, closing: Stopwatch(table, limits, closing - timedelta(hours=2)))
    with pytest.raises(SourceError, match=r"from 10:00-14:00 \(UTC\), and the read was given up when that ended") as raised:
        load(lake, source, Aws(), its, Request(day(1), "full"), top)
    assert "limits.hours" in raised.value.remedy
    server.execute(f"INSERT INTO {{s}}.{table} VALUES (4)")
    with pytest.raises(SourceError, match="given up when that ended"):
        live.look(lake, source, Aws(), its)
    assert [each.rows for each in lake.state.batches("raw", its.table.tenant, its.table.table_id)] == [made.rows]


def test_the_server_ends_what_a_dead_reader_left_open(server: Server) -> None:
    kind = "postgresql" if server.engine == "postgresql" else "mariadb"
    its = limits(transaction_timeout=77)
    shown = {"postgresql": "SHOW idle_in_transaction_session_timeout", "mariadb": "SELECT @@idle_transaction_timeout"}[kind]
    with server.own.connect() as connection:
        for setting in session_settings(kind, its):  # type: ignore[arg-type]
            connection.exec_driver_sql(setting)
        assert str(connection.exec_driver_sql(shown).scalar()) == {"postgresql": "77s", "mariadb": "77"}[kind]


def meeting(source: str, wanted: int, parties: int, patience: float) -> bool:
    """Whether `parties` loads that want so many readers each are at work at the same time."""
    barrier, met = threading.Barrier(parties), list[bool]()

    def load_() -> None:
        with connections(source, limits(connections=3), wanted):
            try:
                barrier.wait(patience)
                met.append(True)
            except threading.BrokenBarrierError:
                met.append(False)

    threads = [threading.Thread(target=load_) for _ in range(parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "two loads wait for each other"
    return all(met)


def test_no_more_readers_than_the_source_allows_are_at_work_at_once() -> None:
    source = f"s_{fresh_tenant()}"
    assert meeting(source, 1, 3, 30)
    assert not meeting(source, 1, 4, 0.5)
    assert not meeting(source, 2, 2, 0.5)
    assert not meeting(source, 9, 2, 0.5), "who wants more than there are gets all there are"
    assert meeting(source, 1, 3, 30), "what was taken is given back"
