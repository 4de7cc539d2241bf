"""`lab-insights report`: the page that a laboratory's director reads."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from lab_insights.commands.auditing import record
from lab_insights.commands.console import load_config, out, print_json, told
from lab_insights.errors import ConfigError


def report(
    *,
    tenant: Annotated[str, typer.Option(help="The tenant.")],
    day: Annotated[str, typer.Option("--date", "--day", help="The day, such as 2026-01-31.")],
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    deidentified: Annotated[
        bool, typer.Option("--deidentified", help="The page to share: without names, cells under 11 suppressed.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Where to write it; by default into this directory.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print where it was written as JSON.")] = False,
) -> None:
    """Fetch the HTML report of a tenant's day, as the asset `reports/daily_page` wrote it."""
    from lab_insights.resources.lake import open_aws, open_lake
    from lab_insights.tenants.registry import Registry
    from lab_insights.warehouse.report_page import published

    with told():
        config = load_config()
        try:
            on = date.fromisoformat(day)
        except ValueError:
            raise ConfigError("The `--date` is no date.", remedy="write it as 2026-01-31.") from None
        known = Registry(open_aws(config), config.lake.prefix).get(tenant)
        body = published(open_lake(config), known.id, on, shared=deidentified)
        record(config, "report.read", known.id, subject="deidentified" if deidentified else "whole", days=str(on))
        path = output or Path(f"report-{known.id}-{on}{'-deidentified' if deidentified else ''}.html")
        try:
            path.write_bytes(body)
        except OSError as error:
            raise ConfigError(f"{path} can not be written ({type(error).__name__}).", remedy="choose another `--output`.") from None
        if json:
            print_json({"tenant": known.id, "day": on, "file": str(path.resolve()), "bytes": len(body), "deidentified": deidentified})
        else:
            out.print(f"[green]✓[/] {path.resolve()}", highlight=False, soft_wrap=True)
        if open_:
            typer.launch(path.resolve().as_uri())
