"""Running commands in this process, as a person in an empty directory would."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from lab_insights.cli import app
from lab_insights.commands import progress


def seen_bars(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let bars of long work go where the test can read them, as to a terminal, while results go into a file."""
    written = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=written, force_terminal=True, width=200, _environ={"TERM": "xterm"}))
    monkeypatch.setattr(progress, "out", Console(file=io.StringIO(), force_terminal=False))
    return written


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
