"""The demo as a newcomer runs it where no database server is: one laboratory and one day of it, twice, and what it leaves is found and taken away."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_insights import demo
from lab_insights.local import stack
from lab_insights.local.simulation import TENANTS
from lab_insights_tests.commands.test_executed import PAGES, commands

# As few as show the whole way; on this machine the addresses at which servers are looked for are taken away.
PROGRAM = """
from lab_insights import demo
from lab_insights.local import databases
demo.DAYS, demo.LABORATORIES = 1, demo.LABORATORIES[:1]
databases._defaults = {"mysql": ["mysql+pymysql://root@127.0.0.1:1/"], "postgresql": ["postgresql://postgres@127.0.0.1:1/postgres"]}.get
if __name__ == "__main__":
    from lab_insights.cli import app
    app()
"""
README = PAGES[0]
LAYERS = ("raw", "curated", "transformed", "snowflake")
_ROW = re.compile(r"^ +(\w+) +(\w+) +([\d-]{10}) +([\d,]+) +([\d,]+) +([\d,]+) +ok *$", re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; what a failed test has started there is purged."""
    (tmp_path / "program.py").write_text(PROGRAM)
    yield tmp_path
    stack.purge(tmp_path / ".lab_insights")


def lab_insights(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell that knows nothing of any deployment."""
    named = ("LAB_INSIGHTS_", "DAGSTER_", "AWS_", "SNOWFLAKE_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(named)} | {"COLUMNS": "120"}
    return subprocess.run([sys.executable, "program.py", *words], cwd=here, env=environment, capture_output=True, text=True, check=False)


def test_a_demo_is_a_week_of_three_laboratories_in_the_three_layouts() -> None:
    assert (demo.DAYS, len(demo.LABORATORIES)) == (7, 3)
    assert {layout for tenant in TENANTS for layout in tenant.layouts.values()} == {"schema", "prefix", "discriminator"}


@pytest.mark.slow
def test_a_demo_without_any_server_says_what_it_uses_and_loads_every_layer_once_and_is_found_and_purged(here: Path) -> None:
    first = lab_insights(here, "local", "demo", "--scale", "0.05")
    assert first.returncode == 0, f"{first.stdout[-3000:]}\n{first.stderr[-3000:]}"
    uses, _, loaded = first.stdout.partition("rows changed in the sources")
    for line in ("This demo uses and creates:", "crm and lis: on PostgreSQL too", "PostgreSQL: started from the wheel pgserver"):
        assert line in uses, "it is said before anything is made"
    rows = _ROW.findall(loaded)
    assert [(tenant, layer) for tenant, layer, *_ in rows] == [(TENANTS[0].id, layer) for layer in LAYERS]
    assert all(int(count.replace(",", "")) > 0 for row in rows for count in row[3:])
    assert "verify: holds" in loaded
    assert "DAGSTER_HOME=" in loaded

    second = lab_insights(here, "local", "demo", "--scale", "0.05")
    assert second.returncode == 0, f"{second.stdout[-3000:]}\n{second.stderr[-3000:]}"
    assert "1 days were there already" in second.stdout
    assert _ROW.findall(second.stdout) == rows, "nothing is loaded twice"

    # What the README says to type next; verify is the demo's own last step.
    for line in commands(README, rows[0][2]):
        tool, *words = shlex.split(line, comments=True)
        if tool.endswith("lab-insights") and words[0] not in {"verify", "ui"}:
            typed = lab_insights(here, *(TENANTS[0].id if word == "birchwood" else word for word in words))
            assert typed.returncode == 0, f"{line}\n{typed.stdout[-2000:]}\n{typed.stderr[-2000:]}"

    [known] = json.loads(lab_insights(here, "tenant", "list", "--json").stdout)
    assert known["id"] == TENANTS[0].id, "without any variable, commands are about the stack of this directory"
    assert {line.partition(":")[0] for line in json.loads(lab_insights(here, "local", "status", "--json").stdout)} == {
        "AWS stand-in",
        "Snowflake stand-in",
        "PostgreSQL (bundled)",
    }
    gone = lab_insights(here, "local", "down", "--purge").stdout
    assert "PostgreSQL (bundled): stopped" in gone
    assert not (here / ".lab_insights").exists()
