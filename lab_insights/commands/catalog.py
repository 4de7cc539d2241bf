"""`lab-insights catalog`: what there is, and where."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from lab_insights.commands.auditing import record
from lab_insights.commands.console import load_config, out, print_json, told

app = typer.Typer(no_args_is_help=True, help="The data catalog: tables and columns of every layer, with their PHI classes.")


@app.command()
def find(
    text: Annotated[
        str, typer.Argument(help="Part of a column, table, code or description, or a PHI class such as direct or unclassified.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search columns, codes and PHI classes, in the contracts and in what `crawl` found."""
    from lab_insights.governance.search import find as search
    from lab_insights.resources.lake import open_aws

    with told():
        config = load_config()
        found = search(open_aws(config), config.lake.prefix, text)
        if json:
            print_json([hit.to_dict() for hit in found])
            return
        shown = Table()
        for name in ("layer", "table", "column", "type", "phi", "found by", "description"):
            shown.add_column(name)
        for hit in found:
            shown.add_row(hit.layer, hit.table, hit.column, hit.type, hit.phi, hit.matched, hit.code or hit.description)
        out.print(shown if found else f"nothing is called so: {text}", markup=False)


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
        shown = Table()
        for name in ("tenant", "table", "column", "class", "proposed", "share", "sampled", "looks like"):
            shown.add_column(name)
        for proposal in found:
            if proposal.proposed or proposal.phi == "unclassified":
                share, like = f"{proposal.share:.0%}", ", ".join(proposal.found)
                place = (proposal.tenant, proposal.table, proposal.column, proposal.phi)
                shown.add_row(*place, proposal.proposed or "", share, str(proposal.sampled), like)
        out.print(shown, markup=False)
