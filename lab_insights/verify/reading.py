"""The lake as one verification sees it: each object is read once, now, and nothing is taken from what the process remembered before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

# Bytes of small parts that are kept: a part is hashed, curated, read for later days' states, and compared with Snowflake.
KEPT = 256 << 20


@dataclass(frozen=True, eq=False)
class ReadStorage(Storage):
    """Storage that remembers manifests and small parts. It equals only itself, so that the process's own caches start anew with it."""

    _manifests: dict[tuple[str, str], Manifest | None] = field(default_factory=dict)
    _bodies: OrderedDict[tuple[str, str], bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def get(self, layer: Layer | str, key: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""
        with self._lock:
            if (layer, key) in self._bodies:
                self._bodies.move_to_end((layer, key))
                return self._bodies[layer, key]
        body = super().get(layer, key)
        if body is not None:
            with self._lock:
                self._bodies[layer, key] = body
                kept = sum(map(len, self._bodies.values()))
                while kept > KEPT:
                    kept -= len(self._bodies.popitem(last=False)[1])
        return body

    def manifest(self, layer: Layer, key: str) -> Manifest | None:
        """Return the manifest under a key, or None when there is none."""
        if (layer, key) not in self._manifests:
            body = super().get(layer, key)
            self._manifests[layer, key] = None if body is None else Manifest.model_validate_json(body)
        return self._manifests[layer, key]

    def dataset(self, layer: Layer, keys: Sequence[str], schema: pa.Schema) -> pads.Dataset:
        """Return a dataset over parts: over bytes at hand where there are, since Arrow makes four requests a part."""
        import pyarrow as pa
        import pyarrow.dataset as pads
        import pyarrow.parquet as pq

        with self._lock:
            bodies = [self._bodies.get((layer, key)) for key in keys]
        if None in bodies:
            return super().dataset(layer, keys, schema)
        return pads.dataset(pa.concat_tables([pq.read_table(pa.BufferReader(body), schema=schema) for body in bodies]))

    def forget(self) -> None:
        """Let go of everything that was read."""
        self._manifests.clear()
        self._bodies.clear()


@dataclass(frozen=True)
class ReadState(State):
    """State that asks for a tenant's tables and for a table's batches once; `hidden` tables are left out of `tables`."""

    hidden: frozenset[tuple[Layer, TenantId, str]] = frozenset()
    _tables: dict[tuple[Layer, TenantId], list[str]] = field(default_factory=dict)
    _batches: dict[tuple[Layer, TenantId, str], list[Committed]] = field(default_factory=dict)

    def batches(self, layer: Layer, tenant: TenantId, table: str, first: date | None = None, last: date | None = None) -> list[Committed]:
        """Return the live batches of a table from day `first` to day `last`, by day and batch."""
        of = (layer, tenant, table)
        if of not in self._batches:
            self._batches[of] = super().batches(layer, tenant, table)
        return [batch for batch in self._batches[of] if (first or date.min) <= batch.partition.day <= (last or date.max)]

    def tables(self, layer: Layer, tenant: TenantId, first: date | None = None, last: date | None = None) -> list[str]:
        """Return the tables of a tenant that have batches from day `first` to day `last`, in order."""
        if first or last:
            return super().tables(layer, tenant, first, last)
        if (layer, tenant) not in self._tables:
            self._tables[layer, tenant] = super().tables(layer, tenant)
        return [table for table in self._tables[layer, tenant] if (layer, tenant, table) not in self.hidden]


@dataclass(frozen=True)
class Reading(Lake):
    """The lake for one verification."""

    storage: ReadStorage
    state: ReadState

    @classmethod
    def of(cls, lake: Lake) -> Reading:
        """Return a lake in which nothing was read yet."""
        return cls(ReadStorage(lake.storage.aws, lake.storage.prefix), ReadState(lake.state.aws, lake.state.prefix), lake.clock)

    def without(self, hidden: Collection[tuple[Layer, TenantId, str]]) -> Reading:
        """Return the lake as if it had no such tables."""
        return replace(self, state=replace(self.state, hidden=frozenset(hidden)))
