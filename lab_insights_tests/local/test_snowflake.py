"""The Snowflake stand-in, through the real connector: what the warehouse code will lean on."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snowflake.connector.errors import ProgrammingError
from snowflake.connector.vendored import requests

from lab_insights.aws import Aws
from lab_insights_tests.local.sessions import Session

ROOT = Path(__file__).parents[2]
COPY = """COPY INTO "{table}" FROM @"LAKE" FILES = ({files}) FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"""
MERGE = """MERGE INTO "RESULT" AS t USING (
  SELECT "ID", "V", "VERSION" FROM "STAGE" QUALIFY ROW_NUMBER() OVER (PARTITION BY "ID" ORDER BY "VERSION" DESC) = 1
) AS s ON t."ID" = s."ID"
WHEN MATCHED AND s."VERSION" > t."VERSION" THEN UPDATE SET "V" = s."V", "VERSION" = s."VERSION"
WHEN NOT MATCHED THEN INSERT ("ID", "V", "VERSION") VALUES (s."ID", s."V", s."VERSION")"""
COLUMNS = '("ID" VARCHAR, "V" NUMBER(38,9), "VERSION" TIMESTAMP_NTZ)'


@pytest.fixture
def lake(aws_endpoint: str, database: str) -> Callable[[str, pa.Table], str]:
    """Puts a table as a parquet object into a bucket of this test, and returns the bucket's URL."""
    s3, bucket = Aws(endpoint_url=aws_endpoint).client("s3"), database.lower().replace("_", "-")
    s3.create_bucket(Bucket=bucket)

    def put(key: str, table: pa.Table) -> str:
        written = io.BytesIO()
        pq.write_table(table, written, compression="zstd")
        s3.put_object(Bucket=bucket, Key=key, Body=written.getvalue())
        return f"s3://{bucket}/"

    return put


def test_named_files_are_copied_once_by_column_name_and_a_file_written_later_is_found(
    session: Session, lake: Callable[[str, pa.Table], str]
) -> None:
    table = pa.table(
        {
            "version": pa.array([datetime(2026, 1, 1, 2, 3, 4, 5), None, datetime(1969, 12, 31, 23, 59, 59, 999999)]),
            "v": pa.array([Decimal("1.100000001"), None, Decimal("12345678901234567890123456789.000000002")], pa.decimal128(38, 9)),
            "id": ["a", None, "c"],
            "d": pa.array([date(2026, 1, 1), None, date(9999, 12, 31)]),
            "ok": [True, None, False],
            "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
        }
    )
    url = lake("tenant=a b/p1.parquet", table)
    session.run(
        f"CREATE STAGE \"LAKE\" URL = '{url}'",
        f'CREATE TABLE "RESULT" ({COLUMNS[1:-1]}, "D" DATE, "OK" BOOLEAN, "BIG" NUMBER(20,0))',
    )
    copied = session.run(COPY.format(table="RESULT", files="'tenant=a b/p1.parquet'"))
    assert [row[1:4] for row in copied] == [("LOADED", 3, 3)]
    lake("later/p2.parquet", table.slice(0, 1))
    copied = session.run(COPY.format(table="RESULT", files="'tenant=a b/p1.parquet', 'later/p2.parquet'"))
    assert [row[1:4] for row in copied] == [("LOAD_SKIPPED", 0, 0), ("LOADED", 1, 1)]
    first = ("a", Decimal("1.100000001"), datetime(2026, 1, 1, 2, 3, 4, 5), date(2026, 1, 1), True, 2**64 - 1)
    last = ("c", Decimal("12345678901234567890123456789.000000002"), datetime(1969, 12, 31, 23, 59, 59, 999999))
    assert session.run('SELECT * FROM "RESULT" ORDER BY "ID" NULLS LAST') == [
        first,
        first,
        (*last, date(9999, 12, 31), False, 0),
        (None,) * 6,
    ]


def test_copy_and_merge_are_one_transaction_and_an_older_version_loses(
    session: Session, lake: Callable[[str, pa.Table], str], port: int, database: str
) -> None:
    rows = {
        "ID": ["a", "a", "b"],
        "V": [Decimal(1), Decimal(2), None],
        "VERSION": [datetime(2026, 1, day) for day in (1, 3, 1)],
    }
    url = lake("p.parquet", pa.table(rows))
    session.run(
        f"CREATE STAGE \"LAKE\" URL = '{url}'",
        f'CREATE TABLE "RESULT" {COLUMNS}',
        f'CREATE TRANSIENT TABLE "STAGE" {COLUMNS}',
        """INSERT INTO "RESULT" VALUES ('a', 9, '2026-01-02'), ('b', 9, '2026-01-02')""",
    )
    other = Session(port)
    session.run("BEGIN", COPY.format(table="STAGE", files="'p.parquet'"))
    assert session.run(MERGE) == [(0, 1)]
    before = [("a", Decimal(9)), ("b", Decimal(9))]
    query = f'SELECT "ID", "V" FROM "{database}"."A"."RESULT" ORDER BY 1'
    assert other.run(query) == before
    session.run("ROLLBACK")
    assert session.run(query) == before
    assert session.run('SELECT COUNT(*) FROM "STAGE"') == [(0,)]
    session.run("BEGIN", COPY.format(table="STAGE", files="'p.parquet'"), MERGE, "COMMIT")
    assert other.run(query) == [("a", Decimal(2)), ("b", Decimal(9))]
    other.connection.close()


def test_sums_of_numbers_are_exact_and_hashes_are_those_of_snowflake(session: Session) -> None:
    session.run('CREATE TABLE "N" ("V" NUMBER(38,9))')
    session.run("""INSERT INTO "N" VALUES (12345678901234567890123456789.000000001), (0.000000001)""")
    assert session.run('SELECT SUM("V") FROM "N"') == [(Decimal("12345678901234567890123456789.000000002"),)]
    # the value is the one in Snowflake's documentation of the function
    assert session.run("SELECT MD5_NUMBER_LOWER64('Snowflake')") == [(9203306159527282910,)]


def test_swap_with_exchanges_two_tables_and_names_the_one_that_is_not_there(session: Session) -> None:
    session.run('CREATE TABLE "A1" ("X" VARCHAR)', 'CREATE TABLE "B1" ("Y" VARCHAR)', """INSERT INTO "B1" VALUES ('b')""")
    session.run('ALTER TABLE "A1" SWAP WITH "B1"')
    assert session.run('SELECT "Y" FROM "A1"') == [("b",)]
    assert session.run('SELECT "X" FROM "B1"') == []
    with pytest.raises(ProgrammingError, match="C1"):
        session.run('ALTER TABLE "A1" SWAP WITH "C1"')
    assert session.run('SELECT "Y" FROM "A1"') == [("b",)]


def test_grants_warehouses_tags_and_policies_are_recorded_and_columns_made_without_them(session: Session, database: str) -> None:
    statements = [
        (f'CREATE ROLE IF NOT EXISTS "{database}_LOADER"', "CREATE ROLE"),
        (f'-- who loads\nGRANT USAGE ON DATABASE "{database}" TO ROLE "{database}_LOADER"', "GRANT"),
        (f'CREATE OR REPLACE WAREHOUSE "{database}" WAREHOUSE_SIZE = XSMALL', "CREATE WAREHOUSE"),
        (
            f'CREATE MASKING POLICY "{database}"."A"."P" AS (v VARCHAR) RETURNS VARCHAR -> \'*\'',
            "CREATE MASKING POLICY",
        ),
        (
            f'CREATE TABLE "{database}"."A"."M" ("N" TEXT WITH MASKING POLICY "P" WITH TAG ("PHI" = \'x\'), "K" INT)',
            "COLUMN POLICY",
        ),
        (f'ALTER TABLE "{database}"."A"."M" MODIFY COLUMN "K" SET TAG "PHI" = \'none\'', "ALTER TABLE SET TAG"),
    ]
    session.run("BEGIN", *(statement for statement, _ in statements[:4]), "ROLLBACK")
    session.run(*(statement for statement, _ in statements[4:]))
    recorded = session.run(f"SELECT KIND FROM STAND_IN.RECORDED.STATEMENTS WHERE CONTAINS(STATEMENT, '\"{database}') ORDER BY ORDINAL")
    assert [row[0] for row in recorded] == [kind for _, kind in statements]
    session.run("""INSERT INTO "M" VALUES ('x', 1)""")
    defined = '("N" VARCHAR WITH MASKING POLICY "P", "K" NUMBER(38,2))'
    session.run(f'CREATE OR REPLACE TABLE "S" {defined} COPY GRANTS AS SELECT "N", CAST("K" AS NUMBER(38,2)) AS "K" FROM "M"')
    assert session.run('SELECT "N", "K" FROM "S"') == [("x", 1)]


def test_the_transaction_of_a_killed_client_is_rolled_back(session: Session, port: int, database: str) -> None:
    session.run('CREATE TABLE "N" ("V" NUMBER(38,0))', 'INSERT INTO "N" VALUES (1)')
    update = f'UPDATE "{database}"."A"."N" SET "V" = 2'
    client = (
        f"import time; from lab_insights_tests.local.sessions import Session; mine = Session({port})\n"
        f"mine.run('BEGIN', '''{update}'''); print('updated', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", client], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    assert process.stdout.readline() == "updated\n"
    with pytest.raises(ProgrammingError, match="000625"):
        session.run(update)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while not updated(session, update):
        assert time.monotonic() < deadline, "the killed client holds its lock"
        time.sleep(0.02)
    assert session.run('SELECT "V" FROM "N"') == [(2,)]


def updated(session: Session, update: str) -> bool:
    try:
        session.run(update)
    except ProgrammingError:
        return False
    return True


def test_a_statement_that_can_not_run_is_refused_at_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connector repeats an HTTP error for as long as its network timeout."""
    asked, request = list[str](), requests.Session.request

    def counted(self: requests.Session, method: str, url: str, **more: Any) -> Any:
        asked.append(url)
        return request(self, method, url, **more)

    monkeypatch.setattr(requests.Session, "request", counted)
    statements = ("SELECT HASH('a')", "SELECT NO_SUCH(1)", 'SELECT * FROM "NOWHERE"', "SELECT FROM", 'COPY INTO "X" FROM @"Y"')
    for statement in statements:
        with pytest.raises(ProgrammingError):
            session.run(statement)
    assert len([url for url in asked if "/query-request" in url]) == len(statements)


def test_four_sessions_write_to_four_databases_at_once(port: int, database: str) -> None:
    def write(number: int) -> list[tuple[Any, ...]]:
        mine, name = Session(port), f"{database}_{number}"
        mine.run(
            f'CREATE DATABASE "{name}"',
            f'CREATE SCHEMA "{name}"."A"',
            f'CREATE TABLE "{name}"."A"."N" ("V" NUMBER(38,0))',
        )
        for value in range(10):
            mine.run("BEGIN", f'INSERT INTO "{name}"."A"."N" VALUES ({value})', "COMMIT")
        counted = mine.run(f'SELECT COUNT(*), SUM("V") FROM "{name}"."A"."N"')
        mine.run(f'DROP DATABASE "{name}"')
        mine.connection.close()
        return counted

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [[(10, 45)]] * 4
