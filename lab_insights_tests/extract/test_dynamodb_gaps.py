"""A scan, where the stream does not tell all that changed since the last batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab_insights.extract import dynamodb_stream
from lab_insights.extract.dynamodb import STREAM, THROUGH
from lab_insights.extract.plan import plan
from lab_insights.lake.commit import Lake
from lab_insights_tests.extract.followed import Followed, note, streamed


@pytest.fixture
def table(lake: Lake) -> Followed:
    return Followed(lake)


def test_who_comes_after_the_stream_has_forgotten_scans_and_says_so(table: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    table.put(1, **note("first"))
    table.load()
    table.put(2, **note("second"))
    table.delete(1)
    monkeypatch.setattr(dynamodb_stream, "RETENTION", timedelta())
    scanned = table.load()[-1]
    assert (scanned.kind, scanned.rows) == ("snapshot", 1)
    assert "scanned, since its stream keeps 24 h, and was read up to " in scanned.reason
    assert table.live() == {"2": "second"}


def test_what_was_changed_before_the_stream_was_switched_on_is_scanned(lake: Lake) -> None:
    its = Followed(lake, None)
    its.put(1, **note("first"))
    its.load()
    its.put(1, **note("before the stream"))
    its.client.update_table(TableName=its.name, StreamSpecification=streamed("NEW_AND_OLD_IMAGES"))
    its.put(2, **note("told by the stream"))
    scanned = its.load()[-1]
    assert scanned.kind == "snapshot"
    assert "scanned, since its last batch does not name this stream" in scanned.reason
    its.put(3, **note("told by the stream"))
    assert its.load()[-1].kind == "delta"
    assert its.live() == {"1": "before the stream", "2": "told by the stream", "3": "told by the stream"}


def test_a_table_that_was_made_anew_is_scanned(table: Followed) -> None:
    table.put(1, **note("first"))
    table.load()
    table.load()
    table.client.delete_table(TableName=table.name)
    table.create("NEW_AND_OLD_IMAGES")
    table.put(2, **note("second"))
    assert table.load()[-1].kind == "snapshot"
    assert table.live() == {"2": "second"}


def test_a_position_of_another_stream_or_of_none_is_not_gone_on_from(table: Followed) -> None:
    crawled, now = table.crawl(), {THROUGH: datetime.now(UTC).isoformat()}
    assert crawled.stream
    assert dynamodb_stream.gap(crawled, table.aws, {**now, STREAM: crawled.stream}) is None
    for known in ({}, now, {**now, STREAM: f"{crawled.stream}0"}):
        assert "does not name this stream" in str(dynamodb_stream.gap(crawled, table.aws, known))


def test_a_position_that_the_service_has_trimmed_is_scanned(table: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    table.put(1, **note("first"))
    table.load()
    table.load()
    client = table.aws.client("dynamodbstreams")

    def trimmed(*_: Any) -> str:
        raise client.exceptions.TrimmedDataAccessException({"Error": {"Code": "TrimmedDataAccessException"}}, "GetShardIterator")

    monkeypatch.setattr(dynamodb_stream, "_iterator", trimmed)
    assert "no longer has what followed the last batch" in table.load()[-1].reason


@pytest.mark.parametrize(("view", "followed"), [(None, False), ("KEYS_ONLY", False), ("NEW_IMAGE", True), ("NEW_AND_OLD_IMAGES", True)])
def test_only_a_stream_that_shows_new_images_is_followed(lake: Lake, view: str | None, followed: bool) -> None:
    its = Followed(lake, view)
    its.put(1, **note("first"))
    assert plan(its.crawl()).load == ("incremental" if followed else "full")
    its.load()
    assert its.load()[-1].kind == ("delta" if followed else "snapshot")


def test_a_full_load_and_a_reload_of_the_open_day_scan_and_the_stream_goes_on_from_there(table: Followed) -> None:
    table.put(1, **note("first"))
    table.load()
    assert table.load(mode="full")[-1].kind == "snapshot"
    assert table.load(reload=True)[-1].kind == "snapshot"
    table.put(2, **note("second"))
    assert table.load()[-1].kind == "delta"
    assert table.live() == {"1": "first", "2": "second"}
