"""What an operator waits for: the definitions to load, against a bare `import dagster`, and two pages of the UI over a full grid.

No server but Dagster's own is needed: definitions do no I/O, and the grid's history is written as the event log of one table. Pages are opened in
chromium; *first* is with an empty browser cache, as after an upgrade, *again* as on every other day.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import yaml

from benchmarks.goals import Findings, Goal, Result, goal
from lab_insights.local import processes, settings
from lab_insights.names import tenant_id
from lab_insights.partitions import TENANTS, partition_key

TIMES, SECONDS = 1.5, 3.0
TABLE = dg.AssetKey(["raw", "lis", "result"])
_SOURCES = {
    **{name: {"engine": "mysql", "url": "env:NONE", "tenancy": {"schema": {"schema": f"{name}_{{tenant}}"}}} for name in ("crm", "lis")},
    **{
        name: {"engine": "postgresql", "url": "env:NONE", "tenancy": {"schema": {"schema": f"{name}_{{tenant}}"}}}
        for name in ("audit", "messages")
    },
    "notifications": {
        "engine": "dynamodb",
        "tables": ["critical_notification"],
        "tenancy": {"discriminator": {"column": "tenant_id", "value": "{key}"}},
    },
}
_LOADS = {
    "a bare import of dagster": "import dagster",
    "our definitions": "from lab_insights.definitions import defs; defs().get_repository_def()",
}
_PAGES = {"graph": ("asset-groups/", "snowflake"), "partitions": (f"assets/{TABLE.to_user_string()}?view=partitions", "tenant_000")}


def run(tenants: int = 250, days: int = 400, materialized: int = 60, rounds: int = 5) -> Findings:
    """Measure with so many tenants and days, of which the newest `materialized` have been loaded."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        _configure(home, days)
        results = [*_loading(home, rounds)]
        seeded = _seed(home, tenants, materialized)
        with _ui(home) as url:
            results += _opening(url, rounds, f"{tenants} tenants × {days} days, {seeded:,} partitions materialized")
    return {"results": results, "goals": _goals(results)}


def _configure(home: Path, days: int) -> None:
    content = {
        "lake": {"prefix": "bench"},
        "snowflake": {"account": "none", "credentials": "env:NONE"},
        "partitions": {"start": datetime.now(UTC).date() - timedelta(days=days - 1), "window_days": days},
        "sources": _SOURCES,
    }
    (home / "lab_insights.yaml").write_text(yaml.safe_dump(content))
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings.dagster(home)))


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DAGSTER_HOME": str(home), "LAB_INSIGHTS_CONFIG": str(home / "lab_insights.yaml")}


def _loading(home: Path, rounds: int) -> Iterator[Result]:
    took: dict[str, list[float]] = {name: [] for name in _LOADS}
    for _ in range(rounds + 1):  # turn by turn, so that a busy moment meets both; the first fills the caches
        for name, program in _LOADS.items():
            start = time.monotonic()
            subprocess.run([sys.executable, "-c", program], env=_environment(home), check=True)
            took[name].append(time.monotonic() - start)
    for name, seconds in took.items():
        yield {"question": "loading", "what": name, "median_s": round(median(seconds[1:]), 2), "best_s": round(min(seconds[1:]), 2)}


def _seed(home: Path, tenants: int, days: int) -> int:
    """Give the instance its tenants, and the table its materializations; return how many."""
    names = [f"tenant_{number:03}" for number in range(tenants)]
    today = datetime.now(UTC).date()
    keys = [partition_key(day, tenant_id(name)) for day in _days(today, days) for name in names]

    @dg.op
    def load(context: dg.OpExecutionContext) -> None:
        for number, key in enumerate(keys):
            rows = {"dagster/partition_row_count": 1000 + number % 997, "bytes": 50_000 + number % 9973, "seconds": 1.5}
            context.log_event(dg.AssetMaterialization(TABLE, partition=key, metadata=rows))

    @dg.job
    def seed() -> None:
        load()

    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "2000"
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(str(TENANTS.name), names)
        seed.execute_in_process(instance=instance, run_config=quiet)
    return len(keys)


def _days(last: date, days: int) -> list[date]:
    return [last - timedelta(days=back) for back in range(days - 1, -1, -1)]


@contextmanager
def _ui(home: Path) -> Iterator[str]:
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    handle = processes.start(
        "Dagster webserver",
        [sys.executable, "-m", "dagster_webserver", "-m", "lab_insights.definitions", "-h", "127.0.0.1", "-p", str(port)],
        address=url,
        log=home / "webserver.log",
        ready=lambda: processes.answers(f"{url}/server_info"),
        env=_environment(home),
        seconds=120,
    )
    try:
        yield url
    finally:
        processes.stop(handle, seconds=30)


def _opening(url: str, rounds: int, grid: str) -> Iterator[Result]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        for name, (path, sign) in _PAGES.items():
            context = browser.new_context(viewport={"width": 1600, "height": 1000})
            took = [_opened(context, f"{url}/{path}", sign) for _ in range(rounds + 1)]
            context.close()
            first, again = took[0], took[1:]
            times = {"first_s": round(first, 2), "again_median_s": round(median(again), 2), "again_worst_s": round(max(again), 2)}
            yield {"question": "opening", "page": name, "grid": grid, **times}
        browser.close()


def _opened(context: Any, address: str, sign: str) -> float:
    """Return the seconds from the request of a page until its data is seen."""
    page = context.new_page()
    page.set_default_timeout(120_000)
    start = time.monotonic()
    page.goto(address, wait_until="commit")
    page.get_by_text(sign, exact=True).first.wait_for(state="visible")
    took = time.monotonic() - start
    page.close()
    return took


def _goals(results: list[Result]) -> list[Goal]:
    bare, ours = (each["median_s"] for each in results if each["question"] == "loading")
    told = f"{ours / bare:.2f} times ({ours} s, {bare} s for dagster alone)"
    found = [goal("loading the definitions", f"at most {TIMES} times a bare import of dagster", told, met=ours <= TIMES * bare)]
    for each in results:
        if each["question"] == "opening":
            again = each["again_median_s"]
            told = f"{again} s (worst {each['again_worst_s']} s; {each['first_s']} s with an empty cache)"
            found.append(goal(f"opening the page: {each['page']}", f"under {SECONDS:.0f} s, {each['grid']}", told, met=again < SECONDS))
    return found
