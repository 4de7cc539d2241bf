"""`lab-insights schema`: what schema sync would do, how the sources' schemas came to be what they are, and what is stale."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer

from lab_insights.commands.console import entry, load_config, out, print_json, told
from lab_insights.commands.progress import progress, rated
from lab_insights.commands.stale import backfill, stale
from lab_insights.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Schemas: what differs between the lake and the client databases, every version that sources had, what is stale.",
)
Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="A tenant; may be given several times.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def diff(*, tenant: Tenants = None, json: Json = False) -> None:
    """Print the DDL that the job `schema_sync` would run, and run none of it."""
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.session import connect
    from lab_insights.warehouse.sync import pending

    with told():
        config = load_config()
        aws, lake = open_aws(config), open_lake(config)
        registry = Registry(aws, config.lake.prefix)
        chosen = [registry.get(name) for name in tenant] if tenant else registry.all()
        found: list[dict[str, Any]] = []
        with connect(config.snowflake, aws, run_id="schema diff") as session:
            for each in chosen:
                for change in pending(session, lake, each.id):
                    told_ = {"what": change.what, "column": change.column, "detail": change.detail, "statements": list(change.statements)}
                    found.append({"tenant": each.id, "table": ".".join(change.table), **told_})
        if json:
            print_json(found)
            return
        for one in found:
            out.print(f"-- {' '.join(filter(None, (one['tenant'], one['table'], one['what'], one['column'], one['detail'])))}", **_PLAIN)
            for statement in one["statements"]:
                out.print(f"{statement};", **_PLAIN)
        count = f"{len(found)} changes" if found else "nothing to do"
        out.print(f"-- {len(chosen)} tenant{'s' if len(chosen) != 1 else ''}: {count}", **_PLAIN)


@app.command()
def history(
    *,
    tenant: Tenants = None,
    table: Annotated[str | None, typer.Option(help="The lake id of a raw table, such as lis.result.")] = None,
    json: Json = False,
) -> None:
    """Print every version of the source tables' schemas, as crawls have seen them: when, by which run, and what had changed."""
    from lab_insights.governance.history import versions
    from lab_insights.resources.lake import open_aws
    from lab_insights.tenants.registry import Registry

    with told():
        config = load_config()
        aws = open_aws(config)
        registry = Registry(aws, config.lake.prefix)
        chosen = [registry.get(name).id for name in tenant] if tenant else [known.id for known in registry.all()]
        found = list(versions(aws, config.lake.prefix, chosen, table))
        if json:
            print_json([version.to_dict() for version in found])
            return
        for version in found:
            entry(f"{version.tenant} {version.table} version {version.version}: {version.told}", indent=0)
            entry(f"seen {version.at:%Y-%m-%d %H:%M} by run {version.run_id[:8] or 'none'}", indent=6, style="dim")
        if not found:
            out.print("no crawl has seen such a table", highlight=False)


@app.command()
def rebuild(
    table: Annotated[str, typer.Argument(help="LAYER.TABLE, such as curated.result or curated.crm.udt_score.")],
    tenant: Annotated[str, typer.Option(help="The tenant.")],
    *,
    json: Json = False,
) -> None:
    """Make a table of a client database anew from the lake, and let it take the old one's place; for one that somebody wrote to."""
    from lab_insights.commands.auditing import record
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.provision import LAYERS
    from lab_insights.warehouse.rebuild import rebuild as rebuilt
    from lab_insights.warehouse.session import connect

    with told():
        name, _, its = table.partition(".")
        layer = next((layer for layer in LAYERS if layer == name), None)
        if not layer or not its:
            raise ConfigError(f"{table} is no table of a client database.", remedy="write curated.TABLE or transformed.TABLE.")
        config = load_config()
        aws, lake = open_aws(config), open_lake(config)
        known = Registry(aws, config.lake.prefix).get(tenant).id
        run = f"rebuild {uuid.uuid4().hex[:8]}"
        with (
            connect(config.snowflake, aws, run_id=run) as session,
            connect(config.snowflake, aws, run_id=run) as holder,
            progress(unit="batches") as bar,
        ):
            task = bar.add_task(f"rebuild {table}", total=None, rate="")
            landed = rated(lambda rate: bar.update(task, rate=rate))

            def merged(batches: int, rows: int) -> None:
                landed(rows)
                bar.update(task, advance=1, total=batches)

            rows = rebuilt(session, holder, lake, known, layer, its, run, merged)
        record(config, "schema.sync", known, subject=table, rows=rows)
        if json:
            print_json({"tenant": known, "table": table, "rows": rows})
            return
        out.print(f"{known} {table} is rebuilt from {rows:,} rows of the lake", **_PLAIN)


app.command()(stale)
app.command()(backfill)

_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
