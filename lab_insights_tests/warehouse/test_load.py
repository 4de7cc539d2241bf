"""Loading batches: by version, whatever the order, exactly once in effect."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pytest

from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse.reconcile import reconcile
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.lake import TestLake, noon
from lab_insights_tests.warehouse.people import AFTER, PEOPLE, Loader, everything, history, live, stages_left


def test_a_batch_arrives_and_a_second_load_of_it_changes_nothing(session: Session, loaded: Loader, lake: TestLake) -> None:
    batch = lake.batch("people", 1, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], PEOPLE, parts=2)
    [receipt] = loaded(batch)
    assert (receipt.staged, receipt.inserted, receipt.updated, receipt.tombstoned) == (2, 2, 0, 0)
    [again] = loaded(batch)
    assert again.skipped
    assert live(session) == [(1, "a"), (2, "b")]
    assert session.execute("SELECT COUNT(*) FROM OPS.LEDGER") == [(1,)]
    assert stages_left(session) == []


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 0, 2, 4, 1)])
def test_the_order_of_days_does_not_matter(
    session: Session, loaded: Loader, storage: Storage, tenant: TenantId, lake: TestLake, order: tuple[int, ...]
) -> None:
    batches = history(lake)
    for number in order:
        loaded(batches[number])
    assert live(session) == AFTER
    assert {row[0] for row in everything(session) if row[2]} == {2, 4, 5, 8}
    findings = reconcile(session, Lake(storage, State(storage.aws, storage.prefix)), tenant)
    assert [finding.message for finding in findings if not finding.ok] == []


def test_many_batches_in_one_call_end_as_one_call_each(session: Session, loaded: Loader, lake: TestLake) -> None:
    batches = history(lake)
    receipts = loaded(*reversed(batches))
    assert [receipt.day for receipt in receipts] == [batch.day for batch in reversed(batches)]
    assert live(session) == AFTER


def test_a_snapshot_makes_tombstones_of_absent_older_keys_only(session: Session, loaded: Loader, lake: TestLake) -> None:
    loaded(lake.batch("people", 1, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], PEOPLE))
    loaded(lake.batch("people", 5, [{"id": 3, "name": "newer"}], PEOPLE))
    [receipt] = loaded(lake.batch("people", 3, [{"id": 1, "name": "a", "at": 1}], PEOPLE, kind="snapshot"))
    assert receipt.tombstoned == 1
    assert live(session) == [(1, "a"), (3, "newer")]
    [dead] = [row for row in everything(session) if row[2]]
    assert dead[0] == 2
    assert dead[3] == datetime(2026, 1, 4)


@pytest.fixture
def differing(session: Session, storage: Storage, tenant: TenantId) -> Callable[[], list[str]]:
    """What `verify` finds that the database holds otherwise than the lake."""

    def found() -> list[str]:
        return [each.message for each in reconcile(session, Lake(storage, State(storage.aws, storage.prefix)), tenant) if not each.ok]

    return found


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_snapshot_wins_over_what_is_not_newer_though_the_sources_cursor_went_back(
    session: Session, loaded: Loader, lake: TestLake, differing: Callable[[], list[str]], order: tuple[int, ...]
) -> None:
    batches = [
        lake.batch("people", 2, [{"id": 1, "name": "before"}, {"id": 2, "name": "same"}], PEOPLE),
        lake.batch("people", 3, [{"id": 1, "name": "restored", "at": 1}, {"id": 2, "name": "same", "at": 2}], PEOPLE, kind="snapshot"),
    ]
    for number in order:
        loaded(batches[number])
    assert live(session) == [(1, "restored"), (2, "same")]
    assert differing() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_late_row_that_was_landed_after_a_snapshot_wins_over_it(
    session: Session, loaded: Loader, lake: TestLake, differing: Callable[[], list[str]], order: tuple[int, ...]
) -> None:
    batches = [
        lake.batch("people", 3, [{"id": 1, "name": "old", "at": 1}], PEOPLE, kind="snapshot"),
        lake.batch("people", 5, [{"id": 1, "name": "late", "at": 2}], PEOPLE),
    ]
    for number in order:
        loaded(batches[number])
    assert live(session) == [(1, "late")]
    assert differing() == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_row_that_came_back_and_went_before_a_snapshot_stays_dead_whatever_the_order(
    session: Session, loaded: Loader, lake: TestLake, differing: Callable[[], list[str]], order: tuple[int, ...]
) -> None:
    batches = [
        lake.batch("people", 1, [{"id": 1, "deleted": True}, {"id": 2, "name": "b"}], PEOPLE),
        lake.batch("people", 2, [{"id": 1, "name": "back"}], PEOPLE),
        lake.batch("people", 3, [{"id": 2, "name": "b", "at": 1}], PEOPLE, kind="snapshot"),
    ]
    for number in order:
        loaded(batches[number])
    assert live(session) == [(2, "b")]
    assert differing() == []


def test_an_empty_snapshot_empties_the_table_and_an_empty_delta_only_enters_the_ledger(
    session: Session, loaded: Loader, lake: TestLake
) -> None:
    loaded(lake.batch("people", 1, [{"id": 1, "name": "a"}], PEOPLE))
    before = session.statements
    receipts = loaded(lake.batch("people", 2, [], PEOPLE), lake.batch("never", 2, [], PEOPLE), lake.batch("seen", 2, [], PEOPLE))
    assert session.statements - before == 3
    assert [receipt.staged for receipt in receipts] == [0, 0, 0]
    assert live(session) == [(1, "a")]
    [emptied] = loaded(lake.batch("people", 3, [], PEOPLE, kind="snapshot"))
    assert emptied.tombstoned == 1
    assert live(session) == []
    assert session.execute("SELECT COUNT(*) FROM OPS.LEDGER") == [(5,)]


def test_keys_are_null_safe_and_may_be_several(session: Session, loaded: Loader, lake: TestLake) -> None:
    schema = pa.schema([("id", pa.int64()), ("part", pa.string()), ("name", pa.string())])
    for day, name in ((1, "a"), (2, "b")):
        loaded(
            lake.batch(
                "people",
                day,
                [{"id": 1, "part": None, "name": name}, {"id": 1, "part": "", "name": name}],
                schema,
                key=("id", "part"),
            )
        )
    [receipt] = loaded(lake.batch("people", 3, [{"id": 1, "part": None, "name": "c"}], schema, key=("id", "part"), kind="snapshot"))
    assert receipt.tombstoned == 1
    assert session.execute("SELECT PART, NAME FROM CURATED.PEOPLE_LIVE") == [(None, "c")]


def test_rows_that_do_not_match_the_manifest_are_refused_and_nothing_of_the_batch_stays(
    session: Session, loaded: Loader, lake: TestLake
) -> None:
    loaded(lake.batch("people", 1, [{"id": 1, "name": "a"}], PEOPLE))
    good = lake.batch("others", 2, [{"id": 1, "name": "good"}], PEOPLE)
    short = lake.batch("people", 2, [{"id": 1, "name": "b"}, {"id": 2, "name": "c"}], PEOPLE, parts=2)
    with pytest.raises(WarehouseError, match="1 rows were copied where the manifest says 2") as failure:
        loaded(short.model_copy(update={"parts": short.parts[:1]}), good)
    assert failure.value.table == "people"
    assert failure.value.partition == "2026-01-02"
    assert live(session) == [(1, "a")]
    assert live(session, "OTHERS") == [(1, "good")]
    assert stages_left(session) == []
    loaded(short)
    assert live(session) == [(1, "b"), (2, "c")]


def test_another_tenants_batch_is_refused(loaded: Loader, storage: Storage) -> None:
    with pytest.raises(WarehouseError, match="another tenant"):
        loaded(TestLake(storage, tenant_id("someone_else")).batch("people", 1, [], PEOPLE))


def test_transformed_rows_are_ordered_by_day(session: Session, loaded: Loader, lake: TestLake) -> None:
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("as_of", pa.date32())])
    for day, name in ((2, "second"), (1, "first")):
        loaded(lake.batch("wide", day, [{"id": 1, "name": name, "as_of": noon(day).date()}], schema, layer="transformed"))
    assert session.execute("SELECT NAME FROM TRANSFORMED.WIDE_LIVE") == [("second",)]
