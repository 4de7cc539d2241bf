"""`lab-insights catalog`: what there is, and where."""

from __future__ import annotations

from typing import Annotated

import typer

from lab_insights.commands.auditing import record
from lab_insights.commands.console import entry, load_config, out, print_json, told

app = typer.Typer(no_args_is_help=True, help="The data catalog: tables and columns of every layer, with their PHI classes.")


@app.command()
def find(
    text: Annotated[
        str, typer.Argument(help="Part of a column, table, code or description, or a PHI class such as direct or unclassified.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search columns, codes and PHI classes: in the contracts, in what `crawl` found, and in the catalogues of the laboratories."""
    from lab_insights.governance.search import find as search
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    with told():
        config = load_config()
        tenants = [tenant.id for tenant in Registry(open_aws(config), config.lake.prefix).all()]
        found = search(open_lake(config), tenants, text)
        if json:
            print_json([hit.to_dict() for hit in found])
            return
        for hit in found:
            entry(f"{hit.layer}/{hit.table} {hit.column} ({hit.type}), {hit.phi}", indent=0)
            entry(f"by {hit.matched}: {hit.code or hit.description}", indent=6, style="dim")
        if not found:
            entry(f"nothing is called so: {text}", indent=0)


@app.command()
def scan(
    *,
    tenant: Annotated[str | None, typer.Option(help="One tenant; all of the registry by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Propose PHI classes for columns that nobody classified and for text, by what their values look like; no value is shown."""
    from lab_insights.governance.scan import recognisers
    from lab_insights.governance.scan import scan as look
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry

    with told():
        config = load_config()
        registry, lake, finds = Registry(open_aws(config), config.lake.prefix), open_lake(config), recognisers()
        tenants = [registry.get(tenant)] if tenant else registry.all()
        found = []
        for each in tenants:
            found += (its := look(lake, each.id, finds))
            record(config, "catalog.scan", each.id, columns=len(its))
        if json:
            print_json([proposal.to_dict() for proposal in found])
            return
        shown = [proposal for proposal in found if proposal.proposed or proposal.phi == "unclassified"]
        for proposal in shown:
            entry(
                f"{proposal.tenant} {proposal.table} {proposal.column}: {proposal.phi}, proposed {proposal.proposed or 'nothing'}", indent=0
            )
            like = f"looks like {', '.join(proposal.found)}" if proposal.found else "looks like nothing that is known"
            entry(f"{proposal.share:.0%} of {proposal.sampled:,} sampled; {like}", indent=6, style="dim")
        out.print(f"{len(shown)} columns to classify, of {len(found)} that were sampled", highlight=False)
