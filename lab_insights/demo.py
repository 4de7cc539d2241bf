"""The demo: three laboratories, seven days, every layer, in process, with progress; then what was loaded and that `verify` holds."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Literal

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


@dataclass(frozen=True)
class Step:
    """A finished step of a run, for the progress bar of its half: the lake, or the warehouse, which is a day behind."""

    half: Literal["lake", "Snowflake"]
    day: date
    name: str


def register(stack: Stack) -> None:
    """Register the laboratories, make their databases, and give Dagster their partitions. Repeating changes nothing."""
    os.environ["DAGSTER_HOME"] = str(stack.dagster_home)
    # One write for many events: they are a tenth of the demo's time otherwise.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "500")
    lake = LakeResource()
    registry = lake.registry()
    with WarehouseResource(lake=lake).session("demo") as session:
        for tenant in LABORATORIES:
            registry.put(tenant)
            count = provision(session, lake.open().storage, tenant.id)
            Log(lake.open().storage).append(Event(action="tenant.register", counts={"statements": count}), tenant.id)
    with dg.DagsterInstance.get() as instance:
        runs.add_tenants(instance, [tenant.id for tenant in LABORATORIES])


def run(simulation: Simulation, simulated: Callable[[date, int], None], stepped: Callable[[Step, int], None]) -> list[date]:
    """Simulate and load `DAYS` days, or load again what was simulated before, and return the days.

    A day's lake is loaded into Snowflake while the next day is simulated and landed. `stepped` is told each step, and how many its half will have.
    Raises `LabInsightsError` when a run fails; its failed steps are in the Dagster UI.
    """
    lake, snowflake = _jobs()
    written, missing = simulation.written, DAYS - len(simulation.written)
    times = max(0, missing) + bool(written)

    # A process, not a thread: Dagster redirects the output of the whole process into a run's log.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent) as behind:
        loading: list[Future[None]] = []

        def through(days: list[date]) -> None:
            def done(half: Literal["lake", "Snowflake"], job: dg.JobDefinition, *names: str) -> None:
                for name in names:
                    stepped(Step(half, days[-1], name), times * len(job.graph.node_defs))

            _load(lake, days, functools.partial(done, "lake", lake))
            loading.append(behind.submit(_load_snowflake, days))
            loading[-1].add_done_callback(lambda _: done("Snowflake", snowflake, *(node.name for node in snowflake.graph.node_defs)))

        try:
            if written:
                through(written)
            if missing > 0:
                for day in simulation.advance(missing, simulated):
                    through([day])
            for each in loading:
                each.result()
        except BaseException:
            behind.shutdown(wait=False, cancel_futures=True)
            raise
    return simulation.written


def _jobs() -> tuple[dg.JobDefinition, dg.JobDefinition]:
    """The two halves of the job `everything`."""
    from lab_insights.definitions import defs

    snowflake, everything = (defs().resolve_job_def(name) for name in ("curated_to_snowflake", "everything"))
    lake = set(everything.asset_layer.executable_asset_keys).difference(snowflake.asset_layer.executable_asset_keys)
    return everything.get_subset(asset_selection=lake), snowflake


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
