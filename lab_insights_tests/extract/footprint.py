"""Everything that a table's loads left: rows, manifests, heads, bookmarks, status, objects and events, with the attempts left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab_insights.aws import Aws
from lab_insights.lake import queue
from lab_insights.lake.commit import Lake
from lab_insights.lake.events import ManifestRef, Verdict, decode, judge
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import held

# batch and attempt, in names of objects and in sort keys
_ATTEMPT = re.compile(r"(\d{8})-\d{3}(?=[-.\"]|$)")
# what the reason of a batch says of the finished ranges of attempts before it
_KEPT = re.compile(r", \d+ kept from an attempt that broke off")


@dataclass(frozen=True)
class Left:
    """What readers, writers and operators see of a table."""

    rows: list[str]
    manifests: list[str]
    items: list[str]
    status: list[str]


def left(lake: Lake, tenant: TenantId, table: str, *, forced: bool = False) -> Left:
    """Return what a table's loads left for readers, writers and operators; two tenants that were loaded alike have the same.

    A `forced` load is done again when it is asked for again: then neither the numbers of batches nor what was superseded are told.
    """
    found = manifests(lake, "raw", tenant, table)
    rows = sorted(map(repr, held(lake, "raw", tenant, table).to_pylist())) if found else []
    plain = {"seconds", "attempt", "longest_statement", "predicted", "cpu_seconds", "position", *(("batch", "parts") if forced else ())}
    kept = [_plain(manifest.model_dump(mode="json", exclude=plain)) for manifest in found]
    items = [item for item in _items(lake, tenant, table) if not forced or item["sk"]["S"] == "head"]
    told = [{name: value for name, value in item.items() if not forced or name not in {"batch", "version"}} for item in items]
    status = sorted(_attempted(item) for item in _processed(lake, tenant, table))
    return Left(rows, [_nameless(text, tenant) for text in kept], sorted(_nameless(_plain(item), tenant) for item in told), status)


def _items(lake: Lake, tenant: TenantId, table: str) -> Iterable[dict[str, Any]]:
    """Every item of a raw table in the two tables of DynamoDB, and its tenant's index."""
    for name in ("bookmarks", "status"):
        for key in (f"{tenant}#raw#{table}", f"{tenant}#raw"):
            yield from _queried(lake, name, key)


def _processed(lake: Lake, tenant: TenantId, table: str) -> Iterable[dict[str, Any]]:
    """Every item of what became of the attempts at a table, and of proofs against its tenant's cursors."""
    for name, key in (("status", f"{tenant}#processing"), ("status", f"{tenant}#processing#{table}"), ("bookmarks", f"{tenant}#cursors")):
        yield from _queried(lake, name, key)


def _queried(lake: Lake, name: str, key: str) -> Iterable[dict[str, Any]]:
    pages = (
        lake.storage.aws.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=f"{lake.storage.prefix}-{name}", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": key}}
        )
    )
    return (item for page in pages for item in page["Items"])


def _attempted(item: dict[str, Any]) -> str:
    """An item without what a clock measured."""
    return re.sub(r'\\"(seconds|bytes)\\":[0-9.]+', "", _plain({name: value for name, value in item.items() if name != "pk"}))


def _plain(found: Any) -> str:
    return json.dumps(found, sort_keys=True, default=str)


def _nameless(text: str, tenant: TenantId) -> str:
    without = re.sub(r'"sha256": "\w+"', "", text.replace(tenant, "TENANT"))
    return _KEPT.sub("", _ATTEMPT.sub(r"\1-ATT", without))


def named(found: Iterable[Manifest]) -> set[str]:
    """Return the keys of manifests and of the parts that they name."""
    return {key for manifest in found for key in (manifest.object_key, *(part.key for part in manifest.parts))}


def objects(lake: Lake, tenant: TenantId) -> set[str]:
    """Return the keys of what lies in the raw layer of a tenant, whether a reader sees it or not."""
    return {each.key for each in lake.storage.stored("raw", f"tenant={tenant}/")}


def events(aws: Aws, prefix: str) -> list[ManifestRef]:
    """Take every event from the queue of the curation."""
    curation, found = queue.manifest_queue(aws, prefix, "curation"), list[ManifestRef]()
    while messages := curation.receive():
        found += [event.manifest for message in messages if (event := decode(message.body, f"{prefix}-raw"))]
        curation.delete(messages)
    return found


def verdicts(lake: Lake, found: Iterable[ManifestRef]) -> dict[str, Verdict]:
    """Return what has to be done about each manifest that an event named."""
    return {manifest.key: judge(lake, manifest, lambda *_: False) for manifest in found}
