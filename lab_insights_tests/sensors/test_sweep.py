"""Lost events are found by the sweep, within its time and in turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lab_insights.errors import LabInsightsError
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import tenant_id
from lab_insights.sensors import sweep
from lab_insights_tests.sensors.world import World, derive, rectangle, today

WORK = [("curated", "birchwood"), ("transformed", "aurora_clinic"), ("snowflake", "aurora_clinic")]


def lose_events(world: World) -> None:
    """Take every message out of both queues."""
    for name in ("curation", "transformation"):
        while messages := world.queue(name).receive():
            world.queue(name).delete(messages)


def test_lost_events_of_both_layers_are_requested(world: World) -> None:
    world.land("aurora_clinic")
    world.land("birchwood")
    derive(world.lake, "raw", "curated", tenant_id("aurora_clinic"), today())
    lose_events(world)
    curation, transformation = world.tick("manifest_sweep").run_requests
    assert (curation.job_name, transformation.job_name) == ("curation", "transformation")
    assert world.launch(curation).success
    assert world.launch(transformation).success
    assert world.made == [f"{asset} {today()}|{tenant}" for asset, tenant in WORK]


def test_nothing_lost_requests_nothing_and_says_how_far_it_came(world: World) -> None:
    world.land()
    derive(world.lake, "raw", "curated", tenant_id("aurora_clinic"), today())
    (request,) = world.tick("manifest_sweep").run_requests
    assert world.launch(request).success
    data = world.tick("manifest_sweep")
    assert data.run_requests == []
    assert data.skip_message == "Swept 3 of 3 tenants (0 failed): 0 manifests without an event."


def test_a_fresh_manifest_is_left_to_its_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "GRACE", timedelta(minutes=10))
    world.land()
    assert world.tick("manifest_sweep").run_requests == []


def test_days_before_the_newest_ones_are_not_swept(world: World) -> None:
    world.land(days_ago=sweep.DAYS)
    assert world.tick("manifest_sweep").run_requests == []
    world.land(days_ago=sweep.DAYS - 1)
    assert len(world.tick("manifest_sweep").run_requests) == 1


def test_a_sweep_over_its_budget_goes_on_with_the_next_tenant_and_then_around(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BUDGET_SECONDS", 0)
    cursors, cursor = [], None
    for _ in range(4):
        cursor = world.tick("manifest_sweep", cursor).cursor
        cursors.append(cursor)
    assert cursors == ["aurora_clinic", "birchwood", "cedar_valley", "aurora_clinic"]


def test_a_cursor_of_a_tenant_that_is_gone_starts_anew(world: World) -> None:
    assert "Swept 3 of 3" in world.tick("manifest_sweep", "was_here_once").skip_message


def test_the_same_lost_manifests_are_asked_for_under_the_same_run_key(world: World) -> None:
    world.land()
    keys = [world.tick("manifest_sweep").run_requests[0].run_key for _ in range(2)]
    assert keys[0] == keys[1]
    world.land()
    assert world.tick("manifest_sweep").run_requests[0].run_key != keys[0]


def test_what_a_run_did_not_consume_is_asked_for_again_each_tenant_alone_and_given_up_by_name(world: World) -> None:
    for tenant in ("aurora_clinic", "birchwood"):
        world.land(tenant)
        derive(world.lake, "raw", "curated", tenant_id(tenant), today())
    lose_events(world)
    world.broken = {"aurora_clinic"}
    (together,) = world.tick("manifest_sweep").run_requests
    assert rectangle(together) == ("aurora_clinic", "birchwood")
    assert not world.launch(together).success
    bad, good = world.tick("manifest_sweep").run_requests
    assert [rectangle(bad), rectangle(good)] == [("aurora_clinic",) * 2, ("birchwood",) * 2]
    assert world.launch(good).success
    for _ in range(sweep.ATTEMPTS):  # the company of the first one is no attempt of its own
        assert not world.launch(bad).success
        data = world.tick("manifest_sweep")
        if data.run_requests:
            (bad,) = data.run_requests
    assert data.run_requests == []
    assert f"Given up after {sweep.ATTEMPTS} runs, materialize them: aurora_clinic {today()}." in data.skip_message
    assert f"snowflake {today()}|birchwood" in world.made
    world.broken.clear()
    world.land("aurora_clinic", table="lis.patient_note")
    assert world.tick("manifest_sweep").run_requests, "a new batch is asked for, and what was given up with it"


def test_one_tenant_that_can_not_be_swept_does_not_hide_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land("aurora_clinic")
    world.land("birchwood")

    def half(lake: Lake, partition: Partition) -> list[Manifest]:
        if partition.tenant == "aurora_clinic":
            raise ConnectionError
        return partition_manifests(lake, partition)

    monkeypatch.setattr("lab_insights.sensors.consumed.partition_manifests", half)
    (request,) = world.tick("manifest_sweep").run_requests
    assert world.launch(request).success
    assert world.made == [f"curated {today()}|birchwood"]


def test_when_no_tenant_can_be_swept_the_tick_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for tenant in ("aurora_clinic", "birchwood", "cedar_valley"):
        world.land(tenant)

    def unreachable(lake: Lake, partition: Partition) -> list[Manifest]:
        raise ConnectionError

    monkeypatch.setattr("lab_insights.sensors.consumed.partition_manifests", unreachable)
    with pytest.raises(LabInsightsError, match="Sweeping failed for all of 3 tenants"):
        world.tick("manifest_sweep")
