"""DynamoDB by exports to S3: whole once, then what changed; every item as a scan gives it, and nothing that was damaged on its way."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from lab_insights.config import Source
from lab_insights.errors import LandingMismatch, SourceError
from lab_insights.extract import dynamodb_export
from lab_insights.extract.dynamodb import THROUGH, ItemRows
from lab_insights.extract.land import Request, load, safe_ceiling
from lab_insights.extract.plan import plan
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation
from lab_insights.names import TenantId
from lab_insights_tests.extract.exports import Exporting
from lab_insights_tests.extract.followed import Followed, note, unmarked
from lab_insights_tests.lake.world import day, fresh_tenant, instant


class Exported(Followed):
    """A pooled table that is exported, whose history the test writes down."""

    def __init__(self, lake: Lake, bucket: str, key: tuple[str, ...] = ("tenant_id", "id"), kind: str = "S") -> None:
        super().__init__(lake, None, key, kind)
        self.bucket, self.history = bucket, list[tuple[datetime, dict[str, dict[str, Any]]]]()
        self.exporting = Exporting(self.aws, bucket, self.at, key)

    @property
    def source(self) -> Source:
        return Source.model_validate({**super().source.model_dump(by_alias=True, exclude_none=True), "export_bucket": self.bucket})

    def now(self, hour: float, number: int = 1) -> None:
        """Write down what the table holds from an hour of a day on."""
        items = self.client.scan(TableName=self.name)["Items"]
        self.history.append((instant(number, hour), {f"{item['tenant_id']} {item['id']}": item for item in items}))

    def at(self, when: datetime) -> dict[str, dict[str, Any]]:
        return next((items for since, items in reversed(self.history) if since <= when), {})

    def load_at(self, hour: float, number: int = 1, tenant: TenantId | None = None) -> list[Manifest]:
        self.tenant = tenant or self.tenant
        self.lake.clock.set(instant(number, hour))
        top = safe_ceiling(self.lake, self.source, self.aws)
        return load(self.lake, self.source, self.aws, plan(self.crawl()), Request(day(number), run_id="test"), top)


@pytest.fixture
def key() -> tuple[str, ...]:
    return ("tenant_id", "id")


@pytest.fixture
def kind() -> str:
    return "S"


@pytest.fixture
def table(lake: Lake, key: tuple[str, ...], kind: str, monkeypatch: pytest.MonkeyPatch) -> Exported:
    bucket = f"exports-{uuid.uuid4().hex[:8]}"
    lake.storage.aws.client("s3").create_bucket(Bucket=bucket)
    made = Exported(lake, bucket, key, kind)
    made.exporting.install(monkeypatch)
    monkeypatch.setattr(dynamodb_export, "POLL", 0)
    return made


def test_a_full_export_is_followed_by_what_changed_and_what_is_gone(table: Exported) -> None:
    for number in (1, 2, 3):
        table.put(number, **note("first"))
    table.put(9, "13", **note("another tenant's"))
    table.now(6)
    [first] = table.load_at(7.9)
    assert (first.kind, first.load, first.rows, first.position) == ("snapshot", "full", 3, {THROUGH: instant(1, 7.75).isoformat()})
    assert first.window
    assert first.window.high == instant(1, 7.75)
    assert first.proof
    assert first.proof.how.startswith("items of the tenant in a full export")
    table.put(2, **note("third"))
    table.put(4, **note("new"))
    table.delete(3)
    table.put(5, "13", **note("another tenant's"))
    table.delete(9, "13")
    table.now(8)
    [_, gone, changed] = table.load_at(9)
    assert (changed.kind, changed.load, changed.rows, changed.proof and changed.proof.rows) == ("delta", "incremental", 2, 2)
    assert changed.reason.startswith("changes come from its exports; ")
    assert (gone.rows, gone.gone_at is not None, gone.position) == (1, True, {})
    assert changed.window
    assert (changed.window.low, changed.window.high) == (instant(1, 7.75), instant(1, 8.75))
    assert table.live() == {"1": "first", "2": "third", "4": "new"}
    asked = [(each["ExportType"], each.get("ExportTime"), each.get("IncrementalExportSpecification")) for each in table.exporting.asked]
    window = {"ExportFromTime": instant(1, 7.75), "ExportToTime": instant(1, 8.75), "ExportViewType": "NEW_AND_OLD_IMAGES"}
    assert asked == [("FULL_EXPORT", instant(1, 7.75), None), ("INCREMENTAL_EXPORT", None, window)]


def test_a_change_at_the_edge_of_two_windows_is_in_exactly_one(table: Exported) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.load_at(7)
    table.put(2, **note("at the edge"))
    table.now(8.75)
    assert [batch.rows for batch in table.load_at(9)] == [1, 0]
    assert [batch.rows for batch in table.load_at(9.25)] == [1, 0, 1]
    assert [batch.rows for batch in table.load_at(9.3)] == [1, 0, 1], "nothing newer can be exported yet"


def test_a_gap_is_split_at_midnights_and_closes_its_days(table: Exported) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.load_at(7)
    table.put(2, **note("second"))
    table.now(20)
    table.put(3, **note("third"))
    table.now(3, 2)
    assert [batch.rows for batch in table.load_at(5, 2)] == [1]
    assert [batch.rows for batch in table.lake.state.batches("raw", table.tenant, "calls.call", day(1), day(1))] == [1, 1]


def test_an_item_that_was_given_to_another_tenant_is_gone(table: Exported) -> None:
    change = {
        "Keys": {"id": {"S": "1"}},
        "OldImage": {"id": {"S": "1"}, "tenant_id": {"S": "12"}},
        "NewImage": {"id": {"S": "1"}, "tenant_id": {"S": "13"}},
    }
    crawled = table.crawl()
    assert dynamodb_export.is_gone(crawled, change)
    assert not dynamodb_export.is_gone(crawled, {**change, "NewImage": change["OldImage"]})
    assert not dynamodb_export.is_gone(crawled, {"Keys": {"id": {"S": "1"}}, "OldImage": change["NewImage"]}), "nor ever was its"


@pytest.mark.parametrize("key", [("id",)])
def test_an_item_that_is_gone_is_still_marked_as_the_tenants_where_its_key_does_not_say_whose_it_was(table: Exported) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.load_at(7)
    table.delete(1)
    table.now(8)
    made = table.load_at(9)
    assert [batch.rows for batch in made if batch.gone_at] == [1]
    assert unmarked(table.lake, made) == ""
    assert table.live() == {}


@pytest.mark.parametrize("kind", ["N"])
def test_an_export_tells_tenants_apart_by_a_number_as_a_scan_does(table: Exported) -> None:
    table.put(1, **note("first"))
    table.put(2, "13", **note("another tenant's"))
    table.now(6)
    table.load_at(7)
    table.put(3, **note("third"))
    table.put(4, "13", **note("another tenant's"))
    table.delete(1)
    table.now(8)
    table.load_at(9)
    assert table.live() == {"3": "third"}


def test_tenants_that_are_loaded_together_share_one_export(table: Exported) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.load_at(7.1)
    table.load_at(7.2, tenant=fresh_tenant())
    assert len({each["ClientToken"] for each in table.exporting.asked}) == 1
    table.load_at(8)
    assert len({each["ClientToken"] for each in table.exporting.asked}) == 2


def test_what_an_export_holds_lands_as_a_scan_gives_it(table: Exported) -> None:
    table.put(
        1,
        number={"N": "1234567890.1234567890123456789012345678"},
        nested={"M": {"n": {"N": "1.10"}, "l": {"L": [{"NULL": True}, {"B": b"\x00\xff"}]}}},
        raw={"B": b"\x00\xff"},
        blobs={"BS": [b"\xff"]},
        yes={"BOOL": True},
        none={"NULL": True},
    )
    table.now(6)
    [made] = table.load_at(7)
    [exported] = relation(table.lake.storage, [made], made.schema_()).to_pylist()
    [batch] = list(ItemRows(table.crawl(), table.aws))
    assert [exported] == batch.to_pylist()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda bodies: [bodies[0], bodies[1][:-1] + b"x"], "is not the one that its manifest names"),
        (lambda bodies: [bodies[1], bodies[0]], "is not the one that its manifest names"),
    ],
)
def test_a_file_that_is_not_the_exported_one_is_not_committed(table: Exported, spoil: Any, told: str) -> None:
    for number in range(5):
        table.put(number, **note("first"))
    table.now(6)
    table.exporting.spoil = spoil
    with pytest.raises(LandingMismatch, match=told):
        table.load_at(7)
    assert table.lake.state.batches("raw", table.tenant, "calls.call") == []


def test_an_export_that_fails_or_does_not_come_is_told_without_what_the_service_says(
    table: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.exporting.fails = True
    with pytest.raises(SourceError, match=r"failed \(S3NoSuchBucket\)") as raised:
        table.load_at(7)
    assert "secret" not in str(raised.value)
    table.exporting.fails = False
    clock = iter((0, 7201))
    monkeypatch.setattr(dynamodb_export, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(SourceError, match="was not there within 7200 s"):
        table.load_at(7)


def test_who_comes_after_recovery_has_forgotten_is_exported_whole(table: Exported) -> None:
    table.put(1, **note("first"))
    table.now(6)
    table.load_at(7)
    made = table.load_at(7, 40)
    assert made[-1].kind == "snapshot"
    assert "exported whole, since point-in-time recovery reaches back 35 days" in made[-1].reason


def test_a_table_that_was_scanned_so_far_is_exported_whole_first() -> None:
    known = {THROUGH: datetime.now(UTC).replace(minute=7).isoformat()}
    assert dynamodb_export.gap(known, datetime.now(UTC)) == "no earlier batch of it was exported"


def test_instants_are_quarters_that_are_five_minutes_past() -> None:
    at = datetime(2026, 3, 1, 10, 19, 59, 5, UTC)
    assert dynamodb_export.reachable(at) == datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
    assert dynamodb_export.reachable(at + timedelta(seconds=1)) == datetime(2026, 3, 1, 10, 15, tzinfo=UTC)


def test_only_dynamodb_is_exported() -> None:
    with pytest.raises(ValidationError, match="only a dynamodb source has an `export_bucket`"):
        Source.model_validate({"engine": "mysql", "url": "env:X", "tenancy": {"schema": {"schema": "s"}}, "export_bucket": "b"})
