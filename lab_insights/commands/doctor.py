"""`lab-insights doctor`: each connection, permission and version of a deployment, and what to do about those that are wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape

from lab_insights.commands.console import BROKEN, err, load_config, out, print_json

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(
    *,
    tenant: Annotated[list[str] | None, typer.Option(help="Look at this tenant only; may be given several times.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every check as JSON.")] = False,
) -> None:
    """Test connections, permissions and versions of sources, AWS, Snowflake, Java and Dagster. Leaves nothing behind. Exit code 1 when a check failed."""
    from lab_insights.doctor import examine

    checks, remedy = [], ""
    with err.status("examining …") as working:
        for check in examine(load_config, tenant):
            checks.append(check)
            working.update(f"examining … {escape(check.subject)}")
            if json:
                continue
            # Seventeen things that one deed mends are told what it is once, below the last of them.
            if remedy and remedy != check.remedy:
                _advise(remedy)
            remedy = check.remedy
            status = f"[{_STYLES[check.status]}]{check.status:<7}[/]"
            out.print(f"{status} {escape(check.subject)}: {escape(check.message)}", highlight=False, soft_wrap=True)
    if remedy and not json:
        _advise(remedy)
    counts: Counter[str] = Counter(check.status for check in checks)
    if json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        out.print(f"doctor: {', '.join(f'{counts[status]} {status}' for status in _STYLES if counts[status])}", highlight=False)
    if counts["failed"]:
        raise typer.Exit(BROKEN)


def _advise(remedy: str) -> None:
    out.print(f"        remedy: {escape(remedy)}", highlight=False, soft_wrap=True)
