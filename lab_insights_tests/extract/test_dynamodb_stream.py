"""Incremental loads of DynamoDB: every change of the stream once, in the end the state that a scan would give."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.extract.dynamodb import ItemRows
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import plan
from lab_insights.extract.window import Ceiling, midnight
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation
from lab_insights_tests.extract.followed import Followed, note, unmarked

DIGITS = "1234567890.1234567890123456789012345678"


@pytest.fixture
def table(lake: Lake) -> Followed:
    return Followed(lake)


def test_after_a_scan_the_stream_tells_what_changed_and_what_is_gone(table: Followed) -> None:
    for number in (1, 2, 3):
        table.put(number, **note("first"))
    table.put(9, "13", **note("another tenant's"))
    [first] = table.load()
    assert (first.kind, first.load, first.rows) == ("snapshot", "full", 3)
    table.load()
    table.put(2, **note("second"))
    table.put(2, **note("third"))
    table.put(4, **note("new"))
    table.delete(3)
    table.put(5, **note("came and went"))
    table.delete(5)
    table.delete(9, "13")
    *_, gone, changed = table.load()
    assert (changed.kind, changed.load, changed.rows) == ("delta", "incremental", 2)
    assert changed.reason.startswith("changes come from its stream; ")
    assert (gone.rows, gone.gone_at is not None, gone.position) == (2, True, {})
    assert changed.proof
    assert changed.proof.rows == 2
    assert table.live() == {"1": "first", "2": "third", "4": "new"}
    table.put(3, **note("again"))
    table.load()
    assert table.live() == {"1": "first", "2": "third", "3": "again", "4": "new"}


def test_an_item_that_is_gone_is_still_marked_as_the_tenants_where_its_key_does_not_say_whose_it_was(lake: Lake) -> None:
    its = Followed(lake, key=("id",))
    its.put(1, **note("first"))
    its.put(2, "13", **note("another tenant's"))
    its.load()
    its.delete(1)
    its.delete(2, "13")
    made = its.load()
    assert [batch.rows for batch in made if batch.gone_at] == [1]
    assert unmarked(lake, made) == ""
    assert its.live() == {}


@pytest.mark.parametrize("key", [("tenant_id", "id"), ("id",)])
def test_a_stream_tells_tenants_apart_by_a_number_as_a_scan_does(lake: Lake, key: tuple[str, ...]) -> None:
    its = Followed(lake, key=key, kind="N")
    its.put(1, **note("first"))
    its.load()
    its.put(2, **note("second"))
    its.put(3, "13", **note("another tenant's"))
    its.delete(1)
    made = its.load()
    assert unmarked(lake, made) == ""
    assert its.live() == {"2": "second"}


def test_what_was_read_is_not_read_again(table: Followed) -> None:
    table.put(1, **note("first"))
    table.load()
    table.put(2, **note("second"))
    rows = [batch.rows for batch in (table.load()[-1], table.load()[-1], table.load()[-1])]
    # the scan leaves no sequence number behind, so what it saw comes once more
    assert rows == [2, 0, 0]
    table.put(1, **note("third"))
    assert table.load()[-1].rows == 1


def test_an_attribute_keeps_its_name_in_the_lake_when_another_comes_that_differs_only_in_case(table: Followed) -> None:
    table.put(1, orderId={"S": "first"})
    table.load()
    table.put(2, orderID={"S": "second"})
    changed, whole = table.load()[-1], table.load(mode="full")[-1]
    assert (changed.kind, whole.kind) == ("delta", "snapshot")
    for made in (changed, whole):
        rows = {row["id"]: row for row in relation(table.lake.storage, [made], made.schema_()).to_pylist()}
        assert (rows["1"]["orderId"], rows["2"]["orderID_"]) == ("first", "second")


def test_nested_attributes_of_the_stream_are_what_a_scan_gives(table: Followed) -> None:
    table.put(0)
    table.load()
    table.put(
        1,
        number={"N": DIGITS},
        nested={"M": {"n": {"N": "1.10"}, "l": {"L": [{"NULL": True}, {"B": b"\x00\xff"}, {"M": {"s": {"SS": ["é", "a"]}}}]}}},
        several={"NS": ["2.50", "1"]},
        blobs={"BS": [b"\xff"]},
        raw={"B": b"\x00\xff"},
        yes={"BOOL": True},
        none={"NULL": True},
    )
    delta = table.load()[-1]
    streamed = {row["id"]: row for row in relation(table.lake.storage, [delta], delta.schema_()).to_pylist()}["1"]
    [batch] = list(ItemRows(table.crawl(), table.aws))
    scanned = {row["id"]: row for row in batch.to_pylist()}["1"]

    def read(row: dict[str, Any]) -> dict[str, Any]:
        loaded = {name: json.loads(row[name]) for name in ("nested", "several", "blobs")}
        return {**row, **loaded, "several": sorted(loaded["several"]["NS"])}

    assert read(streamed) == read(scanned)
    assert streamed["number"] == DIGITS
    assert (streamed["raw"], streamed["yes"], streamed["none"]) == (b"\x00\xff", True, None)


def test_on_the_systems_clock_a_change_belongs_to_the_day_in_which_it_was_made(lake: Lake, table: Followed) -> None:
    real = Lake(lake.storage, lake.state, Clock())
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    table.put(1, **note("first"))
    table.lake = real

    def run(top: datetime) -> list[Manifest]:
        return load(real, table.source, table.aws, plan(table.crawl()), Request(today), Ceiling(top, "of the test"))

    head = Partition("raw", table.tenant, "calls.call", yesterday)
    load(
        real, table.source, table.aws, plan(table.crawl()), Request(yesterday), Ceiling(midnight(today) - timedelta(hours=1), "of the test")
    )
    table.put(2, **note("second"))
    made = run(datetime.now(UTC) + timedelta(seconds=1))
    assert [batch.rows for batch in real.state.batches("raw", table.tenant, "calls.call", yesterday, yesterday)] == [1, 0]
    assert made[-1].rows == 2, "made today, whatever the scan of yesterday saw"
    assert real.state.head(head).position is not None


@dataclass
class Split:
    """A stream whose shard was closed and followed by another: each has one change of item 1, that of the closed one behind `empty` answers without any."""

    empty: int

    def install(self, monkeypatch: pytest.MonkeyPatch, aws: Aws) -> None:
        for name in ("describe_stream", "get_shard_iterator", "get_records"):
            monkeypatch.setattr(aws.client("dynamodbstreams"), name, getattr(self, name))

    @property
    def answers(self) -> dict[str, list[list[dict[str, Any]]]]:
        return {"closed": [*([[]] * self.empty), [self._change("1", "older")]], "open": [[self._change("2", "newer")]]}

    def _change(self, number: str, text: str) -> dict[str, Any]:
        key = {"tenant_id": {"S": "12"}, "id": {"S": "1"}}
        told = {"Keys": key, "NewImage": {**key, **note(text)}}
        return {"dynamodb": {**told, "SequenceNumber": number, "ApproximateCreationDateTime": datetime.now(UTC)}}

    def describe_stream(self, **_: str) -> dict[str, Any]:
        ended = {"StartingSequenceNumber": "1", "EndingSequenceNumber": "1"}
        shards = [
            {"ShardId": "closed", "SequenceNumberRange": ended},
            {"ShardId": "open", "ParentShardId": "closed", "SequenceNumberRange": {"StartingSequenceNumber": "2"}},
        ]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(self, ShardId: str, ShardIteratorType: str, **_: str) -> dict[str, Any]:  # noqa: N803 (the service's names)
        return {"ShardIterator": f"{ShardId} {0 if ShardIteratorType == 'TRIM_HORIZON' else len(self.answers[ShardId])}"}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        shard, at = ShardIterator.split()
        answers, number = self.answers[shard], int(at)
        records = answers[number] if number < len(answers) else []
        ended = shard == "closed" and number + 1 >= len(answers)
        return {"Records": records, **({} if ended else {"NextShardIterator": f"{shard} {number + 1}"})}


def test_a_closed_shard_is_read_to_its_end_before_what_follows_it(table: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    table.put(1, **note("first"))
    table.load()
    split = Split(empty=5)
    split.install(monkeypatch, table.aws)
    table.load()
    assert table.live() == {"1": "newer"}
    split.empty = 0
    table.load()
    assert table.live() == {"1": "newer"}
