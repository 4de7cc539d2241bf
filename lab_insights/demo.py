"""The demo: three laboratories, seven days, every layer, in process, with progress; then what was loaded and that `verify` holds."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from threading import Lock
from types import TracebackType
from typing import Literal, Self

import dagster as dg

from lab_insights import runs
from lab_insights.errors import LabInsightsError
from lab_insights.governance.audit import Event, Log
from lab_insights.local.simulation import TENANTS as LABORATORIES
from lab_insights.local.simulation import Simulation
from lab_insights.local.stack import Stack
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse.provision import provision

DAYS = 7
# What the loads will import.
IMPORTS = ("lab_insights.definitions", "pyarrow.parquet", "ibis.expr.sql", "duckdb", "sqlalchemy", "pandas")


@dataclass(frozen=True)
class Step:
    """A finished step of a run, for the progress bar of its half: the lake, or the warehouse, which is a day behind."""

    half: Literal["lake", "Snowflake"]
    day: date
    name: str


def register(stack: Stack) -> None:
    """Register the laboratories, and give Dagster their partitions. Repeating changes nothing."""
    os.environ["DAGSTER_HOME"] = str(stack.dagster_home)
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
    """Simulate and load `DAYS` days, or load again what was simulated before; the body has the lake as a whole, and what waits for Snowflake.

    The lake is loaded into Snowflake while later days are simulated and landed. `stepped` is told each step, and how many its half will have.
    Raises `LabInsightsError` when a run fails; its failed steps are in the Dagster UI.
    """
    lake, snowflake = _jobs()
    written, missing = simulation.written, DAYS - len(simulation.written)
    times = max(0, missing) + bool(written)

    def done(half: Literal["lake", "Snowflake"], job: dg.JobDefinition, day: date, name: str) -> None:
        stepped(Step(half, day, name), times * len(job.graph.node_defs))

    def merged(stretches: Sequence[list[date]]) -> None:
        for days in stretches:
            for node in snowflake.graph.node_defs:
                done("Snowflake", snowflake, days[-1], node.name)

    with _Behind(merged) as behind:
        days_to_come = simulation.advance(missing, simulated) if missing > 0 else ()
        for days in itertools.chain([written] if written else [], ([day] for day in days_to_come)):
            _load(lake, days, functools.partial(done, "lake", lake, days[-1]))
            behind.take(days)
        yield behind.finish
        behind.finish()


class _Behind:
    """Makes the databases, then loads stretches of days into Snowflake beside everything else: all that wait, in one run. `loaded` is told of each run's.

    In a process, not a thread: Dagster redirects the output of the whole process into a run's log.
    """

    def __init__(self, loaded: Callable[[Sequence[list[date]]], None]) -> None:
        self._loaded = loaded
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent)
        self._waiting: list[list[date]] = []
        self._running: Future[None] = self._process.submit(_make_databases)
        self._finishing = Lock()

    def take(self, days: list[date]) -> None:
        """Load days as soon as those before them are; raise what a load before raised."""
        self._waiting.append(days)
        if self._running.done():
            self._begin()

    def finish(self) -> None:
        """Wait until all days are loaded; raise what a load raised."""
        with self._finishing:
            while self._waiting:
                self._begin()
            self._running.result()

    def _begin(self) -> None:
        self._running.result()
        stretches, self._waiting = self._waiting, []
        self._running = self._process.submit(_load_snowflake, [day for days in stretches for day in days])
        self._running.add_done_callback(lambda _: self._loaded(stretches))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.shutdown(wait=error is None, cancel_futures=error is not None)


def _jobs() -> tuple[dg.JobDefinition, dg.JobDefinition]:
    """The two halves of the job `everything`."""
    from lab_insights.definitions import defs

    snowflake, everything = (defs().resolve_job_def(name) for name in ("curated_to_snowflake", "everything"))
    lake = set(everything.asset_layer.executable_asset_keys).difference(snowflake.asset_layer.executable_asset_keys)
    return everything.get_subset(asset_selection=lake), snowflake


def _make_databases() -> None:
    lake = LakeResource()
    storage = lake.open().storage
    with WarehouseResource(lake=lake).session("demo") as session:
        for tenant in LABORATORIES:
            # roles and grants, which the stand-in would only record, take most of the minute
            count = provision(session, storage, tenant.id, None if storage.aws.endpoint_url else tenant.tier)
            Log(storage).append(Event(action="tenant.register", counts={"statements": count}), tenant.id)


def _load_snowflake(days: list[date]) -> None:
    _load(_jobs()[1], days, lambda _: None)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load(job: dg.JobDefinition, days: list[date], stepped: Callable[[str], None]) -> None:
    """Run `job` for all laboratories and `days`, in this process."""
    with dg.DagsterInstance.get() as instance:
        result = runs.execute(job, instance, ([tenant.id for tenant in LABORATORIES], days), stepped=stepped)
    if not result.success:
        raise LabInsightsError(
            f"The run {result.run_id} failed.\n{runs.failures(result)}",
            remedy="open it with `lab-insights ui`; then run the demo again, which goes on where it stopped.",
            partition=str(days[-1]),
        )
