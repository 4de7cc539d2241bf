"""Heads, intents and status: what is committed, and how far the bookmark stands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab_insights.errors import CommitConflict
from lab_insights.lake import items
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Window
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import day, fresh_tenant, ids, instant, put


def at(tenant: TenantId, number: int = 1, layer: Layer = "raw", table: str = "crm.account") -> Partition:
    return Partition(layer, tenant, table, day(number))


def live(lake: Lake, tenant: TenantId, first: int | None = None, last: int | None = None) -> list[tuple[int, str]]:
    """Day and batch of what counts."""
    found = lake.state.batches("raw", tenant, "crm.account", day(first) if first else None, day(last) if last else None)
    return [(batch.partition.day.day, batch.batch_id) for batch in found]


def test_a_series_that_was_never_written_has_no_position(lake: Lake, tenant: TenantId) -> None:
    head = lake.state.head(at(tenant))
    assert (head.version, head.batch, head.position, head.intent) == (0, 0, None, None)
    assert live(lake, tenant) == []
    assert lake.state.tables("raw", tenant) == []


def test_an_intent_is_seen_by_whoever_comes_later_and_taken_over_as_the_next_attempt(lake: Lake, tenant: TenantId) -> None:
    window = Window(low=instant(1, 1), high=instant(1, 2))
    first = lake.state.begin(lake.state.head(at(tenant)), at(tenant), window)
    found = lake.state.head(at(tenant))
    assert found.intent == first
    second = lake.state.begin(found, at(tenant), window)
    assert (first.attempt, second.attempt) == (1, 2)
    with pytest.raises(CommitConflict):
        lake.state.begin(found, at(tenant), window)


def test_the_bookmark_never_moves_back_and_its_moves_are_logged(lake: Lake, tenant: TenantId) -> None:
    for number, hour in ((1, 12), (1, 24), (1, 6), (2, 3)):
        put(lake, at(tenant, number), ids(1), high=instant(number, hour))
    assert lake.state.head(at(tenant)).position == instant(2, 3)
    items = lake.storage.aws.client("dynamodb").query(
        TableName=f"{lake.storage.prefix}-bookmarks",
        KeyConditionExpression="pk = :pk AND begins_with(sk, :log)",
        ExpressionAttributeValues={":pk": {"S": at(tenant).series}, ":log": {"S": "log#"}},
    )["Items"]
    assert [item["position"]["S"] for item in items] == [instant(*at_).isoformat() for at_ in ((1, 12), (1, 24), (1, 24), (2, 3))]


def test_the_bookmark_has_the_columns_of_the_newest_snapshot_that_every_batch_since_has_too(lake: Lake, tenant: TenantId) -> None:
    found = []
    for kind, hour, columns in (
        ("delta", 1, ()),  # by a release that told nothing of columns
        ("delta", 2, ("a", "b")),
        ("snapshot", 3, ("a", "b", "c")),
        ("delta", 4, ("c", "a", "d")),
        ("delta", 5, ()),
        ("snapshot", 4, ("a", "b", "c", "d")),  # of an older instant than the batches before it
        ("snapshot", 5, ("d", "a")),
    ):
        draft = Draft(at(tenant), kind, columns=columns, window=Window(low=None, high=instant(1, hour)))  # type: ignore[arg-type]
        _, head = commit(lake, settled_head(lake, at(tenant)), draft, ids(1))
        assert head == lake.state.head(at(tenant))
        found.append(head.columns)
    assert found == [None, ("a", "b"), ("a", "b", "c"), ("a", "c"), ("a", "c"), ("a", "c"), ("d", "a")]


def test_a_batch_that_supersedes_replaces_its_own_day_only(lake: Lake, tenant: TenantId) -> None:
    for number in (1, 1, 2, 3):
        put(lake, at(tenant, number), ids(1))
    put(lake, at(tenant, 1), ids(2), supersedes=True)
    assert live(lake, tenant) == [(1, "00000004-001"), (2, "00000002-001"), (3, "00000003-001")]
    put(lake, at(tenant, 1), ids(3))
    assert live(lake, tenant, 1, 2) == [(1, "00000004-001"), (1, "00000005-001"), (2, "00000002-001")]


def test_days_are_bounded_on_both_sides(lake: Lake, tenant: TenantId) -> None:
    for number in (1, 2, 3, 4):
        put(lake, at(tenant, number), ids(number))
    assert [number for number, _ in live(lake, tenant, 2, 3)] == [2, 3]
    assert [number for number, _ in live(lake, tenant, None, 1)] == [1]
    assert [number for number, _ in live(lake, tenant, 4)] == [4]


def test_days_of_a_derived_table_have_heads_of_their_own(lake: Lake, tenant: TenantId) -> None:
    for number in (2, 1):
        assert put(lake, at(tenant, number, "curated", "account"), ids(1)).batch == 0
    assert lake.state.head(at(tenant, 1, "curated", "account")).version == 1


def test_a_tenants_tables_of_a_day_are_its_own(lake: Lake, tenant: TenantId) -> None:
    other = fresh_tenant()
    put(lake, at(tenant, 1, table="crm.account"), ids(1))
    put(lake, at(tenant, 2, table="lis.result"), ids(1))
    put(lake, at(other, 1, table="crm.secret"), ids(1))
    put(lake, at(tenant, 1, "curated", "account"), ids(1))
    assert lake.state.tables("raw", tenant) == ["crm.account", "lis.result"]
    assert lake.state.tables("raw", tenant, day(1), day(1)) == ["crm.account"]
    assert lake.state.tables("curated", tenant) == ["account"]
    assert lake.state.batches("raw", other, "crm.account") == []


def test_more_batches_than_one_page_holds_are_all_found(lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        put(lake, at(tenant, number), ids(number))
    db = lake.storage.aws.client("dynamodb")
    whole = db.get_paginator("query")
    monkeypatch.setattr(
        db,
        "get_paginator",
        lambda _: type("Small", (), {"paginate": lambda _, **asked: whole.paginate(**asked, PaginationConfig={"PageSize": 2})})(),
    )
    assert len(live(lake, tenant)) == 5


def test_a_transaction_that_only_met_another_is_sent_again(lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    db = lake.storage.aws.client("dynamodb")
    honest, sent = db.transact_write_items, list[int]()

    def met(**asked: object) -> object:
        sent.append(1)
        if len(sent) < 3:
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            raise db.exceptions.TransactionCanceledException({"Error": {}, "CancellationReasons": reasons}, "TransactWriteItems")
        return honest(**asked)

    monkeypatch.setattr(db, "transact_write_items", met)
    put(lake, at(tenant), ids(1))
    assert (len(sent), live(lake, tenant)) == (3, [(1, "00000000-001")])


def test_items_that_a_throttled_table_left_undone_are_sent_again_after_a_while(
    lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, waited = lake.storage.aws.client("dynamodb"), list[float]()
    honest = db.batch_write_item

    def throttled(RequestItems: dict[str, list[Any]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        [(table, requests)] = RequestItems.items()
        honest(RequestItems={table: requests[:10]})
        return {"UnprocessedItems": {table: requests[10:]} if requests[10:] else {}}

    monkeypatch.setattr(db, "batch_write_item", throttled)
    monkeypatch.setattr(items, "time", SimpleNamespace(sleep=waited.append))  # other threads sleep meanwhile
    keys = [{"pk": {"S": f"{tenant}#many"}, "sk": {"S": f"{number:02}"}} for number in range(60)]
    lake.state.write(lake.state.status, [{"PutRequest": {"Item": key}} for key in keys])
    assert len(list(lake.state.query(lake.state.status, f"{tenant}#many"))) == 60
    assert len(waited) == 4


def test_a_delta_that_supersedes_its_day_spares_the_tombstones_and_a_snapshot_does_not(lake: Lake, tenant: TenantId) -> None:
    put(lake, at(tenant, 1), ids(1))
    tombstones = Draft(at(tenant, 1), "delta", gone_at=instant(1, 12))
    commit(lake, settled_head(lake, at(tenant, 1)), tombstones, ids(1))
    put(lake, at(tenant, 1), ids(2), supersedes=True)
    assert live(lake, tenant) == [(1, "00000001-001"), (1, "00000002-001")]
    put(lake, at(tenant, 1), ids(2), "snapshot", supersedes=True)
    assert live(lake, tenant) == [(1, "00000003-001")]


def test_the_newest_day_is_that_of_the_newest_batch(lake: Lake, tenant: TenantId) -> None:
    assert lake.state.newest_day("raw", tenant, "crm.account") is None
    for number in (2, 3, 1):
        put(lake, at(tenant, number), ids(1))
    assert lake.state.newest_day("raw", tenant, "crm.account") == day(3)
