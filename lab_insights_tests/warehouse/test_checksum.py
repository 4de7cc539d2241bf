"""The checksum is the same number from DuckDB and from the warehouse, and different for different rows."""

from __future__ import annotations

import functools
import itertools
import math
import random
import struct
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_insights.lake.checksum import checksum_sql, row_hash_sql
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.lake import TestLake

TEXTS = [
    "",
    " ",
    "~",
    "~0",
    "|",
    "||",
    "~|~",
    "null",
    "NULL",
    "\\N",
    "\\",
    "'",
    '"',
    "a\tb\nc\r",
    "\u00e9",
    "e\u0301",
    "\u2603",
    "\U0001f489",
    "\u00df",
    "x" * 3000,
    "0",
    "00",
    "1.0",
    "\x7f",
    "\ufeff",
]
DOUBLES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1 / 3,
    2.0**52,
    2.0**53,
    2.0**53 - 1,
    5e-324,
    -5e-324,
    2.2250738585072014e-308,
    2.225073858507201e-308,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    math.nan,
    1e22,
    1e23,
    123456.789,
]
DOUBLES += [
    step(2.0**power, side) for power in (-1022, -53, -1, 0, 1, 3, 52, 64, 1023) for side in (0, math.inf) for step in (math.nextafter,)
]


def anything(rng: random.Random, size: int) -> dict[str, list[Any]]:
    """Return columns of nasty and of random values."""
    bits = [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(size)]
    return {
        "text": [
            rng.choice(TEXTS)
            if rng.random() < 0.5
            else "".join(chr(rng.choice([rng.randrange(1, 0xD800), rng.randrange(0xE000, 0x110000)])) for _ in range(9))
            for _ in range(size)
        ],
        "real": list(itertools.chain(DOUBLES, bits))[:size],
        "lab": [round(rng.uniform(-500, 500), rng.randrange(6)) for _ in range(size)],
        "single": [struct.unpack("<f", struct.pack("<f", rng.gauss(0, 10.0 ** rng.randrange(-30, 30))))[0] for _ in range(size)],
        "exact": [Decimal(rng.randrange(-(10**38) + 1, 10**38)).scaleb(-9) for _ in range(size)],
        "fraction": [Decimal(rng.randrange(-99, 100)).scaleb(-2) for _ in range(size)],
        "whole": [rng.choice([-(2**63), 2**63 - 1, 0, rng.randrange(-(2**63), 2**63)]) for _ in range(size)],
        "unsigned": [rng.choice([2**64 - 1, 0, rng.randrange(2**64)]) for _ in range(size)],
        "flag": [rng.random() < 0.5 for _ in range(size)],
        "day": [date(1, 1, 1) + timedelta(days=rng.randrange(3652058)) for _ in range(size)],
        "moment": [
            datetime(1, 1, 1) + timedelta(days=rng.randrange(3652058), microseconds=rng.randrange(86_400_000_000)) for _ in range(size)
        ],
        "clock": [(datetime(1, 1, 1) + timedelta(microseconds=rng.randrange(86_400_000_000))).time() for _ in range(size)],
        "raw": [rng.randbytes(rng.randrange(5)) for _ in range(size)],
    }


KINDS = {
    "text": pa.string(),
    "real": pa.float64(),
    "lab": pa.float64(),
    "single": pa.float32(),
    "exact": pa.decimal128(38, 9),
    "fraction": pa.decimal128(2, 2),
    "whole": pa.int64(),
    "unsigned": pa.uint64(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "moment": pa.timestamp("us"),
    "clock": pa.time64("us"),
    "raw": pa.binary(),
}


def test_both_engines_find_the_same_checksums_and_row_hashes(session: Session, storage: Storage, tenant: TenantId, lake: TestLake) -> None:
    rng = random.Random(20260101)
    size = 1500
    columns = anything(rng, size)
    rows = [{"id": n} | {name: None if rng.random() < 0.1 else values[n] for name, values in columns.items()} for n in range(size)]
    schema = pa.schema([("id", pa.int64()), *KINDS.items()])
    load(session, storage, tenant, [lake.batch("nasty", 1, rows, schema)], run_id="test")
    there = pa.Table.from_pylist(rows, schema)
    with duckdb.connect() as duck:
        duck.register("nasty", there)
        for name, kind in schema_columns(schema):
            alone = [(name, kind)]
            hashes = row_hash_sql(alone, [("id", pa.int64())], '"nasty"', "duckdb")
            warehouse = row_hash_sql(alone, [("id", pa.int64())], 'CURATED."NASTY"', "snowflake")
            assert sorted(duck.execute(hashes, ["k"]).fetchall()) == sorted(session.execute(warehouse, "k")), name
        whole = schema_columns(schema)
        expected = duck.execute(checksum_sql(whole, '"nasty"', "duckdb")).fetchall()
    assert session.execute(checksum_sql(whole, 'CURATED."NASTY"', "snowflake")) == expected


def schema_columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


TEXT = st.one_of(st.none(), st.sampled_from(TEXTS), st.text(st.sampled_from("~|0a"), max_size=4))
PAIRS = st.lists(st.tuples(TEXT, TEXT, st.one_of(st.none(), st.floats(width=64))), max_size=4)


SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("c", pa.float64())])


@functools.cache
def duck() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def texts(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    table = pa.Table.from_pylist([dict(zip("abc", row, strict=True)) for row in rows], SCHEMA)
    with duck().cursor() as cursor:
        cursor.register("t", table)
        found: tuple[Any, ...] = cursor.execute(checksum_sql(schema_columns(SCHEMA), '"t"', "duckdb")).fetchall()[0]
        return found


def counted(rows: list[tuple[Any, ...]]) -> Counter[str]:
    # nan equals nan, and the two zeros are one number
    return Counter(repr((a, b, 0.0 if c == 0 else c)) for a, b, c in rows)


@settings(deadline=None, max_examples=60)
@given(PAIRS, PAIRS)
def test_checksums_are_equal_exactly_for_the_same_rows_in_any_order(one: list[Any], other: list[Any]) -> None:
    assert (texts(one) == texts(other)) == (counted(one) == counted(other))
    assert texts(one) == texts(reversed(one))


def test_nothing_null_and_empty_are_three_things() -> None:
    assert len({texts(rows) for rows in ([], [(None, None, None)], [("", None, None)])}) == 3
