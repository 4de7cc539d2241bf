"""`lab-insights verify`: the three links from source to Snowflake."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table

from lab_insights.commands.console import BROKEN, err, load_config, out, print_json, told
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from lab_insights.verify import Report

_SHOWN = 20
_STYLES = {"ok": "green", "pending": "yellow", "not proven": "yellow", "broken": "bold red"}


def verify(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant; may be given several times.")] = None,
    day: Annotated[list[str] | None, typer.Option(help="A day such as 2026-01-31; may be given several times.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="A lake table such as lis.result or result; may be given several times.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every tenant, table and day (what naming none means, too).")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Check what lies there: source → raw, raw → curated → transformed, lake → Snowflake. Exit code 1 when any link is broken."""
    with told():
        if every and (tenant or day or table):
            raise ConfigError("`--all` and a choice of tenants, days or tables contradict each other.", remedy="say one of them.")
        try:
            days = [date.fromisoformat(text) for text in day or ()] or None
        except ValueError:
            raise ConfigError("A `--day` is no date.", remedy="write it as 2026-01-31.") from None
        report = verified(tenant, days, table)
        if json:
            print_json(report.to_dict())
        else:
            print_report(report)
        if not report.ok:
            raise typer.Exit(BROKEN)


def verified(tenants: list[str] | None = None, days: list[date] | None = None, tables: list[str] | None = None) -> Report:
    """Run the check with a progress bar."""
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.verify import verify as run
    from lab_insights.warehouse.session import connect

    config = load_config()
    aws = open_aws(config)
    registry = Registry(aws, config.lake.prefix)
    chosen = [registry.get(name).id for name in tenants] if tenants else [known.id for known in registry.all()]
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        return run(
            open_lake(config),
            chosen,
            session_factory=lambda: connect(config.snowflake, aws, run_id="verify"),
            tables=tables,
            days=days,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def print_report(report: Report) -> None:
    """Print a row for each tenant, layer and day, and below it what is not well."""
    # Few lines between columns, so that nothing is cut off at 80 characters, which is what a log has.
    table = Table(title="What lies there, and whether it is proven", title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for name in ("tenant", "layer", "day"):
        table.add_column(name, no_wrap=True)
    for name in ("tables", "batches", "rows"):
        table.add_column(name, justify="right")
    table.add_column("verified")
    for row in report.summary():
        status = f"[{_STYLES[row.status]}]{row.status}[/]"
        table.add_row(row.tenant, row.layer, str(row.day or "as of now"), f"{row.tables}", f"{row.batches:,}", f"{row.rows:,}", status)
    out.print(table)
    unwell = report.of("broken", "not proven", "pending")
    for finding in unwell[:_SHOWN]:
        where = f"{finding.tenant} {finding.layer} {finding.table} {finding.day or ''}"
        out.print(
            f"[{_STYLES[finding.status]}]{finding.status}[/] {finding.link}: {where}: {finding.message}", highlight=False, soft_wrap=True
        )
        out.print(f"    remedy: {finding.remedy}", highlight=False, soft_wrap=True)
    if len(unwell) > _SHOWN:
        out.print(f"… and {len(unwell) - _SHOWN} more; `lab-insights verify --json` prints all.", highlight=False)
    counts = ", ".join(f"{count:,} {status}" for status, count in report.counts().items() if count)
    out.print(
        f"verify: [{'green' if report.ok else 'bold red'}]{'holds' if report.ok else 'BROKEN'}[/] ({counts or 'nothing lies there'}; {report.seconds:.1f} s)",
        highlight=False,
    )
