"""Reading the lake by manifest: a partition's batches, and a table's state as of a day."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from lab_insights.errors import LandingMismatch
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed, since_snapshot
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest, Part, decode_schema
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

# Parts up to this many bytes in all are read whole, with one request each, instead of being scanned.
SMALL = 8 << 20
# Parts up to this many bytes are remembered: a tenant's day has about a hundred, and the next day's states are made of all before it.
KEPT = 256 << 10


class _Gone(Exception):
    """A manifest that is not there; not cached, since it may be restored."""


@functools.lru_cache(maxsize=20_000)
def _manifest(storage: Storage, layer: Layer, key: str, _committed_at: datetime) -> Manifest:
    # Manifests are immutable, so a process reads each one once; a tenant that was erased and came back has the same keys again, at other instants.
    if (found := storage.manifest(layer, key)) is None:
        raise _Gone
    return found


def manifests(
    lake: Lake, layer: Layer, tenant: TenantId, table: str, first: date | None = None, last: date | None = None
) -> list[Manifest]:
    """Return the live manifests of a table from day `first` to day `last`, by day and batch."""
    return loaded(lake, lake.state.batches(layer, tenant, table, first, last))


def loaded(lake: Lake, batches: Sequence[Committed]) -> list[Manifest]:
    """Return the manifests of committed batches; raise `LandingMismatch` when one is gone."""
    found = []
    for batch in batches:
        try:
            found.append(_manifest(lake.storage, batch.partition.layer, batch.manifest, batch.committed_at))
        except _Gone:
            raise gone(batch) from None
    return found


def gone(batch: Committed) -> LandingMismatch:
    """Return the error of a committed batch whose manifest is not there."""
    return LandingMismatch(
        f"The committed manifest {batch.manifest} is gone from the lake.",
        remedy="restore the object's last version, or materialize the partition with `reload: true`.",
        **batch.partition.where,
    )


def partition_manifests(lake: Lake, partition: Partition) -> list[Manifest]:
    """Return the live manifests of one partition, by batch; none when it was never materialized."""
    return manifests(lake, partition.layer, partition.tenant, partition.table, partition.day, partition.day)


@dataclass(frozen=True)
class TableState:
    """The batches that make up `state(tenant, table, as_of)`: the newest snapshot's day, then every later day up to `as_of`."""

    manifests: tuple[Manifest, ...]

    @property
    def schema(self) -> pa.Schema:
        """The schema that covers every batch: a type that was widened since is the wider one, types that no type holds exactly are text."""
        import pyarrow as pa

        kinds: dict[str, list[pa.DataType]] = {}
        for each in dict.fromkeys(manifest.arrow_schema for manifest in self.manifests):
            for field in decode_schema(each):
                kinds.setdefault(field.name, []).append(field.type)
        return pa.schema([(name, _covering(each)) for name, each in kinds.items()])


def _covering(kinds: list[pa.DataType]) -> pa.DataType:
    import pyarrow as pa
    import pyarrow.types as pat

    if any(map(pat.is_timestamp, kinds)):  # a date became an instant: Arrow knows no type of both
        kinds = [pa.timestamp("us") if pat.is_date(kind) else kind for kind in kinds]
    try:
        wide = pa.unify_schemas([pa.schema([("x", kind)]) for kind in kinds], promote_options="permissive").field("x").type
    except pa.ArrowTypeError:
        return pa.string()
    return wide if all(_holds(wide, kind) for kind in kinds) else pa.string()


def _holds(wide: pa.DataType, kind: pa.DataType) -> bool:
    """Arrow also widens 64 bits to a double's 53, and unsigned ones to signed."""
    import pyarrow.types as pat

    if pat.is_floating(wide):
        return bool(pat.is_floating(kind) or (pat.is_integer(kind) and kind.bit_width < 64))
    return not (kind.equals("uint64") and pat.is_signed_integer(wide)) and not (pat.is_binary(wide) and pat.is_string(kind))


def state(lake: Lake, layer: Layer, tenant: TenantId, table: str, as_of: date | None = None) -> TableState:
    """Return what a table's state as of the end of day `as_of` (None: of the newest day) is made of."""
    return TableState(tuple(since_snapshot(manifests(lake, layer, tenant, table, None, as_of))))


def small(batches: Sequence[Manifest]) -> bool:
    """Whether the parts of batches are read whole."""
    return sum(part.bytes for manifest in batches for part in manifest.parts) <= SMALL


def relation(storage: Storage, batches: Sequence[Manifest], schema: pa.Schema) -> pa.Table | pads.Dataset:
    """Return the parts of batches of one layer as one relation of exactly `schema`: lazily when they are large; columns that a part lacks are null."""
    import pyarrow as pa

    layer, parts = batches[0].layer if batches else "raw", [part for manifest in batches for part in manifest.parts]
    if not small(batches):
        return storage.dataset(layer, [part.key for part in parts], schema)
    return pa.concat_tables([schema.empty_table(), *(_fitted(_whole(storage, layer, part), schema) for part in parts)])


def joined(rows: pa.Table | pads.Dataset, more: pa.Table) -> pa.Table | pads.Dataset:
    """Return a relation with more rows of its schema."""
    import pyarrow as pa
    import pyarrow.dataset as pads

    return pa.concat_tables([rows, more]) if isinstance(rows, pa.Table) else pads.dataset([rows, pads.dataset(more)])


def _whole(storage: Storage, layer: Layer, part: Part) -> pa.Table:
    return (_part if part.bytes <= KEPT else _part.__wrapped__)(storage, layer, part.key, part.sha256)


@functools.lru_cache(maxsize=4096)
def _part(storage: Storage, layer: Layer, key: str, _sha256: str) -> pa.Table:
    # A committed part never changes, and small ones are read again for every later day's state.
    import pyarrow as pa
    import pyarrow.parquet as pq

    body = storage.get(layer, key)
    if body is None:
        raise LandingMismatch(
            f"The part {key} that a manifest names is gone from the lake.",
            remedy="restore the object's last version; `lab-insights verify` names all that are missing.",
        )
    return pq.read_table(pa.BufferReader(body))


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
