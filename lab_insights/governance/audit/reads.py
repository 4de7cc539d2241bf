"""Who read which objects of the lake: CloudTrail's data events, as a trail delivers them to a bucket.

A read is told by tenant, layer, table and day, which the object's key says, and by the identity that CloudTrail saw; a tenant's session has the tenant's
name in it. What is not there was not switched on: silence is no evidence.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from lab_insights.aws import Aws
from lab_insights.errors import ConfigError
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId

_FILES = re.compile(r"/CloudTrail/[^/]+/(\d{4})/(\d\d)/(\d\d)/[^/]+\.json\.gz$")
_KEY = re.compile(r"tenant=([^/]+)/(?:table=([^/]+)/)?date=(\d{4}-\d\d-\d\d)/")
# A file is delivered some time after its events, and may hold those of the day before.
_LATE = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Read:
    """What one identity read of one table's tenant-day; `table` is empty for a report page."""

    tenant: str
    layer: str
    table: str
    day: str
    identity: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


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
            at = datetime.fromisoformat(event["eventTime"]).date()
            if read and first <= at <= last and tenant in {None, read.tenant}:
                found[read] += 1
    if not files:
        raise ConfigError(
            "The trail has no file of these days, so who read what is not known.",
            remedy="switch S3 data events on for the lake's buckets, and give `--trail` the bucket and prefix that they are delivered to.",
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
    return Read(tenant, layer, table or "", day, who.get("arn") or who.get("invokedBy") or who.get("type", "unknown"))
