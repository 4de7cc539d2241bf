"""Whether each tenant's part of the lake may be written, in the session that its loads have: tried in a way that leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab_insights.aws import Aws
from lab_insights.config import Config
from lab_insights.doctor.check import Check, Checks, guarded
from lab_insights.doctor.deployment import DATABASES, REMEDY
from lab_insights.tenants.registry import Tenant

_TABLES = ("bookmarks", "status")


def lake(config: Config, aws: Aws, tenants: Sequence[Tenant]) -> Checks:
    """Yield a check for each of `tenants`: its prefix in each bucket, and its items in the two tables of the state."""
    for tenant in tenants:
        own = replace(aws, tenant_role=config.aws.tenant_role).of(tenant.id)
        with guarded(f"lake of {tenant.id}", REMEDY) as trouble:
            for bucket in DATABASES:
                _object(own.client("s3"), f"{config.lake.prefix}-{bucket}", f"tenant={tenant.id}/doctor")
            for table in _TABLES:
                _item(own.client("dynamodb"), f"{config.lake.prefix}-{table}", f"{tenant.id}#doctor")
        session = "in a session of the tenants' role" if config.aws.tenant_role else "by this login"
        yield trouble.check or Check(f"lake of {tenant.id}", "ok", f"may be written {session}")


def _object(s3: Any, bucket: str, key: str) -> None:
    # takes the right to put the object, and its encryption's; there is no object before it is completed
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key)
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=begun["UploadId"])


def _item(db: Any, table: str, pk: str) -> None:
    try:
        db.put_item(
            TableName=table,
            Item={"pk": {"S": pk}, "sk": {"S": "doctor"}},
            ConditionExpression="attribute_exists(pk) AND attribute_not_exists(pk)",
        )
    except db.exceptions.ConditionalCheckFailedException:
        return
