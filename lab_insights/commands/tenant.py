"""`lab-insights tenant`: who is in the registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab_insights.commands.auditing import record
from lab_insights.commands.console import entry, err, load_config, out, print_json, told
from lab_insights.errors import ConfigError, UnknownTenant
from lab_insights.names import tenant_id

if TYPE_CHECKING:
    from lab_insights.commands.life import Life
    from lab_insights.config import Config
    from lab_insights.lake.commit import Lake
    from lab_insights.tenants.registry import Tenant

app = typer.Typer(no_args_is_help=True, help="The tenant registry: who is loaded, from which tables, into which database.")


@app.command("list")
def list_(*, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every registered tenant."""
    from lab_insights.resources.lake import open_aws
    from lab_insights.tenants.registry import MEND, Registry

    with told():
        config = load_config()
        listing = Registry(open_aws(config), config.lake.prefix).listing()
        for name, reason in listing.invalid.items():
            err.print(f"[bold red]invalid[/] {escape(repr(name))}: {escape(reason)}. Remedy: {MEND}", highlight=False, soft_wrap=True)
        found = listing.tenants
        if json:
            print_json([tenant.model_dump(mode="json") | {"database": tenant.database} for tenant in found])
            return
        for tenant in found:
            entry(f"{tenant.id:<20} {'suspended' if tenant.suspended else 'active':<9} {tenant.tier:<8} {tenant.database}", indent=0)
            layouts = ", ".join(f"{source}: {layout}" for source, layout in tenant.layouts.items())
            told_ = (f"key {tenant.key}", f"due at {tenant.deliver_by:%H:%M} {tenant.zone}", layouts)
            entry("; ".join(filter(None, told_)), indent=6, style="dim")
        out.print(f"{len(found)} tenants", highlight=False)


@app.command()
def add(
    tenant: Annotated[str, typer.Argument(help="Id: lower-case letters, digits and underscores.")],
    key: Annotated[str, typer.Option(help="What pooled and prefixed sources call the tenant.")],
    layout: Annotated[list[str] | None, typer.Option(help="SOURCE=LAYOUT for a source that offers several, such as lis=prefix.")] = None,
    zone: Annotated[str, typer.Option(help="IANA time zone in which reports count days.")] = "UTC",
    tier: Annotated[str, typer.Option(help="daily, or frequent for a load every quarter of an hour.")] = "daily",
    share_with: Annotated[
        list[str] | None, typer.Option(help="ORGANIZATION.ACCOUNT in Snowflake that may read what is de-identified.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> None:
    """Register a tenant and make all that it needs; a command that was cut off is run again."""
    from pydantic import ValidationError

    from lab_insights.tenants.registry import Tenant

    with told():
        pairs = [pair.partition("=") for pair in layout or ()]
        try:
            new = Tenant.model_validate(
                {
                    "id": tenant_id(tenant),
                    "key": key,
                    "layouts": {source: name for source, _, name in pairs},
                    "zone": zone,
                    "tier": tier,
                    "share_with": share_with or (),
                }
            )
        except (ValidationError, KeyError):
            raise ConfigError(
                "The key, a layout, the zone, the tier or an account is not one that exists.",
                remedy="see `lab-insights tenant add --help`.",
                tenant=tenant,
            ) from None
        _register([new], dry_run=dry_run)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML with `tenants:` and below it entries with `id`, `key`, `layouts`, `zone`, `tier`.")],
) -> None:
    """Register every tenant of a file, or change those that are there; tenants that it does not name stay."""
    from lab_insights.tenants.registry import read_file

    with told():
        _register(read_file(file))


@app.command()
def suspend(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Let the schedules request it again.")] = False,
) -> None:
    """Keep a tenant out of the schedules and its people out of its database; what it has stays as it is."""
    with told():
        config = load_config()
        with _deployment(config) as (life, _):
            known = life.registry.get(tenant)
            if resume:
                life.add(known.model_copy(update={"suspended": False}))
            else:
                life.suspend(known)
        record(config, "tenant.resume" if resume else "tenant.suspend", known.id)
        out.print(f"{known.id} is {'active again' if resume else 'suspended'}", **_PLAIN)


@app.command()
def offboard(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    export: Annotated[Path, typer.Option(help="Directory that every live manifest and part of the tenant is copied to first.")],
    confirm: Annotated[str, typer.Option(help="The tenant's id once more: this deletes everything it has.")] = "",
) -> None:
    """Export a tenant, delete everything it has, and leave a certificate; a command that was cut off is run again."""
    from lab_insights.commands.offboarding import Offboarding, certified, unfinished

    with told():
        its = tenant_id(tenant)
        if confirm != its:
            raise ConfigError("Offboarding deletes everything that the tenant has.", remedy=f"add `--confirm {its}`.", tenant=its)
        config = load_config()
        with _deployment(config) as (life, lake):
            where = lake.storage.uri("raw", f"offboarded/tenant={its}/certificate.json")
            if not unfinished(lake, its):
                try:
                    life.registry.get(its)
                except UnknownTenant:
                    if not certified(lake, its):
                        raise
                    out.print(f"{its} was offboarded before; the certificate is {where}", **_PLAIN)
                    return
            record(config, "tenant.offboard", its, outcome="begun")
            Offboarding(lake, life.registry, life.places, its, export, life.tell).run()
        record(config, "tenant.offboard", its)
        out.print(f"{its} is offboarded; the certificate is {where}", **_PLAIN)


def _register(tenants: Sequence[Tenant], *, dry_run: bool = False) -> None:
    from lab_insights.partitions import number_of_days, refuse_too_many

    config = load_config()
    with _deployment(config) as (life, _):
        refuse_too_many(len({known.id for known in [*life.registry.all(), *tenants]}), number_of_days(config))
        for tenant in tenants:
            if dry_run:
                for line in life.plan(tenant):
                    out.print(line, **_PLAIN)
                continue
            life.add(tenant)
            record(config, "tenant.register", tenant.id)
            out.print(f"{tenant.id} is registered", **_PLAIN)


@contextmanager
def _deployment(config: Config) -> Iterator[tuple[Life, Lake]]:
    """Open the registry and every place of the deployment; the session on Snowflake is one for all of them."""
    from lab_insights.commands.life import Life
    from lab_insights.commands.offboarding import unfinished
    from lab_insights.commands.provisioners import provisioners
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.session import connect

    def tell(text: str) -> None:
        out.print(f"[green]✓[/] {escape(text)}", highlight=False, soft_wrap=True)

    aws, lake = open_aws(config), open_lake(config)
    with connect(config.snowflake, aws, run_id="tenant") as session:
        places = provisioners(config, lake, session)
        yield Life(Registry(aws, config.lake.prefix), places, tell, lambda tenant: unfinished(lake, tenant.id)), lake


_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
