"""`--within SECONDS` leaves out what takes longer, and never what nobody has run yet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("which", ["quick", "long", "new"])
def test_it(which): pass
"""


def run(directory: Path, *words: str) -> set[str]:
    """Return which tests passed."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "lab_insights_tests.within",
            "-v",
            "--rootdir",
            str(directory),
            "--color=no",
            *words,
            "test_it.py",
        ],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in {0, pytest.ExitCode.NO_TESTS_COLLECTED}, ran.stdout + ran.stderr
    return {"".join(found) for found in re.findall(r"PASSED.*\[(\w+)\]|\[(\w+)\] PASSED", ran.stdout)}


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadgroup")], ids=["one process", "pytest-xdist"])
def test_what_took_longer_is_left_out_and_what_is_new_runs(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = xdist_group: together\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    assert run(tmp_path, *workers) == {"quick", "long", "new"}
    [kept] = tmp_path.glob(".pytest_cache/v/lab_insights/seconds")
    took = json.loads(kept.read_text())
    assert {f"test_it.py::test_it[{which}]" for which in ("quick", "long", "new")} <= took.keys()
    took["test_it.py::test_it[long]"] = 60.0
    del took["test_it.py::test_it[new]"]
    kept.write_text(json.dumps(took))
    assert run(tmp_path, "--within", "20", *workers) == {"quick", "new"}
    took["test_it.py"] = 60.0  # what all of them wait for
    kept.write_text(json.dumps(took))
    assert run(tmp_path, "--within", "20", *workers) == set()
