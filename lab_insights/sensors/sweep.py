"""The sensor that finds lost events: manifests of the newest days that nobody consumed and that no run is at work on.

It goes through the tenants in turn, as many as its time allows, and remembers only the last one. It reads the manifests from the state
table, which holds every committed one: listing the buckets would give the same keys and those of abandoned attempts, for more requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from dagster import DefaultSensorStatus, RunRequest, SensorDefinition, SensorEvaluationContext, SensorResult, sensor

from lab_insights.errors import LabInsightsError
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.events import Consumed, put_at
from lab_insights.lake.layout import Layer
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.sensors.consumed import Consumption
from lab_insights.sensors.ranges import Cell, Grid, Job, Stretch

BUDGET_SECONDS = 20.0
DAYS = 3
# An event needs a moment to arrive, and its queue's sensor a tick to answer it.
GRACE = timedelta(minutes=10)
# Fewer than a message has in its queue: what failed there as often as it may is found here once more.
ATTEMPTS = 3


def sweep_sensor(answers: Mapping[Layer, tuple[Job, Consumption]]) -> SensorDefinition:
    """Return the sweep; `answers` has, for each layer, the job that consumes its manifests, and whether it has consumed one."""

    @sensor(
        name="manifest_sweep",
        description=f"Requests what no event asked for: committed manifests of the newest {DAYS} days that nobody consumed.",
        jobs=[job for job, _ in answers.values()],
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
    )
    def evaluate(context: SensorEvaluationContext, lake: LakeResource, warehouse: WarehouseResource) -> SensorResult:
        deadline = time.monotonic() + BUDGET_SECONDS
        opened = lake.open()
        tenants = _rotated([tenant.id for tenant in lake.registry().all()], context.cursor)
        swept = failed = 0
        with ExitStack() as stack:
            layers = [
                _Layer(opened, layer, Grid.of(context, job), stack.enter_context(consumption(warehouse)))
                for layer, (job, consumption) in answers.items()
            ]
            for tenant in tenants:
                try:
                    for layer in layers:
                        layer.sweep(tenant)
                except Exception as error:  # noqa: BLE001 - one tenant's broken lake must not end the sweep before the others
                    told = error if isinstance(error, LabInsightsError) else type(error).__name__
                    context.log.warning(f"Tenant {tenant} was not swept: {told}")
                    failed += 1
                swept += 1
                if time.monotonic() >= deadline:
                    break
        if failed == swept > 0:
            raise LabInsightsError(
                f"Sweeping failed for all of {failed} tenants.",
                remedy="look at the warnings of this tick: the state table, the lake or the warehouse does not answer.",
            )
        requests = [request for layer in layers for request in layer.requests()]
        lost = sum(len(layer.lost) for layer in layers)
        report = f"Swept {swept} of {len(tenants)} tenants ({failed} failed): {lost} manifests without an event."
        if given_up := [f"{tenant} {day}" for layer in layers for day, tenant in layer.given_up]:
            report += f" Given up after {ATTEMPTS} runs, materialize them: {', '.join(given_up)}."
        context.log.info(report)
        cursor = tenants[swept - 1] if swept else None
        return SensorResult(run_requests=requests, cursor=cursor, skip_reason=None if requests else report)

    return evaluate


def _rotated(tenants: Sequence[TenantId], last: str | None) -> list[TenantId]:
    """Return the tenants from the one after `last` on, once around."""
    start = next((index + 1 for index, tenant in enumerate(tenants) if tenant == last), 0)
    return [*tenants[start:], *tenants[:start]]


class _Layer:
    """The batches of one layer whose manifests were found without an event."""

    def __init__(self, lake: Lake, layer: Layer, grid: Grid, consumed: Consumed) -> None:
        self._lake, self._layer, self._grid, self._consumed = lake, layer, grid, consumed
        self.lost: list[Committed] = []
        self.given_up: list[Cell] = []

    def sweep(self, tenant: TenantId) -> None:
        """Add the tenant's lost batches; a tenant that is no partition yet is left for the next round."""
        if tenant in self._grid.order:
            self.lost.extend(batch for batch in self._candidates(tenant) if self._is_lost(batch))

    def requests(self) -> list[RunRequest]:
        """Return one run request per day and stretch of tenants; after a run that did not consume its manifests, one for each of its tenants alone.

        The same attempt at the same lost batches is requested once only, their run key says so. What failed every time is `given_up`.
        """
        found: list[RunRequest] = []
        for stretch in self._grid.stretches(_cell(batch) for batch in self.lost):
            together = self._request(stretch, 1)
            if self._is_left(together):
                # One bad tenant fails a whole step, and everything after it is skipped: the others would not get past it in its company.
                found.extend(request for alone in stretch.pieces(1) if (request := self._next(alone)))
            else:
                found.append(together)
        return found

    def _next(self, alone: Stretch) -> RunRequest | None:
        for attempt in range(2, ATTEMPTS + 1):
            request = self._request(alone, attempt)
            if not self._is_left(request):
                return request
        self.given_up.append((alone.day, alone.tenants[0]))
        return None

    def _request(self, stretch: Stretch, attempt: int) -> RunRequest:
        return self._grid.run_request(stretch, [f"{batch.manifest}@{attempt}" for batch in self.lost if _cell(batch) in stretch])

    def _is_left(self, request: RunRequest) -> bool:
        """Whether a run was launched for the request and has ended; its batches are lost still."""
        run = self._grid.run_for(request.run_key or "")
        return run is not None and run.is_finished

    def _candidates(self, tenant: TenantId) -> Iterator[Committed]:
        last = self._lake.clock.now().date()
        first = last - timedelta(days=DAYS - 1)
        for table in self._lake.state.tables(self._layer, tenant, first, last):
            yield from self._lake.state.batches(self._layer, tenant, table, first, last)

    def _is_lost(self, batch: Committed) -> bool:
        cell = _cell(batch)
        if not self._grid.first_day <= cell[0] <= self._grid.last_day:
            return False
        if self._grid.is_busy(cell) or self._consumed(self._lake, batch):
            return False
        # By the object store's time: the clock of the lake may be a simulated one that stands still.
        return datetime.now(UTC) - put_at(self._lake, batch) >= GRACE


def _cell(batch: Committed) -> Cell:
    return batch.partition.day, batch.partition.tenant
