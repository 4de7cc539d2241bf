"""A table's way from its source server to the warehouse: landed, curated as a table that no contract describes, and merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_insights.aws import Aws
from lab_insights.extract.land import Mode, Request, Spark, load
from lab_insights.extract.plan import Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lab.pipeline import curate_table
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import load as warehouse
from lab_insights.warehouse.names import column_names, identifier, table
from lab_insights.warehouse.session import Session
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, instant


@dataclass
class Journey:
    """One tenant's tables on their way."""

    lake: Lake
    session: Session
    tenant: TenantId
    hours: float = 12
    made: list[Manifest] = field(default_factory=list)

    def plan(self, server: Server, name: str, **more: Any) -> Plan:
        return plan(server.table(name, tenant=Tenant(id=self.tenant, key="1")), **more)

    def land(self, server: Server, planned: Plan, mode: Mode = "auto", spark: Spark | None = None) -> Manifest:
        """Land what there is, a quarter of an hour after the last load of this journey, and return the newest raw batch."""
        self.hours += 0.25
        request = Request(day(1), mode, run_id="test")
        found = load(self.lake, server.source(), Aws(), planned, request, Ceiling(instant(1, self.hours), "of the test"), spark)
        return max(found, key=lambda manifest: manifest.batch_id)

    def curate(self, raw: str) -> Manifest:
        """Curate the day's batches of a raw table."""
        return curate_table(self.lake, self.tenant, raw, day(1), None, "test")

    def raw(self, table_id: str) -> list[Manifest]:
        return partition_manifests(self.lake, Partition("raw", self.tenant, table_id, day(1)))

    def warehoused(self, curated: Manifest, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Merge a curated batch and return columns of the live rows, as the warehouse gives them."""
        warehouse.load(self.session, self.lake.storage, self.tenant, [curated], run_id="test")
        names = column_names(curated.schema_().names)
        chosen = ", ".join(identifier(names[column]) for column in columns)
        return self.session.execute(f"SELECT {chosen} FROM {table('curated', curated.table)} WHERE NOT IS_DELETED")

    def through(self, server: Server, name: str, columns: Sequence[str], **planned: Any) -> list[tuple[Any, ...]]:
        """Take a table all the way, and return its live rows in the warehouse."""
        its = self.plan(server, name, **planned)
        self.land(server, its)
        return self.warehoused(self.curate(its.table.table_id), columns)

    def files(self, manifest: Manifest, directory: Path) -> list[Path]:
        """Copy a batch's parquet parts into a directory, for readers that know nothing of the lake."""
        for number, part in enumerate(manifest.parts):
            (directory / f"{number}.parquet").write_bytes(self.lake.storage.get(manifest.layer, part.key) or b"")
        return sorted(directory.glob("*.parquet"))
