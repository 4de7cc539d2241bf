"""The history of source schemas: a version is written when the crawl finds other columns or keys than the newest version has.

It lies in `<prefix>-status` under `schema#<tenant>#<table>`, an item a version with its instant, its run and what it changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lab_insights.aws import Aws
from lab_insights.extract.catalog import SourceTable
from lab_insights.lab.declared import read_by
from lab_insights.lake.items import Items, plain
from lab_insights.names import TenantId


@dataclass(frozen=True)
class Change:
    """What a crawl found new in one table: columns added, dropped and changed in type; `version` 1 is the first sight of it."""

    tenant: str
    table: str
    version: int
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        # Without the version, which the check `schema_unchanged` does not know: what both see is one alert.
        return f"{self.tenant} {self.table}: {_told(self.added, self.dropped, self.changed)}"


@dataclass(frozen=True)
class Version:
    """One version of a table's schema: when and by which run it was first seen, column types as the source spells them, and the change to it."""

    tenant: str
    table: str
    version: int
    at: datetime
    run_id: str
    columns: dict[str, str]
    key: tuple[str, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def told(self) -> str:
        """What changed with it, as a sentence."""
        return "first seen" if self.version == 1 else _told(self.added, self.dropped, self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Return the version as plain values."""
        return asdict(self) | {"at": self.at.isoformat()}


def record(aws: Aws, prefix: str, table: SourceTable, at: datetime, run_id: str = "") -> Change | None:
    """Write a version of `table` when it differs from the newest one; return the change, or None when nothing changed."""
    items = Items(aws, prefix)
    series = f"schema#{table.tenant}#{table.table_id}"
    columns = {column.name: column.type for column in table.columns}
    now = {"columns": columns, "key": list(table.key)}
    newest = items.newest(items.status, series)
    before: dict[str, Any] = json.loads(newest["body"]) if newest else {"columns": {}, "key": []}
    if newest and before == now:
        return None
    version = int(newest["sk"]) + 1 if newest else 1
    item = {"body": {"S": json.dumps(now)}, "at": {"S": at.isoformat()}, "run_id": {"S": run_id}}
    try:
        items.db.put_item(
            TableName=items.status,
            Item={"pk": {"S": series}, "sk": {"S": f"{version:08d}"}, **item},
            ConditionExpression="attribute_not_exists(pk)",
        )
    except items.db.exceptions.ConditionalCheckFailedException:
        # another crawl wrote it at this very moment, and tells of it
        return None
    return Change(table.tenant, table.table_id, version, *_difference(before["columns"], columns))


def versions(aws: Aws, prefix: str, tenants: Iterable[TenantId], table: str | None = None) -> Iterator[Version]:
    """Yield every version of the tenants' tables (or of the one with this lake id), by table, oldest first."""
    items, wanted = Items(aws, prefix), list(tenants)
    if table is None:
        scan = items.db.get_paginator("scan").paginate(
            TableName=items.status,
            FilterExpression="begins_with(pk, :schema)",
            ExpressionAttributeValues={":schema": {"S": "schema#"}},
            ConsistentRead=True,
        )
        found = [item for page in scan for item in map(plain, page["Items"]) if item["pk"].split("#")[1] in wanted]
    else:
        found = [item for tenant in wanted for item in items.query(items.status, f"schema#{tenant}#{table}")]
    series, before = "", dict[str, str]()
    for item in sorted(found, key=lambda item: (item["pk"], item["sk"])):
        if item["pk"] != series:
            series, before = item["pk"], {}
        _, tenant_, name = series.split("#", 2)
        body = json.loads(item["body"])
        at, run = datetime.fromisoformat(item["at"]), item.get("run_id", "")
        change = _difference(before, body["columns"])
        yield Version(tenant_, name, int(item["sk"]), at, run, body["columns"], tuple(body["key"]), *change)
        before = body["columns"]


def _difference(old: dict[str, str], new: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    return (
        tuple(column for column in new if column not in old),
        tuple(column for column in old if column not in new),
        tuple(column for column, kind in new.items() if old.get(column, kind) != kind),
    )


def _told(added: tuple[str, ...], dropped: tuple[str, ...], changed: tuple[str, ...]) -> str:
    what = {"added": added, "dropped": dropped, "changed": changed}
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in what.items() if names) or "another key"


def unread(change: Change) -> tuple[str, ...]:
    """Return the columns that the source has no longer and that a contract or mapping reads: what is curated from them is null from now on."""
    read = {name for _, mapping in read_by().get(change.table, ()) for _, rule in mapping.columns for name in rule.reads}
    return tuple(name for name in change.dropped if name in read)
