"""This machine: Java and Spark, the releases of Dagster's libraries, and the Dagster home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from lab_insights.doctor.check import Check, Checks, Status, guarded

_JAVA = (17, 21)
_JAVA_REMEDY = "install Java 17 or 21 (Debian: apt install openjdk-17-jre-headless), or point JAVA_HOME at it."


def java(*, needed: bool) -> Checks:
    """Yield whether Spark can start here; without a table that is planned with it, a missing Java is a warning."""
    worse: Status = "failed" if needed else "warning"
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    with guarded("java", _JAVA_REMEDY) as trouble:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr if program else ""
    found = re.search(r'version "(\d+)', told) if not trouble.check else None
    if found and int(found[1]) in _JAVA:
        yield Check("java", "ok", f"Java {found[1]} for Spark {_releases().get('pyspark', 'that is missing')}")
    else:
        yield Check(
            "java",
            worse,
            f"Java {found[1]} is not one that Spark runs on" if found else "there is no Java, so Spark can not start",
            _JAVA_REMEDY,
        )


def dagster(tenants: Sequence[str] | None) -> Checks:
    """Yield the releases of Dagster, its home, its daemons, and whether `tenants` (None: not known) are partitions."""
    yield _libraries()
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        yield Check(
            "dagster home", "warning", "DAGSTER_HOME is not set, so runs are kept nowhere", "export it: a directory with dagster.yaml."
        )
        return
    if not (Path(home) / "dagster.yaml").exists():
        yield Check(
            "dagster home",
            "failed",
            f"there is no dagster.yaml in {home}",
            "copy the repository's dagster.yaml there, or correct DAGSTER_HOME.",
        )
        return
    with guarded(
        "dagster home", "check dagster.yaml, the variables that it names, and its database is up; `dagster instance migrate` upgrades."
    ) as trouble:
        found = list(_instance(home, tenants))
    yield from [trouble.check] if trouble.check else found


def _instance(home: str, tenants: Sequence[str] | None) -> Checks:
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        runs, kept = instance.get_runs_count(), instance.get_dynamic_partitions("tenants")
        yield Check("dagster home", "ok", f"{home}, {runs:,} runs")
        silent = [kind for kind, status in instance.get_daemon_statuses().items() if status.required and not status.healthy]
        if silent:
            yield Check(
                "dagster daemon", "warning", f"{', '.join(sorted(silent))} not running", "start dagster-daemon, or `lab-insights ui`."
            )
        else:
            yield Check("dagster daemon", "ok", "schedules, sensors and queued runs are served")
    missing = [tenant for tenant in tenants or () if tenant not in kept]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        yield Check(
            "dagster partitions", "warning", f"no partition yet: {shown}", "let the sensor tenant_registry run, or `lab-insights run`."
        )


def _libraries() -> Check:
    held = {name: version for name, version in _releases().items() if name == "dagster" or name.startswith("dagster-")}
    # Dagster's core packages share one number, its integrations another.
    core = {version for name, version in held.items() if not version.startswith("0.")}
    integrations = {version for version in held.values() if version.startswith("0.")}
    if len(core) > 1 or len(integrations) > 1:
        told = ", ".join(f"{name} {version}" for name, version in sorted(held.items()))
        return Check("dagster", "failed", f"releases are mixed: {told}", "install from requirements.lock.")
    return Check("dagster", "ok", f"dagster {held.get('dagster')}, libraries {', '.join(integrations)}")


def _releases() -> dict[str, str]:
    return {str(each.metadata["Name"]).lower(): each.version for each in distributions() if each.metadata["Name"]}
