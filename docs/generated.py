"""MkDocs hook: pages of the reference that are written from the contracts and the commands, so that they can not differ from them."""

from __future__ import annotations

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from lab_insights.cli import app
from lab_insights.lab.contracts import Contract, ContractColumn, contracts
from lab_insights.lab.kpis import INPUTS, REPORTS, Report
from lab_insights.lab.kpis.quality import MEASURES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/tables.md`, `reference/kpis.md` and `reference/cli.md`."""
    pages = "\n".join(_table(contract) for contract in contracts().values())
    files.append(File.generated(config, "reference/tables.md", content=f"# Curated tables\n\n{INTRODUCTION}\n\n{pages}"))
    files.append(
        File.generated(config, "reference/kpis.md", content=f"# KPIs\n\n{KPIS}\n\n{chr(10).join(map(_kpi, REPORTS))}\n{_measures()}")
    )
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="lab-insights")
    commands = get_docs_for_click(obj=command, ctx=context, name="lab-insights", title="Command line")
    files.append(File.generated(config, "reference/cli.md", content=commands))
    return files


INTRODUCTION = """Written from the contracts in `lab_insights/lab/contract_files`. Tables that no contract describes are
curated as they were landed. PHI classes: `direct` identifies a person, `quasi` does together with others, `clinical` is about a
person's health, `operational` and `none` are neither."""

KPIS = """Written from `lab_insights/lab/kpis`. Tables of each tenant's schema `REPORTS`, computed by Snowflake over the whole client database
and replaced as one. Days are those of the tenant's zone. Volume belongs to the day of its start, turnaround to the day of its end. An interval needs
both ends and 0 ≤ minutes ≤ 365 days, else it is excluded and counted in `data_quality`. Percentiles are nearest rank, of ten observations at least, and
come from the intervals: for a longer period compute them from `ordered_test`, never from days; and rates from sums, never from rates.
[The report](../how-to/report.md) shows them."""


def _kpi(report: Report) -> str:
    rows = "\n".join(
        f"| `{name}` | {column.type} | {column.definition.replace('|', '&#124;')} |" for name, column in report.columns.items()
    )
    key = ", ".join(f"`{name}`" for name in report.key)
    read = ", ".join([*(f"`{INPUTS[name].table}`" for name in report.inputs), *(f"`{name}`" for name in report.after)])
    return f"""## {report.name}

{report.description} One row per {key}. Read from {read}.

Source of the definition: {report.source}

| column | type | definition |
|---|---|---|
{rows}
"""


def _measures() -> str:
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in MEASURES.items())
    return f"### Measures of data quality\n\n| measure | what fails it |\n|---|---|\n{rows}\n"


def _read_from(column: ContractColumn) -> str:
    if column.always is not None:
        return f"always {column.always}"
    return f"`{column.source}`" + (f", read as {column.parse.replace('_', ' ')}" if column.parse else ", by a map" if column.values else "")


def _table(contract: Contract) -> str:
    rows = "\n".join(
        f"| `{column.name}` | {column.type} | {column.unit or column.terminology or ''} | {_read_from(column)} | {column.phi} | "
        f"{column.description.replace('|', '&#124;')} |"
        for column in contract.columns
    )
    key = " and ".join(f"`{name}`" for name in contract.key)
    if contract.source.rows == "versions":
        key += ", never replaced"
    records = f"the `{contract.source.records}` records in the messages of " if contract.source.records else ""
    return f"""## {contract.table}

{contract.description} One row per {key}, from {records}`{contract.source.name}.{contract.source.table}`.

| column | type | unit or terminology | source column | PHI | description |
|---|---|---|---|---|---|
{rows}
"""
