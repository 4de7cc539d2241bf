"""Two ways to turn manifest events into work: the product's queue sensor, and a worker that answers message by message as a Lambda function does.

The work is a job over tenant × day that notes which manifests it used, so that it can be counted; it costs nothing itself.
"""

# No `from __future__ import annotations` here: Dagster wants the very type on an asset's `context`, not its name.

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from benchmarks.formats import Stream
from lab_insights import partitions
from lab_insights.lake.commit import Draft, commit
from lab_insights.lake.events import Consumed, ManifestRef, decode
from lab_insights.lake.layout import Partition
from lab_insights.lake.queue import Queue, manifest_queue
from lab_insights.names import tenant_id
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.sensors.queues import queue_sensor
from lab_insights.tenants.registry import Tenant

TODAY = datetime.now(UTC).date()
CONFIG = """
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: none, credentials: "env:NONE"}}
sources: {{}}
partitions: {{start: {start}}}
"""


class Broken(Exception):
    """The work on a tenant failed."""


@dataclass
class Deployment:
    """A lake with `tenants` × `tables` landed manifests, their events, and a job that uses them; tenants in `broken` fail."""

    endpoint: str
    directory: Path
    tenants: int
    tables: int
    broken: set[str] = field(default_factory=set)
    used: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def __post_init__(self) -> None:
        path = self.directory / "lab_insights.yaml"
        path.write_text(CONFIG.format(endpoint=self.endpoint, prefix="bench", start=TODAY - timedelta(days=3)))
        self.resource = LakeResource(config_path=str(path))
        self.instance = dg.DagsterInstance.ephemeral()
        names = [f"tenant_{number:03d}" for number in range(self.tenants)]
        for name in names:
            self.resource.registry().put(Tenant(id=tenant_id(name), key=name))
        self.instance.add_dynamic_partitions(str(partitions.TENANTS.name), names)
        self.repository = self._definitions().get_repository_def()
        self.manifests = self._land(names)
        self.bodies = self._drain()

    @property
    def queue(self) -> Queue:
        """The curation queue."""
        return manifest_queue(self.resource.aws(), "bench", "curation")

    def _land(self, names: list[str]) -> dict[tuple[str, date], list[ManifestRef]]:
        lake, found = self.resource.open(), {}
        data = Stream(pa.table({"id": [1]}))
        for name in names:
            made = []
            for table in range(self.tables):
                partition = Partition("raw", tenant_id(name), f"lis.table_{table}", TODAY)
                manifest, _ = commit(lake, lake.state.head(partition), Draft(partition, "delta"), data)
                made.append(ManifestRef(partition, manifest.batch_id))
            found[name, TODAY] = made
        return found

    def _drain(self) -> list[str]:
        bodies = []
        while messages := self.queue.receive():
            bodies.extend(message.body for message in messages)
            self.queue.delete(messages)
        return bodies

    def _definitions(self) -> dg.Definitions:
        grid = partitions.tenant_days(self.resource.config())

        @dg.asset(partitions_def=grid, backfill_policy=dg.BackfillPolicy.single_run())
        def raw() -> None: ...

        @dg.asset(partitions_def=grid, deps=[raw], backfill_policy=dg.BackfillPolicy.single_run())
        def curated(context: dg.AssetExecutionContext) -> None:
            self.runs += 1
            failed = [key for key in context.partition_keys if not self._use(*reversed(key.split("|")))]
            if failed:
                raise dg.Failure(f"failed for {failed}")

        @contextmanager
        def consumption(_: WarehouseResource) -> Iterator[Consumed]:
            yield lambda _, manifest: manifest.key in self.used

        job = dg.define_asset_job("curation", selection=[curated])
        warehouse = WarehouseResource(lake=self.resource)
        resources = {"lake": self.resource, "warehouse": warehouse}
        return dg.Definitions([raw, curated], jobs=[job], sensors=[queue_sensor("curation", job, consumption)], resources=resources)

    def _use(self, tenant: str, day: str) -> bool:
        if tenant in self.broken:
            return False
        self.used.update(manifest.key for manifest in self.manifests[tenant, date.fromisoformat(day)])
        return True

    def fill(self, bodies: list[str], broken: str = "") -> None:
        """Forget what was done, and send these bodies."""
        self.used.clear()
        self.runs, self.broken = 0, {broken}
        self.queue.send(bodies)

    def tick(self) -> Any:
        """Evaluate the sensor once."""
        resources = {"lake": self.resource, "warehouse": WarehouseResource(lake=self.resource)}
        with dg.build_sensor_context(
            instance=self.instance, repository_def=self.repository, resources=resources, sensor_name="curation_queue"
        ) as context:
            return self.repository.get_sensor_def("curation_queue").evaluate_tick(context)

    def launch(self, tags: dict[str, str]) -> None:
        """Run the job over the partitions in `tags`, to success or failure."""
        job = self.repository.get_job("curation")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job.execute_in_process(run_config=quiet, instance=self.instance, tags=tags, raise_on_error=False)

    def named(self, body: str) -> ManifestRef:
        """Return the manifest that a message names."""
        event = decode(body, "bench-raw")
        assert event  # noqa: S101 - set-up events were drained before
        return event.manifest

    def by_sensor(self) -> int:
        """Tick, and run what the ticks ask for, until the queue is empty; return the number of ticks."""
        ticks = 0
        while True:
            data, ticks = self.tick(), ticks + 1
            if (data.skip_message or "").startswith("Messages: none"):
                return ticks
            for request in data.run_requests:
                self.launch({**request.tags, "dagster/run_key": str(request.run_key)})

    def by_worker(self, answer: Callable[[ManifestRef], None]) -> int:
        """Receive, answer each message and delete it unless `answer` raises, until the queue is empty; return the number of answers tried."""
        answers = 0
        while messages := self.queue.receive():
            done = []
            for message in messages:
                answers += 1
                try:
                    answer(self.named(message.body))
                    done.append(message)
                except Broken:
                    self.queue.show([message])  # what the visibility timeout would do, without waiting for it
            self.queue.delete(done)
        return answers

    def use(self, manifest: ManifestRef) -> None:
        """Do the work of one message in the worker itself."""
        if manifest.partition.tenant in self.broken:
            raise Broken
        self.used[manifest.key] += 1

    def start(self, manifest: ManifestRef) -> None:
        """Start a run for one message and forget it, as a function must whose work takes longer than it may run."""
        self.launch({"dagster/partition": str(partitions.partition_key(manifest.partition.day, manifest.partition.tenant))})
