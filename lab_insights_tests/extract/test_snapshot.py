"""Several readers of one table see one instant of it, or one reader reads it."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from lab_insights.config import Limits
from lab_insights.errors import LandingMismatch, SourceError
from lab_insights.extract import databases, readers, snapshot
from lab_insights.extract.read import SourceRows
from lab_insights.extract.snapshot import NoSnapshot, Snapshot, shared
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.extract.accounts import ACCOUNTS, EACH, full, target_of
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import held


@contextmanager
def transfers(server: Server, table: str) -> Iterator[list[int]]:
    """Two threads that move amounts from the first accounts to the last ones and back, each time in one transaction; gives how often they did."""
    stop, done, failed = threading.Event(), [0, 0], list[BaseException]()
    engine = sa.create_engine(server.url, poolclass=sa.NullPool)

    def move(who: int) -> None:
        try:
            with engine.connect() as connection:
                while not stop.is_set():
                    here, there = (done[who] * 2 + who) % 40, ACCOUNTS - 1 - (done[who] * 2 + who) % 40
                    for account, change in ((here, -1), (there, 1)):
                        connection.exec_driver_sql(f"UPDATE {server.schema}.{table} SET amount = amount + {change} WHERE id = {account}")
                    connection.commit()
                    done[who] += 1
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=move, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    while not all(done) and not failed:
        threading.Event().wait(0.001)
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        engine.dispose()
        assert failed == []


def rows_of(server: Server, name: str) -> SourceRows:
    return SourceRows(server.table(name), target_of(server), Limits())  # type: ignore[call-arg]


def test_a_full_load_in_ranges_is_one_snapshot_while_amounts_are_moved(lake: Lake, server: Server, accounts: str, tenant: TenantId) -> None:
    with transfers(server, accounts) as done:
        for number in range(1, 4):
            before = sum(done)
            made = full(lake, server, accounts, tenant, number=number)
            assert sum(done) > before
            table = held(lake, "raw", tenant, f"lis.{accounts}")
            assert sorted(table["id"].to_pylist()) == list(range(ACCOUNTS))
            assert sum(table["amount"].to_pylist()) == ACCOUNTS * EACH
    assert (made.ranges, len(made.parts), made.rows) == (4, 4, ACCOUNTS)
    assert "4 key ranges of one snapshot" in made.reason


def test_planted_connections_of_their_own_break_the_sum(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SourceRows.start

    def alone(rows: SourceRows) -> None:
        """Begin to read, as a reader that joined no snapshot, and let a transfer pass before the next one begins."""
        rows.session = ()
        honest(rows)
        assert rows._stream is not None
        rows._stream = itertools.chain([next(rows._stream)], rows._stream)
        for account, change in ((0, -1), (ACCOUNTS - 1, 1)):
            server.execute(f"UPDATE {{s}}.{accounts} SET amount = amount + {change} WHERE id = {account}")

    @contextmanager
    def unlocked(rows: SourceRows, count: int) -> Iterator[Snapshot]:
        with databases.engine(rows.target).connect() as connection:
            yield Snapshot(connection, ((),) * count)

    monkeypatch.setattr(SourceRows, "start", alone)
    monkeypatch.setattr(readers, "shared", unlocked)
    full(lake, server, accounts, tenant)
    assert sum(held(lake, "raw", tenant, f"lis.{accounts}")["amount"].to_pylist()) == ACCOUNTS * EACH + 3


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_table_that_somebody_writes_to_is_read_by_one_reader_after_a_second(
    lake: Lake, server: Server, accounts: str, tenant: TenantId
) -> None:
    with sa.create_engine(server.url, poolclass=sa.NullPool).connect() as writer:
        writer.exec_driver_sql(f"UPDATE {server.schema}.{accounts} SET amount = amount + 1")
        made = full(lake, server, accounts, tenant)
        writer.rollback()
    assert (made.ranges, made.rows) == (1, ACCOUNTS)
    assert "one reader: no lock within 1 s" in made.reason
    assert sum(held(lake, "raw", tenant, f"lis.{accounts}")["amount"].to_pylist()) == ACCOUNTS * EACH


@contextmanager
def writing(server: Server, table: str) -> Iterator[list[float]]:
    """A thread that writes again and again; gives how long each write took, in seconds."""
    stop, took = threading.Event(), list[float]()

    def write() -> None:
        with server.own.connect() as connection:
            while not stop.is_set():
                begun = time.monotonic()
                connection.exec_driver_sql(f"UPDATE {server.schema}.{table} SET amount = amount WHERE id = 1")
                took.append(time.monotonic() - begun)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_login_of_too_few_connections_has_one_reader_and_keeps_no_writer_waiting(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused reader tries again for half a minute, behind the lock."""
    grants = ("GRANT SELECT, LOCK TABLES ON {s}.* TO {who}", "ALTER USER {who} WITH MAX_USER_CONNECTIONS 3")
    with server.login("pw", *grants) as url, writing(server, accounts) as took:
        monkeypatch.setenv(server.variable, url)
        made = full(lake, server, accounts, tenant)
        databases.engine.cache_clear()
    assert (made.ranges, made.rows) == (1, ACCOUNTS)
    assert "one reader: this login can not have 4 readers at once" in made.reason
    assert max(took) < 2


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_the_server_unlocks_a_table_whose_readers_stand_still(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "HELD_SECONDS", 1)
    honest = SourceRows.start

    def slowly(rows: SourceRows) -> None:
        time.sleep(2)
        honest(rows)

    monkeypatch.setattr(SourceRows, "start", slowly)
    with writing(server, accounts) as took:
        made = full(lake, server, accounts, tenant)
    assert (made.ranges, made.rows) == (1, ACCOUNTS)
    assert "one reader: not all of 4 readers were there within 1 s" in made.reason
    assert 0.5 < max(took) < 2


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_without_the_privilege_to_lock_one_reader_reads(server: Server, accounts: str) -> None:
    with server.login("pw", "GRANT SELECT ON {s}.* TO {who}") as url:
        rows = dataclasses.replace(rows_of(server, accounts), target=sa.make_url(url).set(drivername="mysql+pymysql"))
        with pytest.raises(NoSnapshot, match="may not lock tables"), shared(rows, 2):
            pass


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_storage_engine_without_snapshots_has_one_reader(server: Server) -> None:
    server.execute("CREATE TABLE {s}.old (id INT PRIMARY KEY) ENGINE=MyISAM")
    with pytest.raises(NoSnapshot, match="MyISAM has no snapshots"), shared(rows_of(server, "old"), 2):
        pass


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_reader_that_comes_when_the_table_is_unlocked_is_refused(server: Server, accounts: str) -> None:
    rows = rows_of(server, accounts)
    with shared(rows, 2) as one:
        in_time, late = (dataclasses.replace(rows, session=session) for session in one.sessions)
        one.start([in_time])
        with pytest.raises(SourceError, match="came too late"):
            list(late)
        assert sum(batch.num_rows for batch in in_time) == ACCOUNTS


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_readers_of_other_processes_are_waited_for_before_the_table_is_locked(server: Server, accounts: str) -> None:
    with shared(rows_of(server, accounts), 2, elsewhere=True) as one, ThreadPoolExecutor(3) as pool:
        connections = [sa.create_engine(server.url, isolation_level="AUTOCOMMIT").connect() for _ in range(2)]

        def join(reader: int) -> None:
            for statement in one.sessions[reader]:
                connections[reader].exec_driver_sql(statement)

        first, gathered = pool.submit(join, 0), pool.submit(one.gather)
        server.execute(f"UPDATE {{s}}.{accounts} SET amount = 7 WHERE id = 0")  # the table is not locked yet
        assert not gathered.done()
        second = pool.submit(join, 1)
        first.result(20)
        second.result(20)
        gathered.result(20)
        server.execute(f"UPDATE {{s}}.{accounts} SET amount = 8 WHERE id = 0")  # and no longer
        assert [each.exec_driver_sql(f"SELECT amount FROM {server.schema}.{accounts} WHERE id = 0").scalar() for each in connections] == [
            7,
            7,
        ]
        for each in connections:
            each.close()


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_readers_that_never_come_are_not_waited_for_for_ever(server: Server, accounts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "READY_SECONDS", 0.2)
    with (
        pytest.raises(NoSnapshot, match="not all of 2 readers"),
        shared(rows_of(server, accounts), 2, elsewhere=True) as one,
    ):
        one.gather()
    server.execute(f"UPDATE {{s}}.{accounts} SET amount = 7 WHERE id = 0")


def test_ranges_that_hold_fewer_rows_than_the_table_are_no_full_load(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = readers.ranges_of
    monkeypatch.setattr(readers, "ranges_of", lambda *given: honest(*given)[1:])
    with pytest.raises(LandingMismatch, match="its key ranges hold 300"):
        full(lake, server, accounts, tenant)


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_what_is_asked_for_the_readers_of_a_large_table_may_take_as_long_as_the_source_allows(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checksum of ten million rows takes minutes; the client gave up on an answer after one."""
    monkeypatch.setattr(databases, "PATIENCE", 1)
    monkeypatch.setattr(readers, "RESUMABLE_ROWS", 0)
    monkeypatch.setattr(readers, "checksum", lambda *_: sa.select(sa.literal(1), sa.func.sleep(2.5)))
    databases.engine.cache_clear()
    try:
        assert (full(lake, server, accounts, tenant, ranges=2).ranges) == 2
    finally:
        databases.engine.cache_clear()


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_snapshot_is_held_for_as_long_as_its_readers_read_whatever_the_login_may_be_idle(server: Server, accounts: str) -> None:
    grants = ("GRANT USAGE ON SCHEMA {s} TO {who}", "GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO {who}")
    with server.login("pw", *grants, "ALTER ROLE {who} SET idle_in_transaction_session_timeout = '1s'") as url:
        rows = dataclasses.replace(rows_of(server, accounts), target=sa.make_url(url).set(drivername="postgresql+psycopg2"))
        with shared(rows, 2) as one:
            time.sleep(2)
            assert readers.count_of(rows, one) == ACCOUNTS
