"""Frames that a person publishes are batches like any other."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lab_insights.errors import UnsupportedLoad
from lab_insights.lab.publish import publish
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import day


def test_a_frame_becomes_the_days_batch_and_replaces_the_last_one(lake: Lake, tenant: TenantId) -> None:
    first = publish(lake, tenant, "turnaround", day(1), pa.table({"k": ["a", "b"], "v": [1, 2]}), key=("k",), run_id="r")
    second = publish(lake, tenant, "turnaround", day(1), pa.table({"k": ["a"], "v": [3]}), key=("k",), run_id="r")
    assert partition_manifests(lake, Partition("transformed", tenant, "turnaround", day(1))) == [second]
    assert (first.batch, second.batch, second.engine, second.key) == (0, 1, "published", ("k",))
    [row] = Lab(lake, tenant).rows(second)
    assert (row["k"], row["v"], row["tenant_id"], row["as_of"], row["is_deleted"]) == ("a", 3, tenant, day(1), False)
    assert row["batch_id"] == second.batch_id


@pytest.mark.parametrize("key", [("v",), ("k", "v"), (), ("no",), ("n",)])
def test_a_key_that_does_not_tell_rows_apart_is_refused(lake: Lake, tenant: TenantId, key: tuple[str, ...]) -> None:
    data = pa.table({"k": ["a", "a", "b"], "v": [1, 1, 1], "n": [1, 2, None]})
    with pytest.raises(UnsupportedLoad, match="key") as raised:
        publish(lake, tenant, "turnaround", day(1), data, key=key, run_id="r")
    assert raised.value.table == "turnaround"
    assert partition_manifests(lake, Partition("transformed", tenant, "turnaround", day(1))) == []


@pytest.mark.parametrize(("column", "key"), [("as_of", ("k", "as_of")), ("AS_OF", ("k", "AS_OF")), ("Is_Deleted", ("k", "v"))])
def test_a_column_that_every_row_is_given_is_refused_in_whatever_case(
    lake: Lake, tenant: TenantId, column: str, key: tuple[str, ...]
) -> None:
    data = pa.table({"k": ["a", "a"], "v": [1, 2], column: ["x", "y"]})
    with pytest.raises(UnsupportedLoad, match=f"columns that every row is given here: {column}.*other names"):
        publish(lake, tenant, "turnaround", day(1), data, key=key, run_id="r")
    assert partition_manifests(lake, Partition("transformed", tenant, "turnaround", day(1))) == []


def test_an_empty_frame_is_an_empty_batch(lake: Lake, tenant: TenantId) -> None:
    assert publish(lake, tenant, "t", day(1), pa.table({"k": pa.array([], pa.string())}), key=("k",), run_id="r").rows == 0
