"""Messages that are no manifest's, that are several, or that come twice or never."""

from __future__ import annotations

import json

from lab_insights.lake.layout import manifest_key
from lab_insights.names import tenant_id
from lab_insights_tests.sensors.world import World, derive, rectangle, today


def event_body(world: World, key: str, layer: str = "raw") -> str:
    """An S3 event as SQS delivers it."""
    bucket = {"name": f"{world.resource.prefix}-{layer}"}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": bucket, "object": {"key": key, "eTag": "e"}}}]})


def test_a_doubled_event_is_answered_once_and_its_copy_is_gone(world: World) -> None:
    world.land()
    world.queue().send(world.waiting())
    data = world.tick()
    assert len(data.run_requests) == 1
    assert len(world.waiting()) == 1
    counted = world.resource.aws().client("sqs").get_queue_attributes(QueueUrl=world.queue().url, AttributeNames=["All"])
    assert counted["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_lost_event_is_nothing_the_queue_can_see(world: World) -> None:
    world.land()
    world.queue().delete(world.queue().receive())
    assert world.tick().skip_message == "Messages: none."


def test_poisonous_messages_go_to_the_dead_letters_with_their_reasons_and_stop_nobody(world: World) -> None:
    reasons = {
        "not json": "Not JSON.",
        "[]": "Not an S3 event",
        '{"Records": []}': "Not an S3 event",
        '{"Records": [{"s3": {"bucket": {"name": "another-raw"}, "object": {"key": "k"}}}]}': "Not an event of the bucket",
        " " * 30_000: "Longer than",
    }
    world.queue().send(reasons)
    world.land()
    data = world.tick()
    assert len(data.run_requests) == 1
    dead = {letter.body: letter for letter in world.dead()}
    assert dead.keys() == reasons.keys()
    for body, reason in reasons.items():
        assert reason in dead[body].reason
        assert dead[body].manifest is None


def test_events_of_no_possible_partition_are_poisonous(world: World) -> None:
    reasons = {
        ("../evil", str(today())): "Not an S3 event",
        ("a|b", str(today())): "'a|b' is not a tenant id.",
        ("nobody_knows", str(today())): "The registry does not hold the tenant nobody_knows.",
        ("birchwood", "2001-01-01"): "2001-01-01 is before the first day",
        ("birchwood", "2026-99-99"): "Not an S3 event",
    }
    key = manifest_key(world.partition(), "00000000-001")
    bodies = {
        event_body(world, key.replace("aurora_clinic", tenant).replace(str(today()), day)): reason
        for (tenant, day), reason in reasons.items()
    }
    world.queue().send(bodies)
    assert world.tick().skip_message == "Messages: 5 poisonous."
    for letter in world.dead():
        assert bodies.pop(letter.body) in letter.reason
    assert bodies == {}


def test_the_test_event_of_a_bucket_is_dropped(world: World) -> None:
    world.queue().send([json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "any"})])
    assert world.tick().skip_message == "Messages: 1 test events."
    assert world.waiting() == []
    assert world.dead() == []


def test_a_message_of_several_records_loses_none_of_them_to_a_poisonous_one(world: World) -> None:
    first, second = world.land("aurora_clinic"), world.land("birchwood")
    world.queue().delete(world.queue().receive())
    records = [json.loads(event_body(world, key))["Records"][0] for key in (first.key, "no/manifest", second.key)]
    world.queue().send([json.dumps({"Records": records})])
    (request,) = world.tick().run_requests
    assert rectangle(request) == ("aurora_clinic", "birchwood")
    assert len(world.dead()) == 1


def test_the_transformation_queue_takes_doubled_late_and_poisonous_messages_alike(world: World) -> None:
    for days_ago in (9, 0):
        world.land(days_ago=days_ago)
        derive(world.lake, "raw", "curated", tenant_id("aurora_clinic"), world.partition(days_ago=days_ago).day)
    world.queue("transformation").send([*world.waiting("transformation"), "not json"])
    requests = world.tick("transformation_queue").run_requests
    assert [request.job_name for request in requests] == ["transformation"] * 2, "a run a day"
    assert len(world.waiting("transformation")) == 2
    assert ["Not JSON." in letter.reason for letter in world.dead("transformation")] == [True]
