"""`lab-insights schema stale` and `schema backfill`: what a changed contract, mapping or release left to be made again, and making it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_insights.commands.console import BROKEN, entry, err, load_config, out, print_json, told
from lab_insights.commands.progress import counted, progress

if TYPE_CHECKING:
    import dagster as dg

    from lab_insights.config import Config
    from lab_insights.lab.stale import Stale
    from lab_insights.names import TenantId
    from lab_insights.runs import Layer

Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="A tenant; may be given several times.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_JOBS = {"curated": "curation", "transformed": "transformation"}


def stale(*, tenant: Tenants = None, json: Json = False) -> None:
    """List the curated and transformed partitions that another version of the code, a contract or a mapping made than today's."""
    with told():
        found = _stale(load_config(), tenant)[1]
        if json:
            partitions = ((each.partition, each) for each in found)
            print_json([its.where | {"layer": its.layer, "made_by": of.made_by, "today": of.today} for its, of in partitions])
            return
        _print(found)


def backfill(*, tenant: Tenants = None, json: Json = False) -> None:
    """Make exactly what `schema stale` lists again, in this process. Exit code 1 when a tenant failed; the others' receipts stay.

    Later layers follow by the sensors, or by `lab-insights run curated_to_snowflake`.
    """
    from lab_insights.commands.run import described, instance_of, print_run

    with told():
        config = load_config()
        with err.status("loading the definitions …"):
            from lab_insights import runs
            from lab_insights.definitions import defs
            from lab_insights.lab.stale import rectangles

            definitions = defs()
        every, found = _stale(config, tenant)
        done: list[tuple[dg.ExecuteInProcessResult, list[Layer]]] = []
        with ExitStack() as stack:
            instance, kept = instance_of(stack)
            order, todo = runs.add_tenants(instance, every), rectangles(found)
            bar = stack.enter_context(progress())
            task = bar.add_task("backfill", total=len(todo), rate="")
            stack.enter_context(counted(lambda rate: bar.update(task, rate=rate)))
            for each in todo:
                job, _ = runs.narrowed(definitions.resolve_job_def(_JOBS[each.layer]), each.steps)
                for part in runs.stretches(order, each.tenants):
                    result = runs.execute(job, instance, (part, each.days), runs.configured(job))
                    done.append((result, runs.layers(instance, result.run_id)))
                bar.update(task, advance=1, description=f"backfill {each.layer}")
        ok = all(result.success for result, _ in done)
        if json:
            print_json({"ok": ok, "partitions": len(found), "runs": [described(*each, ui=config.alerts.ui_url) for each in done]})
        else:
            for result, layers in done:
                print_run(result, layers, ui=config.alerts.ui_url if kept else "")
            out.print(f"{len(found)} stale partitions were to be made again", highlight=False)
        if not ok:
            raise typer.Exit(BROKEN)


def _stale(config: Config, chosen: list[str] | None) -> tuple[list[TenantId], list[Stale]]:
    """Return all tenants, and the stale partitions of those that are chosen (None: all) on days that are partitions."""
    from lab_insights.lab import stale as stale_of
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    lake, registry = open_lake(config), Registry(open_aws(config), config.lake.prefix)
    every = [known.id for known in registry.all()]
    tenants = [registry.get(name).id for name in chosen] if chosen else every
    since = config.partitions.start
    return every, [each for name in tenants for each in stale_of.stale(lake, name, config.sources, since)]


def _print(found: list[Stale]) -> None:
    days: dict[tuple[str, str], list[Any]] = {}
    for each in found:
        days.setdefault((each.partition.tenant, f"{each.partition.layer}/{each.partition.table}"), []).append(each.partition.day)
    for (tenant, table), its in days.items():
        entry(f"{tenant} {table}: {len(its)} days, {min(its)} to {max(its)}", indent=0)
    if found:
        out.print("`lab-insights schema backfill` makes them again.", highlight=False)
    else:
        out.print("nothing is stale", highlight=False)
