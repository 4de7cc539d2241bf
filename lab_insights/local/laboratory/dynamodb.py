"""The DynamoDB writer: the table of critical notifications, whose hash key is the tenant."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from lab_insights.local.laboratory.tenancy import LabTenant, Targets
from lab_insights.local.laboratory.timeline import Change


def create_table(targets: Targets) -> None:
    """Create the table, and wait until it can be written."""
    name = targets.notification_table
    client = _table(targets).meta.client
    keys = {"tenant_id": "HASH", "notification_id": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name)


def exists(targets: Targets) -> bool:
    """Tell whether there is a table of this name."""
    client = _table(targets).meta.client
    try:
        client.describe_table(TableName=targets.notification_table)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


def drop_table(targets: Targets) -> None:
    """Delete the table, where there is one."""
    if exists(targets):
        _table(targets).delete()


def write(targets: Targets, tenant: LabTenant, changes: Iterable[Change]) -> None:
    """Put new items in batches and update the others; keys are text."""
    table = _table(targets)
    key = {"tenant_id": str(tenant.key)}
    with table.batch_writer() as batch:
        for change in changes:
            if change.operation == "insert":
                batch.put_item(Item={**key, **change.values})
            else:
                names = list(change.values)
                table.update_item(
                    Key={**key, "notification_id": change.first["notification_id"]},
                    UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in range(len(names))),
                    ExpressionAttributeNames={f"#{n}": name for n, name in enumerate(names)},
                    ExpressionAttributeValues={f":{n}": change.values[name] for n, name in enumerate(names)},
                )


def _table(targets: Targets) -> Any:
    return _resource(targets.dynamodb_endpoint, targets.region, targets.notification_table)


@functools.cache
def _resource(endpoint: str | None, region: str, table: str) -> Any:
    import boto3

    # Kept as a whole: boto3 makes the class of a table anew for each of them, which took two thirds of a day's simulation.

    # A local endpoint takes any credentials, and must never see real ones.
    login: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if endpoint else {}
    return boto3.Session(region_name=region, **login).resource("dynamodb", endpoint_url=endpoint).Table(table)
