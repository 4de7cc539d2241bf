"""`lab-insights catalog`: what there is, and where."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from lab_insights.commands.console import load_config, out, print_json, told

app = typer.Typer(no_args_is_help=True, help="The data catalog: tables and columns of every layer, with their PHI classes.")


@app.callback()
def catalog() -> None:
    """Keep `find` a command of its own beside those to come."""


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
