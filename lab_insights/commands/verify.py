"""`lab-insights verify`: the three links from source to Snowflake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from lab_insights.commands.console import BROKEN, load_config, out, print_json, told
from lab_insights.commands.progress import progress
from lab_insights.errors import ConfigError
from lab_insights.findings import STATUSES, Finding

if TYPE_CHECKING:
    from rich.progress import Progress

    from lab_insights.verify import Report
    from lab_insights.warehouse.session import Session

_SHOWN, _NAMED = 20, 4
_STYLES = {"ok": "green", "pending": "yellow", "not proven": "yellow", "broken": "bold red"}


def verify(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant; may be given several times.")] = None,
    day: Annotated[list[str] | None, typer.Option(help="A day such as 2026-01-31; may be given several times.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="A lake table such as lis.result or result; may be given several times.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every tenant, table and day (what naming none means, too).")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Read the sources again, within their limits; rows changed since are counted as moved on.")
    ] = False,
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
        report = verified(tenant, days, table, live=live)
        if json:
            print_json(report.to_dict())
        else:
            print_report(report)
        if not report.ok:
            raise typer.Exit(BROKEN)


def verified(
    tenants: list[str] | None = None,
    days: list[date] | None = None,
    tables: list[str] | None = None,
    *,
    live: bool = False,
    bar: Progress | None = None,
    once: Callable[[], None] = lambda: None,
) -> Report:
    """Run the check with a progress bar, that of a caller where it is given. `live` reads the sources again; Snowflake is looked at when `once` returned."""
    from lab_insights.extract.sources import Sources
    from lab_insights.lab.declared import declared
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.verify import Live, verify
    from lab_insights.warehouse.session import connect

    config = load_config()
    aws, lake = open_aws(config), open_lake(config)
    registry = Registry(aws, config.lake.prefix)
    again = Live(Sources(config, aws, lake, declared(), kept=False), registry) if live else None
    chosen = [registry.get(name).id for name in tenants] if tenants else [known.id for known in registry.all()]

    def session() -> Session:
        once()
        return connect(config.snowflake, aws, run_id="verify")

    with nullcontext(bar) if bar else progress() as shown:
        task = shown.add_task("verifying", total=None, rate="")

        def step(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        return verify(
            lake,
            chosen,
            session_factory=session,
            tables=tables,
            days=days,
            live=again,
            progress=step,
        )


def causes_of(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return findings by what would mend them: those of one status, link and remedy have one cause, the worst first."""
    causes: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        causes.setdefault((finding.status, finding.link, finding.remedy), []).append(finding)
    return sorted(causes.values(), key=lambda found: (-STATUSES.index(found[0].status), -len(found)))


def _where(found: Sequence[Finding]) -> str:
    days = sorted({finding.day for finding in found if finding.day})
    span = f", {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") if days else ""
    named = (_some([finding.tenant for finding in found]), _some([finding.table for finding in found]))
    return f"{len(found)} findings ({'; '.join(named)}{span})"


def _some(names: Sequence[str]) -> str:
    every = list(dict.fromkeys(names))
    return ", ".join(every[:_NAMED]) + (f" and {len(every) - _NAMED} more" if len(every) > _NAMED else "")


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
    causes = causes_of(unwell)
    for found in causes[:_SHOWN]:
        first = found[0]
        where = f"{first.tenant} {first.layer} {first.table} {first.day or ''}" if len(found) == 1 else _where(found)
        example = "" if len(found) == 1 else f" (of {first.tenant} {first.table}{f' {first.day}' if first.day else ''})"
        out.print(
            f"[{_STYLES[first.status]}]{first.status}[/] {first.link}: {escape(f'{where}: {first.message}{example}')}",
            highlight=False,
            soft_wrap=True,
        )
        out.print(f"    remedy: {escape(first.remedy)}", highlight=False, soft_wrap=True)
    if len(causes) > _SHOWN:
        out.print(f"… and {len(causes) - _SHOWN} more causes; `lab-insights verify --json` prints every finding.", highlight=False)
    if moved := [finding for finding in report.findings if finding.moved_on]:
        rows = sum(finding.moved_on for finding in moved)
        out.print(f"moved on: {rows:,} rows of {len(moved)} tables were changed at the source since they were read.", highlight=False)
    counts = ", ".join(f"{count:,} {status}" for status, count in report.counts().items() if count)
    out.print(
        f"verify: [{'green' if report.ok else 'bold red'}]{'holds' if report.ok else 'BROKEN'}[/] ({counts or 'nothing lies there'}; {report.seconds:.1f} s)",
        highlight=False,
    )
