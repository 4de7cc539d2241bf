"""Erasing a tenant: every version of its objects in every layer, its bookmarks, statuses and histories. It can not be undone, and can be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.names import TenantId

# What S3 deletes in one request.
_OBJECTS = 1000


@dataclass(frozen=True)
class Erased:
    """How many objects and versions of them, of how many bytes; never a key or value."""

    objects: int
    bytes: int


def held_objects(lake: Lake, layer: Layer | str, tenant: TenantId) -> Erased:
    """Return how much `erase_objects` would delete."""
    sizes = [
        version.get("Size", 0) for version in _versions(lake.storage.aws.client("s3"), lake.storage.bucket(layer), f"tenant={tenant}/")
    ]
    return Erased(len(sizes), sum(sizes))


def erase_objects(lake: Lake, layer: Layer | str, tenant: TenantId) -> Erased:
    """Delete every version of every object of a tenant in a layer (or in `reports`)."""
    s3, bucket = lake.storage.aws.client("s3"), lake.storage.bucket(layer)
    objects = size = 0
    batch: list[dict[str, str]] = []
    for version in _versions(s3, bucket, f"tenant={tenant}/"):
        objects, size = objects + 1, size + version.get("Size", 0)
        batch.append({"Key": version["Key"], "VersionId": version["VersionId"]})
        if len(batch) == _OBJECTS:
            _delete(s3, bucket, batch)
            batch = []
    _delete(s3, bucket, batch)
    return Erased(objects, size)


def held_items(lake: Lake, tenant: TenantId) -> int:
    """Return how many items `erase_items` would delete."""
    return sum(len(keys) for _, keys in _keys(lake, tenant))


def erase_items(lake: Lake, tenant: TenantId) -> int:
    """Delete every item of a tenant in the bookmark and status tables; return how many."""
    count = 0
    for table, keys in _keys(lake, tenant):
        lake.state.write(table, [{"DeleteRequest": {"Key": key}} for key in keys])
        count += len(keys)
    return count


def _keys(lake: Lake, tenant: TenantId) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield both tables with the keys of a tenant's items."""
    for table in (lake.state.bookmarks, lake.state.status):
        pages = lake.state.db.get_paginator("scan").paginate(
            TableName=table,
            ProjectionExpression="pk, sk",
            FilterExpression="begins_with(pk, :own) OR begins_with(pk, :schema) OR (begins_with(pk, :checks) AND tenant = :tenant)",
            ExpressionAttributeValues={
                ":own": {"S": f"{tenant}#"},
                ":schema": {"S": f"schema#{tenant}#"},
                ":checks": {"S": "checks#"},
                ":tenant": {"S": tenant},
            },
            ConsistentRead=True,
        )
        yield table, [{"pk": item["pk"], "sk": item["sk"]} for page in pages for item in page["Items"]]


def _versions(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Versions", ())
        yield from page.get("DeleteMarkers", ())


def _delete(s3: Any, bucket: str, versions: list[dict[str, str]]) -> None:
    if versions:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
