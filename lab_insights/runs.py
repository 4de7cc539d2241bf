"""Running a job in this process, over a rectangle of tenants and days: what the demo and `lab-insights run` share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from lab_insights.assets.specs import USER_DEFINED
from lab_insights.assets.tenant_days import FAILED
from lab_insights.errors import ConfigError
from lab_insights.names import TenantId
from lab_insights.partitions import TENANTS, partition_key, range_tags

# The lines of the run are for the UI; this process has a progress bar.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_REASON = re.compile(r"^- \*\*(.+?)\*\* (.*)$", re.MULTILINE)


@dataclass
class Layer:
    """What a run did in one layer; `rows` were landed, kept or merged."""

    name: str
    assets: set[str] = field(default_factory=set)
    partitions: set[str] = field(default_factory=set)
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    statements: int = 0


def add_tenants(instance: dg.DagsterInstance, tenants: Sequence[TenantId]) -> list[str]:
    """Give every tenant its partition, in the given order, and return Dagster's order of all tenants."""
    known = instance.get_dynamic_partitions(str(TENANTS.name))
    if new := [tenant for tenant in tenants if tenant not in known]:
        instance.add_dynamic_partitions(str(TENANTS.name), new)
    return [*known, *new]


def stretches(order: Sequence[str], tenants: Sequence[TenantId]) -> list[list[TenantId]]:
    """Return the tenants in Dagster's `order`, in the fewest runs of neighbours: a range of partitions takes everybody in between."""
    found: list[list[TenantId]] = []
    last = -2
    for position, tenant in sorted((order.index(tenant), tenant) for tenant in set(tenants)):
        if position == last + 1:
            found[-1].append(tenant)
        else:
            found.append([tenant])
        last = position
    return found


@dataclass(frozen=True)
class Choices:
    """What a person chose: how sources are read, by whom, and which tables; `user_defined` are those that no contract describes.

    `scanned` are the sources whose readers can not be chosen.
    """

    mode: str | None = None
    reload: bool = False
    engine: str | None = None
    user_defined: tuple[str, ...] = ()
    scanned: frozenset[str] = frozenset()


def configured(job: dg.JobDefinition, choices: Choices = Choices(), tenants: Sequence[str] = ()) -> dict[str, Any]:
    """Return the run config of a job: what the job presets, and the choices of a person; raise `ConfigError` for one that the job does not have.

    `tenants` are those of a job without partitions.
    """
    mode, there = choices.mode, {node.name for node in job.graph.node_defs}
    preset: Mapping[str, Any] = {}
    if job.partitioned_config:
        preset = job.partitioned_config.get_run_config_for_partition_key(str(partition_key(date.min, TenantId("any"))))
    ops: dict[str, dict[str, Any]] = {name: dict(op) for name, op in preset.get("ops", {}).items() if name in there}
    asked = {"mode": mode, "reload": choices.reload, "engine": choices.engine}
    if chosen := {name: value for name, value in asked.items() if value}:
        loads = [node.name for node in job.graph.node_defs if node.name.startswith("raw_")]
        if not loads:
            raise ConfigError(
                f"The job {job.name} reads no source.", remedy=f"leave out `--{next(iter(chosen))}`, or run `raw` or `everything`."
            )
        if mode and ops:
            raise ConfigError(f"The job {job.name} has a mode of its own.", remedy="leave out `--mode`, or run `raw` or `everything`.")
        for name in loads:
            its = {what: value for what, value in chosen.items() if what != "engine" or name.removeprefix("raw_") not in choices.scanned}
            ops[name] = {"config": {**ops.get(name, {}).get("config", {}), **its}}
            if choices.reload and ops[name]["config"].get("mode") == "full":
                raise ConfigError(
                    "A reload reads a closed day's window again, and a full load the whole table as it is now.",
                    remedy="leave out `--reload`, or run `raw` without `--mode full`.",
                )
    if choices.user_defined:
        name = f"raw_{USER_DEFINED}"
        ops[name] = {"config": {**ops.get(name, {}).get("config", {}), "tables": list(choices.user_defined)}}
    if tenants and job.partitions_def is None:
        if job.name == "check":
            raise ConfigError("The job check looks at all tenants together.", remedy="leave out `--tenant`.")
        ops |= {node.name: {"config": {"tenants": list(tenants)}} for node in job.graph.node_defs}
    return {**QUIET, **({"ops": ops} if ops else {})}


def narrowed(job: dg.JobDefinition, tables: Sequence[str]) -> tuple[dg.JobDefinition, tuple[str, ...]]:
    """Return the part of a job that is about `tables`, in every layer that it has, and those of them that no contract describes.

    A table is named as an asset (`raw/lis/result`), by its lake id (`lis.result`), or by its last word (`result`). One whose step makes others with it,
    as that of the reports does, brings them along.
    Raises `ConfigError` for a job without tables, and for a table that is none of the job's.
    """
    if not tables:
        return job, ()
    every = job.asset_layer.selected_asset_keys if job.partitions_def else set()
    if not every:
        raise ConfigError(f"The job {job.name} has no tables to choose from.", remedy="leave out `--table`.")
    named = {name: {key for key in every if name in {key.path[-1], ".".join(key.path[1:]), key.to_user_string()}} for name in tables}
    generic = {key for key in every if key.path[-1] == USER_DEFINED and key.path[0] == "raw"}
    others = tuple(name for name, keys in named.items() if not keys)
    if others and (not generic or any("." not in name for name in others)):
        hint = "or SOURCE.TABLE for one that no contract describes" if generic else "as the UI does"
        raise ConfigError(
            f"The job {job.name} has no table {', '.join(others)}.",
            remedy=f"name one of {', '.join(sorted({'.'.join(key.path[1:]) for key in every}))}, {hint}.",
        )
    asked = set().union(*named.values()) | (generic if others else set())
    keys = asked.union(*(job.asset_layer.get(key).execution_set_asset_keys for key in asked))
    return job.get_subset(asset_selection=keys), others


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    cells: tuple[Sequence[TenantId], Sequence[date]] | None,
    config: Mapping[str, Any] = QUIET,
    stepped: Callable[[str], None] = lambda _: None,
) -> dg.ExecuteInProcessResult:
    """Run `job` in this process over `cells`: tenants that follow each other in Dagster's order, and the days from the first to the last.

    `stepped` is told the name of each step that succeeds. A failed run is returned, not raised.
    """

    @dg.success_hook
    def count(context: dg.HookContext) -> None:
        stepped(context.op.name)

    tags = {}
    if cells:
        tenants, days = cells
        tags = range_tags(str(partition_key(days[0], tenants[0])), str(partition_key(days[-1], tenants[-1])))
    return job.with_hooks({count}).execute_in_process(instance=instance, tags=tags, run_config=dict(config), raise_on_error=False)


@contextmanager
def counting(rows: Callable[[int], None]) -> Iterator[None]:
    """Tell `rows` how many rows each batch has that is committed or merged in this process meanwhile."""

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            rows(int(getattr(record, "rows", 0)))

    loggers, counter = [logging.getLogger(f"lab_insights.{name}") for name in ("lake.commit", "warehouse.load")], Counter()
    for logger in loggers:
        logger.addHandler(counter)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(counter)


def layers(instance: dg.DagsterInstance, run_id: str) -> list[Layer]:
    """Return what a run did by layer, in the order of the layers, from its receipts; a tenant that failed has those of what it did before."""
    found: dict[str, Layer] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        if (receipt := entry.asset_materialization) is None:
            continue
        layer = found.setdefault(receipt.asset_key.path[0], Layer(receipt.asset_key.path[0]))
        numbers: dict[str, Any] = {name: value.value for name, value in receipt.metadata.items()}
        layer.assets.add(receipt.asset_key.to_user_string())
        layer.partitions.add(str(receipt.partition))
        layer.rows += numbers.get("dagster/partition_row_count") or 0
        layer.bytes += numbers.get("bytes") or 0
        layer.seconds += numbers.get("seconds") or 0
        layer.statements += numbers.get("statements") or 0
    return list(found.values())


def outputs(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return what the steps of a job without partitions say of themselves, such as how many tables were crawled."""
    handled = [(event.step_key, event.step_output_data.metadata) for event in result.all_events if event.is_successful_output]
    return {f"{step} {name}": value.value for step, metadata in handled for name, value in metadata.items()}


def failed(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return the tenants (or sources of tenants) that failed, each with its first reason."""
    found: dict[str, str] = {}
    for event in result.all_events:
        named = event.step_failure_data.user_failure_data if event.is_step_failure else None
        if named and FAILED in named.metadata:
            for name, reason in _REASON.findall(str(named.metadata[FAILED].value)):
                found.setdefault(name, reason)
    return found


def failures(result: dg.ExecuteInProcessResult) -> str:
    """Return what failed in a run: a line for each step, and below it one for each tenant or source with its reason."""
    lines = []
    for event in result.all_events:
        if event.is_step_failure:
            named = event.step_failure_data.user_failure_data
            reasons = named.metadata.get(FAILED) if named else None
            lines.append(f"{event.step_key}: {named.description if named else _unforeseen(event)}")
            lines += str(reasons.value).replace("**", "").splitlines() if reasons else []
    return "\n".join(lines)


def _unforeseen(event: dg.DagsterEvent) -> str:
    """Our own errors in their words; of any other only its type, since its text may quote a row."""
    error = event.step_failure_data.error
    error = (error and error.cause) or error
    if error is None:
        return "failed"
    return error.message.strip() if error.message.startswith("lab_insights.") else str(error.cls_name)
