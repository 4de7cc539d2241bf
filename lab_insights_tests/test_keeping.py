"""The job that keeps the lake small, as it runs in Dagster: every tenant's receipt, and the others when one fails."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from lab_insights import jobs, operations
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
