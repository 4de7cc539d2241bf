"""Which windows are read for a day: one test for each row of the partition semantics."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Literal

import pytest

from lab_insights.errors import UnsupportedLoad
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.databases import Placement
from lab_insights.extract.land import Mode, Request, Step, steps
from lab_insights.extract.plan import Plan
from lab_insights.extract.window import end_of, midnight, split
from lab_insights.lake.manifest import Kind, Manifest, Window
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import day, instant

TABLE = SourceTable("crm", "mysql", TenantId("aurora"), "account", "account", Placement("crm"), ())


def planned(cursor: str | None = "updated_at") -> Plan:
    load: Literal["full", "incremental"] = "incremental" if cursor else "full"
    return Plan(TABLE, load, ("id",), cursor, "arrow", "")


def batch(number: int, kind: Kind = "delta") -> Manifest:
    return Manifest(
        layer="raw",
        tenant=TABLE.tenant,
        table="crm.account",
        day=day(number),
        batch=0,
        attempt=1,
        kind=kind,
        arrow_schema="",
        created_at=instant(number),
    )


def asked(
    number: int,
    top: datetime,
    bookmark: datetime | None = None,
    there: list[Manifest] | None = None,
    *,
    cursor: str | None = "updated_at",
    mode: Mode = "auto",
    reload: bool = False,
    whole: bool = False,
) -> list[Step]:
    return steps(planned(cursor), Request(day(number), mode, reload), bookmark, top, there or [], whole=whole)


def delta(number: int, low: datetime | None, high: datetime, **more: bool) -> Step:
    return Step(day(number), Window(low=low, high=high), "delta", by_cursor=True, **more)


def snapshot(
    number: int, high: datetime, low: None = None, *, by_cursor: bool = False, supersedes: bool = True, reconstructed: bool = False
) -> Step:
    return Step(day(number), Window(low=low, high=high), "snapshot", by_cursor, supersedes, reconstructed)


# with a cursor


def test_the_first_load_is_everything_up_to_the_ceiling() -> None:
    assert asked(1, instant(1, 10)) == [snapshot(1, instant(1, 10), by_cursor=True, supersedes=False)]


def test_the_first_load_of_a_past_day_is_what_is_left_of_it_and_says_so() -> None:
    assert asked(1, instant(5, 10)) == [snapshot(1, instant(1, 24), by_cursor=True, supersedes=False, reconstructed=True)]


def test_an_open_day_is_read_from_the_bookmark_to_the_ceiling() -> None:
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1)]) == [delta(1, instant(1, 10), instant(1, 14))]


def test_a_day_that_has_ended_is_read_to_its_end_only() -> None:
    assert asked(1, instant(2, 3), instant(1, 10), [batch(1)]) == [delta(1, instant(1, 10), instant(1, 24))]


def test_a_gap_is_split_at_midnights_each_piece_in_its_own_day() -> None:
    assert asked(4, instant(4, 5), instant(1, 22)) == [
        delta(1, instant(1, 22), instant(2)),
        delta(2, instant(2), instant(3)),
        delta(3, instant(3), instant(4)),
        delta(4, instant(4), instant(4, 5)),
    ]


def test_a_ceiling_that_did_not_move_leaves_nothing_to_read() -> None:
    assert asked(1, instant(1, 10), instant(1, 10), [batch(1)]) == []
    assert asked(1, instant(1, 9), instant(1, 10), [batch(1)]) == []


def test_a_closed_day_that_has_its_batches_reads_nothing() -> None:
    assert asked(1, instant(3), instant(2), [batch(1)]) == []
    assert asked(1, instant(3), instant(1, 24), [batch(1)]) == []


def test_a_past_day_that_has_none_is_reconstructed_by_its_window() -> None:
    assert asked(1, instant(4, 10), instant(4, 9)) == [delta(1, instant(1), instant(2), reconstructed=True)]


def test_a_reload_reads_a_closed_days_window_again_and_supersedes_it() -> None:
    assert asked(2, instant(4, 10), instant(4, 9), [batch(2), batch(2)], reload=True) == [delta(2, instant(2), instant(3), supersedes=True)]


def test_a_reload_of_the_day_that_holds_the_snapshot_reads_all_that_came_before_it_too() -> None:
    there = [batch(2, "snapshot"), batch(2)]
    assert asked(2, instant(4, 10), instant(4, 9), there, reload=True) == [snapshot(2, instant(3), by_cursor=True)]


def test_a_reload_of_an_open_day_goes_on_from_the_bookmark() -> None:
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1)], reload=True) == [delta(1, instant(1, 10), instant(1, 14))]


def test_a_forced_full_load_is_the_whole_table_and_moves_the_bookmark_to_the_ceiling() -> None:
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1)], mode="full") == [snapshot(1, instant(1, 14))]


def test_a_forced_full_load_within_six_hours_is_still_the_days() -> None:
    assert asked(1, instant(2, 6), instant(2, 5), [batch(1)], mode="full") == [snapshot(1, instant(1, 24))]


@pytest.mark.parametrize("reload", [False, True])
def test_a_forced_full_load_of_a_past_day_is_refused(reload: bool) -> None:
    with pytest.raises(UnsupportedLoad, match="can not be taken today") as raised:
        asked(1, instant(2, 6.1), instant(2, 5), [batch(1)], mode="full", reload=reload)
    assert (raised.value.table, raised.value.partition) == ("crm.account", str(day(1)))
    assert raised.value.remedy


def test_a_forced_incremental_load_is_what_the_plan_says() -> None:
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1)], mode="incremental") == [delta(1, instant(1, 10), instant(1, 14))]


# with a cursor, and a column that was not read of every row


def test_a_column_that_came_is_read_by_a_snapshot_of_the_day_after_the_gap_before_it() -> None:
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1)], whole=True) == [snapshot(1, instant(1, 14))]
    assert asked(3, instant(3, 5), instant(1, 22), whole=True) == [
        delta(1, instant(1, 22), instant(2)),
        delta(2, instant(2), instant(3)),
        snapshot(3, instant(3, 5)),
    ]


def test_a_column_that_came_is_read_though_the_ceiling_did_not_move_and_not_below_the_bookmark() -> None:
    assert asked(1, instant(1, 10), instant(1, 10), [batch(1)], whole=True) == [snapshot(1, instant(1, 10))]
    assert asked(1, instant(1, 9), instant(1, 10), [batch(1)], whole=True) == []


def test_a_past_day_is_read_by_cursor_whatever_column_came() -> None:
    assert asked(1, instant(3), instant(1, 10), [batch(1)], whole=True) == [delta(1, instant(1, 10), instant(1, 24))]
    assert asked(1, instant(3), instant(2), [batch(1)], whole=True) == []


# without a cursor


def test_without_a_cursor_the_day_is_a_snapshot() -> None:
    assert asked(1, instant(1, 10), cursor=None) == [snapshot(1, instant(1, 10))]
    assert asked(1, instant(1, 14), instant(1, 10), [batch(1, "snapshot")], cursor=None) == [snapshot(1, instant(1, 14))]


def test_without_a_cursor_a_snapshot_within_six_hours_is_the_days() -> None:
    assert asked(1, instant(2, 6), instant(1, 10), [batch(1, "snapshot")], cursor=None) == [snapshot(1, instant(1, 24))]
    assert asked(1, instant(2, 6), cursor=None) == [snapshot(1, instant(1, 24))]


def test_without_a_cursor_a_past_day_has_no_snapshot_that_could_be_taken_now() -> None:
    with pytest.raises(UnsupportedLoad, match="can not be taken today"):
        asked(1, instant(2, 6.1), cursor=None)


def test_without_a_cursor_a_past_day_keeps_the_snapshot_that_it_has() -> None:
    there = [batch(1, "snapshot")]
    assert asked(1, instant(5), instant(1, 10), there, cursor=None) == []
    assert asked(1, instant(5), instant(2), there, cursor=None) == []
    with pytest.raises(UnsupportedLoad):
        asked(1, instant(5), instant(2), there, cursor=None, reload=True)


def test_without_a_cursor_a_closed_day_is_taken_again_only_when_asked() -> None:
    there = [batch(1, "snapshot")]
    assert asked(1, instant(2, 3), instant(2), there, cursor=None) == []
    assert asked(1, instant(2, 3), instant(2), there, cursor=None, reload=True) == [snapshot(1, instant(2))]


# days that are not there yet


@pytest.mark.parametrize("cursor", ["updated_at", None])
@pytest.mark.parametrize("top", [instant(1), instant(1, 24)])
def test_a_day_that_has_not_begun_is_refused(cursor: str | None, top: datetime) -> None:
    with pytest.raises(UnsupportedLoad, match="not begun"):
        asked(2, top, instant(1), cursor=cursor)


def test_windows_touch_and_never_overlap() -> None:
    pieces = split(instant(1, 3), instant(6, 0.5))
    assert pieces[0][1].low == instant(1, 3)
    assert pieces[-1][1].high == instant(6, 0.5)
    for (_, before), (_, after) in itertools.pairwise(pieces):
        assert before.high == after.low
    for its, window in pieces:
        assert window.low
        assert midnight(its) <= window.low < window.high <= end_of(its)
    assert [its for its, _ in pieces] == [day(number) for number in range(1, 7)]


def test_nothing_is_split_into_nothing() -> None:
    assert split(instant(1, 3), instant(1, 3)) == []
    assert split(instant(1, 4), instant(1, 3)) == []
