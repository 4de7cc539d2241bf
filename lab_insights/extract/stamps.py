"""Who stamps rows with the time, and in which zone: what the server itself sets when a row is inserted or updated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.config import Engine
from lab_insights.extract.databases import APPLICATION

if TYPE_CHECKING:
    import sqlalchemy as sa

_TOUCHED = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = :schema AND extra LIKE '%on update current_timestamp%'"
# MySQL shows triggers to logins with TRIGGER, PostgreSQL to all: but its information_schema hides them from who may only read.
_TRIGGERS = {
    "mysql": "SELECT event_manipulation, event_object_table, action_statement FROM information_schema.triggers "
    "WHERE event_object_schema = :schema AND action_timing = 'BEFORE'",
    "postgresql": "SELECT e.event, c.relname, p.prosrc FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_proc p ON p.oid = t.tgfoid JOIN (VALUES ('INSERT', 4), ('UPDATE', 16)) e (event, bit) ON t.tgtype & e.bit <> 0 "
    # for each row (1), before (2)
    "WHERE n.nspname = :schema AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3",
}
_NOW = re.compile(
    r"\b(now|current_timestamp|localtimestamp|clock_timestamp|statement_timestamp|transaction_timestamp|utc_timestamp)\b", re.IGNORECASE
)

# Of `GMT` the name does not tell whether it is London's, so MySQL is asked what winter and summer are.
_MYSQL_ZONE = """
SELECT IF({zone} = 'SYSTEM', @@system_time_zone, {zone}),
  CONVERT_TZ('2026-01-01', '+00:00', {zone}) = '2026-01-01' AND CONVERT_TZ('2026-07-01', '+00:00', {zone}) = '2026-07-01'
"""
# What a session gets that says nothing, then what roles get that may write.
_POSTGRES_ZONES = """
SELECT current_setting('TimeZone') UNION ALL
SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) setting
WHERE setting ILIKE 'timezone=%%' AND s.setrole <> 0 AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_|^information_schema$'
  AND has_table_privilege(s.setrole, c.oid, 'INSERT, UPDATE'))
"""
_UTC = {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "universal", "etc/universal", "zulu", "etc/zulu"}


@dataclass(frozen=True)
class Stamps:
    """What the server sets in a schema: columns that it moves on every update, and the bodies of triggers that run before a row is written."""

    touched: frozenset[tuple[str, str]]
    triggers: Mapping[tuple[str, str], str]

    def by_trigger(self, event: str, table: str, column: str) -> bool:
        """Whether a trigger before `event` (`INSERT`, `UPDATE`) of a table's row sets the column."""
        body = self.triggers.get((event, table), "")
        return re.search(rf'\bnew\s*\.\s*["`]?{re.escape(column)}["`]?\s*:?=', body, re.IGNORECASE) is not None


def read(connection: sa.Connection, engine: Engine, schema: str) -> Stamps:
    """Return what the server stamps in a schema, as far as the login may see it."""
    import sqlalchemy as sa

    its = {"schema": schema}
    touched = connection.execute(sa.text(_TOUCHED), its).tuples() if engine == "mysql" else ()
    triggers: dict[tuple[str, str], str] = {}
    for event, table, body in connection.execute(sa.text(_TRIGGERS[engine]), its):
        triggers[event, table] = f"{triggers.get((event, table), '')}\n{body}"
    return Stamps(frozenset((table, column) for table, column in touched), triggers)


def is_now(default: str | None) -> bool:
    """Whether a column's default, as SQLAlchemy reflects it, is the time at which a row is inserted."""
    # MySQL's has what is done on update behind it
    return default is not None and _NOW.search(default.partition(" ON UPDATE ")[0]) is not None


def zone(connection: sa.Connection, engine: Engine) -> str | None:
    """Return the zone in which a server stamps columns that have none, unless that is UTC all year: that of sessions that name no other."""
    if engine == "mysql":
        return mysql_zone(connection, "@@global.time_zone")
    import sqlalchemy as sa

    # Our own sessions are pinned to UTC, and PostgreSQL tells a session no other zone than its own.
    plain = sa.create_engine(
        connection.engine.url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5, "application_name": APPLICATION}
    )
    with plain.connect() as session:
        return next((name for name in session.exec_driver_sql(_POSTGRES_ZONES).scalars() if name.lower() not in _UTC), None)


def mysql_zone(connection: sa.Connection, which: str) -> str | None:
    """Return the name of a zone, given as an expression, unless it is UTC all year."""
    name, utc = connection.exec_driver_sql(_MYSQL_ZONE.format(zone=which)).one()
    return None if utc else str(name)
