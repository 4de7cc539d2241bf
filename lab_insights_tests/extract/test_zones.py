"""A server in another zone than UTC: columns without a zone are no cursor there, unless a person says that applications write them in UTC."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from lab_insights.config import Override
from lab_insights.extract import databases, stamps
from lab_insights.extract.plan import Declared, plan
from lab_insights_tests.extract.ceilings import target
from lab_insights_tests.extract.world import Server

COLUMNS = {
    "mysql": ("DATETIME(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6)", "TIMESTAMP(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6)"),
    "postgresql": ("TIMESTAMP NOT NULL DEFAULT now()", "TIMESTAMPTZ NOT NULL DEFAULT now()"),
}


def test_where_the_server_is_not_in_utc_a_cursor_without_a_zone_is_none_unless_a_person_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "zone", lambda *_: "America/New_York")
    for name, kind in zip(("bare", "zoned"), COLUMNS[server.engine], strict=True):
        server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, updated_at {kind})")
    bare, zoned = server.table("bare"), server.table("zoned")
    for found in (plan(bare), plan(bare, Declared(("id",), "updated_at")), plan(bare, override=Override(cursor="updated_at"))):
        assert (found.load, found.cursor) == ("full", None)
        assert found.reason.startswith("updated_at has no zone and the server's is America/New_York, so it is no cursor: declare")
    trusted = plan(bare, override=Override(load="incremental"))
    assert (trusted.load, "although updated_at has no zone" in trusted.reason) == ("incremental", True)
    assert (plan(zoned).load, plan(zoned).cursor) == ("incremental", "updated_at")
    monkeypatch.undo()
    assert server.table("bare").zone is None, "the servers of the tests are in UTC"
    assert server.plan("bare").load == "incremental"
    server.execute("DROP TABLE {s}.bare", "DROP TABLE {s}.zoned")


@pytest.mark.parametrize(("which", "zone"), [("'-05:00'", "-05:00"), ("'+00:00'", None), ("@@global.time_zone", None)])
def test_mysql_is_asked_what_its_zone_does_in_winter_and_summer(mysql: Server, which: str, zone: str | None) -> None:
    with databases.engine(target(mysql)).connect() as connection:
        assert stamps.mysql_zone(connection, which) == zone


def test_postgresql_is_asked_what_a_session_and_roles_that_may_write_get(elsewhere: Server) -> None:
    database, role = sa.make_url(elsewhere.url).database, f"lab_t_{uuid.uuid4().hex[:10]}"
    elsewhere.execute("CREATE TABLE {s}.bare (id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL DEFAULT now())", f"CREATE ROLE {role}")
    try:
        assert elsewhere.table("bare").zone is None
        elsewhere.execute(f"ALTER DATABASE {database} SET timezone = 'America/New_York'")
        assert elsewhere.table("bare").zone == "America/New_York"
        assert elsewhere.plan("bare").load == "full"
        elsewhere.execute(
            f"ALTER DATABASE {database} RESET timezone", f"ALTER ROLE {role} IN DATABASE {database} SET timezone = 'Europe/Berlin'"
        )
        assert elsewhere.table("bare").zone is None, "it may only read"
        elsewhere.execute(f"GRANT USAGE ON SCHEMA {{s}} TO {role}", f"GRANT UPDATE ON {{s}}.bare TO {role}")
        assert elsewhere.table("bare").zone == "Europe/Berlin"
    finally:
        elsewhere.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
