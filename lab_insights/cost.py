"""What a tenant's day cost: bytes, seconds and CPU seconds of the lake from its manifests, statements and seconds of Snowflake from the receipts of runs.

Seconds are wall time as batches were read, written and merged, CPU seconds this process's share of it (`lake.meter`): that of servers, of Snowflake and
of Spark's own processes is not in them. Nothing is estimated. A batch that was superseded was paid for and counts; a snapshot that was given the parts of
the one before it wrote no bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Layers of the warehouse, as the asset keys of their receipts begin.
WAREHOUSE = ("snowflake", "reports")
# Layers of the lake that are loaded there.
LOADED = ("curated", "transformed")
_PAGE = 500


@dataclass
class Spent:
    """What one layer took for one tenant-day; `statements` are Snowflake's."""

    batches: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    statements: int = 0


@dataclass
class TenantDay:
    """The cost of one tenant's day by layer."""

    tenant: TenantId
    day: date
    layers: dict[str, Spent] = field(default_factory=dict)

    def of(self, layer: str) -> Spent:
        """Return what a layer took, nothing when it was never asked for."""
        return self.layers.setdefault(layer, Spent())

    def total(self, name: str, layers: Sequence[str] | None = None) -> float:
        """Return the sum of one figure, over all layers unless told."""
        return float(sum(getattr(spent, name) for layer, spent in self.layers.items() if layers is None or layer in layers))

    @property
    def bytes_per_statement(self) -> int | None:
        """How much each statement of the loads moved: bytes of the layers that Snowflake takes; None where no load was recorded."""
        statements = self.total("statements", ["snowflake"])
        return round(self.total("bytes", LOADED) / statements) if statements else None


def costs(lake: Lake, instance: DagsterInstance | None, tenants: Sequence[TenantId], days: Sequence[date]) -> list[TenantDay]:
    """Return the cost of every tenant-day of which something is known, by tenant and day; without an instance nothing is known of Snowflake."""
    found = {(tenant, day): TenantDay(tenant, day) for tenant in tenants for day in days}
    for tenant in tenants:
        for (day, layer), spent in _lake(lake, tenant, days):
            if (tenant, day) in found:
                _add(found[tenant, day].of(layer), spent)
    if instance is not None:
        for (key, layer), spent in _receipts(instance, list(found)):
            _add(found[key].of(layer), spent)
    return [each for each in found.values() if each.layers]


def _lake(lake: Lake, tenant: TenantId, days: Sequence[date]) -> Iterator[tuple[tuple[date, str], Spent]]:
    first, last = min(days), max(days)
    for layer in LAYERS:
        for table in lake.state.tables(layer, tenant, first, last):
            for batch in lake.state.history(layer, tenant, table, first, last):
                # A superseded batch may have been swept: its row in the state goes with it, its manifest a moment earlier.
                if (manifest := lake.storage.manifest(layer, batch.manifest)) is None:
                    continue
                own = [part for part in manifest.parts if part.key.startswith(f"{manifest.partition.directory}/{manifest.batch_id}")]
                yield (
                    (manifest.day, layer),
                    Spent(1, manifest.rows, sum(part.bytes for part in own), manifest.seconds, manifest.cpu_seconds or 0.0),
                )


def _receipts(
    instance: DagsterInstance, cells: Iterable[tuple[TenantId, date]]
) -> Iterator[tuple[tuple[tuple[TenantId, date], str], Spent]]:
    from dagster import AssetRecordsFilter

    # The key of a tenant's day, as `lab_insights.partitions` makes it; that module is Dagster's alone to import.
    partitions = {f"{day}|{tenant}": (tenant, day) for tenant, day in cells}
    for layer in WAREHOUSE:
        for asset in instance.get_asset_keys(prefix=[layer]):
            cursor: str | None = None
            while True:
                wanted = AssetRecordsFilter(asset_key=asset, asset_partitions=list(partitions))
                page = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
                for record in page.records:
                    if (made := record.asset_materialization) and made.partition:
                        numbers: dict[str, Any] = {name: value.value for name, value in made.metadata.items()}
                        spent = Spent(
                            int(numbers.get("batches") or 0),
                            int(numbers.get("dagster/partition_row_count") or 0),
                            0,
                            float(numbers.get("seconds") or 0),
                            0.0,
                            int(numbers.get("statements") or 0),
                        )
                        yield (partitions[str(made.partition)], layer), spent
                if not page.has_more:
                    break
                cursor = page.cursor


def _add(to: Spent, more: Spent) -> None:
    to.batches += more.batches
    to.rows += more.rows
    to.bytes += more.bytes
    to.seconds = round(to.seconds + more.seconds, 3)
    to.cpu_seconds = round(to.cpu_seconds + more.cpu_seconds, 3)
    to.statements += more.statements
