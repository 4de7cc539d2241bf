"""A small laboratory on the real servers with its lake, warehouse, definitions and Dagster instance: what tests of the asset graph run on."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
import yaml

from lab_insights import config, definitions
from lab_insights.assets.tenant_days import FAILED
from lab_insights.aws import Aws
from lab_insights.lake.commit import Lake
from lab_insights.local import deployer, settings
from lab_insights.local.databases import Engine
from lab_insights.local.laboratory import Laboratory, LabTenant, Targets
from lab_insights.names import TenantId, tenant_id
from lab_insights.partitions import TENANTS, partition_key
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.provision import provision, use

# Scale 0.3 is the smallest at which each tenant has a critical notification on its first day.
SCALE = 0.3
# What wide tables and KPIs are made from, and one user-defined table: what else the laboratory has would only make the tests longer.
INCLUDED = {
    "crm": ["account", "contact", "record_host_code", "panel", "crm_case", "task", "memo", "activity_link", "udt_*"],
    "lis": ["patient", "encounter", "lab_order", "order_item", "specimen", "reject_reason", "result"],
    "audit": ["audit_event"],
    "messages": ["message"],
}
FIRST, SECOND = date(2026, 3, 2), date(2026, 3, 3)
# In Dagster's order, which is that of registration. The ghost has no schema anywhere, and stands between healthy tenants.
_NAMES = ("aurora_clinic", "birchwood", "cedar_valley", "ghost_lab", "elm_street", "dover_lab", "fir_valley")
AURORA, BIRCHWOOD, CEDAR, GHOST, ELM, DOVER, FIR = (TenantId(name) for name in _NAMES)
PEOPLE = (
    LabTenant(AURORA, 12, "schema"),
    LabTenant(BIRCHWOOD, 27, "prefix"),
    LabTenant(CEDAR, 31, "discriminator"),
    LabTenant(ELM, 52, "discriminator"),
    LabTenant(DOVER, 44, "schema"),
    LabTenant(FIR, 58, "discriminator"),
)
NOBODY = Tenant(id=GHOST, key="66", layouts={"crm": "schema", "lis": "schema"})
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Servers:
    """The servers of this test process."""

    aws: str
    snowflake_port: int
    urls: dict[Engine, str]


@dataclass
class World:
    """One deployment with its sources, which have lived through `day`."""

    home: Path
    base: str
    servers: Servers
    laboratory: Laboratory
    day: date
    instance: dg.DagsterInstance
    _built: dict[date, dg.Definitions] = field(default_factory=dict)

    @cached_property
    def resource(self) -> LakeResource:
        return LakeResource(config_path=str(self.home / "lab_insights.yaml"))

    @cached_property
    def warehouse(self) -> WarehouseResource:
        return WarehouseResource(lake=self.resource)

    @cached_property
    def lake(self) -> Lake:
        return self.resource.open()

    @property
    def definitions(self) -> dg.Definitions:
        """The definitions as a code server that was started on this day has them."""
        today = self.lake.clock.now().date()
        if today not in self._built:
            self._built[today] = definitions.build(self.resource.config(), self.resource.config_path)
        return self._built[today]

    def register(self, *tenants: Tenant) -> None:
        """Do what `lab-insights tenant apply` and the registry's sensor do."""
        with self.warehouse.session("test") as session:
            for tenant in tenants:
                self.resource.registry().put(tenant)
                provision(session, self.lake.storage, tenant.id)
        self.instance.add_dynamic_partitions(str(TENANTS.name), [tenant.id for tenant in tenants])

    def at(self, day: date, hour: float) -> None:
        self.lake.clock.set(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour))

    def simulate(self) -> date:
        """Let the sources live through the next day, and return it; the clock stands still."""
        self.day += timedelta(days=1)
        self.laboratory.simulate_day(self.day)
        return self.day

    def run(
        self,
        job: str,
        tenants: Sequence[str],
        days: Sequence[date],
        *,
        assets: Sequence[dg.AssetKey] | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job over the rectangle from the first to the last of `tenants` and `days`."""
        ends = [str(partition_key(days[end], tenant_id(tenants[end]))) for end in (0, -1)]
        span = dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), ends, strict=True))
        its = self.definitions.resolve_job_def(job)
        # Run config replaces the job's own, which is all that tells a full load from an incremental one.
        preset = its.partitioned_config.get_run_config_for_partition_key(ends[0]) if its.partitioned_config and assets is None else {}
        own = {"ops": preset["ops"]} if preset.get("ops") else {}
        return its.execute_in_process(
            instance=self.instance,
            tags={**span, **(tags or {})},
            run_config={**own, **QUIET, **(config or {})},
            asset_selection=assets,
            raise_on_error=False,
        )

    def operate(self, job: str, **ops: Any) -> dg.ExecuteInProcessResult:
        """Run a job that has no partitions."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config={**QUIET, "ops": ops}, raise_on_error=False
        )

    def materializations(self, run_id: str) -> list[dg.AssetMaterialization]:
        """Return every materialization of a run, those of failed steps included."""
        entries = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        return [entry.asset_materialization for entry in entries if entry.asset_materialization]

    def materialized(self, run_id: str, layer: str = "") -> Counter[tuple[str, str]]:
        """Return how often a run materialized each (asset, partition) of a layer."""
        found = ((each.asset_key.to_user_string(), str(each.partition)) for each in self.materializations(run_id))
        return Counter(cell for cell in found if cell[0].startswith(layer))

    def metadata(self, run_id: str, asset: str, partition: str) -> dict[str, Any]:
        """Return the metadata of the one materialization of an asset's partition in a run."""
        [found] = [
            each for each in self.materializations(run_id) if (each.asset_key.to_user_string(), each.partition) == (asset, partition)
        ]
        return {name: value.value for name, value in found.metadata.items()}

    def tick(self, sensor: str) -> list[dg.RunRequest]:
        """Evaluate a sensor as the daemon does, and return the runs that it requests."""
        repository = self.definitions.get_repository_def()
        resources = {"lake": self.resource, "warehouse": self.warehouse}
        with dg.build_sensor_context(instance=self.instance, repository_def=repository, resources=resources, sensor_name=sensor) as context:
            return list(repository.get_sensor_def(sensor).evaluate_tick(context).run_requests or ())

    def launch(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run what a sensor or schedule requested to its end."""
        return self.definitions.resolve_job_def(str(request.job_name)).execute_in_process(
            instance=self.instance,
            tags={**request.tags, "dagster/run_key": str(request.run_key)},
            run_config=QUIET,
            raise_on_error=False,
        )

    def forget_events(self) -> None:
        """Empty both queues: what other tests have landed is not the business of this one."""
        sqs = self.resource.aws().client("sqs")
        for name in ("curation", "transformation"):
            sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{self.resource.prefix}-{name}")["QueueUrl"])

    def execute(self, source: str, statement: str) -> None:
        """Run a statement of a source's own users."""
        with sa.create_engine(
            self.laboratory.targets.url(source), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        ).connect() as connection:  # type: ignore[arg-type]
            connection.exec_driver_sql(statement)

    def count(self, tenant: str, table: str) -> int:
        """Return the rows of a table of the tenant's database, tombstones included."""
        with self.warehouse.session("test") as session:
            use(session, tenant_id(tenant))
            return int(session.execute(f"SELECT COUNT(*) FROM {table}")[0][0])


@dataclass(frozen=True)
class Loaded:
    """A world with the run that filled it, and what our own code called in it that Dagster wants called otherwise."""

    world: World
    result: dg.ExecuteInProcessResult
    warned: list[str]


def told(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return the failed steps of a run, each with its message and the reason of each tenant."""
    said = {}
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            reasons = data.user_failure_data.metadata.get(FAILED) if data.user_failure_data else None
            said[str(event.step_key)] = f"{reasons.value if reasons else ''}\n{data.error_display_string}"
    return said


@contextmanager
def opened(servers: Servers, directory: Path, people: Sequence[LabTenant], first_day: date, *, kept: bool = False) -> Iterator[World]:
    """Deploy, and create the sources of `people` with their first day; what is not in `directory` is dropped afterwards.

    The Dagster instance is that of the home in `directory` when it is `kept`, else one in memory.
    """
    base = f"lab_insights_test_{uuid.uuid4().hex[:10]}"
    deployer.deploy(servers.aws, settings.PREFIX)
    home = settings.write(directory, base, Aws(endpoint_url=servers.aws), servers.snowflake_port, servers.urls, first_day)
    _narrow(home / "lab_insights.yaml")
    crm, other = servers.urls.get("mysql", servers.urls["postgresql"]), servers.urls["postgresql"]
    table = f"{settings.PREFIX}-src-critical_notification"
    targets = Targets(crm=crm, lis=crm, audit=other, messages=other, notification_table=table, dynamodb_endpoint=servers.aws, base=base)
    laboratory = Laboratory(targets, people, seed=7, first_day=first_day, scale=SCALE)
    with dg.DagsterInstance.from_config(str(home)) if kept else dg.DagsterInstance.ephemeral() as instance:
        world = World(home, base, servers, laboratory, first_day, instance)
        try:
            laboratory.create()
            laboratory.simulate_day(first_day)
            yield world
        finally:
            laboratory.drop()
            with world.warehouse.session("test") as session:
                for tenant in world.resource.registry().all():
                    session.execute(f'DROP DATABASE IF EXISTS "{tenant.database}"')


def _narrow(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    for name, tables in INCLUDED.items():
        content["sources"][name]["include"] = tables
    config.Config.model_validate(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def customer(tenant: LabTenant) -> Tenant:
    """Return the registry's entry of a tenant of the laboratory."""
    return Tenant(id=TenantId(tenant.id), key=str(tenant.key), layouts={"crm": tenant.layout, "lis": tenant.layout})
