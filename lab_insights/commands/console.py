"""What every command shares: consoles, JSON output, exit codes, and which deployment is meant."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from lab_insights import config as configuration
from lab_insights import errors
from lab_insights.config import Config
from lab_insights.errors import ConfigError, InvalidTenant, LabInsightsError, StackError, UnknownTenant

# Results on standard output, everything for a person's eyes on standard error, so that `--json` can be piped.
out = Console()
err = Console(stderr=True)

BROKEN, WRONG = 1, 2
"""Exit codes: something is wrong with the data or the systems; something is wrong with the command or the configuration."""


def local_directory() -> Path:
    """Return where the local stack lives: `$LAB_INSIGHTS_LOCAL_DIR`, else `.lab_insights` here."""
    return Path(os.environ.get("LAB_INSIGHTS_LOCAL_DIR") or ".lab_insights").resolve()


def use_local_stack() -> None:
    """Mean the local stack when no configuration is named and one was brought up here."""
    home = local_directory() / "dagster_home"
    named = os.environ.get("LAB_INSIGHTS_CONFIG") or os.environ.get("DAGSTER_HOME")
    if not named and not Path("lab_insights.yaml").exists() and (home / "lab_insights.yaml").exists():
        os.environ["DAGSTER_HOME"] = str(home)


def load_config() -> Config:
    """Return the configuration of the deployment that is meant."""
    from lab_insights.lab import contracts

    use_local_stack()
    config = configuration.load()
    contracts.use(config.models)
    return config


@contextmanager
def told() -> Iterator[None]:
    """Turn our errors into a message and an exit code: 2 for a wrong command or configuration, 1 for anything else."""
    try:
        with _reaching_aws():
            yield
    except LabInsightsError as error:
        show(error)
        raise typer.Exit(WRONG if isinstance(error, ConfigError | InvalidTenant | UnknownTenant) else BROKEN) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        # its text may be a patient's
        if os.environ.get("LAB_INSIGHTS_TRACEBACK"):
            raise
        err.print(f"[bold red]{escape(errors.told(error))}[/]", highlight=False, soft_wrap=True)
        err.print(
            "  remedy: report it; LAB_INSIGHTS_TRACEBACK=1 shows the traceback, which may quote a row.", highlight=False, soft_wrap=True
        )
        raise typer.Exit(BROKEN) from None


def show(error: LabInsightsError) -> None:
    """Print what happened, where, and the remedy."""
    err.print(f"[bold red]{type(error).__name__}[/]: {escape(error.message)}", highlight=False, soft_wrap=True)
    named = {"tenant": error.tenant, "table": error.table, "partition": error.partition}
    if where := ", ".join(f"{name} {value}" for name, value in named.items() if value):
        err.print(f"  where:  {where}", highlight=False, markup=False, soft_wrap=True)
    err.print(f"  remedy: {error.remedy}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _reaching_aws() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # By name, since importing botocore takes longer than most commands.
        if not any(each.__module__ == "botocore.exceptions" for each in type(error).__mro__):
            raise
        raise StackError(
            f"AWS can not be reached, or lacks what this deployment needs ({type(error).__name__}).",
            remedy="check `aws` and `lake.prefix` in lab_insights.yaml, and the login; for the local stack run `lab-insights local up`.",
        ) from None


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


def entry(text: str, *, indent: int = 2, style: str = "") -> None:
    """Print one line of a list as it is: no markup in it, and nothing cut off where it goes into a file or a narrow terminal."""
    out.print(Text(f"{' ' * indent}{text}", style), soft_wrap=True)
