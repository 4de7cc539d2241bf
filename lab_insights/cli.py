"""`lab-insights`: the command line of data engineers and scripts."""

from __future__ import annotations

import atexit
import gc

import typer

from lab_insights.commands import (
    audit,
    catalog,
    cost,
    deadletters,
    doctor,
    init,
    local,
    plan,
    report,
    run,
    scaffold,
    schema,
    status,
    tenant,
    ui,
    verify,
)

# What a command imported goes with the process: searching it for cycles first takes up to half a second of its end.
atexit.register(gc.freeze)

app = typer.Typer(
    name="lab-insights",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Laboratory data of many tenants: raw → curated → transformed → Snowflake, orchestrated by Dagster.\n\n"
    "Commands mean the deployment of `$LAB_INSIGHTS_CONFIG`, `$DAGSTER_HOME/lab_insights.yaml` or `./lab_insights.yaml`, "
    "else the local stack of this directory. "
    "Exit codes: 0 all is well, 1 something is broken, 2 the command or the configuration is wrong.",
)
app.add_typer(local.app, name="local")
app.add_typer(tenant.app, name="tenant")
app.add_typer(deadletters.app, name="dlq")
app.add_typer(schema.app, name="schema")
app.add_typer(catalog.app, name="catalog")
app.add_typer(audit.app, name="audit")
app.add_typer(scaffold.app, name="scaffold")
app.command()(init.init)
app.command()(doctor.doctor)
app.command()(plan.plan)
app.command()(run.run)
app.command()(status.status)
app.command()(verify.verify)
app.command()(cost.cost)
app.command()(report.report)
app.command()(ui.ui)
