"""A state is read from few parts, and is the same as from the batches that it was compacted from, or they are read."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import timedelta

import pyarrow as pa
import pytest

from lab_insights.lake import tables
from lab_insights.lake.commit import Lake
from lab_insights.lake.compact import compact, compact_all, compacted
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Kind
from lab_insights.lake.sweep import sweep
from lab_insights.lake.tables import manifests, relation, state
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Rows, day, ids, put, watched

TABLE = "account"


def at(tenant: TenantId, number: int) -> Partition:
    return Partition("curated", tenant, TABLE, day(number))


def fill(lake: Lake, tenant: TenantId, first: int, last: int, kind: Kind = "delta") -> None:
    for number in range(first, last + 1):
        put(lake, at(tenant, number), ids(number, 100), kind, supersedes=True)


def read(lake: Lake, tenant: TenantId, as_of: int | None = None) -> tuple[Counter[int], int]:
    """The rows of the compacted state, and how many objects they come from."""
    tables._part.cache_clear()
    tables._manifest.cache_clear()
    limit = day(as_of) if as_of else None
    with watched(lake.storage.aws) as calls:
        found = compacted(lake, "curated", tenant, TABLE, limit)
        rows = relation(lake.storage, found.manifests, found.schema)
    plain = state(lake, "curated", tenant, TABLE, limit)
    assert isinstance(rows, pa.Table)
    assert rows.sort_by("id") == relation(lake.storage, plain.manifests, plain.schema).sort_by("id")
    return Counter(rows["id"].to_pylist()), calls.made.count("GetObject")


def test_reading_a_state_is_bounded_work_however_many_days_there_are(lake: Lake, tenant: TenantId) -> None:
    fill(lake, tenant, 1, 1, "snapshot")
    fill(lake, tenant, 2, 8)
    assert read(lake, tenant)[1] == 16
    found = compact(lake, tenant, "curated", TABLE, bound=5)
    assert found
    assert (found.day, found.batches, found.rows, found.parts) == (day(7), 7, 14, 1)
    assert read(lake, tenant) == (Counter({100: 8} | dict.fromkeys(range(1, 9), 1)), 4)
    assert compact(lake, tenant, "curated", TABLE, bound=5) is None
    fill(lake, tenant, 9, 14)
    assert compact(lake, tenant, "curated", TABLE, bound=5)
    assert read(lake, tenant)[1] == 4
    assert read(lake, tenant, 9)[1] == 2 * (1 + 2)  # from the compacted state before, which is kept for readers that are at it
    assert read(lake, tenant, 3)[1] == 6


def test_what_is_within_the_bound_is_left_alone(lake: Lake, tenant: TenantId) -> None:
    assert compact(lake, tenant, "curated", TABLE) is None
    fill(lake, tenant, 1, 4)
    assert compact(lake, tenant, "curated", TABLE, bound=3) is None
    assert compact(lake, tenant, "curated", TABLE, bound=2)


@pytest.mark.parametrize("kind", ["delta", "snapshot"])
def test_an_old_day_that_is_made_again_is_never_hidden(lake: Lake, tenant: TenantId, kind: Kind) -> None:
    fill(lake, tenant, 1, 6)
    assert compact(lake, tenant, "curated", TABLE, bound=2)
    put(lake, at(tenant, 2), ids(77), kind, supersedes=True)
    rows, objects = read(lake, tenant)
    assert (rows[77], rows[2], objects) == (1, 0, 12 if kind == "delta" else 10)
    assert compact(lake, tenant, "curated", TABLE, bound=2)
    assert read(lake, tenant)[1] == 4


def test_a_newer_snapshot_needs_no_older_state(lake: Lake, tenant: TenantId) -> None:
    fill(lake, tenant, 1, 5)
    assert compact(lake, tenant, "curated", TABLE, bound=2)
    fill(lake, tenant, 6, 6, "snapshot")
    assert read(lake, tenant) == (Counter([6, 100]), 2)


def test_a_compacted_state_that_is_gone_is_read_from_its_batches(lake: Lake, tenant: TenantId) -> None:
    fill(lake, tenant, 1, 5)
    compact(lake, tenant, "curated", TABLE, bound=2)
    for each in lake.storage.stored("curated", f"tenant={tenant}/table={TABLE}@state/"):
        if each.key.endswith(".json"):
            lake.storage.delete("curated", each.key)
    assert read(lake, tenant)[1] == 1 + 10  # it is looked for


def test_columns_of_two_types_are_not_written_as_one(lake: Lake, tenant: TenantId) -> None:
    for number in range(1, 6):
        column = pa.array([number], pa.int64() if number < 3 else pa.int32())
        put(lake, at(tenant, number), Rows([pa.record_batch({"id": column})]))
    assert compact(lake, tenant, "curated", TABLE, bound=2) is None


def test_a_column_that_came_later_is_null_in_older_rows(lake: Lake, tenant: TenantId) -> None:
    fill(lake, tenant, 1, 3)
    put(lake, at(tenant, 4), Rows([pa.record_batch({"id": [4], "more": ["x"]})]))
    fill(lake, tenant, 5, 5)
    assert compact(lake, tenant, "curated", TABLE, bound=2)
    assert read(lake, tenant)[0][4] == 1


def test_no_reader_of_days_sees_it_and_no_event_tells_of_it(lake: Lake, tenant: TenantId) -> None:
    fill(lake, tenant, 1, 5)
    before = manifests(lake, "curated", tenant, TABLE), lake.state.tables("curated", tenant)
    [found] = compact_all(lake, tenant, bound=2)
    assert json.loads(json.dumps(dataclasses.asdict(found), default=str))["table"] == TABLE
    assert (manifests(lake, "curated", tenant, TABLE), lake.state.tables("curated", tenant)) == before
    keys = [each.key for each in lake.storage.stored("curated", f"tenant={tenant}/table={TABLE}@state/")]
    assert len(keys) == 2
    assert not any(key.endswith(".manifest.json") for key in keys)


def test_the_sweep_takes_what_no_compacted_state_needs(lake: Lake, tenant: TenantId) -> None:
    for last in (5, 9, 13):
        fill(lake, tenant, last - 4, last)
        assert compact(lake, tenant, "curated", TABLE, bound=2)
    found = sweep(lake, tenant, "curated", grace=timedelta(0))
    assert (found.orphans, found.unknown) == (2, 0)
    assert read(lake, tenant)[1] == 4
    assert read(lake, tenant, 9)[1] == 4
    assert sweep(lake, tenant, "curated", grace=timedelta(0)).orphans == 0
