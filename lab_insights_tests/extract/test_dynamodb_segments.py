"""A scan of a large DynamoDB table, in segments side by side."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.extract import dynamodb
from lab_insights.extract.catalog import SourceTable, crawl
from lab_insights.extract.dynamodb import ItemRows
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant


@contextmanager
def scans(aws: Aws) -> Iterator[list[tuple[int, int]]]:
    """Collect the segment, of how many, of every scan that is sent."""
    client, asked = aws.client("dynamodb"), list[tuple[int, int]]()

    def before(params: dict[str, Any], **_: Any) -> None:
        asked.append((params.get("Segment", 0), params.get("TotalSegments", 1)))

    client.meta.events.register("before-parameter-build.dynamodb.Scan", before)
    try:
        yield asked
    finally:
        client.meta.events.unregister("before-parameter-build.dynamodb.Scan", before)


@pytest.fixture
def large(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> SourceTable:
    """A table of several pages that is keyed by its own id, so that a tenant's items are found by a scan."""
    monkeypatch.setattr(dynamodb, "SEGMENTS_FROM_BYTES", 0)
    client, name = lake.storage.aws.client("dynamodb"), f"{uuid.uuid4().hex[:8]}-src-wide"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(40):
        client.put_item(TableName=name, Item={"id": {"S": str(number)}, "tenant_id": {"S": "12"}, "pad": {"S": "x" * 120_000}})
    tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
    source = Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": [name]})
    return crawl("calls", source, Tenant(id=TenantId("aurora"), key="12"), lake.storage.aws).tables[0]


def test_a_large_table_is_scanned_in_segments_each_item_once(lake: Lake, large: SourceTable) -> None:
    with scans(lake.storage.aws) as asked:
        rows = ItemRows(large, lake.storage.aws, segments=3)
        found = sorted(int(row) for batch in rows for row in batch.column("id").to_pylist())
    assert found == list(range(40))
    assert set(asked) == {(0, 3), (1, 3), (2, 3)}
    assert len(asked) > 3, "some segments have several pages"
    proof = rows.facts().proof
    assert proof
    assert proof.rows == 40


def test_a_scan_that_is_left_early_leaves_no_reader_behind(lake: Lake, large: SourceTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "BATCH", 1)
    reading = iter(ItemRows(large, lake.storage.aws, segments=3))
    assert next(reading).num_rows > 0
    reading.close()  # type: ignore[attr-defined]
    assert [each.name for each in threading.enumerate() if each.name.startswith("segment")] == []
