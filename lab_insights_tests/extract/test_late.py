"""Rows that are stamped by a slow clock, or before their transaction began: found by a comparison, told, and waited for from then on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lab_insights.extract import late
from lab_insights.lake.processing import Late, Processing
from lab_insights_tests.extract.tables import Table, notes
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import instant


def known(table: Table) -> Late:
    [found] = Processing(table.lake.state.aws, table.lake.state.prefix).late(table.tenant)
    return found


def stamped(table: Table, key: int, stamp: str) -> None:
    table.execute(f"INSERT INTO {{t}} VALUES ({key}, 'secret', 1, '2026-03-01 {stamp}')")


def test_a_row_that_came_late_is_found_told_and_the_next_one_as_late_is_read_by_its_window(make: Any, server: Server) -> None:
    table = notes(make, server, 100)
    table.load(1, 12)
    stamped(table, 201, "11:59:57")  # committed when windows had passed it by three seconds
    table.load(1, 13)
    assert 201 not in table.ids(), "no window holds it"
    assert table.warnings == []
    made = table.load(1, 13, "deletes")
    assert [each.load for each in made][-1] == "deletes"
    assert 201 in table.ids()
    assert (known(table).rows, known(table).seconds, known(table).lag) == (1, 3, 4)
    [warning] = table.warnings
    assert "1 rows came late by cursor updated_at, up to 0:00:03 (a comparison of key ranges, " in warning
    assert "secret" not in warning

    assert "windows end 4 s earlier" in table.plan().reason
    [*_, window] = [each.window.high for each in table.load(1, 14) if each.window]
    assert window == instant(1, 14) - timedelta(seconds=4)
    stamped(table, 202, "13:59:57")
    [*_, delta] = table.load(1, 15)
    assert 202 in table.ids()
    assert "windows end 4 s earlier" in delta.reason
    table.warnings.clear()
    table.load(1, 15, "deletes")
    assert table.warnings == [], "nothing came late any more"


def test_how_late_is_told_beyond_what_is_waited_for_already(make: Any, server: Server) -> None:
    table = notes(make, server, 100)
    table.load(1, 12)
    stamped(table, 201, "11:59:57")
    table.lake.clock.set(instant(1, 12.5))
    table.load(1, 12, "deletes")
    table.lake.clock.set(instant(1, 13.5))
    table.load(1, 13)
    stamped(table, 202, "12:59:50")
    table.load(1, 13, "deletes")
    assert (known(table).seconds, known(table).lag) == (10, 11), "its window ended at 12:59:56"
    stamped(table, 203, "12:59:56")
    table.load(1, 13, "deletes")
    assert known(table).lag == 11, "what is waited for is never less"


def test_a_backdated_row_is_told_and_holds_nothing_back(make: Any, server: Server) -> None:
    table = notes(make, server, 100)
    table.load(1, 12)
    stamped(table, 201, "02:00:00")
    table.load(1, 12, "deletes")
    assert 201 in table.ids()
    assert known(table).lag == 0
    assert "1 rows came late by cursor updated_at, up to 10:00:00" in table.warnings[0]
    assert late.REMEDY in table.warnings[0]
    assert max(each.window.high for each in table.load(1, 13) if each.window) == instant(1, 13)


def test_a_whole_load_leaves_its_bookmark_where_late_rows_are_still_read(make: Any, server: Server) -> None:
    table = notes(make, server, 100)
    table.load(1, 12)
    stamped(table, 201, "11:59:57")
    table.load(1, 13, "full")
    assert known(table).lag == 4
    table.load(1, 14, "full")
    stamped(table, 202, "13:59:57")
    table.load(1, 15)
    assert 202 in table.ids()
