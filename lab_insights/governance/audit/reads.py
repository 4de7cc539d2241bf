"""Who read which objects of the lake: CloudTrail's data events, as a trail delivers them to a bucket.

A read is told by tenant, layer, table and day, which the object's key says, and by the identity that CloudTrail saw; a tenant's session has the tenant's
name in it. What is not there was not switched on: silence is no evidence. Reads of client databases are told in the same words by
`warehouse.access_history`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from lab_insights.aws import Aws
from lab_insights.errors import ConfigError
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId

_FILES = re.compile(r"/CloudTrail/[^/]+/(\d{4})/(\d\d)/(\d\d)/[^/]+\.json\.gz$")
_KEY = re.compile(r"tenant=([^/]+)/(?:table=([^/]+)/)?date=(\d{4}-\d\d-\d\d)/")
# A file is delivered some time after its events, and may hold those of the day before.
_LATE = timedelta(days=1)


Store = Literal["lake", "snowflake"]


@dataclass(frozen=True, order=True)
class Read:
    """What one identity read on one day (`on`, UTC): a tenant-day of a table in the lake, or a table of a client database.

    `layer` is a schema there. `table` is empty for a report page, `day` (the data's) for a client database.
    """

    tenant: str
    store: Store
    layer: str
    table: str
    day: str
    identity: str
    on: str

    def __str__(self) -> str:
        what = f"{self.layer}/{self.table or 'page'} {self.day}" if self.store == "lake" else f"{self.layer}.{self.table} in Snowflake"
        return f"{self.tenant} {what}"


def listed(found: Counter[Read]) -> list[dict[str, Any]]:
    """Return reads as plain values, in order; `reads` are objects of the lake, or queries of a client database."""
    return [asdict(read) | {"reads": count} for read, count in sorted(found.items())]


def reads(aws: Aws, prefix: str, trail: str, first: date, last: date, tenant: TenantId | None = None) -> Counter[Read]:
    """Return how often objects of the lake were read on days `first` to `last` (UTC), by the trail's files below `trail` (`s3://bucket/prefix`).

    Raises `ConfigError` when the trail has no file of these days: then nothing is known.
    """
    buckets = {f"{prefix}-{layer}": layer for layer in (*LAYERS, "reports")}
    found, files = Counter[Read](), 0
    for body in _files(aws, trail, first, last):
        files += 1
        for event in body["Records"]:
            read = _read(event, buckets)
            if read and str(first) <= read.on <= str(last) and tenant in {None, read.tenant}:
                found[read] += 1
    if not files:
        raise ConfigError(
            "The trail has no file of these days, so who read what is not known.",
            remedy="give `--trail` the bucket and prefix that S3 data events of the lake's buckets are delivered to (docs/how-to/audit.md).",
        )
    return found


def _files(aws: Aws, trail: str, first: date, last: date) -> Iterator[dict[str, Any]]:
    place, s3 = urlsplit(trail), aws.client("s3")
    if place.scheme != "s3" or not place.netloc:
        raise ConfigError("The trail is no place in S3.", remedy="write it as s3://bucket/prefix.")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=place.netloc, Prefix=place.path.lstrip("/")):
        for each in page.get("Contents", ()):
            match = _FILES.search(f"/{each['Key']}")
            if match and first <= date(*map(int, match.groups())) <= last + _LATE:
                packed = s3.get_object(Bucket=place.netloc, Key=each["Key"])["Body"].read()
                yield json.loads(gzip.decompress(packed))


def _read(event: dict[str, Any], buckets: dict[str, str]) -> Read | None:
    asked = event.get("requestParameters") or {}
    layer, key = buckets.get(asked.get("bucketName", "")), _KEY.match(asked.get("key", ""))
    if event.get("eventName") != "GetObject" or event.get("errorCode") or layer is None or key is None:
        return None
    who = event.get("userIdentity", {})
    tenant, table, day = key.groups()
    identity = who.get("arn") or who.get("invokedBy") or who.get("type", "unknown")
    return Read(tenant, "lake", layer, table or "", day, identity, str(datetime.fromisoformat(event["eventTime"]).date()))
