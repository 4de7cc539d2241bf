"""Reading by manifest: what a table's state is made of, and its rows in one schema."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pytest

from lab_insights.errors import LandingMismatch
from lab_insights.lake import tables
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_items, erase_objects
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Kind
from lab_insights.lake.tables import joined, manifests, partition_manifests, relation, state
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Rows, day, held, ids, put

TABLE = "crm.account"


def at(tenant: TenantId, number: int) -> Partition:
    return Partition("raw", tenant, TABLE, day(number))


def values(tenant: TenantId, lake: Lake, number: int, array: pa.Array) -> None:
    put(lake, at(tenant, number), Rows([pa.record_batch({"x": array})]))


@pytest.mark.parametrize(
    ("kinds", "as_of", "expected"),
    [
        (["delta", "delta"], None, [1, 2]),
        (["snapshot", "delta", "delta"], None, [1, 2, 3]),
        (["delta", "snapshot", "delta"], None, [2, 3]),
        (["snapshot", "snapshot", "delta"], None, [2, 3]),
        (["snapshot", "delta", "snapshot"], 2, [1, 2]),
        (["snapshot", "delta", "snapshot"], 0, []),
    ],
)
def test_a_state_begins_at_the_newest_snapshot(
    lake: Lake, tenant: TenantId, kinds: list[Kind], as_of: int | None, expected: list[int]
) -> None:
    for number, kind in enumerate(kinds, start=1):
        put(lake, at(tenant, number), ids(number), kind)
    found = state(lake, "raw", tenant, TABLE, None if as_of is None else day(as_of))
    assert [manifest.day.day for manifest in found.manifests] == expected


@pytest.mark.parametrize("small", [tables.SMALL, 0])
def test_a_column_that_an_old_part_lacks_is_null_and_one_that_was_widened_is_wide(
    lake: Lake, tenant: TenantId, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SMALL", small)
    first = pa.record_batch(
        {"n": pa.array([1], pa.int32()), "d": pa.array([Decimal("1.10")], pa.decimal128(5, 2)), "on": [date(2026, 3, 1)]}
    )
    decimals, at_nine = pa.array([Decimal("12345678.9")], pa.decimal128(12, 4)), pa.array([datetime(2026, 3, 2, 9)], pa.timestamp("us"))
    second = pa.record_batch({"d": decimals, "n": pa.array([1 << 40]), "on": at_nine, "new": ["x"]})
    put(lake, at(tenant, 1), Rows([first]))
    put(lake, at(tenant, 2), Rows([second]))
    found = state(lake, "raw", tenant, TABLE)
    rows = relation(lake.storage, found.manifests, found.schema)
    assert isinstance(rows, pa.Table) == bool(small)
    table = rows if isinstance(rows, pa.Table) else rows.to_table()
    assert table.schema == pa.schema([("n", pa.int64()), ("d", pa.decimal128(12, 4)), ("on", pa.timestamp("us")), ("new", pa.string())])
    assert table.sort_by("n").to_pylist() == [
        {"n": 1, "d": Decimal("1.1000"), "on": datetime(2026, 3, 1), "new": None},
        {"n": 1 << 40, "d": Decimal("12345678.9000"), "on": datetime(2026, 3, 2, 9), "new": "x"},
    ]


@pytest.mark.parametrize("small", [tables.SMALL, 0])
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (pa.array([True, None]), pa.array(["maybe"]), ["true", None, "maybe"]),
        (pa.array([7], pa.int32()), pa.array(["seven"]), ["7", "seven"]),
        (pa.array([(1 << 53) + 1]), pa.array([0.5]), ["9007199254740993", "0.5"]),
        (pa.array([-1]), pa.array([(1 << 64) - 1], pa.uint64()), ["-1", "18446744073709551615"]),
        (pa.array([Decimal("0.10")]), pa.array([0.5]), ["0.10", "0.5"]),
    ],
)
def test_types_that_no_type_holds_exactly_meet_as_text(
    lake: Lake, tenant: TenantId, before: pa.Array, after: pa.Array, expected: list[Any], small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SMALL", small)
    values(tenant, lake, 1, before)
    values(tenant, lake, 2, after)
    rows = held(lake, "raw", tenant, TABLE)
    assert (rows if isinstance(rows, pa.Table) else rows.to_table())["x"].to_pylist() == expected


def test_an_object_that_is_gone_is_named_and_read_again_once_it_is_back(lake: Lake, tenant: TenantId) -> None:
    manifest = put(lake, at(tenant, 1), ids(1, 2))
    for key, read in (
        (manifest.object_key, lambda: partition_manifests(lake, at(tenant, 1))),
        (manifest.parts[0].key, lambda: relation(lake.storage, [manifest], manifest.schema_())),
    ):
        body = lake.storage.get("raw", key)
        assert body
        lake.storage.delete("raw", key)
        for _ in range(2):
            with pytest.raises(LandingMismatch, match="gone") as raised:
                read()
            assert key in str(raised.value)
        lake.storage.put("raw", key, body)
        assert read()


def test_a_tenant_that_was_erased_and_came_back_has_its_new_rows_under_the_old_keys(lake: Lake, tenant: TenantId) -> None:
    before = put(lake, at(tenant, 1), ids(1, 2))
    assert held(lake, "raw", tenant, TABLE)["id"].to_pylist() == [1, 2]
    erase_objects(lake, "raw", tenant)
    erase_items(lake, tenant)
    lake.clock.set(lake.clock.now() + timedelta(seconds=1))
    after = put(lake, at(tenant, 1), ids(3, 4))
    assert after.object_key == before.object_key
    assert held(lake, "raw", tenant, TABLE)["id"].to_pylist() == [3, 4]


def test_a_partition_reads_its_own_day_and_a_table_all_of_them(lake: Lake, tenant: TenantId) -> None:
    for number in (1, 2):
        put(lake, at(tenant, number), ids(number))
    assert [found.day.day for found in manifests(lake, "raw", tenant, TABLE)] == [1, 2]
    assert [found.day.day for found in partition_manifests(lake, at(tenant, 2))] == [2]
    assert partition_manifests(lake, at(tenant, 3)) == []


@pytest.mark.parametrize("small", [tables.SMALL, 0])
def test_more_rows_join_a_relation_for_every_engine(lake: Lake, tenant: TenantId, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALL", small)
    manifest = put(lake, at(tenant, 1), ids(1, 2))
    rows = joined(relation(lake.storage, [manifest], manifest.schema_()), pa.table({"id": [3]}))
    with duckdb.connect() as engine:
        engine.register("rows", rows)
        assert engine.execute('SELECT id FROM "rows" WHERE id > 1 ORDER BY 1').fetchall() == [(2,), (3,)]


def test_nothing_at_all_is_a_relation_without_rows(lake: Lake) -> None:
    schema = pa.schema([("x", pa.int64())])
    rows = relation(lake.storage, (), schema)
    assert not isinstance(rows, pads.Dataset)
    assert (rows.num_rows, rows.schema) == (0, schema)
