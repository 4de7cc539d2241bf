"""`lab-insights ui`: the Dagster UI (formerly Dagit) over the deployment that is meant."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from lab_insights.commands.console import load_config, out, told


def ui(port: Annotated[int, typer.Option(help="Port on the loopback.")] = 3000) -> None:
    """Open the Dagster UI with its daemon: materialize, backfill, schedule, browse lineage. Ctrl-C ends it."""
    with told():
        load_config()
    home = os.environ.get("DAGSTER_HOME")
    out.print(f"Dagster UI: http://127.0.0.1:{port}   DAGSTER_HOME={home or 'temporary'}", highlight=False, soft_wrap=True)
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a script starts what is in the background with it ignored, and Dagster could not be stopped
    # `dg dev`, which it recommends in its place, starts projects of another layout.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [sys.executable, *quiet, "-m", "dagster", "dev", "-m", "lab_insights.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, command)  # noqa: S606 (our own interpreter)
