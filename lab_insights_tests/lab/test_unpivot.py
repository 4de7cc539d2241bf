"""Columns to rows: any table as one long table, every value as text with its type beside it."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from lab_insights.lab import pipeline
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
