"""`lab-insights status`: how far each source and table of each tenant is, and what became of the last attempts."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from lab_insights.commands.console import BROKEN, entry, load_config, print_json, told

if TYPE_CHECKING:
    from lab_insights.lake.overview import SourceStatus, TableStatus


def status(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant; may be given several times.")] = None,
    history: Annotated[str | None, typer.Option(help="Every kept attempt at this source or table, such as lis or lis.result.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show for each source and table: last day, position, rows, open or closed, last run, lag in use, cursors that are disqualified or late, failures.

    Exit code 1 when the last attempt at a source or table failed.
    """
    from lab_insights.lake.overview import overview
    from lab_insights.lake.processing import Processing
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    with told():
        config = load_config()
        lake = open_lake(config)
        registry = Registry(open_aws(config), config.lake.prefix)
        tenants = [registry.get(name).id for name in tenant] if tenant else [known.id for known in registry.all()]
        if history:
            processing = Processing(lake.state.aws, lake.state.prefix)
            attempts = [{"tenant": its} | each.model_dump(mode="json") for its in tenants for each in processing.history(its, history)]
            (print_json if json else _print_history)(attempts)
            return
        sources: list[SourceStatus] = []
        tables: list[TableStatus] = []
        for its in tenants:
            of_sources, of_tables = overview(lake, its, config.sources)
            sources += of_sources
            tables += of_tables
        if json:
            print_json({"sources": [dataclasses.asdict(each) for each in sources], "tables": [dataclasses.asdict(each) for each in tables]})
        else:
            _print_sources(sources)
            _print_tables(tables)
        if "failed" in [*(each.outcome for each in sources), *(each.outcome for each in tables)]:
            raise typer.Exit(BROKEN)


_OUTCOMES = {"ok": "ok", "failed": "failed", None: "never"}
_STYLES = {"ok": "", "failed": "bold red", None: "yellow"}
_DAYS = {True: "closed", False: "open", None: ""}


def _print_sources(found: list[SourceStatus]) -> None:
    entry("Sources", indent=0, style="bold")
    for each in found:
        tables = "?" if each.tables is None else str(each.tables)
        entry(
            f"{each.tenant:<20} {each.source:<14} {_OUTCOMES[each.outcome]:<7} {tables:>5} tables, {each.failed} failed",
            style=_STYLES[each.outcome],
        )
        seen = "open transactions are unseen: the declared lag is kept back" if each.lagging else "open transactions are seen"
        entry("; ".join([f"last run {_told(each.last_run)}", seen, *([each.reason] if each.reason else [])]), indent=6, style="dim")


def _print_tables(found: list[TableStatus]) -> None:
    for tenant, tables in groupby(found, key=lambda each: each.tenant):
        entry(f"Tables of {tenant}", indent=0, style="bold")
        for each in tables:
            notes = [*each.disqualified, *each.late, *(["the declared lag is kept back"] if each.lagging else [])]
            notes += [f"{each.ahead:,} rows have a cursor of more than a day ahead, and are not read"] if each.ahead else []
            notes += [f"failed {each.failures} times: {each.reason}"] if each.failures else []
            rows = "?" if each.rows is None else f"{each.rows:,}"
            day = f"{each.last_day or 'no day':<10} {_DAYS[each.closed]:<7}"
            entry(f"{each.table:<30} {_OUTCOMES[each.outcome]:<7} {day} {rows:>9} rows", style=_STYLES[each.outcome])
            entry("; ".join([f"read to {_told(each.position)}", f"last run {_told(each.last_run)}", *notes]), indent=6, style="dim")


def _print_history(attempts: list[dict[str, object]]) -> None:
    entry("Attempts", indent=0, style="bold")
    for each in attempts:
        told = {name: "" if value is None else str(value) for name, value in each.items()}
        entry(f"{told['at'][:19]} {told['tenant']} {told['day']} {told['outcome']} {told['load']} {told['rows']}".rstrip())
        entry(
            f"ceiling {told['ceiling'] or 'none'}, run {told['run_id']}{': ' if told['reason'] else ''}{told['reason']}",
            indent=6,
            style="dim",
        )


def _told(instant: object) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else "none"
