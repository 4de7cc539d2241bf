"""The ceiling: below every open transaction, on both servers; and what is kept back where they can not be seen."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from lab_insights.clock import Clock
from lab_insights.errors import SourceError
from lab_insights.extract import databases, window
from lab_insights.extract.window import MARGIN, STALLED, Ceiling, _mysql_oldest, _mysql_unseen, _Oldest, _UnseenError, ceiling
from lab_insights_tests.extract.ceilings import LIMITS, begun, target, top, writer
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import instant


def mysql_oldest(server: Server, also: str) -> _Oldest:
    """Look at InnoDB's list as if it had more rows: `also` selects thread, query, read-only and start."""
    columns = "trx_mysql_thread_id, trx_query, trx_is_read_only, trx_started"
    with databases.engine(target(server)).connect() as connection:
        return _mysql_oldest(connection, f"(SELECT {columns} FROM information_schema.innodb_trx UNION ALL {also})")


def test_the_ceiling_is_a_margin_below_now(server: Server) -> None:
    # other tests of this machine may have transactions open, so only an upper bound can be told
    assert top(server).instant <= datetime.now(UTC) - MARGIN


@pytest.mark.usefixtures("exact")
def test_the_ceiling_is_never_above_an_open_transactions_start(server: Server) -> None:
    with writer(server, "held_open") as held:
        start = begun(held)
        for _ in range(2):
            found = top(server)
            assert found.instant <= start
            assert found.how == "start of the oldest open transaction"
        held.rollback()


def test_a_row_that_is_not_committed_yet_is_above_every_ceiling_that_was_given(server: Server) -> None:
    server.execute("DROP TABLE IF EXISTS {s}.stamped")
    server.execute(f"CREATE TABLE {{s}}.stamped (id INT PRIMARY KEY, at {'TIMESTAMP(6)' if server.engine == 'mysql' else 'timestamptz'})")
    with sa.create_engine(target(server), poolclass=sa.NullPool).connect() as connection:
        stamp = connection.exec_driver_sql("SELECT now()" if server.engine == "postgresql" else "SELECT NOW(6)").scalar_one()
        connection.exec_driver_sql(f"INSERT INTO {server.schema}.stamped VALUES (1, %s)", (stamp,))
        given = [top(server).instant for _ in range(3)]
        connection.commit()
    compared = "at" if server.engine == "postgresql" else "UNIX_TIMESTAMP(at)"
    with server.own.connect() as connection:
        seen = connection.exec_driver_sql(f"SELECT {compared} FROM {server.schema}.stamped").scalar_one()
    at = seen if isinstance(seen, datetime) else datetime.fromtimestamp(float(seen), UTC)
    assert all(each < at for each in given)


def test_several_that_look_at_once_all_see_what_is_open(server: Server) -> None:
    with writer(server, "held_open") as held, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: top(server), range(8)))
        assert {each.how for each in found} == {"start of the oldest open transaction"}
        held.rollback()


def test_a_list_that_others_read_without_a_pause_is_not_believed(mysql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # the copy never has what we look for, as one that is never renewed
    monkeypatch.setattr(window, "_MYSQL_OLDEST", window._MYSQL_OLDEST.replace("LOCATE('{mark}'", "LOCATE(REVERSE('{mark}')"))
    monkeypatch.setattr(window, "_GIVE_UP_AFTER", 0.3)
    found = top(mysql)
    assert found.lagged
    assert found.how == "open transactions can not be seen, since others read their list without a pause: 300 s are kept back"


def test_a_transaction_that_is_listed_before_its_start_is_known_hides_no_other(mysql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    starting = "SELECT 0, NULL, 0, CAST(0 AS DATETIME) FROM DUAL WHERE NOW(6) < '{until}'"
    with writer(mysql, "held_open") as held:
        now = held.exec_driver_sql("SELECT NOW(6)").scalar_one()
        # there for the first look, gone a moment later
        found = mysql_oldest(mysql, starting.format(until=now + timedelta(seconds=0.2)))
        assert found.age is not None
        assert timedelta() < found.age < timedelta(minutes=5)
        monkeypatch.setattr(window, "_GIVE_UP_AFTER", 0.5)
        with pytest.raises(_UnseenError):
            mysql_oldest(mysql, starting.format(until=now + timedelta(hours=1)))
        held.rollback()


def test_a_start_that_a_transaction_has_left_to_the_next_is_looked_at_twice(mysql: Server) -> None:
    with mysql.own.connect() as connection:
        now = connection.exec_driver_sql("SELECT NOW(6)").scalar_one()
    left = f"SELECT 0, NULL, 0, NOW() - INTERVAL 3 DAY FROM DUAL WHERE NOW(6) < '{now + timedelta(seconds=0.1)}'"
    assert mysql_oldest(mysql, left).back < timedelta(days=1)
    assert mysql_oldest(mysql, "SELECT 0, NULL, 0, NOW() - INTERVAL 3 DAY").back > timedelta(days=2)


def test_a_transaction_that_stays_open_is_told_with_its_age_and_the_remedy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ceiling(datetime.now(UTC), "", open_for=STALLED).warning is None
    with writer(server, "held_open") as held:
        assert top(server).warning is None
        monkeypatch.setattr(window, "STALLED", timedelta())
        found = top(server)
        assert found.how.startswith("start of the oldest open transaction, which has been open for ")
        assert "nothing newer is read. Remedy: end it at the source." in str(found.warning)
        held.rollback()


def test_a_server_whose_list_lacks_transactions_is_not_believed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(window._UNSEEN, server.engine, lambda _: window._FROM_A_REPLICA)
    found = top(server)
    assert found.how == "open transactions can not be seen from a replica: 300 s are kept back"
    assert found.lagged
    assert "Remedy: read the primary, or raise `limits.lag`." in str(found.warning)


def test_a_replica_that_may_be_written_to_shows_by_the_threads_that_follow(mysql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not top(mysql).lagged, "the server of the tests follows none"
    threads = (
        "SELECT 'system user' AS USER, 'Daemon' AS COMMAND UNION ALL SELECT 'system user', 'Slave_SQL' UNION ALL SELECT 'root', 'Query'"
    )
    listed = window._MYSQL_FOLLOWS.replace("information_schema.PROCESSLIST", f"({threads}) p")
    with mysql.own.connect() as connection:
        assert connection.exec_driver_sql(listed).scalar_one() == 1
    monkeypatch.setattr(window, "_MYSQL_FOLLOWS", listed)
    found = top(mysql)
    assert (found.lagged, found.how) == (True, "open transactions can not be seen from a replica: 300 s are kept back")


def test_a_database_that_subscribes_to_another_is_a_replica(elsewhere: Server) -> None:
    assert not top(elsewhere).lagged
    # port 1 answers nobody, so its worker fails again and again, as one of a publisher that is away
    there = "CONNECTION 'host=127.0.0.1 port=1 dbname=none' PUBLICATION p WITH (connect = false, slot_name = 'nobody')"
    elsewhere.execute(f"CREATE SUBSCRIPTION {elsewhere.schema} {there}")
    try:
        assert not top(elsewhere).lagged, "it is not enabled yet"
        elsewhere.execute(f"ALTER SUBSCRIPTION {elsewhere.schema} ENABLE")
        found = top(elsewhere)
        assert (found.lagged, found.how) == (True, "open transactions can not be seen from a replica: 300 s are kept back")
        with elsewhere.login("p") as url:
            assert top(elsewhere, url).how == found.how, "whoever asks"
            databases.engine(target(elsewhere, url)).dispose()
    finally:
        its = f"ALTER SUBSCRIPTION {elsewhere.schema}"
        elsewhere.execute(f"{its} DISABLE", f"{its} SET (slot_name = NONE)", f"DROP SUBSCRIPTION {elsewhere.schema}")


ALONE = {"read_only": "OFF", "innodb_read_only": "OFF"}


@pytest.mark.parametrize(
    ("variables", "following", "which"),
    [
        (ALONE, 0, None),
        (ALONE, 2, "from a replica"),
        ({**ALONE, "group_replication_single_primary_mode": "ON"}, 2, None),
        ({**ALONE, "wsrep_on": "OFF", "group_replication_single_primary_mode": "ON"}, 0, None),
        ({**ALONE, "read_only": "ON"}, 0, "from a replica"),
        ({**ALONE, "innodb_read_only": "ON"}, 0, "from a replica"),
        ({**ALONE, "wsrep_on": "ON"}, 2, "of the cluster's other nodes"),
        ({**ALONE, "group_replication_single_primary_mode": "OFF"}, 2, "of the cluster's other nodes"),
    ],
)
def test_the_variables_of_mysql_say_whether_others_write_elsewhere(variables: dict[str, str], following: int, which: str | None) -> None:
    found = _mysql_unseen(variables, following)
    assert found is None if which is None else which in found.why


@pytest.mark.usefixtures("exact")
def test_a_statement_that_waits_for_a_tables_lock_has_its_stamp_already(mysql: Server) -> None:
    mysql.execute("DROP TABLE IF EXISTS {s}.waiting", "CREATE TABLE {s}.waiting (id INT PRIMARY KEY, at TIMESTAMP(6) DEFAULT NOW(6))")
    insert = f"INSERT INTO {mysql.schema}.waiting (id) VALUES (1)"
    waits = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock' AND INFO = '{insert}'"
    with mysql.own.connect() as holder, mysql.own.connect() as other, ThreadPoolExecutor(1) as pool:
        holder.exec_driver_sql(f"LOCK TABLES {mysql.schema}.waiting READ")
        inserted = pool.submit(mysql.execute, insert)
        try:
            deadline = time.monotonic() + 60
            while not other.exec_driver_sql(waits).scalar_one():
                assert time.monotonic() < deadline
            found = top(mysql)
        finally:
            holder.exec_driver_sql("UNLOCK TABLES")
        inserted.result()
        stamp = other.exec_driver_sql(f"SELECT UNIX_TIMESTAMP(at) FROM {mysql.schema}.waiting").scalar_one()
    assert found.instant < datetime.fromtimestamp(float(stamp), UTC)
    assert found.how == "start of the oldest open transaction"


def test_without_the_privilege_a_declared_lag_is_kept_back_and_said_so(server: Server) -> None:
    grants = ("GRANT SELECT ON {s}.* TO {who}",) if server.engine == "mysql" else ("GRANT USAGE ON SCHEMA {s} TO {who}",)
    with server.login("p", *grants) as url:
        found = top(server, url)
        assert abs(datetime.now(UTC) - timedelta(seconds=300) - found.instant) < timedelta(seconds=5)
        assert found.how == "open transactions can not be seen with this login: 300 s are kept back"
        assert found.lagged
        assert f"grant the login {'PROCESS' if server.engine == 'mysql' else 'pg_read_all_stats'}, or" in str(found.warning)
        if server.engine == "mysql":
            with databases.engine(target(server, url)).connect() as connection:
                assert connection.exec_driver_sql("SELECT @@time_zone").scalar_one() == "+00:00"
        databases.engine(target(server, url)).dispose()


@pytest.mark.usefixtures("exact")
def test_with_the_privilege_alone_open_transactions_are_seen(server: Server) -> None:
    grants = ("GRANT PROCESS ON *.* TO {who}",) if server.engine == "mysql" else ("GRANT pg_read_all_stats TO {who}",)
    with writer(server, "held_open") as held, server.login("p", *grants) as url:
        start, found = begun(held), top(server, url)
        assert (found.how, found.instant <= start) == ("start of the oldest open transaction", True)
        held.rollback()
        databases.engine(target(server, url)).dispose()


@pytest.mark.usefixtures("exact")
def test_the_servers_zone_does_not_move_the_ceiling(mysql: Server) -> None:
    with writer(mysql, "held_open") as held:
        start, pooled = begun(held), databases.engine(target(mysql))
        with pooled.connect() as connection:
            connection.exec_driver_sql("SET time_zone = '-05:00'")
        assert start - timedelta(minutes=10) < top(mysql).instant <= start
        held.rollback()
        pooled.dispose()


@pytest.mark.usefixtures("exact")
def test_a_simulated_clock_is_taken_for_the_servers(server: Server, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.set(instant(5, 12))
    with writer(server, "held_open") as held:
        assert instant(5, 11.8) < top(server, clock=clock).instant < instant(5, 12)
        held.rollback()


def test_a_server_that_is_gone_is_named_without_its_password() -> None:
    gone = sa.make_url("postgresql+psycopg2://someone:hidden@127.0.0.1:1/x")
    with (
        pytest.raises(SourceError, match=r"Source lis at 127\.0\.0\.1:1 can not be reached") as raised,
        databases.reaching("lis", gone, "aurora"),
    ):
        ceiling(gone, "postgresql", LIMITS, Clock())
    assert "hidden" not in str(raised.value)
