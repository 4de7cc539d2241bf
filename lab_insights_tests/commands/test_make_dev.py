"""`make dev` as a developer has it: the local stack, the UI over this checkout's code, *Reload definitions* after a change, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab_insights.local import processes, snowflake, stack

ROOT = Path(__file__).resolve().parents[2]
JOBS = """{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name description } } }
  ... on PythonError { message } } }"""
RELOAD = """mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  ... on WorkspaceLocationEntry { locationOrLoadError { ... on RepositoryLocation { name } ... on PythonError { message } } } } }"""
BEFORE, AFTER = "Inspects every source of every tenant", "Looks into every source of every tenant"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `make dev` needs of this checkout, which a test may change."""
    copy = tmp_path / "checkout"
    for name in ("lab_insights", "deploy"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "workspace.yaml"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """The directory of a stack of the test's own; nothing of it is left."""
    path = tmp_path / "local"
    yield path
    stack.purge(path)


def ask(url: str, query: str, **variables: str) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"]


def crawl(url: str) -> str:
    """Return what the UI says that the job `crawl` does."""
    [repository] = ask(url, JOBS)["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "lab_insights.definitions"
    return str({job["name"]: job["description"] for job in repository["jobs"]}["crawl"])


def of_the_stack(local: Path) -> set[int]:
    """Return the processes that were started for the stack in `local`."""
    told = f"LAB_INSIGHTS_LOCAL_DIR={local}".encode()
    return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if told in environment(path)}


def environment(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def interrupt(handle: processes.Handle, local: Path, left: set[int]) -> None:
    """Press Ctrl-C, which in a terminal is for all that run in it; return when only the processes `left` are there."""
    os.killpg(handle.pid, signal.SIGINT)
    deadline = time.monotonic() + 60
    while handle.alive() or of_the_stack(local) != left:
        assert time.monotonic() < deadline, "something else keeps running"
        time.sleep(0.05)


@pytest.mark.slow
def test_make_dev_shows_this_checkouts_code_and_a_change_of_it_once_it_is_told_to_reload(
    checkout: Path, local: Path, tmp_path: Path
) -> None:
    port, log = processes.free_port(), tmp_path / "dev.log"
    url = f"http://127.0.0.1:{port}"
    handle = processes.start(
        "make dev",
        # the environment of these tests is ready, and may be somebody else's
        ["make", "--old-file=setup", f"VENV={sys.prefix}", "dev"],
        address=url,
        log=log,
        ready=lambda: processes.answers(f"{url}/server_info"),
        env={
            "LAB_INSIGHTS_LOCAL_DIR": str(local),
            "LAB_INSIGHTS_CONFIG": str(tmp_path / "of another deployment.yaml"),
            "DAGSTER_CLI_DEV_PORT": str(port),
            "PYTHONPATH": str(checkout),
            "MAKEFLAGS": "",
            snowflake.PYTHON_VARIABLE: str(snowflake.interpreter()),
        },
        cwd=checkout,
        seconds=240,
    )
    servers = {server.pid for server in map(processes.recorded, (local / "servers").glob("*.json")) if server}
    try:
        assert crawl(url).startswith(BEFORE)
        module = checkout / "lab_insights" / "jobs.py"
        module.write_text(module.read_text().replace(BEFORE, AFTER))
        assert crawl(url).startswith(BEFORE), "nobody watches the files"
        entry = ask(url, RELOAD, name="lab_insights.definitions")["reloadRepositoryLocation"]
        assert entry["locationOrLoadError"] == {"name": "lab_insights.definitions"}
        assert crawl(url).startswith(AFTER)
        assert of_the_stack(local) > servers
    finally:
        interrupt(handle, local, left=servers)
    assert "Dagster services shut down" in log.read_text()
    left = dict(line.split(" at ")[0].split(": ") for line in stack.status(local))
    assert left.keys() >= {"AWS stand-in", "Snowflake stand-in"}, "the stack is there for the next time"
    assert set(left.values()) == {"running"}
