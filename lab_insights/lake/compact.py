"""Compaction: the rows of a state, from many small batches, written again as few parts, without touching the source.

A compacted state is a cache that its reader checks: it names the batches that it was made from, and is used only while these are still the live ones. So
a day that is loaded again, however old, is never hidden by it. It holds every row of those batches, older versions too, because wide tables look at them;
what is derived is the same with and without it, and `verify` computes without it. It belongs to no day: no event tells of it, and no later layer loads it.

Nothing is compacted when two batches give a column different types, since one schema could not hold both as they are.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lab_insights.lake import parts
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed, since_snapshot
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest, encode_schema
from lab_insights.lake.state import Intent
from lab_insights.lake.tables import TableState, loaded, relation
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

# The bound of what a state is read from: 30 batches are a month of days.
BATCHES = 30
# Beside the table's own directory; no table id holds this sign.
_BESIDE = "@state"
_SUFFIX = ".state.json"


@dataclass(frozen=True)
class Compacted:
    """The receipt of one table: `batches` of the state up to `day` were written as `parts`, of so many `rows` and `bytes`."""

    tenant: TenantId
    layer: Layer
    table: str
    day: date
    batches: int
    rows: int
    parts: int
    bytes: int


@dataclass(frozen=True)
class _Pointer:
    """What DynamoDB holds of the compacted state up to the end of a day."""

    day: date
    manifest: str
    made_from: str


def compact(lake: Lake, tenant: TenantId, layer: Layer, table: str, *, bound: int = BATCHES) -> Compacted | None:
    """Write the state before the newest day anew when more than `bound` batches make it up; return None when there is nothing to do.

    Safe beside running writers and other compactions, and to repeat.
    """
    live = lake.state.batches(layer, tenant, table)
    older = since_snapshot([batch for batch in live if batch.partition.day < live[-1].partition.day]) if live else []
    before, after = _usable(lake, layer, tenant, table, older)
    if len(after) <= bound:
        return None
    batches = [*([before] if before else []), *loaded(lake, after)]
    schema = TableState(tuple(batches)).schema
    if any(not schema.field(each.name).type.equals(each.type) for manifest in batches for each in manifest.schema_()):
        return None
    day = older[-1].partition.day
    of = Partition(layer, tenant, f"{table}{_BESIDE}", day)
    intent = Intent(of, int(older[-1].batch_id[:8]), 1, uuid.uuid4().hex)
    landed = parts.land(lake.storage, intent, _Rows(lake, batches, schema), reader=intent.token)
    manifest = batches[-1].model_copy(
        update={
            "day": day,
            "kind": "snapshot",
            "supersedes": False,
            "parts": landed.parts,
            "rows": sum(part.rows for part in landed.parts),
            "digest": landed.digest,
            "checksum": None,
            "arrow_schema": encode_schema(landed.schema),
            "counts": {},
            "proof": None,
            "reason": f"compacted from {len(older)} batches",
            "inputs": tuple(batch.manifest for batch in older),
            "created_at": lake.clock.now(),
        }
    )
    key = f"{of.directory}/{intent.token}{_SUFFIX}"
    lake.storage.put_new(layer, key, manifest.model_dump_json().encode())
    _point(lake, layer, tenant, table, _Pointer(day, key, _told(older)))
    size = sum(part.bytes for part in landed.parts)
    return Compacted(tenant, layer, table, day, len(older), manifest.rows, len(landed.parts), size)


def compact_all(lake: Lake, tenant: TenantId, *, bound: int = BATCHES) -> list[Compacted]:
    """Compact the curated tables of a tenant, whose states every day is derived from; return a receipt for each that was."""
    found = (compact(lake, tenant, "curated", table, bound=bound) for table in lake.state.tables("curated", tenant))
    return [each for each in found if each]


def compacted(lake: Lake, layer: Layer, tenant: TenantId, table: str, as_of: date | None = None) -> TableState:
    """Return what `tables.state` returns, with the older batches as one, where they were compacted and are still what they were."""
    batches = since_snapshot(lake.state.batches(layer, tenant, table, None, as_of))
    before, after = _usable(lake, layer, tenant, table, batches)
    return TableState((*([before] if before else []), *loaded(lake, after)))


def named(lake: Lake, layer: Layer, tenant: TenantId, beside: str) -> set[str]:
    """Return the keys that compacted states of a table need, given the name of its directory of them."""
    found: set[str] = set()
    for pointer in _pointers(lake, layer, tenant, beside.removesuffix(_BESIDE)):
        manifest = lake.storage.manifest(layer, pointer.manifest)
        found |= {pointer.manifest, *(part.key for part in manifest.parts)} if manifest else set()
    return found


def is_beside(table: str) -> bool:
    """Whether a directory is that of a table's compacted states."""
    return table.endswith(_BESIDE)


@dataclass(frozen=True)
class _Rows:
    lake: Lake
    batches: Sequence[Manifest]
    schema: pa.Schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for manifest in self.batches:
            yield from relation(self.lake.storage, [manifest], self.schema).to_batches()


def _usable(
    lake: Lake, layer: Layer, tenant: TenantId, table: str, batches: Sequence[Committed]
) -> tuple[Manifest | None, Sequence[Committed]]:
    """Return the newest compacted state that was made from the first of these batches, all that there are of its days, and the batches after it."""
    for pointer in reversed(_pointers(lake, layer, tenant, table) if len(batches) > 1 else []):
        covered = [batch for batch in batches if batch.partition.day <= pointer.day]
        if covered and _told(covered) == pointer.made_from and (manifest := lake.storage.manifest(layer, pointer.manifest)):
            return manifest, batches[len(covered) :]
    return None, batches


def _told(batches: Sequence[Committed]) -> str:
    return hashlib.sha256("\n".join(batch.manifest for batch in batches).encode()).hexdigest()


def _pointers(lake: Lake, layer: Layer, tenant: TenantId, table: str) -> list[_Pointer]:
    items = lake.state.query(lake.state.status, _pk(layer, tenant, table))
    return [_Pointer(date.fromisoformat(item["sk"]), item["manifest"], item["made_from"]) for item in items]


def _point(lake: Lake, layer: Layer, tenant: TenantId, table: str, to: _Pointer) -> None:
    """Add a pointer, and forget all but the one before it, which a reader may be at."""
    client, name, pk = lake.state.db, lake.state.status, {"S": _pk(layer, tenant, table)}
    item = {"pk": pk, "sk": {"S": str(to.day)}, "manifest": {"S": to.manifest}, "made_from": {"S": to.made_from}}
    client.put_item(TableName=name, Item=item)
    for old in _pointers(lake, layer, tenant, table)[:-2]:
        client.delete_item(TableName=name, Key={"pk": pk, "sk": {"S": str(old.day)}})


def _pk(layer: Layer, tenant: TenantId, table: str) -> str:
    return f"{tenant}#{layer}#{table}{_BESIDE}"
