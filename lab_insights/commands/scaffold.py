"""`lab-insights scaffold`: one file for a new table or KPI, with comments that teach, read back by the models that the product reads it by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from lab_insights.commands.console import load_config, out, print_json, told
from lab_insights.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Write the one file by which a table or a KPI is added.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

TABLE = """# The contract of the curated table {name}. This one file makes its assets in every layer, its checks, its Snowflake table and its
# page in the catalog. Change what is here to what the source has, then: lab-insights plan
table: {name}
# Groups tables in the asset graph.
domain: {domain}
description: Rows of {source}.{table}.
# One row per key, of the columns below.
key: [{name}_id]
# The source of lab_insights.yaml, its table, its key, and the column that moves whenever a row changes.
# Leave `cursor` out where there is none: the table is then loaded whole.
source: {{name: {source}, table: {table}, key: [id], cursor: updated_at}}
# from:  the source's column. A column without it stays null, and a column that is not listed is not curated (raw has all of them).
# type:  string, int64, float64, bool, date, timestamp (UTC), json, decimal(p,s)
# phi:   direct (names a person), quasi (does with others), clinical (about health), operational, none. In doubt the stricter one.
# map:   codes and their meaning, such as map: {{"1": active, "0": closed}}; any other code becomes null.
columns:
  - {{name: {name}_id, type: string, from: id, phi: operational, description: "Identifier in the source."}}
  - {{name: name, type: string, from: name, phi: direct, description: "What it is called; direct until you know that it names no person."}}
  - {{name: updated_at, type: timestamp, from: updated_at, phi: operational, description: "When the row changed last, UTC; the cursor."}}
"""

KPI = """# The KPI table {name}: computed by Snowflake over a tenant's whole database after each load, so late rows reach their days.
# It becomes the asset reports/{name} and the table REPORTS.{upper} of every tenant.
name: {name}
description: Rows of {reads} by the day on which they changed last.
# Who defined it: a standard, a paper, a person.
source: Ours.
# One row per key. `event_day` says which day a row belongs to.
key: [event_day]
# Curated tables with the columns that are needed; a tenant that lacks a table has it empty. KPI tables stand in `after: [ordered_test]`.
reads:
  {reads}: [{column}]
# Snowflake types, and each definition in a sentence. They are the documentation.
columns:
  event_day: {{type: DATE, definition: "Day of the change in the tenant's zone."}}
  rows_changed: {{type: "NUMBER(19,0)", definition: "Rows whose newest version is of that day."}}
# A tile on the report's page: the last 7 days beside the 7 days before. Leave it out where the page shall have none.
tile: {{label: "Rows of {reads}", column: rows_changed}}
# Names in braces are those of `reads` and `after`, and zone, the tenant's IANA zone. Instants are UTC.
sql: |
  SELECT TO_DATE(CONVERT_TIMEZONE('UTC', '{{zone}}', {instant})) AS EVENT_DAY, COUNT(*) AS ROWS_CHANGED
  FROM {{{reads}}} AS T
  WHERE {instant} IS NOT NULL
  GROUP BY 1
"""


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="Name of the curated table, such as courier_stop.")],
    source: Annotated[str, typer.Option(help="Source of lab_insights.yaml that has it.")],
    from_table: Annotated[str | None, typer.Option("--from", help="Its table there; the same name when not given.")] = None,
    domain: Annotated[str, typer.Option(help="What it is grouped with, such as laboratory or crm.")] = "laboratory",
    in_package: Annotated[bool, typer.Option("--in-package", help="Into the package's contracts, not into `models`.")] = False,
    *,
    json: Json = False,
) -> None:
    """Write the contract of a new table."""
    from lab_insights.lab.contracts import DIRECTORY, Contract, contracts, validated

    with told():
        config = load_config()
        _named(name, set(contracts()), "contract")
        if source not in config.sources:
            raise ConfigError(f"There is no source {source}.", remedy=f"name one of {', '.join(sorted(config.sources))}.")
        text = TABLE.format(name=name, domain=domain, source=source, table=from_table or name)
        path = (DIRECTORY if in_package else _models(config.models) / "contracts") / f"{name}.yaml"
        _write(path, text)
        validated(path, Contract)
        _say(path, json, f"adapt its key, cursor and columns to {source}.{from_table or name}")


@app.command()
def kpi(
    name: Annotated[str, typer.Argument(help="Name of the KPI table, such as stops_by_day.")],
    reads: Annotated[str, typer.Option(help="Curated table that it counts.")],
    *,
    json: Json = False,
) -> None:
    """Write the declaration of a new KPI: columns with their definitions, and SQL."""
    from lab_insights.lab.contracts import contracts, validated
    from lab_insights.lab.kpis.declared import Kpi, reports

    with told():
        config = load_config()
        _named(name, {report.name for report in reports()}, "KPI table")
        if reads not in contracts():
            raise ConfigError(f"There is no contract of {reads}.", remedy="name a curated table; docs/reference/tables.md lists them.")
        instants = [column.name for column in contracts()[reads].columns if column.type == "timestamp"]
        if not instants:
            raise ConfigError(f"{reads} has no timestamp, so no row of it belongs to a day.", remedy="name another table.")
        column = "updated_at" if "updated_at" in instants else instants[0]
        path = _models(config.models) / "kpis" / f"{name}.yaml"
        _write(path, KPI.format(name=name, upper=name.upper(), reads=reads, column=column, instant=column.upper()))
        validated(path, Kpi)
        _say(path, json, "say what it counts: description, columns, sql")


def _models(directory: Path | None) -> Path:
    if directory is None:
        raise ConfigError(
            "The configuration names no directory for files of your own.", remedy="make one, and say `models: models` in lab_insights.yaml."
        )
    return directory


def _named(name: str, taken: set[str], what: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name} is no name of a {what}.", remedy="use a lower-case letter, then lower-case letters, digits, underscores."
        )
    if name in taken:
        raise ConfigError(f"There is a {what} {name} already.", remedy="choose another name, or change its file.")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already.", remedy="change that file, or choose another name.") from None


def _say(path: Path, json: bool, step: str) -> None:
    steps = [f"open the file, and {step}", "lab-insights plan", "restart the code servers: the new assets are in the graph"]
    if json:
        print_json({"file": str(path), "next": steps})
        return
    out.print(f"[green]✓[/] wrote {path}. Next:", highlight=False, soft_wrap=True)
    for number, each in enumerate(steps, 1):
        out.print(f"  {number}. {each}", highlight=False, markup=False, soft_wrap=True)
