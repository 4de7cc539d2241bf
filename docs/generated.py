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
from lab_insights.lab.mappings import Mapping, mappings


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


INTRODUCTION = """Written from the contracts in `lab_insights/lab/contract_files` and the mappings in `lab_insights/lab/mapping_files`. Tables that no
contract describes are curated as they were landed. [Another laboratory system](../how-to/map.md) is mapped into these tables by files.
PHI classes: `direct` identifies a person, `quasi` does together with others, `clinical` is about a
person's health, `operational` and `none` are neither."""

KPIS = """Written from `lab_insights/lab/kpis`; a deployment adds [its own](../how-to/add.md) by files.
Tables of each tenant's schema `REPORTS` (rows of persons: `TRANSFORMED`), computed by Snowflake over the whole client database
and replaced as one. Days are those of the tenant's zone. Volume belongs to the day of its start, turnaround to the day of its end. An interval needs
both ends and 0 ≤ minutes ≤ 365 days, else it is excluded and counted in `data_quality`. Percentiles are nearest rank, of ten observations at least, and
come from the intervals: for a longer period compute them from `ordered_test`, never from days; and rates from sums, never from rates.
[The report](../how-to/report.md) shows them."""


def _kpi(report: Report) -> str:
    rows = "\n".join(
        f"| `{name}` | {column.type} | {column.definition.replace('|', '&#124;')}{f' PHI: {column.phi}.' if report.personal else ''} |"
        for name, column in report.columns.items()
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


def _table(contract: Contract) -> str:
    rows = "\n".join(
        f"| `{column.name}` | {column.type} | {column.unit or column.terminology or ''} | {column.phi} | "
        f"{column.description.replace('|', '&#124;')} |"
        for column in contract.columns
    )
    key = " and ".join(f"`{name}`" for name in contract.key)
    if any(mapping.source.rows == "versions" for mapping in mappings()[contract.table]):
        key += ", never replaced"
    sources = "\n".join(_mapping(contract, mapping) for mapping in mappings()[contract.table])
    return f"""## {contract.table}

{contract.description} One row per {key}.

| column | type | unit or terminology | PHI | description |
|---|---|---|---|---|
{rows}

{sources}
"""


def _mapping(contract: Contract, mapping: Mapping) -> str:
    read = f"the `{mapping.source.records}` records in the messages of " if mapping.source.records else ""
    rules = {column.name: _rule(column, mapping) for column in mapping.read(contract)}
    rows = "\n".join(f"| `{name}` | {rule} |" for name, rule in rules.items() if rule)
    notes = [f"rows whose `{column}` is {' or '.join(codes)} are none of this table" for column, codes in mapping.skip]
    if mapping.split:
        columns = ", ".join(f"`{name}`" for name in mapping.split.columns)
        notes.append(f"{columns}: split by the components of the `{mapping.split.test}`, a row for each")
    if mapping.slots:
        notes.append(f"a row for each column that is like {', '.join(f'`{name}`' for name in mapping.slots.columns)}")
    key = ", ".join(f"`{name}`" for name in mapping.source.key)
    return f"""From {read}`{mapping.raw}`, key {key}, cursor `{mapping.source.cursor}`{"".join(f"; {note}" for note in notes)}:

| column | read from |
|---|---|
{rows}
"""


def _rule(column: ContractColumn, mapping: Mapping) -> str:
    """Return how a source has a column, empty where it does not."""
    if column.always is not None:
        return f"always `{column.always}`"
    if column.id:
        return f"`{mapping.source.name}:` and {', '.join(f'`{part}`' for part in column.id)}"
    if column.source is None:
        return ""
    codes = ", ".join(f"{code} = {meaning}" for code, meaning in column.values)
    ways = [
        *(f"as `{form}`" for form in column.instant),
        *([f"read as {column.parse.replace('_', ' ')}"] if column.parse else []),
        *([f"codes {codes}"] if codes else []),
    ]
    return f"`{column.source}`{''.join(f', {way}' for way in ways)}".replace("|", "&#124;")
