"""Committed batches in DynamoDB: what an item of `<prefix>-status` says of one, and which of a table's count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypeVar

from lab_insights.lake.items import Item, Items
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId


@dataclass(frozen=True)
class Committed:
    """One committed batch of a partition, as the status table holds it; items older than the `code_version` there have it in the manifest alone."""

    partition: Partition
    batch_id: str
    manifest: str
    rows: int
    supersedes: bool
    kind: str
    committed_at: datetime
    run_id: str
    tombstones: bool = False
    code_version: str | None = None


class _Batch(Protocol):
    @property
    def kind(self) -> str: ...


_B = TypeVar("_B", bound=_Batch)


def since_snapshot(batches: Sequence[_B]) -> Sequence[_B]:
    """Return the batches from the newest snapshot on, all where there is none: what a state is made of."""
    last = max((number for number, batch in enumerate(batches) if batch.kind == "snapshot"), default=0)
    return batches[last:]


@dataclass(frozen=True)
class History(Items):
    """The committed batches of one deployment."""

    def batches(self, layer: Layer, tenant: TenantId, table: str, first: date | None = None, last: date | None = None) -> list[Committed]:
        """Return the live batches of a table from day `first` to day `last`, by day and batch; superseded ones are left out.

        A delta that supersedes leaves the day's tombstones: a window that is read again does not hold the rows that were gone.
        """
        live: list[Committed] = []
        for found in self.history(layer, tenant, table, first, last):
            if found.supersedes:
                spared = found.kind == "delta"
                live = [batch for batch in live if batch.partition.day != found.partition.day or (batch.tombstones and spared)]
            live.append(found)
        return live

    def history(
        self, layer: Layer, tenant: TenantId, table: str, first: date | None = None, last: date | None = None
    ) -> Iterator[Committed]:
        """Yield every committed batch of a table from day `first` to day `last`, by day and batch, superseded ones included."""
        for item in self._pages(f"{tenant}#{layer}#{table}", first, last):
            yield _committed(layer, tenant, table, item)

    def retire(self, batch: Committed) -> None:
        """Forget a superseded batch: from then on its objects are nobody's, and the sweep takes them away."""
        partition = batch.partition
        key = {"pk": {"S": partition.series}, "sk": {"S": f"{partition.day}#{batch.batch_id}"}}
        self.db.delete_item(TableName=self.status, Key=key)

    def tables(self, layer: Layer, tenant: TenantId, first: date | None = None, last: date | None = None) -> list[str]:
        """Return the tables of a tenant that have batches from day `first` to day `last`, in order."""
        pages = self._pages(f"{tenant}#{layer}", first, last)
        return sorted({item["sk"].partition("#")[2] for item in pages})

    def newest_day(self, layer: Layer, tenant: TenantId, table: str) -> date | None:
        """Return the newest day of a table that has a batch, or None."""
        found = self.newest(self.status, f"{tenant}#{layer}#{table}")
        return date.fromisoformat(found["sk"].partition("#")[0]) if found else None

    def _pages(self, pk: str, first: date | None, last: date | None) -> Iterator[Item]:
        return self.query(self.status, pk, (f"{first or date.min}#", f"{last or date.max}#~"))


def row_of(partition: Partition, manifest: Manifest) -> Item:
    """Return the item of a committed batch."""
    row: Item = {
        "pk": {"S": partition.series},
        "sk": {"S": f"{partition.day}#{manifest.batch_id}"},
        "manifest": {"S": manifest.object_key},
        "rows": {"N": str(manifest.rows)},
        "kind": {"S": manifest.kind},
        "supersedes": {"BOOL": manifest.supersedes},
        "committed_at": {"S": manifest.created_at.isoformat()},
        "run_id": {"S": manifest.run_id},
    }
    if manifest.code_version:
        row["code_version"] = {"S": manifest.code_version}
    if manifest.gone_at:
        row["tombstones"] = {"BOOL": True}
    return row


def index_of(partition: Partition) -> Item:
    """Return the item through which a tenant's tables of a day are found; writing it again changes nothing."""
    return {"pk": {"S": f"{partition.tenant}#{partition.layer}"}, "sk": {"S": f"{partition.day}#{partition.table}"}}


def _committed(layer: Layer, tenant: TenantId, table: str, item: Item) -> Committed:
    day, _, batch = item["sk"].partition("#")
    return Committed(
        Partition(layer, tenant, table, date.fromisoformat(day)),
        batch,
        item["manifest"],
        int(item["rows"]),
        item["supersedes"],
        item["kind"],
        datetime.fromisoformat(item["committed_at"]),
        item["run_id"],
        item.get("tombstones", False),
        item.get("code_version"),
    )
