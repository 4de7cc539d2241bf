"""`lab-insights tenant`: who is in the registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lab_insights.commands.auditing import record
from lab_insights.commands.console import entry, err, load_config, out, print_json, told
from lab_insights.commands.progress import progress
from lab_insights.errors import ConfigError, UnknownTenant
from lab_insights.names import tenant_id

if TYPE_CHECKING:
    from lab_insights.commands.life import Life
    from lab_insights.config import Config
    from lab_insights.lake.commit import Lake
    from lab_insights.tenants.registry import Tenant

app = typer.Typer(no_args_is_help=True, help="The tenant registry: who is loaded, from which tables, into which database.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass
class _Told:
    """What was done for tenants: a line at a time for a person, one list for a program."""

    json: bool
    tenants: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def line(self, text: str, *, mark: str = "[green]✓[/] ") -> None:
        if self.json:
            self.lines.append(text)
        else:
            out.print(f"{mark}{escape(text)}", highlight=False, soft_wrap=True)

    def end(self, tenant: str, state: str, sentence: str = "", **more: str) -> None:
        """End what is told of one tenant: its state (and `more`) for a program, a sentence for a person."""
        self.tenants.append({"tenant": tenant, "state": state, **more, "told": self.lines})
        self.lines = []
        if sentence and not self.json:
            out.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def print(self) -> None:
        """Print the list, where it is one."""
        if self.json:
            print_json(self.tenants)


@app.command("list")
def list_(*, json: Json = False) -> None:
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
    json: Json = False,
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
        _register([new], _Told(json), dry_run=dry_run)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML with `tenants:` and below it entries with `id`, `key`, `layouts`, `zone`, `tier`.")],
    *,
    json: Json = False,
) -> None:
    """Register every tenant of a file, or change those that are there; tenants that it does not name stay."""
    from lab_insights.tenants.registry import read_file

    with told():
        _register(read_file(file), _Told(json))


@app.command()
def suspend(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Let the schedules request it again.")] = False,
    json: Json = False,
) -> None:
    """Keep a tenant out of the schedules and its people out of its database; what it has stays as it is."""
    with told():
        config, answer = load_config(), _Told(json)
        with _deployment(config, answer) as (life, _):
            known = life.registry.get(tenant)
            if resume:
                life.add(known.model_copy(update={"suspended": False}))
            else:
                life.suspend(known)
        record(config, "tenant.resume" if resume else "tenant.suspend", known.id)
        answer.end(known.id, "active" if resume else "suspended", f"{known.id} is {'active again' if resume else 'suspended'}")
        answer.print()


@app.command()
def offboard(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    export: Annotated[Path, typer.Option(help="Directory that every live manifest and part of the tenant is copied to first.")],
    confirm: Annotated[str, typer.Option(help="The tenant's id once more: this deletes everything it has.")] = "",
    *,
    json: Json = False,
) -> None:
    """Export a tenant, delete everything it has, and leave a certificate; a command that was cut off is run again."""
    from lab_insights.commands.offboarding import Offboarding, certified, unfinished

    with told():
        its = tenant_id(tenant)
        if confirm != its:
            raise ConfigError("Offboarding deletes everything that the tenant has.", remedy=f"add `--confirm {its}`.", tenant=its)
        config, answer = load_config(), _Told(json)
        with _deployment(config, answer) as (life, lake):
            where = lake.storage.uri("raw", f"offboarded/tenant={its}/certificate.json")
            if not unfinished(lake, its):
                try:
                    life.registry.get(its)
                except UnknownTenant:
                    if not certified(lake, its):
                        raise
                    answer.end(its, "offboarded", f"{its} was offboarded before; the certificate is {where}", certificate=where)
                    answer.print()
                    return
            record(config, "tenant.offboard", its, outcome="begun")
            with progress() as bar:
                # Suspended, exported, each place, forgotten.
                task = bar.add_task(f"offboard {its}", total=len(life.places) + 3, rate="")

                def tell(step: str) -> None:
                    life.tell(step)
                    bar.update(task, advance=1)

                Offboarding(lake, life.registry, life.places, its, export, tell).run()
        record(config, "tenant.offboard", its)
        answer.end(its, "offboarded", f"{its} is offboarded; the certificate is {where}", certificate=where)
        answer.print()


def _register(tenants: Sequence[Tenant], answer: _Told, *, dry_run: bool = False) -> None:
    from lab_insights.extract.apart import refuse_together
    from lab_insights.partitions import refuse_too_many

    config = load_config()
    with _deployment(config, answer) as (life, _):
        registered = life.registry.all()
        refuse_too_many(config, len({known.id for known in [*registered, *tenants]}))
        refuse_together(config.sources, registered, tenants)
        for tenant in tenants:
            if dry_run:
                for line in life.plan(tenant):
                    answer.line(line, mark="")
                answer.end(tenant.id, "planned")
                continue
            life.add(tenant)
            record(config, "tenant.register", tenant.id)
            answer.end(tenant.id, "registered", f"{tenant.id} is registered")
    answer.print()


@contextmanager
def _deployment(config: Config, answer: _Told) -> Iterator[tuple[Life, Lake]]:
    """Open the registry and every place of the deployment; the session on Snowflake is one for all of them."""
    from lab_insights.commands.life import Life
    from lab_insights.commands.offboarding import unfinished
    from lab_insights.commands.provisioners import provisioners
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.session import connect

    aws, lake = open_aws(config), open_lake(config)
    with connect(config.snowflake, aws, run_id="tenant") as session:
        places = provisioners(config, lake, session)
        yield Life(Registry(aws, config.lake.prefix), places, answer.line, lambda tenant: unfinished(lake, tenant.id)), lake
