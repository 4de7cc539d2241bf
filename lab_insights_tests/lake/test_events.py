"""What an event says, and dead letters without a sensor."""

from __future__ import annotations

import json

import pytest

from lab_insights.aws import Aws
from lab_insights.lake import queue
from lab_insights.lake.deadletters import dead_letters, purge, redrive
from lab_insights.lake.events import PoisonousMessage, decode, split

KEY = "tenant%3Daurora_clinic/table%3Dlis.result/date%3D2026-01-05/00000003-001.manifest.json"


def body(key: str = KEY, bucket: str = "p-raw") -> str:
    return json.dumps({"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": "abc"}}}]})


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)


def dead_queue(aws_endpoint: str, prefix: str, *bodies: str) -> Aws:
    """Bury messages as a sensor does; the last one without a reason, as SQS itself does."""
    aws = Aws(endpoint_url=aws_endpoint)
    curation = queue.manifest_queue(aws, prefix, "curation")
    curation.send(bodies[:-1])
    for message in curation.receive():
        curation.bury(message, f"because of {message.body}")
    curation.dead_letters.send(bodies[-1:])
    return aws


@pytest.mark.parametrize("key", [KEY, KEY.replace("/", "%2F"), KEY.replace("%3D", "=")])
def test_a_key_is_read_in_every_way_that_s3_and_its_stand_in_write_it(key: str) -> None:
    event = decode(body(key), "p-raw")
    assert event
    assert event.etag == "abc"
    assert event.manifest.key == KEY.replace("%3D", "=")
    assert event.manifest.batch == 3


def test_an_event_of_another_layer_or_deployment_is_poisonous() -> None:
    for bucket in ("p-curated", "q-raw", "p-raw-raw"):
        with pytest.raises(PoisonousMessage, match="bucket p-raw"):
            decode(body(bucket=bucket), "p-raw")


def test_records_are_split_into_messages_that_say_the_same() -> None:
    several = json.dumps({"Records": [json.loads(body(key))["Records"][0] for key in (KEY, "other")]})
    assert split(several) == [body(KEY), body("other")]
    for single in (body(), "not json", "[]", "7", '{"Records": 7}'):
        assert split(single) == [single]


def test_listing_dead_letters_shows_their_reasons_and_takes_none_away(aws_endpoint: str, deployed_prefix: str) -> None:
    bodies = [body(bucket=f"{deployed_prefix}-raw"), *(f"poison {number}" for number in range(20))]
    aws = dead_queue(aws_endpoint, deployed_prefix, *bodies[:10], bodies[-1])
    for _ in range(3):
        found = dead_letters(aws, deployed_prefix, "curation")
        assert {letter.body for letter in found} == {*bodies[:10], bodies[-1]}
    by_body = {letter.body: letter for letter in found}
    assert by_body["poison 1"].reason == "because of poison 1"
    assert by_body["poison 19"].reason.startswith("Received too often")
    manifest = by_body[bodies[0]].manifest
    assert manifest
    assert manifest.partition.tenant == "aurora_clinic"
    assert len(dead_letters(aws, deployed_prefix, "curation", limit=3)) == 3


def test_redriving_and_purging_take_the_chosen_letters_only(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = dead_queue(aws_endpoint, deployed_prefix, "one", "two", "three", "four")
    ids = {letter.body: letter.id for letter in dead_letters(aws, deployed_prefix, "curation")}
    assert redrive(aws, deployed_prefix, "curation", frozenset({ids["two"]})) == 1
    assert purge(aws, deployed_prefix, "curation", frozenset({ids["three"], "no-such-id"})) == 1
    assert {letter.body for letter in dead_letters(aws, deployed_prefix, "curation")} == {"one", "four"}
    assert redrive(aws, deployed_prefix, "curation") == 2
    assert dead_letters(aws, deployed_prefix, "curation") == []
    back = queue.manifest_queue(aws, deployed_prefix, "curation").receive()
    assert {message.body for message in back} == {"one", "two", "four"}
    assert {message.attempt for message in back} == {0}


def test_a_message_that_kills_its_consumer_each_time_becomes_a_dead_letter_by_itself(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    curation = queue.manifest_queue(aws, deployed_prefix, "curation")
    curation.send(["deadly"])
    for _ in range(curation.limit):
        assert len(curation.receive(hidden_seconds=0)) == 1
    assert curation.receive() == []
    assert [letter.body for letter in dead_letters(aws, deployed_prefix, "curation")] == ["deadly"]
