"""`lab-insights init`: a commented `lab_insights.yaml`, written by looking at the databases that it is given."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab_insights.commands.console import err, out, print_json, show, told
from lab_insights.errors import ConfigError, LabInsightsError

if TYPE_CHECKING:
    from lab_insights.aws import Aws
    from lab_insights.discovery.look import Seen
    from lab_insights.discovery.tenancy import Proposal

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_SHOWN = 8


def init(
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=REFERENCE, such as shop=env:SHOP_URL, stock=secret:acme/stock or events=dynamodb:TABLE,TABLE; "
            "may be given several times; asked for when none is given."
        ),
    ] = None,
    schemas: Annotated[
        list[str] | None, typer.Option(help="NAME=PATTERN: look only at such schemas of a source, as shop=shop_*; for shared servers.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="The prefix with which deploy/template.yaml was, or will be, deployed.")] = "lab-insights",
    account: Annotated[str, typer.Option(help="The Snowflake account.")] = "my-account",
    credentials: Annotated[str, typer.Option(help="Where Snowflake's login is: env:NAME or secret:NAME.")] = "env:SNOWFLAKE_LOGIN",
    region: Annotated[str, typer.Option(help="The AWS region.")] = "us-east-1",
    endpoint_url: Annotated[str | None, typer.Option(help="A local server in place of AWS.")] = None,
    start: Annotated[str | None, typer.Option(help="The first day, such as 2026-01-31; today when not given.")] = None,
    file: Annotated[Path | None, typer.Option(help="Where to write; `$LAB_INSIGHTS_CONFIG` or lab_insights.yaml when not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at databases and write a commented lab_insights.yaml: engines, tenancy layouts with their evidence, references in place of passwords.

    Reads catalogs (schemas, tables, columns), never rows, and changes nothing but the file.
    """
    from lab_insights.aws import Aws
    from lab_insights.discovery.described import missing
    from lab_insights.discovery.look import look
    from lab_insights.discovery.tenancy import propose
    from lab_insights.discovery.write import Deployment, render

    with told():
        path = file or Path(os.environ.get("LAB_INSIGHTS_CONFIG") or "lab_insights.yaml")
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already.", remedy="say `--force` to write over it, or `--file` to write another one.")
        deployment = Deployment(prefix, region, endpoint_url, account, credentials, _day(start))
        aws, patterns = Aws(region, endpoint_url), dict(_pairs(schemas, "--schemas"))
        if unknown := set(patterns) - {name for name, _ in _pairs(source, "--source")} if source else set():
            raise ConfigError(f"`--schemas` names {min(unknown)}, which is no source.", remedy="name it by `--source`, too.")
        if source:
            seen = [look(name, reference, aws, patterns.get(name, "*")) for name, reference in _pairs(source, "--source")]
        elif json:
            raise ConfigError("With `--json` nothing is asked.", remedy="name the sources, such as `--source shop=env:SHOP_URL`.")
        else:
            seen = _asked(aws, patterns)
        found = [(each, propose(each)) for each in seen]
        gaps = {each.name: gap for each in seen if (gap := missing(each))}
        path.write_text(render(deployment, found), encoding="utf-8")
        steps = _next(deployment.prefix, account == "my-account", deployment.start, found)
        if json:
            sources = [_described(*each) | {"missing": gaps.get(each[0].name, [])} for each in found]
            print_json({"file": str(path), "sources": sources, "next": steps})
            return
        for each in found:
            _show(*each)
        for name, gap in gaps.items():
            err.print(
                f"Contracts describe a source called {name}, and expect of it: {', '.join(gap)}. Name yours otherwise, unless these will be there.",
                style="yellow",
                highlight=False,
                soft_wrap=True,
            )
        out.print(f"[green]✓[/] wrote {escape(str(path))}. Next:", highlight=False, soft_wrap=True)
        for number, step in enumerate(steps, 1):
            out.print(f"  {number}. {step}", highlight=False, markup=False, soft_wrap=True)


def _day(text: str | None) -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError:
        raise ConfigError("`--start` is no date.", remedy="write it as 2026-01-31.") from None


def _pairs(given: list[str] | None, option: str) -> list[tuple[str, str]]:
    """Return NAME and VALUE of each NAME=VALUE; raise `ConfigError` without repeating the value, which may be a password."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not value or not _NAME.fullmatch(name):
            raise ConfigError(
                f"A `{option}` is not NAME=VALUE with a name of lower-case letters, digits and underscores.",
                remedy=f"see `lab-insights init --help`, {option}.",
            )
        if name in found:
            raise ConfigError(f"`{option}` names {name} twice.", remedy="give each source a name of its own.")
        found[name] = value
    return list(found.items())


def _asked(aws: Aws, patterns: dict[str, str]) -> list[Seen]:
    """Ask for sources until there are no more; one that can not be looked at is asked for again."""
    from lab_insights.discovery.look import look

    err.print("A source is a database or a set of DynamoDB tables. Its URL stays in a variable (env:NAME) or a secret (secret:NAME).")
    found: dict[str, Seen] = {}
    while name := str(typer.prompt("Name of a source, such as shop (empty: no more)", default="", show_default=False, err=True)).strip():
        if not _NAME.fullmatch(name) or name in found:
            err.print("A name is a lower-case letter, then lower-case letters, digits and underscores, and new.")
            continue
        reference = str(typer.prompt("  Where it is", default=f"env:{name.upper()}_URL", err=True)).strip()
        try:
            found[name] = look(name, reference, aws, patterns.get(name, "*"))
        except LabInsightsError as error:
            show(error)
    if not found:
        raise ConfigError("No source was named, so nothing was written.", remedy="say `--source shop=env:SHOP_URL`, or answer with a name.")
    return list(found.values())


def _show(seen: Seen, proposal: Proposal) -> None:
    where = "" if seen.engine == "dynamodb" else f", {len(seen.schemas)} schemas"
    keys = ", ".join(f"{key} {value}" for key, value in proposal.keys.items())
    lines = [f"tenancy {proposal.layout}: {keys}", f"since {proposal.evidence}", *([f"check: {proposal.check}"] if proposal.check else [])]
    out.print(f"[bold]{seen.name}[/]: {escape(seen.version)}{where}, {seen.tables} tables", highlight=False, soft_wrap=True)
    for line in [*lines, *([f"tenants seen: {_few(proposal.tenants)}"] if proposal.tenants else [])]:
        out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _described(seen: Seen, proposal: Proposal) -> dict[str, object]:
    return {
        "name": seen.name,
        "engine": seen.engine,
        "version": seen.version,
        "schemas": len(seen.schemas),
        "tables": seen.tables,
        "tenancy": {proposal.layout: dict(proposal.keys)},
        "evidence": proposal.evidence,
        "check": proposal.check,
        "tenants": list(proposal.tenants),
    }


def _next(prefix: str, placeholder: bool, start: date, found: list[tuple[Seen, Proposal]]) -> list[str]:
    """Return what a person does now, in order."""
    tenants = sorted({tenant for _, proposal in found for tenant in proposal.tenants if "{tenant}" in "".join(proposal.keys.values())})
    keys = sorted({tenant for _, proposal in found for tenant in proposal.tenants if "{key}" in "".join(proposal.keys.values())})
    # Names of one source and keys of another are not known to belong together: a guess would load one customer as another.
    one = tenants[0] if tenants else "TENANT"
    example = f"{one} --key KEY    # one of {_few(tuple(keys))}" if keys and tenants != keys else f"{one} --key {one if tenants else 'KEY'}"
    return [
        "Read the file: each `Check:` is a question that only you can answer.",
        *(["Set snowflake.account, and the login in snowflake.credentials."] if placeholder else []),
        f"Deploy deploy/template.yaml with Prefix={prefix}, unless it is there: docs/how-to/deploy.md.",
        "lab-insights doctor",
        f"lab-insights tenant add {example}",
        "lab-insights plan",
        f"lab-insights run raw --day {start}",
    ]


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
