"""CloudTrail's data events, in files as a trail delivers them: who read what is told, and silence is no evidence."""

from __future__ import annotations

import dataclasses
import gzip
import json
import uuid
from datetime import date
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.errors import ConfigError
from lab_insights.governance.audit.reads import Read, reads
from lab_insights.names import TenantId

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 3)
SESSION = "arn:aws:sts::123456789012:assumed-role/p-tenant/tenant=acme"
PERSON = "arn:aws:iam::123456789012:user/ada"


def event(key: str, who: str = SESSION, at: str = "2026-03-02T10:00:00Z", **other: Any) -> dict[str, Any]:
    asked = {"bucketName": other.pop("bucket", "p-curated"), "key": key}
    return {
        "eventTime": at,
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "userIdentity": {"type": "AssumedRole", "arn": who},
        "requestParameters": asked,
        **other,
    }


PATIENT = "tenant=acme/table=patient/date=2026-03-01/00000000-001-00000.parquet"


@pytest.fixture
def trail(aws_endpoint: str) -> str:
    s3, bucket = Aws(endpoint_url=aws_endpoint).client("s3"), f"trail-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    delivered = {
        "2026/03/02/a.json.gz": [
            event(PATIENT),
            event(PATIENT, PERSON),
            event(PATIENT, eventName="PutObject"),
            event(PATIENT, PERSON, errorCode="AccessDenied"),
            event(PATIENT, bucket="another-curated"),
            event("tenant=acme_east/date=2026-03-01/page.html", PERSON, bucket="p-reports"),
        ],
        # delivered after midnight, one event of the day before and one that is too late
        "2026/03/04/b.json.gz": [event(PATIENT, at="2026-03-03T23:59:00Z"), event(PATIENT, at="2026-03-04T00:01:00Z")],
        "2026/03/09/c.json.gz": [event(PATIENT)],
    }
    for name, records in delivered.items():
        key = f"AWSLogs/123456789012/CloudTrail/us-east-1/{name}"
        s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(json.dumps({"Records": records}).encode()))
    s3.put_object(Bucket=bucket, Key="AWSLogs/123456789012/CloudTrail-Digest/us-east-1/2026/03/02/d.json.gz", Body=b"no trail")
    return f"s3://{bucket}/AWSLogs"


def test_who_read_what_is_told_by_tenant_table_day_and_identity(aws_endpoint: str, trail: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    mine = Read("acme", "lake", "curated", "patient", "2026-03-01", SESSION, "2026-03-02")
    later = dataclasses.replace(mine, on="2026-03-03")
    hers = Read("acme", "lake", "curated", "patient", "2026-03-01", PERSON, "2026-03-02")
    page = Read("acme_east", "lake", "reports", "", "2026-03-01", PERSON, "2026-03-02")
    assert reads(aws, "p", trail, FIRST, LAST) == {mine: 1, later: 1, hers: 1, page: 1}
    assert reads(aws, "p", trail, FIRST, LAST, TenantId("acme_east")) == {page: 1}
    assert reads(aws, "p", trail, FIRST, FIRST, TenantId("acme")) == {mine: 1, hers: 1}


def test_a_trail_without_files_of_the_days_is_no_evidence_that_nobody_read(aws_endpoint: str, trail: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    with pytest.raises(ConfigError, match="not known"):
        reads(aws, "p", trail, date(2026, 5, 1), date(2026, 5, 2))
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        reads(aws, "p", "acme-trail", FIRST, LAST)
