"""`lab-insights plan`: how each table of each tenant would be loaded, and why, before anything runs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from lab_insights.commands.console import BROKEN, entry, err, load_config, out, print_json, told
from lab_insights.errors import LabInsightsError

if TYPE_CHECKING:
    from lab_insights.extract.catalog import SourceTable
    from lab_insights.extract.sources import Sources


def plan(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant; may be given several times.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how each table would be loaded next: load, key, cursor, engine, estimated rows and bytes, and the reason. Reads catalogs only.

    Exit code 1 when a source or table could not be planned; the others are shown all the same.
    """
    from lab_insights.extract.sources import Sources
    from lab_insights.lab.declared import declared
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    with told():
        config = load_config()
        aws = open_aws(config)
        registry = Registry(aws, config.lake.prefix)
        modelled = declared()
        sources = Sources(config, aws, open_lake(config), modelled, kept=False)
        found: list[dict[str, Any]] = []
        failed: list[LabInsightsError] = []
        for known in [registry.get(name) for name in tenant] if tenant else registry.all():
            for source in sources.names():
                try:
                    catalog = sources.catalog(source, known)
                except LabInsightsError as error:
                    failed.append(error)
                    continue
                failed += catalog.broken.values()
                for table in catalog.tables:
                    try:
                        found.append(_row(sources, table, dynamic=table.table_id not in modelled))
                    except LabInsightsError as error:
                        failed.append(error)
        if json:
            print_json({"tables": found, "failed": [str(error) for error in failed]})
        else:
            _print(found)
            for each in failed:
                err.print(f"[bold red]not planned[/]: {escape(str(each))}", highlight=False, soft_wrap=True)
        if failed:
            raise typer.Exit(BROKEN)


def _row(sources: Sources, table: SourceTable, *, dynamic: bool) -> dict[str, Any]:
    chosen = sources.plan(table)
    if chosen.cursor is None:
        chosen = sources.plan(table, sources.null_share(table))
    # The first load of a table that has a cursor is the whole of it.
    its = chosen.reading("delta" if chosen.load == "incremental" and sources.landed(table) else "snapshot")
    return {
        "tenant": table.tenant,
        "table": table.table_id,
        "load": chosen.load_name(dynamic=dynamic),
        "key": list(chosen.key),
        "cursor": chosen.cursor,
        "engine": its.engine,
        "ranges": its.ranges,
        "rows": its.rows,
        "bytes": its.bytes,
        "seconds": its.seconds,
        "declared": list(chosen.declared),
        "reason": chosen.reason,
    }


def _print(found: list[dict[str, Any]]) -> None:
    """Print a line for each table, and below it its key, cursor and reason: as a table of nine columns it was cut into shreds at 80 characters."""
    if not found:
        out.print("no tables")
    for tenant, rows in groupby(found, key=lambda row: row["tenant"]):
        entry(f"{tenant}: how each table would be loaded next", indent=0, style="bold")
        for row in rows:
            engine = f"{row['engine']} × {row['ranges']}" if row["ranges"] > 1 else row["engine"]
            count = "?" if row["rows"] is None else f"{row['rows']:,}"
            size = "?" if row["bytes"] is None else decimal(row["bytes"])
            entry(f"{row['table']:<26} {row['load'].replace('_', ' '):<19} {engine:<9} {count:>9} rows {size:>8}")
            entry(f"key {', '.join(row['key']) or 'none'}, cursor {row['cursor'] or 'none'}: {row['reason']}", indent=6, style="dim")
