"""Processing status: the last attempt, its history, and cursors that are proven unsafe."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.overview import overview
from lab_insights.lake.processing import KEPT, Attempt, Disqualified, Late, Measured, Processing
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import day, fresh_tenant, ids, instant, put

TABLE = "crm.account"


@pytest.fixture
def processing(lake: Lake) -> Processing:
    return Processing(lake.state.aws, lake.state.prefix)


def attempt(at: datetime, **more: Any) -> Attempt:
    return Attempt.model_validate({"what": TABLE, "at": at, "outcome": "ok", "run_id": "r", **more})


def test_every_attempt_is_kept_and_the_last_one_is_the_status(processing: Processing, tenant: TenantId) -> None:
    first = processing.record(tenant, attempt(instant(1, 1), rows=7, whole=Measured(rows=7, bytes=70, seconds=1)), None)
    second = processing.record(tenant, attempt(instant(1, 2), outcome="failed", reason="The source can not be reached."), first)
    third = processing.record(tenant, attempt(instant(1, 3), outcome="failed", reason="Nor now."), second)
    assert processing.latest(tenant) == {TABLE: third}
    assert (third.failures, third.succeeded_at, third.whole and third.whole.rows) == (2, instant(1, 1), 7)
    assert [each.outcome for each in processing.history(tenant, TABLE)] == ["ok", "failed", "failed"]
    healed = processing.record(tenant, attempt(instant(1, 4)), third)
    assert (healed.failures, healed.reason) == (0, "")
    assert processing.latest(fresh_tenant()) == {}


def test_the_history_ends_by_itself_and_the_status_does_not(lake: Lake, processing: Processing, tenant: TenantId) -> None:
    processing.record(tenant, attempt(instant(1, 1)), None)
    client, table = lake.storage.aws.client("dynamodb"), f"{lake.storage.prefix}-status"

    def expiry(pk: str) -> list[str | None]:
        found = client.query(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": pk}})["Items"]
        return [item.get("expires_at", {}).get("N") for item in found]

    assert expiry(f"{tenant}#processing") == [None]
    assert expiry(f"{tenant}#processing#{TABLE}") == [str(int((instant(1, 1) + KEPT).timestamp()))]


def test_a_newer_proof_against_a_cursor_replaces_the_older_one(processing: Processing, tenant: TenantId) -> None:
    for rows in (5, 6):
        processing.disqualify(tenant, Disqualified(TABLE, "updated_at", rows, instant(1, rows), "a full load"))
    processing.disqualify(tenant, Disqualified("crm.contact", 'odd "#" name', 1, instant(1), "a full load"))
    assert [(proof.table, proof.cursor, proof.rows) for proof in processing.disqualified(tenant)] == [
        (TABLE, "updated_at", 6),
        ("crm.contact", 'odd "#" name', 1),
    ]


def test_the_overview_tells_each_source_and_table_as_it_stands(lake: Lake, processing: Processing, tenant: TenantId) -> None:
    partition = Partition("raw", tenant, TABLE, day(1))
    put(lake, partition, ids(1, 2, 3), "snapshot", high=instant(1, 12))
    put(lake, partition, ids(4), high=instant(1, 20))
    processing.record(tenant, attempt(instant(1, 21), lagging=True, load="incremental"), None)
    processing.record(tenant, attempt(instant(1, 22), what="crm", tables=9), None)
    processing.record(tenant, attempt(instant(1, 23), what="lis.gone", outcome="failed", reason="Source lis has no such table."), None)
    processing.disqualify(tenant, Disqualified(TABLE, "updated_at", 5, instant(1, 20), "a full load"))
    processing.came_late(tenant, Late(TABLE, "changed_at", 3, 11, 10, instant(1, 21), "a full load"))

    [crm, lis], [account, gone] = overview(lake, tenant, ["crm", "lis"])
    assert (crm.outcome, crm.tables, crm.failed, crm.lagging, crm.last_run) == ("ok", 9, 0, True, instant(1, 22))
    assert (lis.outcome, lis.failed, lis.last_run) == (None, 1, instant(1, 23))
    assert (account.last_day, account.position, account.rows, account.closed) == (day(1), instant(1, 20), 4, False)
    assert (account.outcome, account.load, account.lagging, account.failures) == ("ok", "incremental", True, 0)
    assert account.disqualified[0].startswith("cursor updated_at is disqualified: 5 rows")
    assert account.late == (
        "3 rows came late by cursor changed_at, up to 0:00:10 (a full load, 2026-03-01 21:00 UTC): windows end 11 s earlier",
    )
    assert gone.late == ()
    assert (gone.table, gone.last_day, gone.closed, gone.failures, gone.reason) == (
        "lis.gone",
        None,
        None,
        1,
        "Source lis has no such table.",
    )

    put(lake, partition, ids(), high=instant(1, 24))
    _, [account, _] = overview(lake, tenant, ["crm", "lis"])
    assert account.closed
