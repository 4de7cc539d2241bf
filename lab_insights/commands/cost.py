"""`lab-insights cost`: bytes, seconds, CPU seconds and statements of each tenant's days."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from lab_insights.commands.console import entry, err, load_config, out, print_json, told
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from lab_insights.cost import TenantDay

_DAYS = 7


def cost(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant; may be given several times. All when not given.")] = None,
    day: Annotated[
        list[str] | None,
        typer.Option(help=f"A day such as 2026-01-31; may be given several times. Today and the {_DAYS} days before it when not given."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every layer as JSON.")] = False,
) -> None:
    """Show what tenant-days cost: bytes written to each layer of the lake, seconds, CPU seconds, and Snowflake statements, as they were recorded."""
    from lab_insights.cost import costs
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    with told(), ExitStack() as stack:
        config = load_config()
        lake, registry = open_lake(config), Registry(open_aws(config), config.lake.prefix)
        tenants = [registry.get(name).id for name in tenant] if tenant else [known.id for known in registry.all()]
        try:
            days = sorted({date.fromisoformat(text) for text in day or ()})
        except ValueError:
            raise ConfigError("A `--day` is no date.", remedy="write it as 2026-01-31.") from None
        today = lake.clock.now().date()
        days = days or [today - timedelta(days=back) for back in range(_DAYS, -1, -1)]
        instance = None
        if os.environ.get("DAGSTER_HOME"):
            from dagster import DagsterInstance

            instance = stack.enter_context(DagsterInstance.get())
        else:
            err.print("DAGSTER_HOME is not set: Snowflake's part is in the receipts of its runs, and is left out.", style="yellow")
        with err.status("adding up …"):
            found = costs(lake, instance, tenants, days)
        if json:
            print_json([_described(each, known=instance is not None) for each in found])
        elif found:
            _print(found, known=instance is not None)
        else:
            out.print("nothing lies there of these tenants and days")


def _described(each: TenantDay, *, known: bool) -> dict[str, Any]:
    return {
        "tenant": each.tenant,
        "day": each.day,
        "bytes": int(each.total("bytes")),
        "seconds": round(each.total("seconds"), 3),
        "cpu_seconds": round(each.total("cpu_seconds"), 3),
        "statements": int(each.total("statements")) if known else None,
        "bytes_per_statement": each.bytes_per_statement,
        "layers": {layer: dataclasses.asdict(spent) for layer, spent in each.layers.items()},
    }


def _print(found: list[TenantDay], *, known: bool) -> None:
    from lab_insights.cost import WAREHOUSE
    from lab_insights.lake.layout import LAYERS

    for tenant, days in groupby(found, key=lambda each: each.tenant):
        entry(f"{tenant}: what each day cost", indent=0, style="bold")
        for each in days:
            written = ", ".join(f"{layer} {decimal(each.of(layer).bytes)}" for layer in LAYERS)
            entry(f"{each.day}  {written}")
            told = f"lake {each.total('seconds', LAYERS):,.1f} s, {each.total('cpu_seconds'):,.1f} CPU s"
            told += f"; Snowflake {each.total('statements'):,.0f} statements, {each.total('seconds', WAREHOUSE):,.1f} s" if known else ""
            told += f", {decimal(each.bytes_per_statement)} a statement of loads" if each.bytes_per_statement is not None else ""
            entry(told, indent=14, style="dim")
    every = sum(each.total("bytes") for each in found)
    statements = f", {sum(each.total('statements') for each in found):,.0f} statements" if known else ""
    out.print(
        f"{len(found)} tenant-days: {decimal(int(every))} written, {sum(each.total('seconds') for each in found):,.1f} s, "
        f"{sum(each.total('cpu_seconds') for each in found):,.1f} CPU s{statements}",
        highlight=False,
    )
