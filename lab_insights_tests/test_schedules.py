"""The schedules: which tenants and days they request, and when nothing at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from lab_insights import definitions, schedules
from lab_insights.aws import Aws
from lab_insights.local import deployer
from lab_insights.names import tenant_id
from lab_insights.resources.lake import LakeResource
from lab_insights.tenants.registry import Tenant

# A quarter of an hour after midnight: yesterday has just ended, today is open.
NOW = datetime.now(UTC).replace(hour=0, minute=15, second=0, microsecond=0)
TODAY, YESTERDAY = str(NOW.date()), str((NOW - timedelta(days=1)).date())
CONFIGURATION = """
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: none, credentials: "env:NONE"}}
sources: {{}}
partitions: {{start: {start}}}
"""


@dataclass
class Deployment:
    """A registry and a Dagster instance."""

    lake: LakeResource
    instance: dg.DagsterInstance

    def register(self, *tenants: tuple[str, Literal["daily", "frequent"]], partitions: bool = True, suspended: bool = False) -> None:
        for name, tier in tenants:
            self.lake.registry().put(Tenant(id=tenant_id(name), key="1", tier=tier, suspended=suspended))
        if partitions:
            self.instance.add_dynamic_partitions("tenants", [name for name, _ in tenants])

    def evaluate(self, schedule: str) -> list[tuple[str, str]] | str:
        """Return first and last partition of each run that a schedule requests, or why it skips."""
        ticked = self._tick(schedule)
        if ticked.skip_message:
            assert not ticked.run_requests
            return str(ticked.skip_message)
        assert len({request.run_key for request in ticked.run_requests}) == len(ticked.run_requests)
        ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        return [(request.tags[ends[0]], request.tags[ends[1]]) for request in ticked.run_requests]

    def configs(self, schedule: str) -> list[Mapping[str, Any]]:
        """Return the run config of each run that a schedule requests."""
        return [request.run_config for request in self._tick(schedule).run_requests or ()]

    def _tick(self, schedule: str) -> ScheduleExecutionData:
        repository = definitions.build(self.lake.config(), self.lake.config_path).get_repository_def()
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=NOW, repository_def=repository, resources={"lake": self.lake}
        ) as context:
            return repository.get_schedule_def(schedule).evaluate_tick(context)


@pytest.fixture(scope="module")
def prefix(aws_endpoint: str) -> str:
    """A deployment for all tests of this module, which empty its registry."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    deployer.deploy(aws_endpoint, name)
    return name


@pytest.fixture
def deployment(aws_endpoint: str, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    path = tmp_path / "lab_insights.yaml"
    path.write_text(CONFIGURATION.format(endpoint=aws_endpoint, prefix=prefix, start=(NOW - timedelta(days=3)).date()))
    # An ephemeral instance is not enough: a schedule opens its instance anew.
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Deployment(LakeResource(config_path=str(path)), instance)
        yield made
        table = Aws(endpoint_url=aws_endpoint)
        for tenant in made.lake.registry().all():
            table.client("dynamodb").delete_item(TableName=f"{prefix}-tenants", Key={"tenant": {"S": tenant.id}})


WHICH = pytest.mark.parametrize(("schedule", "which"), [("daily", ""), ("frequent", " of tier `frequent`"), ("finding_deletes", "")])


@WHICH
def test_nothing_is_requested_while_nobody_is_registered(schedule: str, which: str, deployment: Deployment) -> None:
    assert deployment.evaluate(schedule) == f"No tenant{which} is registered."


@WHICH
def test_a_registered_tenant_without_a_partition_yet_is_not_requested(schedule: str, which: str, deployment: Deployment) -> None:
    deployment.register(("aurora_clinic", "frequent"), partitions=False)
    assert deployment.evaluate(schedule) == f"No tenant{which} has a partition yet: the sensor `tenant_registry` adds them (1)."


@WHICH
def test_while_every_tenant_is_suspended_that_is_said(schedule: str, which: str, deployment: Deployment) -> None:
    deployment.register(("aurora_clinic", "frequent"), ("birchwood", "frequent"), suspended=True)
    assert deployment.evaluate(schedule) == f"Every tenant{which} is suspended (2)."
    deployment.register(("cedar_valley", "frequent"))
    assert len(deployment.evaluate(schedule)) == 1


def test_daily_requests_yesterday_of_all_tenants_in_one_run(deployment: Deployment) -> None:
    deployment.register(("cedar_valley", "daily"), ("aurora_clinic", "frequent"), ("birchwood", "daily"))
    assert deployment.evaluate("daily") == [(f"{YESTERDAY}|cedar_valley", f"{YESTERDAY}|birchwood")]


def test_many_tenants_are_several_runs_so_that_a_slow_one_keeps_few_others_waiting(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MOST_TENANTS", 2)
    deployment.register(("cedar_valley", "daily"), ("aurora_clinic", "daily"), ("birchwood", "daily"))
    assert deployment.evaluate("daily") == [
        (f"{YESTERDAY}|cedar_valley", f"{YESTERDAY}|aurora_clinic"),
        (f"{YESTERDAY}|birchwood", f"{YESTERDAY}|birchwood"),
    ]


def test_frequent_requests_today_of_frequent_tenants_alone(deployment: Deployment) -> None:
    deployment.register(("aurora_clinic", "frequent"), ("birchwood", "daily"), ("cedar_valley", "frequent"), ("dover_lab", "frequent"))
    assert deployment.evaluate("frequent") == [
        (f"{TODAY}|aurora_clinic", f"{TODAY}|aurora_clinic"),
        (f"{TODAY}|cedar_valley", f"{TODAY}|dover_lab"),
    ]


def test_frequent_skips_when_every_tenant_is_daily(deployment: Deployment) -> None:
    deployment.register(("birchwood", "daily"))
    assert deployment.evaluate("frequent") == "No tenant of tier `frequent` is registered."


def test_deletes_are_sought_in_today_of_all_tenants(deployment: Deployment) -> None:
    deployment.register(("cedar_valley", "daily"), ("aurora_clinic", "frequent"))
    assert deployment.evaluate("finding_deletes") == [(f"{TODAY}|cedar_valley", f"{TODAY}|aurora_clinic")]
    [config] = deployment.configs("finding_deletes")
    assert {name: op["config"]["mode"] for name, op in config["ops"].items()} == {"raw_user_defined": "deletes"}, (
        "all that has no source here"
    )
    assert deployment.configs("daily") == [{}]


def test_they_request_raw_alone_since_the_rest_follows_from_events(deployment: Deployment) -> None:
    repository = definitions.build(deployment.lake.config(), deployment.lake.config_path).get_repository_def()
    for schedule in ("daily", "frequent", "finding_deletes"):
        job = repository.get_job(repository.get_schedule_def(schedule).job_name)
        assert {key.path[0] for key in job.asset_layer.selected_asset_keys} == {"raw"}


def test_the_lake_is_kept_without_anybody_naming_a_tenant(deployment: Deployment) -> None:
    keeping = definitions.build(deployment.lake.config(), deployment.lake.config_path).get_repository_def().get_schedule_def("keeping")
    [request] = keeping.evaluate_tick(dg.build_schedule_context(deployment.instance, NOW)).run_requests or ()
    assert (keeping.job_name, request.run_config) == ("keep_lake", {})
