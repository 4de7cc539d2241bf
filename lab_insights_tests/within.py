"""`pytest --within SECONDS`: of the chosen tests those that are done in that time, the shortest first, by what they took here before; new ones always run."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

import pytest

_KEPT = "lab_insights/seconds"
# Interpreters, collection and the stand-ins of a layer that needs them.
_START = 9.0
# Modules are not shared out evenly among the processes.
_EVEN = 0.6
_PHASES: defaultdict[str, dict[str, float]] = defaultdict(dict)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--within", type=float, metavar="SECONDS", help="run the tests that fit into so many seconds, by what they took before"
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what a phase of a test took."""
    _PHASES[_name(report.nodeid)][report.when or ""] = report.duration


def _name(nodeid: str) -> str:
    # pytest-xdist adds the group
    return nodeid.partition("@")[0]


def _module(name: str) -> str:
    return name.partition("::")[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep it for the next run in this checkout."""
    cache = getattr(session.config, "cache", None)
    if cache is None or hasattr(session.config, "workerinput") or not _PHASES:
        return
    setups = defaultdict(list)
    for name, phases in _PHASES.items():
        setups[_module(name)].append(phases.get("setup", 0.0))
    took = dict(cache.get(_KEPT, {}))
    for module, seconds in setups.items():
        took[module] = round(max(seconds) - median(seconds), 3)  # the first test of a module waits for the fixtures of all
    for name, phases in _PHASES.items():
        usual = min(phases.get("setup", 0.0), median(setups[_module(name)]))
        took[name] = round(usual + phases.get("call", 0.0) + phases.get("teardown", 0.0), 3)
    cache.set(_KEPT, took)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not fit."""
    seconds: float | None = config.getoption("within")
    if seconds is None:
        return
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    left = (seconds - _START) * int(worker.get("workercount", 1)) * _EVEN
    took = config.cache.get(_KEPT, {})  # type: ignore[union-attr]
    chosen, begun = set[pytest.Item](), set[str]()
    for item in sorted(items, key=lambda item: float(took.get(_name(item.nodeid), 0.0))):
        name = _name(item.nodeid)
        cost = float(took.get(name, 0.0)) + (0.0 if _module(name) in begun else float(took.get(_module(name), 0.0)))
        if cost <= left:
            left -= cost
            chosen.add(item)
            begun.add(_module(name))
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say where the rest is."""
    return "the shortest tests only; make test runs all" if config.getoption("within") else None
