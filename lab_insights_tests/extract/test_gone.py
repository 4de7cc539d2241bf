"""What is known to be gone, and what was proven on the way, outlives reloads of its day, runs that die and loads of the whole table."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from contextlib import suppress
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.window import Ceiling
from lab_insights.lake.processing import Processing
from lab_insights.lake.tables import relation
from lab_insights_tests.extract.tables import notes
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import Killed, day, fresh_tenant, instant, watched


def test_a_row_that_was_deleted_is_kept_by_a_reload_of_its_day_until_it_is_found_gone(make: Any, server: Server) -> None:
    table = notes(make, server, 300)
    table.load(1, 24)
    table.execute("UPDATE {t} SET note = 'changed', updated_at = '2026-03-02 06:00:00' WHERE id IN (7, 8)")
    table.load(2, 24)
    table.execute("DELETE FROM {t} WHERE id IN (7, 100)", "UPDATE {t} SET updated_at = '2026-03-03 01:00:00' WHERE id = 8")
    [again, kept] = table.load(2, 36, reload=True)
    assert (again.supersedes, again.rows, kept.supersedes, kept.rows) == (True, 0, False, 2)
    [whole, gone] = table.load(1, 48, reload=True)
    assert (whole.kind, whole.rows, gone.rows) == ("snapshot", 297, 3)
    table.load(3, 2)
    [*_, tombstones] = table.load(3, 3, "deletes")
    assert (tombstones.rows, tombstones.gone_at) == (2, instant(3, 3))
    assert {key for key, deleted in table.curated(3).items() if deleted} == {7, 100}
    died = table.load(2, 60, reload=True)
    assert [batch.rows for batch in died] == [0, 2], "what an earlier reload kept is kept again"


@pytest.mark.parametrize("mode", ["full", "deletes"])
def test_what_was_found_gone_on_a_day_is_not_revived_by_a_reload_of_it(make: Any, server: Server, mode: Mode) -> None:
    table = notes(make, server, 20)
    table.load(1, 12)
    table.execute("DELETE FROM {t} WHERE id IN (5, 7)")
    table.load(1, 13, mode)
    table.execute("INSERT INTO {t} VALUES (7, 'back', 1, '2026-03-01 14:00:00')")
    table.load(1, 24)
    table.execute("DELETE FROM {t} WHERE id = 6", "UPDATE {t} SET updated_at = '2026-03-02 06:00:00' WHERE id = 7")
    for hour in (36, 37):
        [whole, kept] = table.load(1, hour, reload=True)
        assert (whole.kind, whole.rows, kept.rows) == ("snapshot", 17, 2), hour
        assert table.ids() == [number for number in range(1, 21) if number != 5], hour
    assert sorted(relation(table.lake.storage, [kept], kept.schema_())["note"].to_pylist()) == ["back", "note 6"]  # type: ignore[index]


def test_a_window_that_is_read_again_keeps_nothing_beside_its_tombstones(make: Any, server: Server) -> None:
    table = notes(make, server, 20)
    table.load(1, 24)
    table.execute("UPDATE {t} SET note = 'changed', updated_at = '2026-03-02 06:00:00' WHERE id IN (7, 8)")
    table.load(2, 12)
    table.execute("DELETE FROM {t} WHERE id IN (7, 8)")
    table.load(2, 13, "deletes")
    table.execute("INSERT INTO {t} VALUES (8, 'back', 1, '2026-03-02 14:00:00')")
    table.load(2, 24)
    [tombstones, again] = table.load(2, 36, reload=True)
    assert (tombstones.rows, again.supersedes, again.rows) == (2, True, 1)
    assert {key for key, gone in table.curated(2).items() if gone} == {7}


WRITES = {"PutItem", "PutObject", "TransactWriteItems", "UpdateItem"}


def writes(made: list[str]) -> list[int]:
    """Return which calls to S3 and DynamoDB changed something, counted from one."""
    found = [number for number, each in enumerate(made, 1) if each in WRITES]
    assert len(found) > 3
    return found


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_reload_that_dies_after_any_write_is_made_good_by_the_next_run_of_any_day(make: Any, server: Server) -> None:
    table = notes(make, server, 20)
    table.execute("UPDATE {t} SET updated_at = '2026-03-02 06:00:00' WHERE id <= 3")

    def reloaded(limit: int | None) -> list[str]:
        """Reload a day of a new tenant that has lost two rows, die after a call, and run once more."""
        its = dataclasses.replace(table, tenant=fresh_tenant())
        its.load(2, 24)
        its.load(3, 2)
        table.execute("DELETE FROM {t} WHERE id IN (1, 20)")
        with watched(its.lake.storage.aws, limit) as calls, suppress(Killed):
            its.load(2, 60, reload=True)
        its.load(3, 3)
        assert its.ids() == list(range(1, 21)), limit
        [*_, tombstones] = its.load(3, 4, "deletes")
        assert (limit, tombstones.rows, tombstones.gone_at) == (limit, 2, instant(3, 4))
        table.execute("INSERT INTO {t} VALUES (1, 'note 1', 0.125, '2026-03-02 06:00:00'), (20, 'note 20', 2.5, '2026-03-01 06:00:00')")
        return calls.made

    for limit in writes(reloaded(None)):
        reloaded(limit)


@pytest.mark.parametrize("mode", ["full", "deletes"])
@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_the_proof_against_a_cursor_outlives_a_run_that_dies_after_any_write(make: Any, server: Server, mode: Mode) -> None:
    table = notes(make, server, 20)
    notes_ = itertools.count()

    def proven(limit: int | None) -> list[str]:
        """Change a row of a new tenant under its cursor, look for it, die after a call, and look once more."""
        its = dataclasses.replace(table, tenant=fresh_tenant(), warnings=[])
        its.load(1, 12)
        table.execute(f"UPDATE {{t}} SET note = 'unseen {next(notes_)}' WHERE id = 7")
        with watched(its.lake.storage.aws, limit) as calls, suppress(Killed):
            its.load(1, 13, mode)
        its.load(1, 14, mode)
        [proof] = Processing(its.lake.state.aws, its.lake.state.prefix).disqualified(its.tenant)
        assert (limit, proof.cursor, proof.rows) == (limit, "updated_at", 1)
        return calls.made

    for limit in writes(proven(None)):
        proven(limit)


def test_a_table_that_is_taken_whole_again_keeps_nothing_that_is_gone(make: Any, server: Server) -> None:
    table = notes(make, server, 20)
    whole = dataclasses.replace(table.plan(), load="full", cursor=None)
    request = functools.partial(Request, day(1), run_id="test")
    load(table.lake, server.source(), Aws(), whole, request(), Ceiling(instant(1, 24), "of the test"))
    table.execute("DELETE FROM {t} WHERE id = 5")
    [only] = load(table.lake, server.source(), Aws(), whole, request(reload=True), Ceiling(instant(1, 26), "of the test"))
    assert (only.kind, only.rows) == ("snapshot", 19)
