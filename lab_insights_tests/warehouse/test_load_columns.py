"""Columns of loaded batches: every type, new ones and wider ones, and names that are only names."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.warehouse.ddl import AS_TEXT
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.people import PEOPLE, Loader, live


def test_a_new_column_arrives_and_an_old_day_without_it_still_loads(session: Session, loaded: Loader, lake: TestLake) -> None:
    wider = pa.schema([*PEOPLE, ("phone", pa.string())])
    old, new = (
        lake.batch("people", 1, [{"id": 1, "name": "a"}], PEOPLE),
        lake.batch("people", 2, [{"id": 2, "name": "b", "phone": "5"}], wider),
    )
    late = lake.batch("people", 3, [{"id": 2, "name": "c"}], PEOPLE)
    for batch in (old, new, late):
        loaded(batch)
    assert session.execute("SELECT ID, NAME, PHONE FROM CURATED.PEOPLE_LIVE ORDER BY ID") == [
        (1, "a", None),
        (2, "c", None),
    ]


@pytest.mark.parametrize(
    ("narrow", "value", "wide", "wider_value", "expected"),
    [
        (pa.int32(), 7, pa.int64(), 2**40, [7, 2**40]),
        (pa.int64(), -(2**63), pa.uint64(), 2**64 - 1, [-(2**63), 2**64 - 1]),
        (
            pa.decimal128(10, 2),
            Decimal("1.25"),
            pa.decimal128(20, 6),
            Decimal("3.000001"),
            [Decimal("1.25"), Decimal("3.000001")],
        ),
        (pa.decimal128(38, 2), Decimal("1.25"), pa.string(), "1" * 60, ["1.25", "1" * 60]),
        (pa.date32(), date(2026, 2, 3), pa.string(), "0000-00-00", ["2026-02-03", "0000-00-00"]),
        (
            pa.timestamp("us"),
            datetime(2026, 2, 3, 4, 5, 6, 7),
            pa.string(),
            "soon",
            ["2026-02-03 04:05:06.000007", "soon"],
        ),
        (pa.time64("us"), time(4, 5, 6, 7), pa.string(), "later", ["04:05:06.000007", "later"]),
        (pa.bool_(), False, pa.string(), "perhaps", ["false", "perhaps"]),
        (pa.float64(), -0.1, pa.string(), "half", ["-0.1", "half"]),
        (pa.int32(), 7, pa.float64(), 0.5, [7.0, 0.5]),
    ],
)
def test_a_column_widens_without_losing_a_value(
    session: Session,
    loaded: Loader,
    lake: TestLake,
    narrow: pa.DataType,
    value: Any,
    wide: pa.DataType,
    wider_value: Any,
    expected: list[Any],
) -> None:
    first = lake.batch("wide", 1, [{"id": 1, "v": value}], pa.schema([("id", pa.int64()), ("v", narrow)]))
    second = lake.batch("wide", 2, [{"id": 2, "v": wider_value}], pa.schema([("id", pa.int64()), ("v", wide)]))
    third = lake.batch("wide", 3, [{"id": 3, "v": value}], pa.schema([("id", pa.int64()), ("v", narrow)]))
    for batch in (first, second, third):
        loaded(batch)
    assert [row[0] for row in session.execute("SELECT V FROM CURATED.WIDE_LIVE ORDER BY ID")] == [
        *expected,
        expected[0],
    ]


def test_every_type_arrives_as_it_left_and_nulls_stay_null(session: Session, loaded: Loader, lake: TestLake) -> None:
    values = {
        "text": "a'b\\N \u2603 \U0001f489",
        "slash": "\\N",
        "empty": "",
        "day": date(1969, 12, 31),
        "moment": datetime(2026, 3, 8, 2, 30, 0, 123456),
        "old": datetime(1, 1, 1),
        "exact": Decimal("1234567890123456789012345678.0123456789"),
        "long": "9" * 65,
        "flag": False,
        "whole": 2**64 - 1,
        "real": 0.1,
        "raw": b"\x00\xff",
    }
    kinds = [pa.string()] * 3 + [
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("us"),
        pa.decimal128(38, 10),
        pa.string(),
        pa.bool_(),
        pa.uint64(),
        pa.float64(),
        pa.binary(),
    ]
    schema = pa.schema([("id", pa.int64()), *zip(values, kinds, strict=True)])
    loaded(lake.batch("types", 1, [{"id": 1} | values, {"id": 2}], schema))
    columns = ", ".join(f'"{name.upper()}"' for name in values)
    full, empty = session.execute(f"SELECT {columns} FROM CURATED.TYPES_LIVE ORDER BY ID")
    assert [bytes(value) if isinstance(value, bytearray) else value for value in full] == list(values.values())
    assert set(empty) == {None}


def test_a_number_that_no_type_holds_is_text_and_its_column_says_so(session: Session, loaded: Loader, lake: TestLake) -> None:
    long = pa.schema([("id", pa.int64()), ("v", pa.string())])
    wider = pa.schema([*long, ("w", pa.string()), ("name", pa.string())])
    loaded(lake.batch("long", 1, [{"id": 1, "v": "9" * 65}], long, fidelity={"id": "exact", "v": "text"}))
    loaded(lake.batch("long", 2, [{"id": 2, "w": "-0.25", "name": "n"}], wider, fidelity={"v": "text", "w": "text", "name": "exact"}))
    said = session.execute(
        "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'LONG' AND COMMENT = ? ORDER BY 1", AS_TEXT
    )
    assert said == [("V",), ("W",)]
    assert session.execute("SELECT V, W FROM CURATED.LONG_LIVE ORDER BY ID") == [("9" * 65, None), (None, "-0.25")]


def test_hostile_names_are_only_names(session: Session, loaded: Loader, lake: TestLake) -> None:
    names = ['x"; DROP TABLE y', "select", "gr\u00f6\u00dfe", "a.b", "tab\there", "it's", "sample", "Mixed Case"]
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), *((name, pa.string()) for name in names)])
    loaded(lake.batch("crm.udt_x-1a2b3c4d", 1, [{"id": 1, "name": "n"} | {name: name for name in names}], schema))
    columns = ", ".join('"' + name.upper().replace('"', '""') + '"' for name in names)
    assert session.execute(f'SELECT {columns} FROM CURATED."CRM.UDT_X-1A2B3C4D_LIVE"') == [tuple(names)]


def test_a_table_that_is_called_as_a_view_keeps_both(session: Session, loaded: Loader, lake: TestLake) -> None:
    loaded(
        lake.batch("people_live", 1, [{"id": 1, "name": "table"}], PEOPLE),
        lake.batch("people", 1, [{"id": 2, "name": "other"}], PEOPLE),
    )
    assert live(session) == [(2, "other")]
    assert live(session, "PEOPLE_LIVE_") == [(1, "table")]
