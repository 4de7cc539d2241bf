"""Which items of a pooled DynamoDB table are a tenant's: those whose discriminator is its value, as a text or as a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from lab_insights.extract.catalog import SourceTable

Item = dict[str, Any]
# Decimal digits that a number of the service holds.
_DIGITS = 38


def _values(value: str) -> dict[str, Item]:
    """Return the values of a discriminator that are a tenant's, by their type."""
    number = {"N": {"N": str(int(value))}} if value.isascii() and value.isdecimal() and len(value) <= _DIGITS else {}
    return {"S": {"S": value}, **number}


def owns(table: SourceTable, item: Item) -> bool:
    """Whether an item is the tenant's."""
    discriminator = table.placement.discriminator
    return discriminator is None or item.get(discriminator[0]) in _values(discriminator[1]).values()


def owned(table: SourceTable, key: Item) -> Item:
    """Return the key of an item that is gone with whose it was, which every row of a pooled table must say and few keys do."""
    discriminator = table.placement.discriminator
    return {discriminator[0]: {"S": discriminator[1]}, **key} if discriminator else key


def asked(aws: Aws, table: str, discriminator: tuple[str, str] | None) -> tuple[str, Item]:
    """Return the operation that gives a tenant's items, and its request."""
    request: Item = {"TableName": table, "ConsistentRead": True}
    if discriminator is None:
        return "scan", request
    name, values = discriminator[0], _values(discriminator[1])
    described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
    request["ExpressionAttributeNames"] = {"#tenant": name}
    its = values.get(_typed(described).get(name, ""))
    if its and {"AttributeName": name, "KeyType": "HASH"} in described["KeySchema"]:
        return "query", {**request, "KeyConditionExpression": "#tenant = :tenant", "ExpressionAttributeValues": {":tenant": its}}
    # Of no type but what each item gives it.
    named = {f":{kind}": value for kind, value in values.items()}
    return "scan", {**request, "FilterExpression": f"#tenant IN ({', '.join(named)})", "ExpressionAttributeValues": named}


def check(aws: Aws, described: Item, discriminator: tuple[str, str], tenant: str) -> None:
    """Raise `ConfigError` when a table's discriminator is of another type than the tenant's value can be; it gave no item, and nobody would know why."""
    name, value = discriminator
    if name in (typed := _typed(described)):
        kinds = {typed[name]}
    else:
        page = aws.client("dynamodb").scan(
            TableName=described["TableName"], Limit=500, ProjectionExpression="#tenant", ExpressionAttributeNames={"#tenant": name}
        )
        kinds = {kind for item in page["Items"] for kind in item.get(name, {})}
    if kinds and not kinds & {*_values(value)}:
        raise ConfigError(
            f"The discriminator {name} of {described['TableName']} is of type {', '.join(sorted(kinds))}, which this tenant's value for it can not be.",
            remedy="correct `column` or `value` in the source's `tenancy`, or the tenant's key in the registry: it is compared as a text and as a number.",
            tenant=tenant,
        )


def _typed(described: Item) -> dict[str, str]:
    return {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
