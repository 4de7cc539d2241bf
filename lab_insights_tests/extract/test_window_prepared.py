"""The ceiling where a server lists a transaction without its session, or a session without its transaction: prepared ones, and sessions that tell nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from lab_insights.local import postgres as local
from lab_insights.local import processes
from lab_insights_tests.extract.ceilings import begun, target, top, writer
from lab_insights_tests.extract.world import Server


@pytest.fixture(scope="module")
def preparing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL of these tests alone, which nobody else's windows depend on, and which allows prepared transactions: that takes a second start."""
    directory = tmp_path_factory.mktemp("preparing")
    handle = local.start(directory)
    with sa.create_engine(handle.address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET max_prepared_transactions = 5")
    processes.stop(handle)
    handle = local.start(directory)
    yield Server("postgresql", handle.address)
    processes.stop(handle)


@pytest.mark.usefixtures("exact")
def test_a_prepared_transaction_of_postgresql_counts_too_though_it_tells_no_start(preparing: Server) -> None:
    with writer(preparing, "prepared") as held:
        stamp = held.exec_driver_sql("SELECT now()").scalar_one()
        held.exec_driver_sql("PREPARE TRANSACTION 'lab_t'")
    found = top(preparing)
    assert found.instant < stamp
    assert found.lagged
    assert re.fullmatch(r"a transaction was prepared \d:\d\d:\d\d ago and tells no start: 300 s before that are kept back", found.how)
    assert "Remedy: commit it or roll it back, or raise `limits.lag`." in str(found.warning)
    preparing.execute("ROLLBACK PREPARED 'lab_t'")
    assert top(preparing).instant > stamp


def test_a_session_that_tells_no_activity_hides_its_transaction(preparing: Server) -> None:
    with sa.create_engine(target(preparing), poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql("SET track_activities = off")
        connection.commit()
        connection.exec_driver_sql("SELECT now()")
        found = top(preparing)
        assert (found.lagged, found.how) == (
            True,
            "open transactions of sessions with `track_activities` off can not be seen: 300 s are kept back",
        )
        connection.rollback()


@pytest.mark.usefixtures("exact")
def test_a_prepared_transaction_of_mysql_counts_too(mysql: Server) -> None:
    with writer(mysql, "xa_table") as other:
        other.rollback()
    connection = sa.create_engine(target(mysql), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT").connect()
    its = f"'{mysql.schema}'"  # the server's names of these are everybody's
    for statement in (f"XA START {its}", f"INSERT INTO {mysql.schema}.xa_table VALUES (7)", f"XA END {its}", f"XA PREPARE {its}"):
        connection.exec_driver_sql(statement)
    try:
        start = begun(connection)
        found = top(mysql)
        assert (found.how, found.instant <= start) == ("start of the oldest open transaction", True)
    finally:
        connection.exec_driver_sql(f"XA ROLLBACK {its}")
        connection.close()
