"""The queue of runs, as the production `dagster.yaml` limits it: what the daemon would start of what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from lab_insights.config import Config
from lab_insights.names import TenantId
from lab_insights.partitions import TENANT_TAG, TENANTS, partition_key, range_tags, tenant_days

ROOT = Path(__file__).parents[1]
JOB = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("lab_insights"), "__repository__"), "raw")
FIRST = date(2026, 3, 1)
CONFIG = {
    "lake": {"prefix": "test"},
    "snowflake": {"account": "test", "credentials": "env:NONE"},
    "sources": {},
    "partitions": {"start": FIRST},
}
GRID = tenant_days(Config.model_validate(CONFIG))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose queue is that of production."""
    limits = yaml.safe_load((ROOT / "dagster.yaml").read_text())["concurrency"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"concurrency": limits, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        made.add_dynamic_partitions(str(TENANTS.name), ["aurora", "birchwood"])
        yield made


def _queue(instance: dg.DagsterInstance, tenant: str, days: int, **tags: str) -> None:
    """Let runs of one tenant-day each wait, tagged as Dagster tags a run of a partition."""
    for number in range(days):
        its = GRID.get_tags_for_partition_key(str(partition_key(FIRST + timedelta(number), TenantId(tenant))))
        instance.run_storage.add_run(dg.DagsterRun("raw", status=dg.DagsterRunStatus.QUEUED, tags={**its, **tags}, remote_job_origin=JOB))


def _started(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
        return daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)


def test_three_runs_of_a_tenant_start_and_leave_places_to_the_others(instance: dg.DagsterInstance) -> None:
    _queue(instance, "aurora", 12)
    _queue(instance, "birchwood", 2)
    assert Counter(run.tags["dagster/partition/tenant"] for run in _started(instance)) == {"aurora": 3, "birchwood": 2}


def test_three_runs_over_ranges_of_a_tenant_start_too_and_those_of_several_tenants_are_nobodys(instance: dg.DagsterInstance) -> None:
    """As schedules, sensors and `lab-insights run` tag them."""
    for number in range(6):
        day = FIRST + timedelta(number)
        for ends in (("aurora", "aurora"), ("birchwood", "cedar")) if number < 2 else (("aurora", "aurora"),):
            tags = range_tags(*(str(partition_key(day, TenantId(tenant))) for tenant in ends))
            instance.run_storage.add_run(dg.DagsterRun("raw", status=dg.DagsterRunStatus.QUEUED, tags=tags, remote_job_origin=JOB))
    assert Counter(run.tags.get(TENANT_TAG) for run in _started(instance)) == {"aurora": 3, None: 2}


def test_a_backfill_leaves_places_to_schedules_and_sensors(instance: dg.DagsterInstance) -> None:
    for tenant in ("aurora", "birchwood", "cedar"):
        _queue(instance, tenant, 3, **{"dagster/backfill": "months"})
    _queue(instance, "elm", 3)
    assert Counter("dagster/backfill" in run.tags for run in _started(instance)) == {True: 6, False: 3}
