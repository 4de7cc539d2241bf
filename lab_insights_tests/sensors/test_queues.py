"""Manifest events → runs, over a real chain of S3, SNS and SQS."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from lab_insights.errors import LabInsightsError
from lab_insights.lake.layout import manifest_key
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId, tenant_id
from lab_insights.partitions import TENANT_TAG
from lab_insights.sensors import queues
from lab_insights.sensors.ranges import Grid
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.sensors.world import END, START, World, derive, rectangle, today


def running(world: World, start: str, end: str, **run: Any) -> dg.DagsterRun:
    """Record a run that is at work over a range."""
    tags = {START: f"{today()}|{start}", END: f"{today()}|{end}"}
    return world.instance.add_run(dg.DagsterRun(run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags=tags, **run))


def test_nothing_new_requests_nothing_and_says_so(world: World) -> None:
    data = world.tick()
    assert data.run_requests == []
    assert data.skip_message == "Messages: none."


def test_manifests_of_a_day_become_one_ranged_run_that_materializes_exactly_its_tenants(world: World) -> None:
    for tenant in ("birchwood", "aurora_clinic"):
        world.land(tenant)
        world.land(tenant, table="lis.other")
    (request,) = world.tick().run_requests
    assert TENANT_TAG not in request.tags
    assert world.launch(request).success
    assert world.made == [f"curated {today()}|aurora_clinic", f"curated {today()}|birchwood"]
    assert world.tick().skip_message == "Messages: 4 consumed."
    assert world.waiting() == []


def test_tenants_that_do_not_follow_each_other_get_a_run_each_and_so_do_days(world: World) -> None:
    world.land("aurora_clinic")
    world.land("cedar_valley")
    world.land("birchwood", days_ago=9)
    requests = world.tick().run_requests
    assert [request.tags[TENANT_TAG] for request in requests] == ["birchwood", "aurora_clinic", "cedar_valley"], "dagster.yaml limits it"
    assert [world.launch(request).success for request in requests] == [True] * 3
    late = world.partition(days_ago=9).day
    assert world.made == [
        f"curated {late}|birchwood",
        f"curated {today()}|aurora_clinic",
        f"curated {today()}|cedar_valley",
    ]


def test_curated_manifests_become_transformation(world: World) -> None:
    world.land()
    derive(world.lake, "raw", "curated", tenant_id("aurora_clinic"), today())
    (request,) = world.tick("transformation_queue").run_requests
    assert request.job_name == "transformation"
    assert world.launch(request).success
    assert world.tick("transformation_queue").skip_message == "Messages: 1 consumed."


def test_a_new_tenant_waits_for_its_partition_and_is_then_requested(world: World) -> None:
    world.resource.registry().put(Tenant(id=tenant_id("delta_labs"), key="44"))
    world.land("delta_labs")
    assert world.tick().skip_message == "Messages: 1 waiting for their tenant's partition."
    world.tick("tenant_registry")
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("delta_labs", "delta_labs")


def test_a_day_that_is_no_partition_yet_waits(world: World) -> None:
    world.land(days_ago=-3)
    for _ in range(7):
        assert world.tick().skip_message == "Messages: 1 waiting for their day's partition."
    assert world.dead() == []


def test_a_tick_over_its_budget_leaves_the_rest_to_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        world.land(table=f"lis.t{number}")
    monkeypatch.setattr(queues, "DELAY_SECONDS", 60)
    monkeypatch.setattr(queues, "BUDGET_SECONDS", 0)
    first, second = world.tick(), world.tick()
    assert [len(first.run_requests), len(second.run_requests)] == [1, 1]
    assert first.run_requests[0].run_key != second.run_requests[0].run_key
    assert world.tick().skip_message == "Messages: none."


def test_when_every_lookup_fails_the_tick_fails_and_no_message_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land()
    world.land("birchwood")

    def unreachable(*_: object) -> None:
        raise ConnectionError("the state table does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("lab_insights.sensors.consumed.partition_manifests", unreachable)
        patch.setattr(queues, "BUDGET_SECONDS", 0)
        for _ in range(7):  # more often than SQS would allow a message that is only received
            with pytest.raises(LabInsightsError, match="All 2 lookups failed"):
                world.tick()
    assert world.dead() == []
    assert len(world.tick().run_requests) == 1


def test_one_failing_lookup_stops_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land()
    world.land("birchwood")

    def half(lake: Any, partition: Any) -> Any:
        if partition.tenant == "aurora_clinic":
            raise ConnectionError
        return partition_manifests(lake, partition)

    monkeypatch.setattr("lab_insights.sensors.consumed.partition_manifests", half)
    monkeypatch.setattr(queues, "BUDGET_SECONDS", 0)
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("birchwood", "birchwood")


def test_a_message_is_left_while_a_run_that_will_consume_it_is_at_work(world: World) -> None:
    world.land("birchwood")
    mine = running(world, "aurora_clinic", "cedar_valley", job_name="curation")
    for _ in range(7):
        assert world.tick().skip_message == "Messages: 1 waiting for a run."
    world.instance.delete_run(mine.run_id)
    assert world.dead() == []
    assert len(world.tick().run_requests) == 1


def test_a_person_s_run_of_the_same_assets_counts_and_a_run_of_other_assets_does_not(world: World) -> None:
    world.land("aurora_clinic")
    world.land("cedar_valley")
    chain = frozenset({dg.AssetKey("raw"), dg.AssetKey("curated")})
    running(world, "aurora_clinic", "aurora_clinic", job_name="__ASSET_JOB", asset_selection=chain)
    running(world, "cedar_valley", "cedar_valley", job_name="transformation")
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("cedar_valley", "cedar_valley")


def test_a_message_waits_while_other_tables_of_its_day_are_still_being_loaded(world: World) -> None:
    world.land("birchwood")
    running(world, "birchwood", "birchwood", job_name="loading")
    assert world.tick().skip_message == "Messages: 1 waiting for a run."


def test_a_superseded_manifest_is_dropped_and_its_successor_requested(world: World) -> None:
    world.land()
    world.land(supersedes=True)
    data = world.tick()
    assert len(data.run_requests) == 1
    assert len(world.waiting()) == 1


def test_the_manifest_of_an_open_commit_is_left_and_that_of_an_abandoned_attempt_is_dropped(world: World) -> None:
    partition = world.partition()
    world.lake.state.begin(world.lake.state.head(partition), partition)
    world.lake.storage.put_new("raw", manifest_key(partition, "00000000-001"), b"{}")
    for _ in range(7):
        data = world.tick()
        assert data.run_requests == []
    assert len(world.waiting()) == 1
    assert world.land().key == manifest_key(partition, "00000000-002")
    assert len(world.tick().run_requests) == 1
    assert len(world.waiting()) == 1


def test_the_same_manifests_get_the_same_run_key_until_their_run_has_ended(world: World) -> None:
    world.land()
    world.land(table="lis.other")
    first, second = world.tick().run_requests[0], world.tick().run_requests[0]
    assert first.run_key == second.run_key
    world.broken.add("aurora_clinic")
    assert not world.launch(first).success
    assert world.tick().run_requests[0].run_key != first.run_key


def test_a_range_in_an_order_that_is_not_dagsters_is_refused(world: World) -> None:
    context = dg.build_sensor_context(instance=world.instance, repository_def=world.repository)
    grid = replace(Grid.of(context, world.repository.get_job("curation")), order=("birchwood", "aurora_clinic"))
    (stretch,) = grid.stretches([(today(), TenantId("aurora_clinic")), (today(), TenantId("birchwood"))])
    with pytest.raises(LabInsightsError, match="does not read the 2 tenants"):
        grid.run_request(stretch, ["cause"])
