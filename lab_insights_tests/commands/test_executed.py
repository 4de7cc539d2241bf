"""The README and the tutorial are what a newcomer types: every console block is run in order, by a shell, against a stack of this test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab_insights.local import databases, stack

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-days.md", ROOT / "docs" / "tutorial" / "own-tenant.md"]
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What goes on serving, opens a browser, takes the whole test run, or ends the stack that the next page needs.
# One day is the demo's smallest: it has no option for fewer than its week.
DEMO = "from lab_insights import demo; demo.DAYS = 1; from lab_insights.cli import app; app(['local', 'demo', '--scale', '0.1'])"
INSTEAD = (
    (re.compile(r"^make demo\b"), f'.venv/bin/python -c "{DEMO}"'),
    (re.compile(r"^make test\b"), "make --dry-run --no-print-directory test >/dev/null"),
    (re.compile(r"^(\S+lab-insights) ui\b"), r"\1 ui --help"),
    (re.compile(r" --open\b"), ""),
    (re.compile(r"^(\S+lab-insights) local down( --purge)?"), r"\1 local status"),
)


def commands(page: Path, day: str) -> list[str]:
    """Return the commands of a page, as they can be run by a test."""
    found = [line for block in _BLOCK.findall(page.read_text()) for line in block.splitlines() if line.strip()]
    for pattern, instead in INSTEAD:
        found = [pattern.sub(instead, line) for line in found]
    return [re.sub(r"\bDAY\b", day, line) for line in found]


def test_each_page_has_commands_and_none_of_them_goes_on_serving() -> None:
    for page in PAGES:
        lines = commands(page, "2026-01-31")
        assert len(lines) >= 5, page
        assert not [line for line in lines if re.search(r" ui( *#| *$)|--open|make demo|local down", line)]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the stack lives; everything that it made is purged, whatever happened."""
    yield tmp_path / "local"
    stack.purge(tmp_path / "local")


@pytest.mark.soak
def test_a_newcomer_who_types_what_the_readme_and_the_tutorial_say_gets_through(directory: Path, tmp_path: Path, postgres_url: str) -> None:
    """In a directory beside the checkout, so that nothing of the tutorial is left in it."""
    here = tmp_path / "checkout"
    here.mkdir()
    for name in (
        ".venv",
        ".venv-snowflake",
        "docs",
        "deploy",
        "Makefile",
        "lab_insights",
        "setup.py",
        *(path.name for path in ROOT.glob("requirements*.lock")),
    ):
        (here / name).symlink_to(ROOT / name)
    first_day = str(datetime.now(UTC).date() - timedelta(days=7))
    script = ["set -euo pipefail"]
    for page in PAGES:
        script += [line for line in commands(page, first_day) if not line.startswith("make ") or "dry-run" in line or "help" in line]
    script = [re.sub(r"^export COURIER_URL=.*", f"export COURIER_URL='{postgres_url}'", line) for line in script]
    environment = {name: value for name, value in os.environ.items() if name not in {"LAB_INSIGHTS_CONFIG", "DAGSTER_HOME"}}
    try:
        ran = subprocess.run(
            ["/bin/bash", "-x", "-c", "\n".join(script)],
            cwd=here,
            env={
                **environment,
                "LAB_INSIGHTS_LOCAL_DIR": str(directory),
                "COLUMNS": "200",
                "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    finally:
        for schema in ("courier_north", "courier_south"):
            databases.drop_schemas("postgresql", postgres_url, schema)
