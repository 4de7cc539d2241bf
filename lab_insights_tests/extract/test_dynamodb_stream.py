"""Incremental loads of DynamoDB: every change of the stream once, in the end the state that a scan would give; and a scan where the stream is too short."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.checks.rows import landed
from lab_insights.checks.verdicts import NO_CROSS_TENANT_ROW
from lab_insights.clock import Clock
from lab_insights.config import Source
from lab_insights.extract import dynamodb_stream
from lab_insights.extract.catalog import SourceTable, crawl
from lab_insights.extract.dynamodb import STREAM, THROUGH, ItemRows
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import plan
from lab_insights.extract.window import Ceiling, midnight
from lab_insights.lab.pipeline import curate_table
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation, state
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.lake.world import day, fresh_tenant, instant

DIGITS = "1234567890.1234567890123456789012345678"


def streamed(view: str) -> dict[str, Any]:
    return {"StreamEnabled": True, "StreamViewType": view}


class Followed:
    """A pooled table with a stream, and one tenant's loads of it."""

    def __init__(self, lake: Lake, view: str | None = "NEW_AND_OLD_IMAGES", key: tuple[str, ...] = ("tenant_id", "id")) -> None:
        self.lake, self.aws, self.name = lake, lake.storage.aws, f"{uuid.uuid4().hex[:8]}-src-call"
        self.tenant, self.hour, self.key = fresh_tenant(), 6.0, key
        self.client = self.aws.client("dynamodb")
        self.create(view)

    def create(self, view: str | None) -> None:
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in zip(self.key, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in self.key],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": streamed(view)} if view else {}),
        )

    @property
    def source(self) -> Source:
        tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
        return Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": [self.name]})

    def put(self, number: int, key: str = "12", /, **attributes: dict[str, Any]) -> None:
        self.client.put_item(TableName=self.name, Item={"tenant_id": {"S": key}, "id": {"S": str(number)}, **attributes})

    def delete(self, number: int, key: str = "12") -> None:
        its = {"tenant_id": {"S": key}, "id": {"S": str(number)}}
        self.client.delete_item(TableName=self.name, Key={name: its[name] for name in self.key})

    def crawl(self) -> SourceTable:
        return crawl("calls", self.source, Tenant(id=self.tenant, key="12"), self.aws).tables[0]

    def load(self, number: int = 1, mode: Mode = "auto", *, reload: bool = False) -> list[Manifest]:
        """Load a day a quarter of an hour after the last load, and return its live batches."""
        self.hour += 0.25
        self.lake.clock.set(instant(number, self.hour))
        request = Request(day(number), mode, reload, run_id="test")
        return load(self.lake, self.source, self.aws, plan(self.crawl()), request, Ceiling(instant(number, self.hour), "of the test"))

    def live(self, number: int = 1) -> dict[str, Any]:
        """Curate the days so far, and return the note of each live item."""
        for each in range(1, number + 1):
            if self.lake.state.batches("raw", self.tenant, "calls.call", day(each), day(each)):
                curate_table(self.lake, self.tenant, "calls.call", day(each), None, "test")
        its = state(self.lake, "curated", self.tenant, "calls.call")
        rows = relation(self.lake.storage, its.manifests, its.schema).to_pylist()
        newest = {row["id"]: row for row in sorted(rows, key=lambda row: (row["source_updated_at"], row["batch_id"]))}
        return {key: row.get("note") for key, row in newest.items() if not row["is_deleted"]}


@pytest.fixture
def table(lake: Lake) -> Followed:
    return Followed(lake)


def unmarked(lake: Lake, made: list[Manifest]) -> str:
    """Return what the check of a day's batches says of rows that are not marked as tenant 12's; nothing where all are."""
    [judged] = [each for each in landed(lake, "raw/calls/call", made, ("tenant_id", "12")) if each.of.check == NO_CROSS_TENANT_ROW]
    return judged.message


def note(text: str) -> dict[str, dict[str, Any]]:
    return {"note": {"S": text}}


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
