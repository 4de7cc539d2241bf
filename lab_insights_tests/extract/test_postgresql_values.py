"""Values of PostgreSQL arrive exact, or as the server's own text: typed where the type holds them, beside the column where it does not."""

from __future__ import annotations

import math
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from lab_insights.extract import databases, sample
from lab_insights_tests.extract.world import LONG, Server, arrived, read


@pytest.mark.parametrize(
    ("kind", "literals", "arrow", "expected"),
    [
        ("smallint", ("-32768",), pa.int16(), [-32768]),
        ("bigint", ("9223372036854775807",), pa.int64(), [(1 << 63) - 1]),
        ("boolean", ("true", "false"), pa.bool_(), [True, False]),
        ("real", ("0.5",), pa.float32(), [0.5]),
        ("double precision", ("0.1", "'-infinity'"), pa.float64(), [0.1, -math.inf]),
        (
            "numeric(38,10)",
            ("-1234567890123456789012345678.0123456789",),
            pa.decimal128(38, 10),
            [Decimal("-1234567890123456789012345678.0123456789")],
        ),
        ("text", ("'🧪'", "''", r"'\N'"), pa.string(), ["🧪", "", r"\N"]),
        ("varchar(9)", ("'a''b'",), pa.string(), ["a'b"]),
        ("char(5)", ("'ab'", "' b  '"), pa.string(), ["ab", " b"]),  # the blanks at its end are no part of a value
        ("bytea", (r"'\x00ff27'",), pa.binary(), [b"\x00\xff'"]),
        ("date", ("'0001-01-01'",), pa.date32(), [date(1, 1, 1)]),
        ("timestamp(6)", ("'2026-03-01 10:11:12.000001'",), pa.timestamp("us"), [datetime(2026, 3, 1, 10, 11, 12, 1)]),
        ("timestamptz", ("'2026-03-01 22:00:00-05'",), pa.timestamp("us"), [datetime(2026, 3, 2, 3)]),
    ],
)
def test_what_postgresql_holds_arrives_exactly(
    postgres: Server, kind: str, literals: tuple[str, ...], arrow: pa.DataType, expected: list[Any]
) -> None:
    columns, fidelity, schema = arrived(postgres, kind, *literals)
    assert columns == {"v": expected}
    assert schema.field("v").type == arrow
    assert fidelity["v"] == "exact"


@pytest.mark.parametrize(
    ("kind", "literals", "expected"),
    [
        ("numeric", ("1.10", "'NaN'", LONG), ["1.10", "NaN", LONG]),
        ("numeric(60,2)", ("1.10",), ["1.10"]),
        ("numeric(5,-2)", ("12345",), ["12300"]),
        ("jsonb", ("'{\"a\": 1.10}'",), ['{"a": 1.10}']),
        ("json", ('\'{"a":  1.10, "a":2}\'',), ['{"a":  1.10, "a":2}']),
        ("integer[]", ("'{{1,2},{3,NULL}}'",), ["{{1,2},{3,NULL}}"]),
        ("numeric(10,2)[]", ("'{1.10,NULL}'",), ["{1.10,NULL}"]),
        ("timestamptz[]", ("'{2026-03-01 22:00:00-05}'",), ['{"2026-03-02 03:00:00+00"}']),
        ("varchar(9)[]", ("'{a,NULL}'",), ["{a,NULL}"]),
        ("interval", ("'1 mon 2 days 03:00:00.5'",), ["1 mon 2 days 03:00:00.5"]),
        ("uuid", ("'6ccd780c-baba-1026-9564-5b8c656024db'",), ["6ccd780c-baba-1026-9564-5b8c656024db"]),
        ("inet", ("'10.1.2.3/8'",), ["10.1.2.3/8"]),
        ("time", ("'24:00:00'",), ["24:00:00"]),
        ("timetz", ("'10:00:00-05'",), ["10:00:00-05"]),
        ("bit(4)", ("B'0101'",), ["0101"]),
        ("int4range", ("'[1,5)'",), ["[1,5)"]),
        ("xml", ("'<a>1</a>'",), ["<a>1</a>"]),
    ],
)
def test_what_no_type_of_ours_holds_arrives_as_postgresqls_own_text(
    postgres: Server, kind: str, literals: tuple[str, ...], expected: list[str]
) -> None:
    columns, fidelity, _ = arrived(postgres, kind, *literals)
    assert columns == {"v": expected}
    assert fidelity["v"] == "text"


@pytest.mark.parametrize(
    ("kind", "literals", "typed", "beside"),
    [
        ("numeric(10,2)", ("'NaN'", "1.10"), [None, Decimal("1.10")], ["NaN", None]),
        (
            "timestamp",
            ("'infinity'", "'2026-03-01'", "'0044-03-15 BC'"),
            [None, datetime(2026, 3, 1), None],
            ["infinity", None, "0044-03-15 00:00:00 BC"],
        ),
        ("timestamptz", ("'-infinity'", "'20260-03-01'"), [None, None], ["-infinity", "20260-03-01 00:00:00"]),
        ("date", ("'infinity'", "'2026-03-01'"), [None, date(2026, 3, 1)], ["infinity", None]),
    ],
)
def test_what_a_type_does_not_hold_is_text_beside_its_column(
    postgres: Server, kind: str, literals: tuple[str, ...], typed: list[Any], beside: list[str | None]
) -> None:
    columns, fidelity, _ = arrived(postgres, kind, *literals)
    assert columns == {"v": typed, "v__text": beside}
    assert fidelity["v"] == "exact, or text in v__text"


def test_types_that_customers_made_arrive_as_text(postgres: Server) -> None:
    postgres.execute(
        "CREATE TYPE {s}.timestamp_kind AS ENUM ('early', 'late')",
        "CREATE DOMAIN {s}.positive AS integer CHECK (VALUE > 0)",
        "CREATE TYPE {s}.pair AS (a integer, b text)",
        "CREATE TABLE {s}.made (id integer PRIMARY KEY, kind {s}.timestamp_kind, size {s}.positive, two {s}.pair)",
        "INSERT INTO {s}.made VALUES (1, 'late', 7, ROW(1, 'x,y'))",
    )
    assert postgres.rows("made")[0].to_pylist() == [{"id": 1, "kind": "late", "size": "7", "two": '(1,"x,y")'}]


def test_a_login_with_styles_of_its_own_changes_no_value(postgres: Server) -> None:
    postgres.execute(
        "CREATE TABLE {s}.styled (id integer PRIMARY KEY, d date, t timestamptz, i interval)",
        "INSERT INTO {s}.styled VALUES (1, '2026-02-03', '2026-02-03 04:05:06+00', '1 day 02:00:00')",
    )
    with postgres.login("x", "GRANT USAGE ON SCHEMA {s} TO {who}", "GRANT SELECT ON {s}.styled TO {who}") as url:
        for setting in ("DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'", "TimeZone = 'America/New_York'", "bytea_output = 'escape'"):
            postgres.execute(f"ALTER ROLE {url.partition('//')[2].partition(':')[0]} SET {setting}")
        table, _ = read(postgres.table("styled"), url)
    assert table.to_pylist() == [{"id": 1, "d": date(2026, 2, 3), "t": datetime(2026, 2, 3, 4, 5, 6), "i": "1 day 02:00:00"}]


def test_bytes_that_are_no_text_are_kept_in_hexadecimal_and_stop_nothing(postgres: Server) -> None:
    name = f"lab_insights_test_{uuid.uuid4().hex[:10]}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        unchecked = Server("postgresql", sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False))
        unchecked.execute(
            "CREATE TABLE {s}.bytes (id integer PRIMARY KEY, v text, w varchar(9))",
            r"INSERT INTO {s}.bytes VALUES (1, E'Zo\xc3\xab', 'a'), (2, E'Zo\xeb', NULL), (3, NULL, E'\xff')",
        )
        table, facts = unchecked.rows("bytes")
        databases.engine(sa.make_url(unchecked.url).set(drivername="postgresql+psycopg2")).dispose()
        unchecked.close()
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert table.sort_by("id").to_pydict() == {
        "id": [1, 2, 3],
        "v": ["Zoë", None, None],
        "w": ["a", None, None],
        "v__text": [None, r"\x5a6feb", None],
        "w__text": [None, None, r"\xff"],
    }
    assert facts.counts == {"quarantined": 0, "kept_as_text": 2}


@pytest.mark.parametrize("whole", [True, False])
def test_text_of_a_database_of_another_encoding_is_proven_all_the_same(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(sample, "WHOLE_BYTES", 0)
    name = f"lab_insights_test_{uuid.uuid4().hex[:10]}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        latin = Server("postgresql", sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False))
        latin.execute(
            "CREATE TABLE {s}.letters (id varchar(20) PRIMARY KEY)",
            r"INSERT INTO {s}.letters SELECT E'Zo\xeb' || n FROM generate_series(1, 300) n",
        )
        table, facts = latin.rows("letters")
        databases.engine(sa.make_url(latin.url).set(drivername="postgresql+psycopg2")).dispose()
        latin.close()
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert "Zoë7" in table["id"].to_pylist()
    assert facts.proof
    assert facts.proof.how.endswith("every row" if whole else "one row in 64")
