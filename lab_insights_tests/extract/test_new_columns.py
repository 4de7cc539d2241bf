"""A column that comes after rows were read reaches all of them by the next load, though no cursor moved, whoever dies on the way."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract.land import Request, load
from lab_insights.extract.window import Ceiling
from lab_insights.lake.live import newest, workspace
from lab_insights.lake.processing import Processing
from lab_insights.lake.tables import state
from lab_insights_tests.extract.tables import Table, notes
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import Killed, day, instant, watched

WRITES = {"PutObject", "UpdateItem", "TransactWriteItems"}


@pytest.fixture
def table(make: Any, server: Server) -> Table:
    """Three rows, loaded on the first day."""
    made = notes(make, server, rows=3)
    made.load(1, 12)
    return made


def changed(table: Table, hour: float, number: int = 1) -> None:
    """Let the cursor of the first row move."""
    table.execute(f"UPDATE {{t}} SET updated_at = '{instant(number, hour):%Y-%m-%d %H:%M:%S}' WHERE id = 1")


def live(table: Table, column: str) -> list[Any]:
    """What the lake holds of a column, by key."""
    found = state(table.lake, "raw", table.tenant, f"lis.{table.name}")
    with workspace() as connection:
        newest(
            connection,
            table.lake.storage,
            found.manifests,
            found.schema,
            name="rows_",
            key=("id",),
            cursor="updated_at",
            carried={"x": column},
        )
        return [value for (value,) in connection.execute("SELECT x FROM rows_ ORDER BY k0").fetchall()]


def kinds(table: Table) -> list[str]:
    return [manifest.kind for manifest in state(table.lake, "raw", table.tenant, f"lis.{table.name}").manifests]


def disqualified(table: Table) -> list[Any]:
    return Processing(table.lake.state.aws, table.lake.state.prefix).disqualified(table.tenant)


def test_a_new_column_reaches_rows_that_did_not_change_and_then_changes_are_read_again(table: Table) -> None:
    changed(table, 13)
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    [made] = table.load(1, 14)
    assert (made.kind, live(table, "extra")) == ("snapshot", [7, 7, 7])
    assert "; whole, since rows that did not change have values in columns that came: extra;" in made.reason
    changed(table, 14.5)
    assert [each.kind for each in table.load(1, 15)] == ["snapshot", "delta"]
    assert (live(table, "extra"), disqualified(table)) == ([7, 7, 7], [])


def test_a_name_that_comes_back_holds_nothing_of_the_column_that_had_it(table: Table) -> None:
    table.execute("ALTER TABLE {t} DROP COLUMN note")
    changed(table, 12.5)
    assert [each.kind for each in table.load(1, 13)] == ["snapshot", "delta"]
    table.execute("ALTER TABLE {t} ADD COLUMN note VARCHAR(40) DEFAULT 'new'")
    table.load(1, 14)
    assert (live(table, "note"), kinds(table), disqualified(table)) == (["new"] * 3, ["snapshot"], [])


def test_one_that_was_dropped_and_made_anew_between_two_loads_is_seen_by_its_place(table: Table) -> None:
    table.execute("ALTER TABLE {t} DROP COLUMN note", "ALTER TABLE {t} ADD COLUMN note VARCHAR(40) DEFAULT 'new'")
    table.load(1, 14)
    assert (live(table, "note"), disqualified(table)) == (["new"] * 3, [])


def test_a_column_that_is_dropped_before_it_was_read_asks_for_nothing(table: Table) -> None:
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7", "ALTER TABLE {t} DROP COLUMN extra")
    changed(table, 13)
    assert [each.kind for each in table.load(1, 14)] == ["snapshot", "delta"]


def test_a_load_that_was_planned_before_the_column_came_leaves_it_to_the_next(table: Table) -> None:
    before = table.plan()
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    table.load(1, 13)
    changed(table, 13.5)
    load(table.lake, table.server.source(), Aws(), before, Request(day(1)), Ceiling(instant(1, 14), "of the test"))
    assert kinds(table) == ["snapshot", "delta"]
    table.load(1, 15)
    assert (kinds(table), live(table, "extra")) == (["snapshot"], [7, 7, 7])


def test_a_past_day_is_read_by_its_window_and_the_column_by_the_next_load_of_today(table: Table) -> None:
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    changed(table, 13)
    request, top = Request(day(1)), Ceiling(instant(3, 12), "of the test")
    load(table.lake, table.server.source(), Aws(), table.plan(), request, top)
    assert live(table, "extra") == [7, None, None]
    assert table.load(2, 36, reload=True)
    table.load(3, 12)
    assert live(table, "extra") == [7, 7, 7]


def test_a_snapshot_of_an_older_day_does_not_read_the_column_for_the_days_after_it(table: Table) -> None:
    changed(table, 1, number=2)
    table.load(2, 12)
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    table.load(1, 36, reload=True)
    assert live(table, "extra") == [None, 7, 7]
    table.load(2, 13)
    assert live(table, "extra") == [7, 7, 7]


def test_deletes_are_not_looked_for_until_a_new_column_is_read_or_it_would_speak_against_the_cursor(table: Table) -> None:
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    with pytest.raises(UnsupportedLoad, match="not read of every row yet, so rows can not be compared: extra"):
        table.load(1, 11, "deletes")
    table.load(1, 12, "deletes")
    assert (live(table, "extra"), disqualified(table)) == ([7, 7, 7], [])


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_load_that_dies_after_any_write_leaves_the_column_to_the_next(make: Any, server: Server) -> None:
    limits: list[int | None] = [None]
    for limit in limits:
        table = notes(make, server, rows=3)
        table.load(1, 12)
        table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
        # in the gap before the day of the snapshot, which is read first
        changed(table, 13)
        with watched(table.lake.storage.aws, limit) as calls, suppress(Killed):
            table.load(2, 1)
        if limit is None:
            limits += [number for number, call in enumerate(calls.made, 1) if call in WRITES]
        table.load(2, 2)
        assert live(table, "extra") == [7, 7, 7], calls.made
    assert len(limits) > 8
