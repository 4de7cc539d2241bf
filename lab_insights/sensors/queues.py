"""The two sensors that turn manifest events into runs: raw manifests into curation, curated ones into transformation.

A message goes away only when its manifest was consumed or is obsolete, so a failed run loses nothing, and a run that a person started makes
the messages it answers disappear. Neither sensor has a cursor: the queue and the state table are all they know, and a message carries what
was tried for it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from dagster import DefaultSensorStatus, RunRequest, SensorDefinition, SensorEvaluationContext, SensorResult, sensor

from lab_insights.errors import LabInsightsError, UnknownTenant
from lab_insights.lake.events import FED_BY, Consumed, Event, PoisonousMessage, QueueName, Verdict, decode, judge, split
from lab_insights.lake.queue import Message, manifest_queue
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.sensors.consumed import Consumption
from lab_insights.sensors.ranges import IN_PROGRESS, Cell, Grid, Job

# Dagster gives a tick 60 s; what does not fit into these stays in the queue.
BUDGET_SECONDS = 20.0
# How soon a message that waits for a run or a commit is looked at again.
DELAY_SECONDS = 60


class Outcome(StrEnum):
    """What became of a message, as the tick's page counts it."""

    CONSUMED = "consumed"
    OBSOLETE = "obsolete"
    TEST = "test events"
    DOUBLED = "doubled"
    SPLIT = "split into single events"
    WANTED = "answered by a run"
    RUNNING = "waiting for a run"
    OPEN = "waiting for a commit"
    NEW_TENANT = "waiting for their tenant's partition"
    NEW_DAY = "waiting for their day's partition"
    LOOKUP_FAILED = "waiting since a lookup failed"
    POISONOUS = "poisonous"
    GIVEN_UP = "given up"


_WAITING = {Outcome.RUNNING, Outcome.OPEN, Outcome.NEW_TENANT, Outcome.NEW_DAY, Outcome.LOOKUP_FAILED}
_DONE = {Outcome.CONSUMED, Outcome.OBSOLETE, Outcome.TEST, Outcome.DOUBLED, Outcome.SPLIT}
_JUDGED = {Verdict.CONSUMED: Outcome.CONSUMED, Verdict.OBSOLETE: Outcome.OBSOLETE, Verdict.OPEN: Outcome.OPEN}


def queue_sensor(name: QueueName, job: Job, consumption: Consumption) -> SensorDefinition:
    """Return the sensor that empties the queue `name` into runs of `job`; `consumption` says whether those have used a manifest."""

    @sensor(
        name=f"{name}_queue",
        description=f"Requests {job.name} for the tenant-days whose {FED_BY[name]} manifests nobody has consumed yet.",
        job=job,
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
    )
    def evaluate(context: SensorEvaluationContext, lake: LakeResource, warehouse: WarehouseResource) -> SensorResult:
        with consumption(warehouse) as consumed:
            tick = _Tick(context, lake, name, Grid.of(context, job), consumed)
            tick.receive()
        requests = tick.requests()
        context.log.info(tick.summary)
        if tick.seen.total() == tick.seen[Outcome.LOOKUP_FAILED] > 0:
            raise LabInsightsError(
                f"All {tick.seen.total()} lookups failed; the messages wait in the queue.",
                remedy="look at the warnings of this tick: the state table or the warehouse does not answer.",
            )
        return SensorResult(run_requests=requests, skip_reason=None if requests else tick.summary)

    return evaluate


@dataclass(frozen=True)
class _Wanted:
    """A message whose manifest nobody has consumed, with the attempt that is to be made.

    `progress` is how far the last attempt came, None before it. Only messages that came equally far are tried again together: one bad
    tenant fails a whole step, everything after it is skipped, and the others would never get past it in its company.
    """

    message: Message
    event: Event
    progress: frozenset[str] | None

    @property
    def cell(self) -> Cell:
        return self.event.manifest.partition.day, self.event.manifest.partition.tenant

    @property
    def cause(self) -> str:
        # Dagster launches one run at most for a run key, so each attempt, and each life after a redrive, makes another one.
        return f"{self.event.manifest.key}@{self.message.redriven}{self.message.attempt}"


class _Tick:
    """What one evaluation knows and has seen."""

    def __init__(self, context: SensorEvaluationContext, lake: LakeResource, name: QueueName, grid: Grid, consumed: Consumed) -> None:
        self._deadline = time.monotonic() + BUDGET_SECONDS
        self._log, self._grid, self._consumed = context.log, grid, consumed
        self._lake, self._queue = lake.open(), manifest_queue(lake.aws(), lake.prefix, name)
        self._bucket = self._lake.storage.bucket(FED_BY[name])
        self._registry = lake.registry()
        self._registered: set[str] = {tenant.id for tenant in self._registry.all()}
        self._wanted: dict[Event, _Wanted] = {}
        self._over_budget = False
        self.seen: Counter[Outcome] = Counter()

    @property
    def summary(self) -> str:
        """What was seen, for the tick's page."""
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in self.seen.items()) or "none"
        return f"Messages: {outcomes}.{' The time was over; the rest is for the next tick.' if self._over_budget else ''}"

    def receive(self) -> None:
        """Settle messages until there are none or the time is over; those that need a run are kept for `requests`."""
        waiting: list[Message] = []
        # Ten at a time, and whatever was received is settled: nothing stays hidden until a timeout.
        while not self._over_budget and (messages := self._queue.receive()):
            outcomes = [(message, self._settle(message)) for message in messages]
            self.seen.update(outcome for _, outcome in outcomes)
            self._queue.delete([message for message, outcome in outcomes if outcome in _DONE])
            waiting.extend(message for message, outcome in outcomes if outcome in _WAITING)
            self._over_budget = time.monotonic() >= self._deadline
        self._queue.put_back(waiting, DELAY_SECONDS)

    def requests(self) -> list[RunRequest]:
        """Return one run request per day and stretch of tenants; put each message back with the run key that shall answer it."""
        found = []
        for together in {wanted.progress: None for wanted in self._wanted.values()}:
            group = [wanted for wanted in self._wanted.values() if wanted.progress == together]
            for stretch in self._grid.stretches(wanted.cell for wanted in group):
                members = [wanted for wanted in group if wanted.cell in stretch]
                request = self._grid.run_request(stretch, [member.cause for member in members])
                answered = [replace(member.message, requested=str(request.run_key)) for member in members]
                self._queue.put_back(answered, DELAY_SECONDS)
                found.append(request)
        return found

    def _settle(self, message: Message) -> Outcome:
        try:
            return self._look(message)
        except PoisonousMessage as poison:
            self._queue.bury(message, str(poison))
            return Outcome.POISONOUS
        except Exception as error:  # noqa: BLE001 - whatever one lookup raises must neither stop nor lose the other messages
            shown = error if isinstance(error, LabInsightsError) else type(error).__name__
            self._log.warning(f"Message {message.id} waits: {shown}")
            return Outcome.LOOKUP_FAILED

    def _look(self, message: Message) -> Outcome:
        bodies = split(message.body)
        if len(bodies) > 1:
            self._queue.send(bodies)
            return Outcome.SPLIT
        event = decode(message.body, self._bucket)
        if event is None:
            return Outcome.TEST
        if event in self._wanted:
            return Outcome.DOUBLED
        day, tenant = event.manifest.partition.day, event.manifest.partition.tenant
        self._require(tenant, day)
        if tenant not in self._grid.order:
            return Outcome.NEW_TENANT
        if day > self._grid.last_day:
            # A simulated clock may be ahead of the code server, which learns of its new days when it is reloaded.
            return Outcome.NEW_DAY
        if self._grid.is_busy((day, tenant)):
            return Outcome.RUNNING
        verdict = judge(self._lake, event.manifest, self._consumed)
        if verdict is not Verdict.WANTED:
            return _JUDGED[verdict]
        return self._want(message, event)

    def _require(self, tenant: str, day: date) -> None:
        """Raise `PoisonousMessage` for a tenant that is not registered or a day before the first partition."""
        if tenant not in self._registered:
            try:
                self._registered.add(self._registry.get(tenant).id)  # it may have been registered since the tick began
            except UnknownTenant:
                raise PoisonousMessage(f"The registry does not hold the tenant {tenant}.") from None
        if day < self._grid.first_day:
            raise PoisonousMessage(f"{day} is before the first day that is partitioned, {self._grid.first_day}.")

    def _want(self, message: Message, event: Event) -> Outcome:
        """Keep a message for the next attempt, or give it up when its last one has failed."""
        last = self._grid.run_for(message.requested)
        wanted = _Wanted(replace(message, attempt=max(message.attempt, 1)), event, None)  # the first, or one that was never launched
        if last is not None:
            if last.status in IN_PROGRESS:
                return Outcome.RUNNING
            if message.attempt >= self._queue.limit:
                ended = f"Run {last.run_id} ended as {last.status.value} and did not consume it"
                self._queue.bury(message, f"{ended}: attempt {message.attempt}, the last one.")
                return Outcome.GIVEN_UP
            wanted = _Wanted(replace(message, attempt=message.attempt + 1), event, self._grid.progress(last, wanted.cell))
        self._wanted[event] = wanted
        return Outcome.WANTED
