"""The demo: three laboratories, seven days, every layer, in process, with progress; then what was loaded and that `verify` holds."""

from __future__ import annotations

import functools
import gc
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from threading import RLock
from types import TracebackType
from typing import Literal, NamedTuple, Self

import dagster as dg

from lab_insights import config as configuration
from lab_insights import runs
from lab_insights.errors import LabInsightsError
from lab_insights.governance.audit import Event, Log
from lab_insights.local.simulation import TENANTS as LABORATORIES
from lab_insights.local.simulation import Simulation
from lab_insights.local.stack import Stack
from lab_insights.names import TenantId
from lab_insights.resources import spark
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse.provision import provision

DAYS = 7
# What the loads will import.
IMPORTS = ("lab_insights.definitions", "pyarrow.parquet", "ibis.expr.sql", "duckdb", "sqlalchemy", "pandas")


Cells = tuple[list[TenantId], list[date]]
"""Tenants that follow each other in Dagster's order, and days."""
Part = Literal["snowflake", "reports"]


@dataclass(frozen=True)
class Step:
    """A finished step of a run, for the progress bar of its half: the lake, or the warehouse, which is a day behind."""

    half: Literal["lake", "Snowflake"]
    day: date
    name: str


def register(stack: Stack) -> None:
    """Register the laboratories, and give Dagster their partitions. Repeating changes nothing."""
    os.environ["DAGSTER_HOME"] = str(stack.dagster_home)
    # Whatever deployment this shell is about otherwise.
    os.environ["LAB_INSIGHTS_CONFIG"] = str(stack.dagster_home / "lab_insights.yaml")
    # One write for many events: they are a tenth of the demo's time otherwise.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "500")
    registry = LakeResource().registry()
    for tenant in LABORATORIES:
        registry.put(tenant)
    with dg.DagsterInstance.get() as instance:
        runs.add_tenants(instance, [tenant.id for tenant in LABORATORIES])


@contextmanager
def loaded(
    simulation: Simulation, simulated: Callable[[date, int], None], stepped: Callable[[Step, int], None]
) -> Iterator[Callable[[], None]]:
    """Simulate and load `DAYS` days, or load again what was simulated before; the body has the lake as a whole, and what waits for Snowflake's tables.

    The lake is loaded into Snowflake while later days are simulated and landed; the reports of all days are made last. `stepped` is told each step,
    and how many its half will have. Raises `LabInsightsError` when a run fails; its failed steps are in the Dagster UI.
    """
    jobs = _jobs()
    written, missing = simulation.written, DAYS - len(simulation.written)
    every = [tenant.id for tenant in LABORATORIES]
    times = max(0, missing) + bool(written) + len(every) - 1
    steps = {"lake": times * _steps(jobs.lake), "Snowflake": times * _steps(jobs.snowflake) + _steps(jobs.reports)}

    def done(half: Literal["lake", "Snowflake"], day: date, name: str) -> None:
        stepped(Step(half, day, name), steps[half])

    def behind_done(job: dg.JobDefinition, day: date) -> None:
        for node in job.graph.node_defs:
            done("Snowflake", day, node.name)

    with _Behind(jobs, behind_done) as behind, ThreadPoolExecutor(1, thread_name_prefix="spark") as beside:
        if not written:
            # Java starts while the first day is simulated; a load that needs it says what is wrong with it.
            beside.submit(spark.session, configuration.load().spark)
        days_to_come = simulation.advance(missing, simulated) if missing > 0 else ()
        # The first stretch is the longest: Snowflake takes each tenant as soon as it is there.
        portions = [[tenant] for tenant in every]
        for days in itertools.chain([written] if written else [], ([day] for day in days_to_come)):
            for tenants in portions:
                _load(jobs.lake, (tenants, days), functools.partial(done, "lake", days[-1]))
                behind.take((tenants, days))
            portions = [every]
        yield behind.finish_tables
        behind.finish()


class _Jobs(NamedTuple):
    """The parts of the job `everything`."""

    lake: dg.JobDefinition
    snowflake: dg.JobDefinition
    reports: dg.JobDefinition


@functools.cache
def _jobs() -> _Jobs:
    from lab_insights.definitions import defs

    everything = defs().resolve_job_def("everything")
    gc.set_threshold(50_000)  # the collector takes a twentieth of the demo's time otherwise
    every = everything.asset_layer.executable_asset_keys
    layers = [{key for key in every if key.path[0] in layer} for layer in (("raw", "curated", "transformed"), ("snowflake",), ("reports",))]
    return _Jobs(*(everything.get_subset(asset_selection=layer) for layer in layers))


def _steps(job: dg.JobDefinition) -> int:
    return len(job.graph.node_defs)


def _joined(portions: Sequence[Cells]) -> Cells:
    """Return the rectangle of all tenants and days of portions."""
    return list({tenant: None for tenants, _ in portions for tenant in tenants}), list({day: None for _, days in portions for day in days})


class _Behind:
    """Makes the databases, then loads stretches of days into Snowflake beside everything else: all that wait, in one run; then the reports of all days.

    In a process, not a thread: Dagster redirects the output of the whole process into a run's log. `done` is told of each stretch, and of the reports.
    """

    def __init__(self, jobs: _Jobs, done: Callable[[dg.JobDefinition, date], None]) -> None:
        self._jobs, self._done = jobs, done
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent)
        self._waiting: list[Cells] = []
        self._taken: list[Cells] = []
        self._lock = RLock()
        self._running: Future[None] = self._process.submit(_make_databases)
        self._running.add_done_callback(self._go_on)

    def take(self, cells: Cells) -> None:
        """Load cells as soon as those before them are; raise what a load before raised."""
        with self._lock:
            self._waiting.append(cells)
            self._taken.append(cells)
            self._begin()

    def finish_tables(self) -> None:
        """Wait until all cells are in the tables, and let the reports begin; raise what a load raised."""
        # Several threads verify tenants; those that come when the reports have begun have waited for all.
        while self._taken and not self._idle():
            self._running.result()
        with self._lock:
            if self._taken:
                self._running.result()
                cells, self._taken = _joined(self._taken), []
                self._submit("reports", cells, [cells[1][-1]])

    def finish(self) -> None:
        """Wait until the reports are made, too; raise what a run raised."""
        self.finish_tables()
        self._running.result()

    def _idle(self) -> bool:
        with self._lock:
            self._begin()
            return not self._waiting and self._running.done()

    def _begin(self) -> None:
        """Unless something runs, load the first that wait and the later days of the same tenants, in one run."""
        if not self._waiting or not self._running.done():
            return
        self._running.result()
        tenants = self._waiting[0][0]
        portions = list(itertools.takewhile(lambda cells: cells[0] == tenants, self._waiting))
        self._waiting = self._waiting[len(portions) :]
        self._submit("snowflake", _joined(portions), [days[-1] for _, days in portions])

    def _submit(self, part: Part, cells: Cells, ends: list[date]) -> None:
        self._running = self._process.submit(_load_behind, part, cells)

        def done(ended: Future[None]) -> None:
            for day in ends:
                self._done(getattr(self._jobs, part), day)
            self._go_on(ended)

        self._running.add_done_callback(done)

    def _go_on(self, ended: Future[None]) -> None:
        with self._lock:
            if not ended.cancelled() and not ended.exception():
                self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._waiting.clear()
        self._process.shutdown(wait=error is None, cancel_futures=error is not None)


def _make_databases() -> None:
    lake = LakeResource()
    storage = lake.open().storage
    with WarehouseResource(lake=lake).session("demo") as session:
        for tenant in LABORATORIES:
            # roles and grants, which the stand-in would only record, take most of the minute
            count = provision(session, storage, tenant.id, None if storage.aws.endpoint_url else tenant.tier)
            Log(storage).append(Event(action="tenant.register", counts={"statements": count}), tenant.id)


def _load_behind(part: Part, cells: Cells) -> None:
    _load(getattr(_jobs(), part), cells, lambda _: None)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load(job: dg.JobDefinition, cells: Cells, stepped: Callable[[str], None]) -> None:
    """Run `job` for tenants and days, in this process."""
    with dg.DagsterInstance.get() as instance:
        result = runs.execute(job, instance, cells, stepped=stepped)
    if not result.success:
        raise LabInsightsError(
            f"The run {result.run_id} failed.\n{runs.failures(result)}",
            remedy="open it with `lab-insights ui`; then run the demo again, which goes on where it stopped.",
            partition=str(cells[1][-1]),
        )
