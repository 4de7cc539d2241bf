"""Columns to rows: any table as one long table, every value as text with its type beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lab_insights.lab import pipeline
from lab_insights.lab.engine import Duck
from lab_insights.lab.unpivot import unpivoted
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import day

TABLE = "crm.udt_note"


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def long(lab: Lab, number: int = 1) -> Manifest:
    lab.curate(TABLE, number)
    return pipeline.unpivot_table(lab.lake, lab.tenant, TABLE, day(number), "test")


def test_every_column_of_every_row_is_a_row_with_its_type(lab: Lab) -> None:
    schema = pa.schema([("id", pa.int64()), ("a", pa.decimal128(5, 2)), ("b", pa.binary()), ("c", STAMP), ("d", pa.string())])
    lab.land(TABLE, 1, [{"id": 1, "a": Decimal("1.10"), "b": b"\x00\xff", "c": at(1), "d": ""}, {"id": 2}], schema, cursor=None)
    manifest = long(lab)
    rows = lab.rows(manifest, "row_key", "column_name")
    assert manifest.partition.table == f"{TABLE}_long"
    assert manifest.key == ("row_key", "column_name")
    assert len({(row["row_key"], row["column_name"]) for row in rows}) == len(rows) == 8
    assert [(row["row_key"], row["column_name"], row["value_type"], row["value_text"]) for row in rows[:4]] == [
        ("1:1", "a", "decimal128(5, 2)", "1.10"),
        ("1:1", "b", "binary", "00FF"),
        ("1:1", "c", "timestamp[us]", "2026-03-01 08:00:00"),
        ("1:1", "d", "string", ""),
    ]
    assert {row["value_text"] for row in rows[4:]} == {None}
    assert {(row["tenant_id"], row["as_of"], row["is_deleted"]) for row in rows} == {(lab.tenant, day(1), False)}


TYPED: dict[str, tuple[pa.DataType, Any, str, Any]] = {
    "i": (pa.int64(), -(2**63), "value_num", Decimal(-(2**63))),
    "u": (pa.uint64(), 2**64 - 1, "value_num", Decimal(2**64 - 1)),
    "f": (pa.float64(), 0.25, "value_num", Decimal("0.25")),
    "nan": (pa.float64(), float("nan"), "value_num", None),
    "huge": (pa.float64(), 1e300, "value_num", None),
    "d": (
        pa.decimal128(38, 9),
        Decimal("12345678901234567890123456789.123456789"),
        "value_num",
        Decimal("12345678901234567890123456789.123456789"),
    ),
    "day": (pa.date32(), date(2024, 2, 29), "value_date", date(2024, 2, 29)),
    "at": (STAMP, datetime(2026, 3, 8, 2, 30, 0, 5), "value_at", datetime(2026, 3, 8, 2, 30, 0, 5)),
    "zoned": (pa.timestamp("us", "UTC"), datetime(2026, 3, 8, 2, 30, tzinfo=UTC), "value_at", datetime(2026, 3, 8, 2, 30)),
    "yes": (pa.bool_(), True, "value_flag", True),
    "no": (pa.bool_(), False, "value_flag", False),
    "text": (pa.string(), "12", "value_text", "12"),
    "clock": (pa.time64("us"), time(7, 5), "value_text", "07:05:00"),
}


def test_a_value_lies_in_the_type_of_its_column_too(lab: Lab) -> None:
    schema = pa.schema([("id", pa.int64()), *((name, kind) for name, (kind, *_) in TYPED.items())])
    lab.land(TABLE, 1, [{"id": 1, **{name: value for name, (_, value, *_) in TYPED.items()}}, {"id": 2}], schema, cursor=None)
    typed = ("value_num", "value_date", "value_at", "value_flag")
    for row in lab.rows(long(lab)):
        _, _, column, value = TYPED[row["column_name"]]
        expected = dict.fromkeys(typed) | ({column: value} if column in typed and row["row_key"] == "1:1" else {})
        assert {name: row[name] for name in typed} == expected, row["column_name"]
        if column == "value_text" and row["row_key"] == "1:1":
            assert row[column] == value


def test_a_column_of_another_type_is_of_that_type_from_its_day_on(lab: Lab) -> None:
    lab.land(TABLE, 1, [{"id": 1, "v": "7"}], pa.schema([("id", pa.int64()), ("v", pa.string())]), cursor=None)
    lab.land(TABLE, 2, [{"id": 1, "v": 7}], pa.schema([("id", pa.int64()), ("v", pa.int64())]), cursor=None)
    rows = [row for number in (1, 2) for row in lab.rows(long(lab, number))]
    assert [(row["value_type"], row["value_text"], row["value_num"]) for row in rows] == [("string", "7", None), ("int64", "7", Decimal(7))]


def test_a_thousand_columns_become_rows_in_one_pass() -> None:
    kinds = [pa.int64(), pa.string(), STAMP, pa.decimal128(18, 4)]
    schema = pa.schema([("id", pa.int64()), *((f"c{n}", kinds[n % 4]) for n in range(1000)), ("is_deleted", pa.bool_())])
    values = [7, "x", datetime(2026, 3, 1), Decimal("1.5")]
    rows = pa.Table.from_pylist(
        [{"id": n, **{f"c{c}": values[c % 4] for c in range(1000)}, "is_deleted": False} for n in range(50)], schema
    )
    passes = []

    def once() -> Iterator[pa.RecordBatch]:
        passes.append(1)
        yield from rows.to_batches(max_chunksize=10)

    run = pa.table({"tenant_id": ["t"], "as_of": pa.array([date(2026, 3, 1)]), "batch_id": ["b"]})
    # A stream can be read once: whoever reads it a second time finds nothing.
    with Duck({"rows": pa.RecordBatchReader.from_batches(schema, once()), "run": run}) as engine:
        engine.run(unpivoted(schema, ("id",)))
        found = engine.table()
    assert (found.num_rows, passes) == (50_000, [1])
    assert pc.count_distinct(found["column_name"]).as_py() == 1000
    filled = {name: len(found) - found[name].null_count for name in ("value_text", "value_num", "value_at")}
    assert filled == {"value_text": 50_000, "value_num": 25_000, "value_at": 12_500}


def test_keys_of_several_columns_do_not_run_into_each_other(lab: Lab) -> None:
    schema = pa.schema([("k", pa.string()), ("l", pa.string()), ("v", pa.string())])
    rows = [{"k": "a1:b", "l": "c", "v": "1"}, {"k": "a", "l": "1:bc", "v": "2"}, {"k": "", "l": "", "v": "3"}]
    lab.land(TABLE, 1, rows, schema, key=("k", "l"), cursor=None)
    assert len({row["row_key"] for row in lab.rows(long(lab))}) == 3


def test_doubled_rows_of_a_table_without_a_key_are_told_apart(lab: Lab) -> None:
    lab.land(TABLE, 1, [{"v": "x"}, {"v": "x"}], pa.schema([("v", pa.string())]), kind="snapshot", key=(), cursor=None)
    manifest = long(lab)
    assert manifest.kind == "snapshot"
    assert len({row["row_key"] for row in lab.rows(manifest)}) == 2


def test_a_table_of_nothing_but_a_key_has_no_long_rows(lab: Lab) -> None:
    lab.land(TABLE, 1, [{"id": 1}], pa.schema([("id", pa.int64())]), cursor=None)
    manifest = long(lab)
    assert (manifest.rows, "value_text" in manifest.schema_().names) == (0, True)


def test_columns_of_any_name_are_unpivoted(lab: Lab) -> None:
    names = ['x"; DROP TABLE y', "it's", "a`b", "100%", "select", "é"]
    schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in names)])
    lab.land(TABLE, 1, [{"id": 1, **{name: f"<{name}>" for name in names}}], schema, cursor=None)
    assert {row["column_name"]: row["value_text"] for row in lab.rows(long(lab))} == {name: f"<{name}>" for name in names}
