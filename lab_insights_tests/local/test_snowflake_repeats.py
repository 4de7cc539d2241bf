"""The Snowflake stand-in remembers the texts that it has seen: what they say then must be true all the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date

import pytest
import snowflake.connector
from snowflake.connector.errors import ProgrammingError

from lab_insights.local.snowflake import LOGIN
from lab_insights_tests.local.sessions import Session

Binding = snowflake.connector.SnowflakeConnection


@pytest.fixture
def binding(port: int, session: Session, database: str) -> Iterator[Binding]:
    """A connection that binds values, in the schema of `session`."""
    opened = snowflake.connector.connect(
        account="fakesnow", host="127.0.0.1", port=port, protocol="http", network_timeout=4, paramstyle="qmark", **LOGIN
    )
    opened.cursor().execute(f'USE SCHEMA "{database}"."A"')
    yield opened
    opened.close()


def test_one_text_means_the_tables_of_the_schema_and_database_that_are_current(session: Session, database: str) -> None:
    other = f"{database}_2"
    session.run(f'CREATE DATABASE "{other}"')
    places = [f'"{database}"."A"', f'"{database}"."B"', f'"{other}"."A"']
    for number, place in enumerate(places):
        session.run(
            f"CREATE SCHEMA IF NOT EXISTS {place}",
            f"USE SCHEMA {place}",
            'CREATE TABLE "N" ("V" NUMBER(38,0))',
            'INSERT INTO "N" VALUES (1)',
            'UPDATE "N" SET "V" = "V" + 1',
            f'INSERT INTO "N" VALUES ({number * 10})',
        )
    columns = "SELECT TABLE_CATALOG, TABLE_SCHEMA FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'N' ORDER BY 1, 2"
    for number, place in [*enumerate(places), *enumerate(places)]:
        session.run(f"USE SCHEMA {place}")
        assert session.run('SELECT "V" FROM "N" ORDER BY "V"') == sorted([(2,), (number * 10,)])
        held = [(database, "A"), (database, "B")] if number < 2 else [(other, "A")]
        assert session.run(columns) == held
    session.run(f'USE SCHEMA "{database}"."A"', f'DROP DATABASE "{other}"')


def test_the_same_begin_and_end_are_those_of_the_session_that_says_them(session: Session, port: int, database: str) -> None:
    session.run('CREATE TABLE "N1" ("V" NUMBER(38,0))', 'CREATE TABLE "N2" ("V" NUMBER(38,0))')
    other = Session(port)
    other.run(f'USE SCHEMA "{database}"."A"')
    for ends in (("ROLLBACK", "COMMIT"), ("COMMIT", "ROLLBACK")):
        session.run("BEGIN", 'INSERT INTO "N1" VALUES (1)')
        other.run("BEGIN", 'INSERT INTO "N2" VALUES (1)')
        assert session.run('SELECT COUNT(*) FROM "N1"') > other.run('SELECT COUNT(*) FROM "N1"')
        session.run(ends[0])
        assert session.run('SELECT COUNT(*) FROM "N2"') < other.run('SELECT COUNT(*) FROM "N2"')
        other.run(ends[1])
    for each in (session, other):
        assert each.run('SELECT (SELECT COUNT(*) FROM "N1"), (SELECT COUNT(*) FROM "N2")') == [(1, 1)]
    other.connection.close()


def test_one_text_takes_the_values_names_and_variables_of_each_time(session: Session, binding: Binding) -> None:
    session.run('CREATE TABLE "N1" ("V" VARCHAR)', 'CREATE TABLE "N2" ("V" VARCHAR)')
    cursor = binding.cursor()
    for name in ("N1", "N2"):
        cursor.execute("INSERT INTO IDENTIFIER(?) VALUES (?)", (f'"{name}"', name))
        cursor.execute("INSERT INTO N1 VALUES (?)", (f"also {name}",))
        cursor.execute("SELECT V FROM IDENTIFIER(?) WHERE V = ?", (f'"{name}"', name))
        assert cursor.fetchall() == [(name,)]
        session.run(f"SET CHOSEN = '{name}'")
        assert session.run("SELECT $CHOSEN") == [(name,)]
    assert session.run("SELECT V FROM N1 ORDER BY V") == [("N1",), ("also N1",), ("also N2",)]


def test_one_text_has_the_columns_and_types_that_the_table_has_by_then(session: Session) -> None:
    for kind, value, read in (("NUMBER(38,0)", "1", 1), ("DATE", "'2026-01-02'", date(2026, 1, 2)), ("VARCHAR", "'x'", "x")):
        session.run(f'CREATE OR REPLACE TABLE "N" ("V" {kind})', f'INSERT INTO "N" VALUES ({value})')
        assert session.run('SELECT * FROM "N"') == [(read,)]
    session.run("""ALTER TABLE "N" ADD COLUMN "W" VARCHAR DEFAULT 'y'""")
    assert session.run('SELECT * FROM "N"') == [("x", "y")]


def test_statements_that_differ_in_a_random_name_alone_keep_to_their_own(session: Session) -> None:
    session.run('CREATE TABLE "ALL" ("ID" VARCHAR, "V" NUMBER(38,0))')
    names = [f"STAGE_{uuid.uuid4().hex.upper()}" for _ in range(3)]
    for number, name in enumerate(names):
        session.run(
            f'CREATE TRANSIENT SCHEMA "{name}"',
            f'CREATE TRANSIENT TABLE "{name}"."S0" ("id" VARCHAR, "v" NUMBER(38,0))',
            f"""INSERT INTO "{name}"."S0" VALUES ('{name}', {number})""",
        )
    for number, name in enumerate(names):
        assert session.run(f'SELECT "id", "v" FROM "{name}"."S0"') == [(name, number)]
        merge = f"""MERGE INTO "A"."ALL" AS T USING (SELECT "id" AS "ID", "v" AS "V" FROM "{name}"."S0") AS S ON T."ID" = S."ID"
        WHEN NOT MATCHED THEN INSERT ("ID", "V") VALUES (S."ID", S."V")"""
        assert session.run(merge) == [(1,)]
    assert session.run('SELECT "ID", "V" FROM "A"."ALL" ORDER BY "V"') == [(name, number) for number, name in enumerate(names)]
    session.run(f'DROP SCHEMA "{names[0]}" CASCADE')
    with pytest.raises(ProgrammingError, match=names[0]):
        session.run(f'SELECT "id", "v" FROM "{names[0]}"."S0"')
    with pytest.raises(ProgrammingError, match=names[1]):
        session.run(f'SELECT FROM WHERE "{names[1]}"')
    assert session.run(f'SELECT "v" FROM "{names[2]}"."S0"') == [(2,)]
