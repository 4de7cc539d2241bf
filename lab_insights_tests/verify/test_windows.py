"""Whether windows follow each other is a pure question."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pytest

from lab_insights.lake.manifest import Kind, Manifest, Window, encode_schema
from lab_insights.names import tenant_id
from lab_insights.verify.windows import gaps, last_read
from lab_insights_tests.verify.world import day, instant

SCHEMA = encode_schema(pa.schema([("id", pa.int64())]))


def batch(low: float | None, high: float, kind: Kind = "delta", *, reconstructed: bool = False) -> Manifest:
    """A batch with a window in hours since the first midnight."""

    def at(hour: float) -> datetime:
        return instant(1, hour)

    window = Window(low=None if low is None else at(low), high=at(high))
    return Manifest(
        layer="raw",
        tenant=tenant_id("t"),
        table="crm.account",
        day=day(1),
        batch=int(high),
        attempt=1,
        kind=kind,
        arrow_schema=SCHEMA,
        window=window,
        reconstructed=reconstructed,
        created_at=at(high),
    )


SNAPSHOT = batch(None, 24, "snapshot")


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [SNAPSHOT, batch(24, 36), batch(36, 48)],
        [SNAPSHOT, batch(20, 36), batch(30, 48)],
        [SNAPSHOT, batch(None, 90, "snapshot"), batch(90, 96)],
        [batch(0, 24, reconstructed=True), batch(None, 48, "snapshot"), batch(48, 72)],
        [batch(None, 24), batch(24, 48)],
        [SNAPSHOT, None, batch(48, 72), batch(72, 96)],
    ],
)
def test_windows_that_touch_or_overlap_or_are_not_known_have_no_gap(batches: list[Manifest | None]) -> None:
    assert gaps(batches, from_the_beginning=True) == {}


@pytest.mark.parametrize(
    "batches",
    [
        [SNAPSHOT, batch(25, 48)],
        [SNAPSHOT, batch(24, 30), batch(31, 48)],
        [batch(24, 48)],
        [batch(0, 12, reconstructed=True), batch(12, 24)],
        [SNAPSHOT, None, batch(48, 72), batch(73, 96)],
    ],
)
def test_a_gap_is_found_at_the_batch_after_it(batches: list[Manifest | None]) -> None:
    last = batches[-1]
    assert last is not None
    assert list(gaps(batches, from_the_beginning=True)) == [last.object_key]


def test_the_first_of_later_batches_is_believed() -> None:
    assert gaps([batch(24, 48), batch(48, 72)], from_the_beginning=False) == {}
    assert list(gaps([batch(24, 48), batch(50, 72)], from_the_beginning=False)) == [batch(50, 72).object_key]


def test_a_reload_of_the_first_day_that_replaces_its_snapshot_leaves_nothing_before_it() -> None:
    [fault] = gaps([batch(0, 24), batch(24, 48)], from_the_beginning=True).values()
    assert "no snapshot begins this table" in fault.message


def test_what_was_read_last_is_the_newest_end_whatever_the_order() -> None:
    assert last_read([batch(24, 48), SNAPSHOT]) == instant(2, 24)
    assert last_read([]) is None
