"""`lab-insights tenant`: who is in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab_insights.commands.auditing import record
from lab_insights.commands.console import entry, err, load_config, out, print_json, told
from lab_insights.errors import ConfigError
from lab_insights.names import tenant_id

if TYPE_CHECKING:
    from lab_insights.config import Config
    from lab_insights.names import TenantId

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
) -> None:
    """Register a tenant and make its database; a sensor gives it partitions within a minute."""
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
        _register([new])


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
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse import provision, roles, sharing
    from lab_insights.warehouse.session import connect

    with told():
        config = load_config()
        aws = open_aws(config)
        registry = Registry(aws, config.lake.prefix)
        known = registry.get(tenant)
        registry.put(known.model_copy(update={"suspended": not resume}))
        with connect(config.snowflake, aws, run_id="tenant") as session:
            if resume:
                provision.provision(session, open_lake(config).storage, known.id, known.tier)
            else:
                for statement in roles.suspension(known.id):
                    session.execute(statement)
            sharing.apply(session, registry.get(tenant))
        said = (
            "is active again" if resume else "is suspended: schedules leave it out, and its readers and analysts can not use its database"
        )
        _governed(config, known.id, open_=resume)
        record(config, "tenant.resume" if resume else "tenant.suspend", known.id)
        out.print(f"[green]✓[/] {known.id} {said}{_recorded(config)}", highlight=False, soft_wrap=True)


@app.command()
def offboard(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    export: Annotated[Path, typer.Option(help="Directory that every live manifest and part of the tenant is copied to first.")],
    confirm: Annotated[str, typer.Option(help="The tenant's id once more: this deletes everything it has.")] = "",
) -> None:
    """Export a tenant, delete everything it has, and leave a certificate; a command that was cut off is run again."""
    from lab_insights.commands.offboarding import Offboarding, forget_partitions, unfinished
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.session import connect

    with told():
        its = tenant_id(tenant)
        if confirm != its:
            raise ConfigError("Offboarding deletes everything that the tenant has.", remedy=f"add `--confirm {its}`.", tenant=its)
        config = load_config()
        aws, lake = open_aws(config), open_lake(config)
        registry = Registry(aws, config.lake.prefix)
        if not unfinished(lake, its):
            registry.get(its)
        record(config, "tenant.offboard", its, outcome="begun")
        with connect(config.snowflake, aws, run_id="offboard") as session:
            step = lambda text: out.print(f"[green]✓[/] {text}", highlight=False, soft_wrap=True)  # noqa: E731
            Offboarding(lake, registry, session, its, export, forget_partitions, step).run()
        record(config, "tenant.offboard", its)
        where = lake.storage.uri("raw", f"offboarded/tenant={its}/certificate.json")
        out.print(f"{its} is offboarded; the certificate is {where}", highlight=False, soft_wrap=True)


def _register(tenants: list) -> None:  # type: ignore[type-arg]
    from lab_insights.partitions import number_of_days, refuse_too_many
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse import sharing
    from lab_insights.warehouse.provision import provision
    from lab_insights.warehouse.session import connect

    config = load_config()
    aws = open_aws(config)
    registry = Registry(aws, config.lake.prefix)
    refuse_too_many(len({known.id for known in [*registry.all(), *tenants]}), number_of_days(config))
    with connect(config.snowflake, aws, run_id="tenant") as session:
        for tenant in tenants:
            registry.put(tenant)
            count = provision(session, open_lake(config).storage, tenant.id, tenant.tier) + sharing.apply(session, tenant)
            record(config, "tenant.register", tenant.id, statements=count)
            said = f"is registered, with database {tenant.database}, roles and warehouse ({count} statements)"
            out.print(f"[green]✓[/] {tenant.id} {said}{_recorded(config)}", highlight=False, soft_wrap=True)
            said = _governed(config, tenant.id, open_=not tenant.suspended)
            out.print(f"[green]✓[/] {tenant.id} {said}", highlight=False, soft_wrap=True)


def _governed(config: Config, tenant: TenantId, *, open_: bool) -> str:
    """Make a tenant's own catalog databases and its people's roles in AWS, and grant them what they may see, or nothing."""
    from lab_insights.governance import glue, lake_formation, people
    from lab_insights.resources.lake import open_aws

    aws, prefix = open_aws(config), config.lake.prefix
    account = people.account(aws)
    glue.establish(aws, prefix, tenant)
    roles = people.establish(aws, prefix, account, tenant)
    count = lake_formation.govern(aws, prefix, account, tenant, open_=open_).in_force
    local = "; recorded, not enforced" if aws.endpoint_url else ""
    return f"has {roles} roles in AWS, with {count} tags and grants in Lake Formation{local}"


def _recorded(config: Config) -> str:
    """Say what a local server does with roles, warehouses and grants."""
    return "; roles, grants and warehouses are recorded, not enforced" if config.snowflake.host else ""
