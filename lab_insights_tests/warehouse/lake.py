"""Writes batches to a test's lake as the product would: parquet parts and a manifest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lab_insights.lake.layout import Layer, Partition, part_key
from lab_insights.lake.manifest import Kind, Manifest, Part, Window, encode_schema
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId

FIRST = date(2026, 1, 1)
META = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("source_updated_at", pa.timestamp("us")),
        ("ingested_at", pa.timestamp("us")),
        ("batch_id", pa.string()),
        ("record_hash", pa.string()),
        ("is_deleted", pa.bool_()),
    ]
)


def noon(day: int) -> datetime:
    """Return noon of day `day` of the year, naive, in UTC."""
    return datetime(2026, 1, 1, 12) + timedelta(days=day - 1)


@dataclass
class TestLake:
    """One tenant's lake; `batch` commits one and returns its manifest."""

    __test__ = False

    storage: Storage
    tenant: TenantId
    state: State | None = None
    _numbers: dict[tuple[str, str, date], int] = field(default_factory=dict)

    def batch(
        self,
        table: str,
        day: int,
        rows: Sequence[dict[str, Any]],
        schema: pa.Schema,
        *,
        key: tuple[str, ...] = ("id",),
        kind: Kind = "delta",
        layer: Layer = "curated",
        parts: int = 1,
        supersedes: bool = False,
        counts: Mapping[str, int] | None = None,
        fidelity: dict[str, str] | None = None,
    ) -> Manifest:
        """Commit rows of business columns as a batch of day `day`; `at` is a version's day, `deleted` a tombstone."""
        on = FIRST + timedelta(days=day - 1)
        number = self._numbers.get((layer, table, on), 0)
        self._numbers[layer, table, on] = number + 1
        name = f"{day:04d}{number:04d}"
        whole = pa.schema([*schema, *META])
        full = [self._row(row, schema, day, f"{name}-001") for row in rows]
        partition = Partition(layer, self.tenant, table, on)
        written: list[Part] = []
        size = -(-len(full) // parts) or 1
        for start in range(0, len(full), size):
            body = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(full[start : start + size], whole), body, compression="zstd")
            key_ = part_key(partition, f"{number:08d}-001", len(written))
            self.storage.put(layer, key_, body.getvalue())
            written.append(
                Part(
                    key=key_,
                    rows=len(full[start : start + size]),
                    bytes=body.tell(),
                    sha256=hashlib.sha256(body.getvalue()).hexdigest(),
                )
            )
        manifest = Manifest(
            layer=layer,
            tenant=self.tenant,
            table=table,
            day=on,
            batch=number,
            attempt=1,
            kind=kind,
            supersedes=supersedes,
            key=key,
            parts=tuple(written),
            rows=len(full),
            counts=dict(counts or {}),
            arrow_schema=encode_schema(whole),
            fidelity=fidelity or {},
            window=Window(low=None, high=noon(day).replace(tzinfo=UTC) + timedelta(hours=12)),
            created_at=noon(day).replace(tzinfo=UTC) + timedelta(hours=13),
        )
        self.storage.put_new(layer, manifest.object_key, manifest.model_dump_json().encode())
        if self.state:
            head = self.state.head(partition)
            self.state.commit(head, self.state.begin(head, partition), manifest)
        return manifest

    def damage(self, table: str) -> Manifest:
        """Take the last row from the newest part of a curated table, after it was committed, and return its batch."""
        assert self.state
        *_, newest = [each for each in self.state.batches("curated", self.tenant, table) if each.rows]
        manifest = self.storage.manifest("curated", newest.manifest)
        assert manifest
        key = manifest.parts[-1].key
        rows = pq.read_table(pa.BufferReader(self.storage.get("curated", key)))
        body = io.BytesIO()
        pq.write_table(rows.slice(0, rows.num_rows - 1), body)
        self.storage.put("curated", key, body.getvalue())
        return manifest

    def _row(self, row: dict[str, Any], schema: pa.Schema, day: int, batch: str) -> dict[str, Any]:
        business = {name: row.get(name) for name in schema.names}
        at = row.get("at", day)
        return business | {
            "tenant_id": self.tenant,
            "source_updated_at": noon(at) if isinstance(at, int) else at,
            "ingested_at": noon(day),
            "batch_id": batch,
            "record_hash": hashlib.md5(repr(business).encode()).hexdigest(),
            "is_deleted": bool(row.get("deleted")),
        }
