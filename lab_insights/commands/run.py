"""`lab-insights run`: a job over tenants and days, in this process, with progress; it is a run like any other in the Dagster UI."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from lab_insights.commands.console import BROKEN, err, load_config, out, print_json, told
from lab_insights.commands.progress import counted, progress
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    import dagster as dg

    from lab_insights.config import Config
    from lab_insights.names import TenantId
    from lab_insights.runs import Layer

# For the shell's completion, which must not wait for Dagster; which jobs there are is told by the definitions.
JOBS = (
    *("everything", "raw", "curation", "transformation", "curated_to_snowflake", "full_load", "incremental_load"),
    *("dynamic_full_load", "dynamic_incremental_load", "find_deletes", "crawl", "schema_sync", "keep_lake", "check", "reconcile"),
)


class Mode(StrEnum):
    """How sources are read."""

    FULL = "full"
    INCREMENTAL = "incremental"
    DELETES = "deletes"


class Engine(StrEnum):
    """Who reads them."""

    ARROW = "arrow"
    SPARK = "spark"


def _completed(incomplete: str) -> list[str]:
    return [job for job in JOBS if job.startswith(incomplete)]


def run(
    job: Annotated[str, typer.Argument(help="A job such as everything, raw, full_load, crawl.", autocompletion=_completed)],
    *,
    tenant: Annotated[
        list[str] | None, typer.Option(help="A tenant; may be given several times. All that are registered when not given.")
    ] = None,
    day: Annotated[str | None, typer.Option(help="The day, such as 2026-01-31; the last whole day when not given.")] = None,
    until: Annotated[str | None, typer.Option(help="The last day, for several.")] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="A table, such as result, lis.result, raw/lis/result or crm.udt_visit, in every layer of the job; may be given several times."
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="full takes whole tables, incremental changes only, deletes looks for rows that are gone, too; by plan when not given."
        ),
    ] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="Who reads relational sources: this process, or Spark; by plan when not given.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Read closed days' windows again; the new batches supersede the old ones.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a job for tenants and days in this process. Exit code 1 when a tenant failed; the others' receipts stay."""
    with told():
        config = load_config()
        with err.status("loading the definitions …"):
            from lab_insights import runs
            from lab_insights.definitions import defs

            definitions = defs()
            names = sorted(each.name for each in definitions.resolve_all_job_defs() if not each.name.startswith("__"))
            if job not in names:
                raise ConfigError(f"There is no job {job}.", remedy=f"run one of: {', '.join(names)}.")
            its, user_defined = runs.narrowed(definitions.resolve_job_def(job), table or ())
        (every, tenants), days = _tenants(config, tenant), _days(config, its, day, until)
        scanned = frozenset(name for name, source in config.sources.items() if source.engine == "dynamodb")
        choices = runs.Choices(mode, reload, engine, user_defined, scanned)
        chosen = runs.configured(its, choices, [] if tenant is None else tenants)
        with ExitStack() as stack:
            instance, kept = instance_of(stack)
            parts = [None] if days is None else [(part, days) for part in runs.stretches(runs.add_tenants(instance, every), tenants)]
            bar = stack.enter_context(progress())
            task = bar.add_task(job, total=len(parts) * len(its.graph.node_defs), rate="")
            stack.enter_context(counted(lambda rate: bar.update(task, rate=rate)))
            done: list[tuple[dg.ExecuteInProcessResult, list[Layer]]] = []
            for part in parts:
                result = runs.execute(its, instance, part, chosen, lambda name: bar.update(task, advance=1, description=f"{job} {name}"))
                done.append((result, runs.layers(instance, result.run_id)))
        failed = {name: reason for result, _ in done for name, reason in runs.failed(result).items()}
        if json:
            print_json(
                {
                    "job": job,
                    "ok": all(result.success for result, _ in done),
                    "runs": [described(*each, ui=config.alerts.ui_url) for each in done],
                    "failed": failed,
                }
            )
        else:
            for result, layers in done:
                print_run(result, layers, ui=config.alerts.ui_url if kept else "")
        if not all(result.success for result, _ in done):
            raise typer.Exit(BROKEN)


def _tenants(config: Config, chosen: list[str] | None) -> tuple[list[TenantId], list[TenantId]]:
    """Return all tenants, and those that are chosen (None: all); raise `UnknownTenant` for one that is not registered, and `ConfigError` when there is none."""
    from lab_insights.partitions import refuse_too_many
    from lab_insights.resources.lake import open_aws
    from lab_insights.tenants.registry import Registry

    registry = Registry(open_aws(config), config.lake.prefix)
    every = [known.id for known in registry.all()]
    found = [registry.get(name).id for name in chosen] if chosen else every
    if not found:
        raise ConfigError("No tenant is registered.", remedy="lab-insights tenant add ID --key KEY")
    refuse_too_many(config, len(every))
    return every, found


def _days(config: Config, job: dg.JobDefinition, first: str | None, last: str | None) -> list[date] | None:
    """Return the days that are meant, None for a job without partitions; raise `ConfigError` for one that is none, or no partition."""
    import dagster as dg

    from lab_insights.resources.lake import open_lake

    grid = job.partitions_def
    if not isinstance(grid, dg.MultiPartitionsDefinition):
        if first or last:
            raise ConfigError(f"The job {job.name} has no days.", remedy="leave out `--day` and `--until`.")
        return None
    try:
        start = date.fromisoformat(first) if first else open_lake(config).clock.now().date() - timedelta(days=1)
        end = date.fromisoformat(last) if last else start
    except ValueError:
        raise ConfigError("A `--day` or `--until` is no date.", remedy="write it as 2026-01-31.") from None
    days = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    there = grid.get_partitions_def_for_dimension("date").get_partition_keys()
    if not days or str(start) not in there or str(end) not in there:
        raise ConfigError(
            f"{start} to {end} are not days of this deployment, which has {there[0]} to {there[-1]}." if there else "There is no day yet.",
            remedy="choose others, or move `partitions.start` in lab_insights.yaml.",
        )
    return days


def instance_of(stack: ExitStack) -> tuple[dg.DagsterInstance, bool]:
    """Return the instance of $DAGSTER_HOME, else one that forgets the run, and whether it keeps it."""
    import os

    import dagster as dg

    if os.environ.get("DAGSTER_HOME"):
        return stack.enter_context(dg.DagsterInstance.get()), True
    err.print("DAGSTER_HOME is not set: the UI will not show this run.", style="yellow")
    return stack.enter_context(dg.DagsterInstance.ephemeral()), False


def described(result: dg.ExecuteInProcessResult, layers: list[Layer], *, ui: str) -> dict[str, Any]:
    """Return a run and its layers as JSON; `ui` is the address of the Dagster UI."""
    from lab_insights import runs

    return {
        "run_id": result.run_id,
        "url": _url(ui, result),
        "ok": result.success,
        "layers": {
            layer.name: {"assets": len(layer.assets), "partitions": len(layer.partitions)}
            | {name: getattr(layer, name) for name in ("rows", "bytes", "statements")}
            | {"seconds": round(layer.seconds, 3)}
            for layer in layers
        },
        "outputs": runs.outputs(result) if not layers else {},
    }


def _url(ui: str, result: dg.ExecuteInProcessResult) -> str:
    return f"{ui.rstrip('/')}/runs/{result.run_id}"


def print_run(result: dg.ExecuteInProcessResult, layers: list[Layer], *, ui: str) -> None:
    """Print a run and its layers; `ui` is the address of the Dagster UI that shows it, empty when none does."""
    from lab_insights import runs

    if layers:
        table = Table(box=SIMPLE_HEAD, collapse_padding=True)
        table.add_column("layer")
        for name in ("assets", "tenant-days", "rows", "bytes", "seconds", "statements"):
            table.add_column(name, justify="right")
        for each in layers:
            numbers = (f"{len(each.assets)}", f"{len(each.partitions)}", f"{each.rows:,}", decimal(each.bytes) if each.bytes else "")
            table.add_row(each.name, *numbers, f"{each.seconds:,.1f}", f"{each.statements:,}" if each.statements else "")
        out.print(table)
    else:
        for name, value in runs.outputs(result).items():
            out.print(f"{name}: {value}", highlight=False, markup=False)
    status = "[green]succeeded[/]" if result.success else "[bold red]FAILED[/]"
    out.print(f"run {result.run_id} {status}" + (f"  {_url(ui, result)}" if ui else ""), highlight=False, soft_wrap=True)
    if result.success:
        return
    out.print(escape(runs.failures(result)), highlight=False, soft_wrap=True)
    if tenants := runs.failed(result):
        out.print(f"[bold red]failed:[/] {escape(', '.join(tenants))}", highlight=False, soft_wrap=True)
        out.print(
            "The others are done as far as the table says; their later layers follow by the sensors, or by a run without the failed ones."
        )
