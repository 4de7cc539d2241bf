"""`lab-insights audit`: who ran and changed what, whether the log of it is whole, and what it is evidence of."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lab_insights.commands.console import BROKEN, entry, load_config, out, print_json, told
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from lab_insights.governance.audit import Log, Record
    from lab_insights.governance.audit.verify import Verified

app = typer.Typer(no_args_is_help=True, help="The audit log: who ran and changed what, and when; hash-chained, without a patient's value.")
Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="A tenant; may be given several times.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(*, tenant: Tenants = None, json: Json = False) -> None:
    """Check every chain, or those of tenants and the deployment's own. Exit code 1 when a record was changed, removed or inserted."""
    from lab_insights.governance.audit.verify import verify as check

    with told():
        chains = check(_log(), _chains(tenant) if tenant else None)
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
def evidence(
    *,
    from_: Annotated[str, typer.Option("--from", help="The first day, such as 2026-01-31 (UTC).")],
    to: Annotated[str, typer.Option("--to", help="The last day.")],
    json: Json = False,
) -> None:
    """Print, as Markdown, each HIPAA Security Rule control that this product serves with its records and tests. Exit code 1 when the log is not whole."""
    from lab_insights.governance.audit.evidence import evidence as collect

    with told():
        first, last = _day(from_), _day(to)
        if first is None or last is None or first > last:
            raise ConfigError("The evidence is of no day.", remedy="give `--from` and `--to`, the earlier day first.")
        found = collect(_log(), first, last)
        if json:
            print_json(found.to_dict())
        else:
            typer.echo(found.markdown(), nl=False)
        if not found.ok:
            raise typer.Exit(BROKEN)


@app.command()
def reads(
    *,
    trail: Annotated[str, typer.Option(help="Where CloudTrail delivers its files: s3://bucket/prefix.")],
    from_: Annotated[str, typer.Option("--from", help="The first day, such as 2026-01-31 (UTC).")],
    to: Annotated[str, typer.Option("--to", help="The last day.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant; else all.")] = None,
    json: Json = False,
) -> None:
    """Print who read which tables and days of the lake, by CloudTrail's data events of the buckets."""
    from lab_insights.governance.audit.reads import reads as collect
    from lab_insights.names import tenant_id
    from lab_insights.resources.lake import open_aws

    with told():
        first, last, config = _day(from_), _day(to), load_config()
        if first is None or last is None or first > last:
            raise ConfigError("The reads are of no day.", remedy="give `--from` and `--to`, the earlier day first.")
        found = collect(open_aws(config), config.lake.prefix, trail, first, last, tenant_id(tenant) if tenant else None)
        if json:
            print_json([read.to_dict() | {"objects": count} for read, count in sorted(found.items())])
            return
        for read, count in sorted(found.items()):
            entry(f"{read.tenant} {read.layer}/{read.table or 'page'} {read.day}: {count:,} objects by {read.identity}", indent=0)
        if not found:
            out.print("nobody read these days", highlight=False)


def _log() -> Log:
    from lab_insights.governance.audit import Log
    from lab_insights.resources.lake import open_lake

    return Log(open_lake(load_config()).storage)


def _chains(tenants: list[str]) -> list[str]:
    """Return the chains of tenants; the log knows those that the registry has no longer."""
    from lab_insights.governance.audit.log import chain_of
    from lab_insights.names import tenant_id

    return [chain_of(tenant_id(name)) for name in tenants]


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
