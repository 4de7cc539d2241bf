"""`lab-insights audit`: who ran and changed what, whether the log of it is whole, and what it is evidence of."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lab_insights.commands.console import BROKEN, entry, load_config, out, print_json, told
from lab_insights.commands.progress import progress
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from lab_insights.governance.audit import Log, Record
    from lab_insights.governance.audit.reads import Read, Store
    from lab_insights.governance.audit.verify import Verified
    from lab_insights.names import TenantId

app = typer.Typer(no_args_is_help=True, help="The audit log: who ran and changed what, and when; hash-chained, without a patient's value.")
Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="A tenant; may be given several times.")]
From = Annotated[str, typer.Option("--from", help="The first day, such as 2026-01-31 (UTC).")]
To = Annotated[str, typer.Option("--to", help="The last day.")]
Trail = Annotated[str | None, typer.Option(help="Where CloudTrail delivers its files: s3://bucket/prefix.")]
Snowflake = Annotated[bool, typer.Option("--snowflake", help="Ask Snowflake's ACCESS_HISTORY.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(*, tenant: Tenants = None, json: Json = False) -> None:
    """Check every chain, or those of tenants and the deployment's own. Exit code 1 when a record was changed, removed or inserted."""
    from lab_insights.governance.audit.verify import verify as check

    with told():
        log = _log()
        with progress(unit="chains") as bar:
            task = bar.add_task("verify", total=None, rate="")
            chains = check(log, _chains(tenant) if tenant else None, lambda names: bar.track(names, total=len(names), task_id=task))
        if json:
            print_json([chain.to_dict() for chain in chains])
        else:
            _print_chains(chains)
        if any(chain.findings for chain in chains):
            raise typer.Exit(BROKEN)


@app.command()
def show(
    *,
    tenant: Tenants = None,
    from_: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-01-31 (UTC).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="The last day.")] = None,
    json: Json = False,
) -> None:
    """Print records, oldest first: of tenants, or of everything with what concerns the whole deployment."""
    with told():
        first, last, log = _day(from_), _day(to), _log()
        chains = _chains(tenant) if tenant else log.chains()
        found = sorted((record for chain in chains for record in log.records(chain, first, last)), key=lambda each: (each.at, each.chain))
        if json:
            print_json([record.model_dump(mode="json") for record in found])
            return
        _print_records(found)


@app.command()
def evidence(*, from_: From, to: To, trail: Trail = None, snowflake: Snowflake = False, json: Json = False) -> None:
    """Print, as Markdown, each HIPAA Security Rule control that this product serves with its records and tests, and the reads of the stores that are asked.

    Exit code 1 when the log is not whole.
    """
    from lab_insights.governance.audit.evidence import evidence as collect

    with told():
        first, last = _span(from_, to)
        found = collect(_log(), first, last, _reads(trail, snowflake, first, last))
        if json:
            print_json(found.to_dict())
        else:
            typer.echo(found.markdown(), nl=False)
        if not found.ok:
            raise typer.Exit(BROKEN)


@app.command()
def reads(
    *,
    from_: From,
    to: To,
    trail: Trail = None,
    snowflake: Snowflake = False,
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant; else all.")] = None,
    json: Json = False,
) -> None:
    """Print who read which tables and days: of the lake by CloudTrail's data events, of the client databases by Snowflake's ACCESS_HISTORY."""
    from lab_insights.governance.audit.reads import listed
    from lab_insights.names import tenant_id

    with told():
        first, last = _span(from_, to)
        by_store = _reads(trail, snowflake, first, last, tenant_id(tenant) if tenant else None)
        if not by_store:
            raise ConfigError("Nobody is asked who read what.", remedy="give `--trail`, `--snowflake`, or both.")
        if json:
            print_json([each for found in by_store.values() for each in listed(found)])
            return
        for found in by_store.values():
            for read, count in sorted(found.items()):
                entry(f"{read}: {count:,} reads by {read.identity} on {read.on}", indent=0)
        if not any(by_store.values()):
            out.print("nobody read these days", highlight=False)


def _reads(trail: str | None, snowflake: bool, first: date, last: date, tenant: TenantId | None = None) -> dict[Store, Counter[Read]]:
    """Ask the stores that are named who read what."""
    from lab_insights.governance.audit.reads import reads as objects
    from lab_insights.resources.lake import open_aws
    from lab_insights.warehouse.access_history import reads as tables
    from lab_insights.warehouse.session import connect

    config = load_config()
    found: dict[Store, Counter[Read]] = {}
    if trail:
        found["lake"] = objects(open_aws(config), config.lake.prefix, trail, first, last, tenant)
    if snowflake:
        with connect(config.snowflake, open_aws(config)) as session:
            found["snowflake"] = tables(session, first, last, tenant)
    return found


def _log() -> Log:
    from lab_insights.governance.audit import Log
    from lab_insights.resources.lake import open_lake

    return Log(open_lake(load_config()).storage)


def _chains(tenants: list[str]) -> list[str]:
    """Return the chains of tenants; the log knows those that the registry has no longer."""
    from lab_insights.governance.audit.log import chain_of
    from lab_insights.names import tenant_id

    return [chain_of(tenant_id(name)) for name in tenants]


def _span(from_: str, to: str) -> tuple[date, date]:
    first, last = _day(from_), _day(to)
    if first is None or last is None or first > last:
        raise ConfigError("These are no days.", remedy="give `--from` and `--to`, the earlier day first.")
    return first, last


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigError("A `--from` or `--to` is no date.", remedy="write it as 2026-01-31.") from None


def _print_chains(chains: list[Verified]) -> None:
    table = Table()
    for name in ("chain", "records", "newest", "state"):
        table.add_column(name)
    for chain in chains:
        state = f"[bold red]{len(chain.findings)} findings[/]" if chain.findings else "[green]holds[/]"
        table.add_row(chain.chain, f"{chain.records:,}", chain.head[:16], state)
    out.print(table)
    for chain in chains:
        for finding in chain.findings:
            out.print(f"[bold red]✗[/] {escape(str(finding))}", highlight=False, soft_wrap=True)


def _print_records(found: list[Record]) -> None:
    for each in found:
        entry(f"{each.at:%Y-%m-%d %H:%M:%S} {each.chain} {each.action} {each.subject} {each.days} {each.outcome}", indent=0)
        counts = ", ".join(f"{count:,} {what}" for what, count in each.counts.items())
        told = f"{each.actor} ({each.identity})", f"run {each.run_id[:8]}" if each.run_id else "", counts
        entry("; ".join(filter(None, told)), indent=6, style="dim")
