"""MkDocs hook: pages of the reference that are written from the KPIs and the commands, so that they can not differ from them."""

from __future__ import annotations

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from lab_insights.cli import app
from lab_insights.lab.kpis import INPUTS, REPORTS, Report
from lab_insights.lab.kpis.quality import MEASURES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/kpis.md` and `reference/cli.md`."""
    files.append(
        File.generated(config, "reference/kpis.md", content=f"# KPIs\n\n{KPIS}\n\n{chr(10).join(map(_kpi, REPORTS))}\n{_measures()}")
    )
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="lab-insights")
    commands = get_docs_for_click(obj=command, ctx=context, name="lab-insights", title="Command line")
    files.append(File.generated(config, "reference/cli.md", content=commands))
    return files


KPIS = """Written from `lab_insights/lab/kpis`; a deployment adds [its own](../how-to/add.md) by files.
Tables of each tenant's schema `REPORTS` (rows of persons: `TRANSFORMED`), computed by Snowflake over the whole client database
and replaced as one. Days are those of the tenant's zone; instants are in UTC, and a table that has any says that zone in `time_zone`. Volume belongs to
the day of its start, turnaround to the day of its end. An interval needs both ends and 0 ≤ minutes ≤ 365 days, else it is excluded and counted in
`data_quality`. Percentiles are nearest rank, of ten observations at least, and come from the intervals: for a longer period compute them from
`ordered_test`, never from days; and rates from sums, never from rates.
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
