"""A deployment with three tenants, a lake to commit into, and stand-in jobs that consume manifests as the product's do."""

# No `from __future__ import annotations` here: Dagster wants the very type on an asset's `context`, not its name.

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from lab_insights import partitions, sensors
from lab_insights.lake import deadletters, queue
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.events import Consumed, ManifestRef
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId, tenant_id
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource


def today() -> date:
    """Return the UTC day; asked each time, since a run of all tests may see midnight."""
    return datetime.now(UTC).date()


TENANTS = ("aurora_clinic", "birchwood", "cedar_valley")
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def rectangle(request: dg.RunRequest) -> tuple[str, str]:
    """First and last tenant of a request over today."""
    (first_day, first), (last_day, last) = (request.tags[tag].split("|") for tag in (START, END))
    assert first_day == last_day == str(today())
    return first, last


@dataclass
class Rows:
    """One row."""

    schema: pa.Schema = field(default_factory=lambda: pa.schema([("id", pa.int64())]))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": [1]}, schema=self.schema)

    def facts(self) -> Facts:
        return Facts()


def put(lake: Lake, partition: Partition, inputs: tuple[str, ...] = (), supersedes: bool = False) -> Manifest:
    """Commit a batch of one row."""
    manifest, _ = commit(lake, lake.state.head(partition), Draft(partition, "delta", supersedes=supersedes, inputs=inputs), Rows())
    return manifest


def derive(lake: Lake, source: Layer, target: Layer, tenant: TenantId, day: date) -> None:
    """Make each of the day's tables of `target` from all live manifests of the same table in `source`."""
    for table in lake.state.tables(source, tenant, day, day):
        inputs = tuple(manifest.object_key for manifest in partition_manifests(lake, Partition(source, tenant, table, day)))
        put(lake, Partition(target, tenant, table, day), inputs, supersedes=True)


CONFIG = """
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{{snowflake}}}
sources: {sources}
partitions: {{start: {start}}}
"""


def write_config(
    path: Path, endpoint: str, prefix: str, snowflake: str = 'account: none, credentials: "env:NONE"', sources: str = "{}"
) -> None:
    """Write a configuration, by default without sources, whose days began 30 days ago."""
    path.write_text(
        CONFIG.format(endpoint=endpoint, prefix=prefix, snowflake=snowflake, sources=sources, start=today() - timedelta(days=30))
    )


@dataclass
class World:
    """Everything a test moves."""

    instance: dg.DagsterInstance
    resource: LakeResource
    broken: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lake = self.resource.open()
        self.definitions = self._definitions()
        self.repository = self.definitions.get_repository_def()

    def _definitions(self) -> dg.Definitions:  # noqa: C901 (four assets in one place)
        grid = partitions.tenant_days(self.resource.config())

        def body(context: dg.AssetExecutionContext, work: Callable[[TenantId, date], None]) -> None:
            """Each tenant alone; a failure keeps what the others did and skips every later step, as the product's steps do."""
            asset, failed, done = context.asset_key.to_user_string(), [], []
            for key in context.partition_keys:
                day, tenant = key.split("|")
                self.made.append(f"{asset} {key}")
                if tenant in self.broken:
                    failed.append(tenant)
                else:
                    work(tenant_id(tenant), date.fromisoformat(day))
                    done.append(key)
            if failed:
                for key in done:
                    context.log_event(dg.AssetMaterialization(context.asset_key, partition=key))
                raise dg.Failure(f"failed for {failed}")

        @dg.asset(partitions_def=grid, backfill_policy=dg.BackfillPolicy.single_run())
        def raw() -> None: ...

        @dg.asset(partitions_def=grid, deps=[raw], backfill_policy=dg.BackfillPolicy.single_run())
        def curated(context: dg.AssetExecutionContext) -> None:
            body(context, lambda tenant, day: derive(self.lake, "raw", "curated", tenant, day))

        @dg.asset(partitions_def=grid, deps=[curated], backfill_policy=dg.BackfillPolicy.single_run())
        def transformed(context: dg.AssetExecutionContext) -> None:
            body(context, lambda tenant, day: derive(self.lake, "curated", "transformed", tenant, day))

        @dg.asset(partitions_def=grid, deps=[transformed], backfill_policy=dg.BackfillPolicy.single_run())
        def snowflake(context: dg.AssetExecutionContext) -> None:
            def load(tenant: TenantId, day: date) -> None:
                for table in self.lake.state.tables("curated", tenant, day, day):
                    batches = partition_manifests(self.lake, Partition("curated", tenant, table, day))
                    self.loaded.update(batch.object_key for batch in batches)

            body(context, load)

        @contextmanager
        def in_the_ledger(_: WarehouseResource) -> Iterator[Consumed]:
            yield lambda _, batch: batch.manifest in self.loaded

        curation = dg.define_asset_job("curation", selection=[curated])
        transformation = dg.define_asset_job("transformation", selection=[transformed, snowflake])
        return dg.Definitions(
            assets=[raw, curated, transformed, snowflake],
            jobs=[dg.define_asset_job("loading", selection=[raw]), curation, transformation],
            sensors=sensors.build_sensors(curation, transformation, transformed=in_the_ledger),
            resources={"lake": self.resource, "warehouse": self.warehouse},
        )

    def configure(self, **sections: str) -> None:
        """Write the configuration again, with other sections."""
        config = self.resource.config()
        write_config(Path(self.resource.config_path), str(config.aws.endpoint_url), config.lake.prefix, **sections)

    @property
    def warehouse(self) -> WarehouseResource:
        return WarehouseResource(lake=self.resource)

    def partition(
        self, layer: Layer = "raw", tenant: str = "aurora_clinic", table: str = "lis.patient_note", days_ago: int = 0
    ) -> Partition:
        return Partition(layer, tenant_id(tenant), table, today() - timedelta(days=days_ago))

    def land(
        self,
        tenant: str = "aurora_clinic",
        table: str = "lis.patient_note",
        days_ago: int = 0,
        supersedes: bool = False,
    ) -> ManifestRef:
        """Commit a raw batch; its event reaches the curation queue."""
        manifest = put(self.lake, self.partition("raw", tenant, table, days_ago), supersedes=supersedes)
        return ManifestRef(manifest.partition, manifest.batch_id)

    def queue(self, name: Any = "curation") -> queue.Queue:
        return queue.manifest_queue(self.resource.aws(), self.resource.prefix, name)

    def waiting(self, name: Any = "curation") -> list[str]:
        """Bodies in the queue, which stay there."""
        held: list[queue.Message] = []
        while batch := self.queue(name).receive(60):
            held.extend(batch)
        self.queue(name).show(held)
        return [message.body for message in held]

    def dead(self, name: Any = "curation") -> list[deadletters.DeadLetter]:
        return deadletters.dead_letters(self.resource.aws(), self.resource.prefix, name)

    def tick(self, sensor: str = "curation_queue", cursor: str | None = None) -> Any:
        """Evaluate a sensor as the daemon does, up to launching its runs."""
        with dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            resources={"lake": self.resource, "warehouse": self.warehouse},
            cursor=cursor,
            sensor_name=sensor,
        ) as context:
            data = self.repository.get_sensor_def(sensor).evaluate_tick(context)
        for request in data.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return data

    def launch(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run a request to its end, as the daemon would: one run at most for a run key."""
        assert request.job_name
        assert not self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": str(request.run_key)})), (
            "the daemon would skip this request"
        )
        job = self.repository.get_job(request.job_name)
        return job.execute_in_process(
            instance=self.instance,
            tags={**request.tags, "dagster/run_key": request.run_key or ""},
            raise_on_error=False,
        )
