"""Every command that a document shows is one that the command line takes, with its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from lab_insights.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TYPED = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?lab-insights (.+)$", re.MULTILINE)
MENTIONED = re.compile(r"`lab-insights ([a-z][a-z -]*)")


def found(pattern: re.Pattern[str], text: str) -> list[list[str]]:
    return [shlex.split(words.partition(" > ")[0], comments=True) for words in pattern.findall(text)]


def blocks(text: str) -> str:
    return "\n".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def understood(words: list[str]) -> None:
    """Go down the commands that `words` name, and parse the rest as the last one would; nothing is run."""
    command, left = typer.main.get_command(app), list(words)
    while left and (inner := getattr(command, "commands", {})):
        assert left[0] in inner, f"there is no command {left[0]}"
        command = inner[left.pop(0)]
    if not getattr(command, "commands", {}):
        command.make_context(" ".join(words), left)


TYPED_ONES = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")
    for path in DOCUMENTS
    for words in found(TYPED, blocks(path.read_text()))
]


@pytest.mark.parametrize("words", TYPED_ONES)
def test_a_command_that_a_reader_is_to_type_is_understood(words: list[str]) -> None:
    understood(words)


def test_a_command_that_a_document_mentions_is_there() -> None:
    mentioned = [(path.name, words) for path in DOCUMENTS for words in found(MENTIONED, path.read_text())]
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback} | {
        str(group.name) for group in app.registered_groups
    }
    assert mentioned
    assert [(name, words) for name, words in mentioned if words[0] not in commands] == []


def test_what_is_not_a_command_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(TYPED_ONES) > 25
    with pytest.raises(AssertionError, match="no command frobnicate"):
        understood(["frobnicate"])
    with pytest.raises(Exception, match="No such option"):
        understood(["verify", "--everything"])
