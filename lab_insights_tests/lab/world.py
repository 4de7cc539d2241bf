"""One tenant's lake, whose raw batches a test writes by hand; curation and transformation are the product's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from lab_insights.lab import pipeline
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.declared import by_raw_table, read_by
from lab_insights.lab.lineage import source_columns
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Kind, Manifest, Window
from lab_insights.lake.tables import relation, state
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Rows, day, instant

STAMP = pa.timestamp("us")
# A deployment's own files.
RIDGELINE = Path(__file__).parent / "ridgeline"
RAW = {contract.table: raw for raw, contract in by_raw_table().items()}


def at(number: int, hour: float = 8) -> datetime:
    """Return an hour of a day as sources hold it."""
    return instant(number, hour).replace(tzinfo=None)


@dataclass
class Lab:
    """A tenant."""

    lake: Lake
    tenant: TenantId

    def land(
        self,
        table: str,
        number: int,
        rows: Sequence[dict[str, Any]],
        schema: pa.Schema,
        *,
        kind: Kind = "delta",
        key: tuple[str, ...] = ("id",),
        cursor: str | None = "updated_at",
        supersedes: bool = False,
        hour: float = 24,
    ) -> Manifest:
        """Commit a raw batch that was read up to an hour of its day."""
        self.lake.clock.set(instant(number, hour))
        partition = Partition("raw", self.tenant, table, day(number))
        window = Window(low=None if kind == "snapshot" else instant(number), high=instant(number, hour))
        draft = Draft(partition, kind, supersedes=supersedes, key=key, cursor=cursor, window=window)
        batches = pa.Table.from_pylist(list(rows), schema).to_batches()
        return commit(self.lake, settled_head(self.lake, partition), draft, Rows(batches, schema))[0]

    def modelled(self, number: int, kind: Kind = "delta", *, supersedes: bool = False, **tables: Sequence[dict[str, Any]]) -> None:
        """Land and curate a day of the tables that wide ones read, and of those that are named; those that are not have no changes."""
        names = {*tables, *(each for wide in WIDE_TABLES for each in wide.inputs)}
        for name in sorted(names & RAW.keys()):
            raw = RAW[name]
            [(contract, mapping), *_] = read_by()[raw]
            cursor = mapping.source.cursor
            needed = {*mapping.source.key, *filter(None, [cursor]), *source_columns(contract, mapping)}
            schema = pa.schema([(column, STAMP if column.endswith("_at") else pa.string()) for column in sorted(needed)])
            rows = [({cursor: at(number)} if cursor else {}) | row for row in tables.get(name, ())]
            its: Kind = kind if name in tables else "delta"
            self.land(raw, number, rows, schema, kind=its, key=mapping.source.key, cursor=cursor, supersedes=supersedes)
            self.curate(raw, number)
        # What only messages tell of: the store of them was landed above.
        for name in sorted(names - RAW.keys()):
            self.curate(name, number, contracts()[name])

    def curate(self, table: str, number: int, contract: Contract | None = None) -> Manifest:
        """Curate a day of a raw table, or of what a contract is made of."""
        return pipeline.curate_table(self.lake, self.tenant, table, day(number), contract or by_raw_table().get(table), "test")

    def transform(self, table: str, number: int) -> list[dict[str, Any]]:
        """Return what a wide table's day re-emits, by its key."""
        wide = next(each for each in WIDE_TABLES if each.table == table)
        manifest = pipeline.transform_wide(pipeline.Curated(self.lake, self.tenant, day(number)), wide, "test")
        return self.rows(manifest, *wide.key)

    def rows(self, manifest: Manifest, *by: str) -> list[dict[str, Any]]:
        """Return a batch's rows, in order of columns."""
        rows = relation(self.lake.storage, [manifest], manifest.schema_())
        table = rows if isinstance(rows, pa.Table) else rows.to_table()
        order = [(name, "ascending") for name in by]
        found: list[dict[str, Any]] = (table.sort_by(order) if order else table).to_pylist()
        return found

    def state(self, layer: Layer, table: str, key: str, number: int | None = None) -> dict[Any, dict[str, Any]]:
        """Return the newest version of each key as of a day, as the warehouse would hold it, in whatever order the days were made."""
        found = state(self.lake, layer, self.tenant, table, None if number is None else day(number))
        rows = [row for manifest in found.manifests for row in self.rows(manifest)]
        rows.sort(key=lambda row: (row["source_updated_at"], row["batch_id"]))
        return {row[key]: row for row in rows}
