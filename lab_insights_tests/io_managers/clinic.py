"""Two tenants and a few days without any source: assets of engineers, which return data, run on this."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from lab_insights.io_managers.s3_parquet import S3ParquetIOManager
from lab_insights.io_managers.snowflake import SnowflakeIOManager
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId, tenant_id
from lab_insights.partitions import TENANTS, partition_key, tenant_days
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse.provision import provision, use

DAYS = (date(2026, 3, 2), date(2026, 3, 3))
CONFIGURATION = """
aws: {{endpoint_url: "{endpoint}", tenant_role: "arn:aws:iam::{account}:role/{prefix}-tenant"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: fakesnow, host: {host}, port: {port}, protocol: http, credentials: "secret:{prefix}/snowflake"}}
sources: {{}}
partitions: {{start: 2026-03-01}}
"""


@dataclass
class Clinic:
    """One deployment; `tenants` are partitions of its Dagster instance."""

    path: Path
    instance: dg.DagsterInstance
    tenants: tuple[TenantId, ...] = field(default_factory=lambda: tuple(tenant_id(f"t{uuid.uuid4().hex[:10]}") for _ in range(2)))

    def __post_init__(self) -> None:
        self.resource = LakeResource(config_path=str(self.path))
        self.warehouse = WarehouseResource(lake=self.resource)
        self.grid = tenant_days(self.resource.config())
        self.instance.add_dynamic_partitions(str(TENANTS.name), list(self.tenants))

    @property
    def lake(self) -> Lake:
        return self.resource.open()

    @property
    def resources(self) -> dict[str, Any]:
        return {
            "lake": self.resource,
            "lake_io": S3ParquetIOManager(lake=self.resource),
            "snowflake_io": SnowflakeIOManager(warehouse=self.warehouse),
        }

    def keys(self, tenants: Sequence[TenantId] | None = None, days: Sequence[date] = DAYS) -> list[str]:
        return [str(partition_key(day, tenant)) for day in days for tenant in tenants or self.tenants]

    def provision(self) -> None:
        with self.warehouse.session("test") as session:
            for tenant in self.tenants:
                provision(session, self.lake.storage, tenant)

    def drop(self) -> None:
        with self.warehouse.session("test") as session:
            for tenant in self.tenants:
                session.execute(f'DROP DATABASE IF EXISTS "LAB_INSIGHTS_{tenant.upper()}"')

    def materialize(self, *assets: dg.AssetsDefinition, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
        """Materialize assets from the first to the last partition, by default the first alone."""
        return dg.materialize(
            assets,
            instance=self.instance,
            resources=self.resources,
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def committed(self, table: str, key: str) -> list[Manifest]:
        """Return the live batches of a partition in transformed."""
        day, _, tenant = key.partition("|")
        return partition_manifests(self.lake, Partition("transformed", tenant_id(tenant), table, date.fromisoformat(day)))

    def query(self, tenant: TenantId, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session("test") as session:
            use(session, tenant)
            return session.execute(sql)


def why(result: dg.ExecuteInProcessResult) -> str:
    """Return what the one failed step of a run says."""
    [failed] = [event for event in result.all_events if event.is_step_failure]
    return str(failed.step_failure_data.error_display_string)
