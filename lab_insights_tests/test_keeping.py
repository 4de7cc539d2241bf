"""The job that keeps the lake small, as it runs in Dagster: every tenant's receipt, and the others when one fails."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lab_insights import jobs, operations, pruning
from lab_insights.errors import LandingMismatch
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.lake.world import Killed, day, fresh_tenant, ids, make_lake, put, watched


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


@pytest.fixture
def tenants(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[TenantId]:
    """Two tenants of the resource, each with a curated table of forty days and an orphan."""
    found = [fresh_tenant(), fresh_tenant()]
    monkeypatch.setattr(LakeResource, "open", lambda _: lake)
    monkeypatch.setattr(operations, "_tenants", lambda *_: [Tenant(id=each, key="1") for each in found])
    monkeypatch.setattr(LakeResource, "config", lambda _: None)
    monkeypatch.setattr(pruning, "window_start", lambda _: datetime(2000, 1, 1, tzinfo=UTC))
    for tenant in found:
        with watched(lake.storage.aws, limit=4), pytest.raises(Killed):
            put(lake, Partition("curated", tenant, "account", day(1)), ids(1))
        for number in range(1, 41):
            put(lake, Partition("curated", tenant, "account", day(number)), ids(number))
    return found


def kept(**config: Any) -> dg.ExecuteInProcessResult:
    return jobs.keep_lake.execute_in_process(
        run_config={"ops": {"sweep_lake": {"config": config}}}, resources={"lake": LakeResource(config_path="")}, raise_on_error=False
    )


def metadata(result: dg.ExecuteInProcessResult, op: str) -> dict[str, Any]:
    [output] = [event for event in result.events_for_node(op) if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_states_are_compacted_and_what_is_young_stays(lake: Lake, tenants: list[TenantId]) -> None:
    result = kept()
    assert result.success
    compacted = metadata(result, "compact_states")
    assert compacted["tables"] == 2
    assert {(each["tenant"], each["table"], each["batches"]) for each in compacted["receipts"]} == {
        (each, "account", 39) for each in tenants
    }
    swept = metadata(result, "sweep_lake")
    assert (swept["orphans"], swept["young"], swept["unknown"], len(swept["receipts"])) == (0, 2, 0, 6)


def test_a_tenant_that_fails_is_named_and_the_others_are_swept(
    lake: Lake, tenants: list[TenantId], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = operations.sweep_all

    def sweep_all(opened: Lake, found: list[TenantId], **more: Any) -> Any:
        if found == tenants[:1]:
            raise LandingMismatch("A manifest is gone.", remedy="restore it.", tenant=found[0])
        return honest(opened, found, **more)

    monkeypatch.setattr(operations, "sweep_all", sweep_all)
    result = kept(dry_run=True)
    assert not result.success
    [failure] = [event for event in result.events_for_node("sweep_lake") if event.is_step_failure]
    assert f"1 tenants could not be swept; the others are: {tenants[0]}." in str(failure.step_failure_data.error)


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
def table() -> None:
    """Something that a run makes."""


@dg.job
def alone() -> None:
    """What prunes, and nothing else."""
    pruning.prune_runs()


def made(instance: dg.DagsterInstance) -> str:
    return dg.materialize([table], partition_key="2026-01-01", instance=instance).run_id


def test_runs_that_ended_before_the_window_are_deleted_with_their_events_and_no_other(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LakeResource, "open", lambda _: lake)
    monkeypatch.setattr(LakeResource, "config", lambda _: None)
    monkeypatch.setattr(pruning, "_AT_ONCE", 2)
    with dg.DagsterInstance.ephemeral() as instance:

        def prune(**config: Any) -> int:
            its = {"ops": {"prune_runs": {"config": config}}}
            result = alone.execute_in_process(its, instance, resources={"lake": LakeResource(config_path="")})
            return int(metadata(result, "prune_runs")["runs"])

        old = [made(instance) for _ in range(3)]
        began = datetime.now(UTC)
        monkeypatch.setattr(pruning, "window_start", lambda _: began)
        new = made(instance)
        assert prune(dry_run=True) == 3
        assert all(instance.get_run_by_id(run) for run in old)
        assert prune() == 3
        assert not any(instance.get_run_by_id(run) or instance.all_logs(run) for run in old)
        assert instance.get_run_by_id(new)
        assert instance.get_materialized_partitions(table.key) == {"2026-01-01"}
        assert prune() == 0


def test_the_window_begins_with_the_first_day_that_is_a_partition() -> None:
    section = SimpleNamespace(start=date(2020, 1, 1), window_days=10)
    first = datetime.now(UTC).date() - timedelta(days=9)
    assert pruning.window_start(SimpleNamespace(partitions=section)) == datetime(first.year, first.month, first.day, tzinfo=UTC)  # type: ignore[arg-type]
