"""Running commands in this process, as a person in an empty directory would."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from lab_insights.cli import app


class Cli:
    """Runs a command in this process and gives what it printed, unwrapped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *words: str, code: int | None = None, typed: str | None = None) -> Result:
        result = CliRunner().invoke(app, words, input=typed, env={"COLUMNS": "300", "TERM": "dumb"})
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        if code is not None:
            assert result.exit_code == code, result.output
        return result
