"""What a reader may rely on in the whole tree: documents that lead somewhere, modules of one idea, imports that are cheap."""

from __future__ import annotations

import ast
import os
import re
import runpy
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement
from pydantic import BaseModel

from lab_insights import config

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted((ROOT / "lab_insights").rglob("*.py"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# Written by the documentation's build, which fails for links that lead nowhere.
GENERATED = {
    ROOT / "docs" / "reference" / f"{name}.md" for name in ("tables", "cli", "kpis", "keys", "files", "assets", "jobs", "schedules")
}
# Spelt in halves, so that this file does not find itself.
ELSEWHERE = [
    *("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "proxy.golang" + ".org", "--index" + "-url"),
    *("/work" + "/main", "/work" + "/shared", "proto" + "/.venv", "/root" + "/.", "/opt/" + "pypi"),
]


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_every_link_of_the_changelog_the_readme_and_the_documents_leads_to_a_file() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(path, link) for path in documents for link in LINK.findall(path.read_text()) if "://" not in link]
    assert links
    broken = [(path.name, link) for path, link in links if not (at := (path.parent / link).resolve()).exists() and at not in GENERATED]
    assert broken == []


def test_every_decision_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    missing = [path.name for path in (ROOT / "docs" / "adr").glob("*.md") if f"adr/{path.name}" not in navigation]
    assert missing == []


def test_every_document_that_an_error_or_a_comment_names_is_there() -> None:
    named = {found for path in PACKAGE for found in re.findall(r"docs/[\w./-]+\.md", path.read_text())}
    assert named
    assert {name for name in named if not (ROOT / name).exists() and ROOT / name not in GENERATED} == set()


def test_every_key_of_the_configuration_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "config.md").read_text()
    missing = [key for key in _keys(config.Config) if not re.search(rf"[`.]{key}\b", text)]
    assert missing == []


def _keys(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield field.alias or name
        for inner in _sections(field.annotation):
            yield from _keys(inner)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _sections(part)


def test_modules_hold_one_idea_each() -> None:
    sizes = {str(path.relative_to(ROOT)): _lines(path) for path in PACKAGE}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes.values()) <= 110
    assert sum(size >= 250 for size in sizes.values()) <= len(sizes) / 10


def test_every_module_says_what_it_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path in PACKAGE if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


@pytest.mark.parametrize("module", ["lab_insights.cli", "lab_insights.definitions"])
def test_importing_a_front_door_imports_no_heavy_library(module: str) -> None:
    heavy = _ruff()["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    # Snowflake's libraries put the empty package `snowflake` into every process (`*-nspkg.pth`).
    program = f"import sys; at_start = set(sys.modules); import {module}; print(*(set(sys.modules) - at_start))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name for name in done.stdout.split() if name.split(".")[0] in heavy} == set()


def test_the_command_line_answers_without_dagster() -> None:
    program = "import sys, lab_insights.cli; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


def test_nothing_of_the_tree_names_one_machine_or_a_package_registry() -> None:
    found = []
    for path in _files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {word}" for word in ELSEWHERE if word in text]
    assert found == []


def test_the_lock_keeps_every_bound_of_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", said.update)
    runpy.run_path(str(ROOT / "setup.py"))
    extras = [lines for name, lines in said["extras_require"].items() if name != "bench"]  # peers, in an environment of their own
    declared = [Requirement(line) for lines in (said["install_requires"], *extras) for line in lines]
    locked = _pins("requirements-dev.lock")
    broken = [str(one) for one in declared if one.name not in locked or not one.specifier.contains(locked[one.name])]
    assert broken == []


def test_what_a_demo_installs_is_what_development_installs() -> None:
    assert _pins("requirements.lock").items() < _pins("requirements-dev.lock").items()


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ \n]+)", (ROOT / lock).read_text(), re.MULTILINE))


def _ruff() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="pytest-xdist groups tests, and this is one process (`-n` is not given)"
)
def test_the_tests_of_a_module_run_in_one_process(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith(f"@{request.node.location[0]}"), (
        "pytest-xdist no longer groups tests: see the bound of pytest in setup.py"
    )
