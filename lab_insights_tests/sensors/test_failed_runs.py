"""Messages whose runs failed: who is tried again, how often, and what is then a dead letter."""

from __future__ import annotations

from lab_insights.lake.deadletters import redrive
from lab_insights.names import tenant_id
from lab_insights_tests.sensors.world import World, derive, rectangle, today


def test_after_a_failed_run_only_the_tenants_that_failed_are_tried_again(world: World) -> None:
    world.land("aurora_clinic")
    world.land("birchwood")
    world.broken.add("birchwood")
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("aurora_clinic", "birchwood")
    assert not world.launch(request).success
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("birchwood", "birchwood")


def test_a_tenant_whose_first_step_fails_does_not_keep_the_others_from_the_second_one(world: World) -> None:
    for tenant in ("aurora_clinic", "birchwood", "cedar_valley"):
        world.land(tenant)
        derive(world.lake, "raw", "curated", tenant_id(tenant), today())
    world.broken.add("birchwood")
    (request,) = world.tick("transformation_queue").run_requests
    assert not world.launch(request).success
    assert world.loaded == set()
    for request in world.tick("transformation_queue").run_requests:
        assert world.launch(request).success is (rectangle(request) != ("birchwood", "birchwood"))
    assert {key.split("/")[0] for key in world.loaded} == {"tenant=aurora_clinic", "tenant=cedar_valley"}


def test_a_run_that_always_fails_is_tried_to_the_queue_s_limit_and_redriving_tries_again(world: World) -> None:
    world.land("birchwood")
    world.broken.add("birchwood")
    for _ in range(world.queue().limit):
        (request,) = world.tick().run_requests
        result = world.launch(request)
        assert not result.success
    assert world.tick().skip_message == "Messages: 1 given up."
    (dead,) = world.dead()
    assert dead.manifest
    assert dead.manifest.partition == world.partition(tenant="birchwood")
    assert result.run_id in dead.reason
    assert world.waiting() == []

    world.broken.clear()
    assert redrive(world.resource.aws(), world.resource.prefix, "curation") == 1
    (request,) = world.tick().run_requests
    assert world.launch(request).success
    assert world.tick().skip_message == "Messages: 1 consumed."
    assert world.dead() == []
