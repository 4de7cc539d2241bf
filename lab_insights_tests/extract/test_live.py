"""Reading the source again: what was changed since has moved on, what was read and is not in the lake is named, and nothing else is said."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.extract import compare, land, live
from lab_insights.extract.kindness import OutsideHours
from lab_insights.extract.plan import plan
from lab_insights.lake.commit import Lake, Rows
from lab_insights_tests.extract.followed import Followed
from lab_insights_tests.extract.tables import STAMP, Table, notes
from lab_insights_tests.extract.world import Server


def looked(table: Table, **limits: Any) -> live.Compared:
    found = live.look(table.lake, table.server.source(limits=limits), Aws(), table.plan())
    assert isinstance(found, live.Compared)
    return found


def told(found: live.Compared) -> tuple[int, int, int, int, int]:
    return found.rows, found.newer, found.gone, found.lost, found.altered


def test_what_was_changed_or_deleted_since_has_moved_on_and_is_read_no_further(make: Any, server: Server) -> None:
    table = notes(make, server)
    table.load(1, 12)
    assert told(looked(table)) == (5000, 0, 0, 0, 0)
    table.execute(
        "UPDATE {t} SET note = 'newer', updated_at = '2026-03-01 18:00:00' WHERE id <= 4000",
        "INSERT INTO {t} VALUES (6000, 'new', 1, '2026-03-01 19:00:00')",
        "DELETE FROM {t} WHERE id IN (4500, 4501)",
    )
    assert told(looked(table)) == (5000, 4001, 2, 0, 0)
    table.load(1, 20)
    assert told(looked(table)) == (5001, 0, 2, 0, 0), "until a search has found them"
    table.load(1, 21, "deletes")
    assert told(looked(table)) == (4999, 0, 0, 0, 0)


def test_a_row_that_changed_unseen_or_was_never_read_is_named_by_a_keyed_hash(make: Any, server: Server) -> None:
    table = notes(make, server)
    table.load(1, 12)
    table.execute(
        "UPDATE {t} SET note = 'unseen' WHERE id = 77",
        "INSERT INTO {t} VALUES (6000, 'came late', 1, '2026-03-01 07:00:00')",
        "UPDATE {t} SET note = 'newer', updated_at = '2026-03-01 18:00:00' WHERE id = 78",
    )
    found = looked(table)
    assert told(found) == (5000, 1, 0, 1, 1)
    assert len(found.keys) == 2
    for known in ("", f"{table.lake.storage.prefix}/{table.tenant}/"):
        assert not set(found.keys) & {hashlib.md5(f"{known}{key}".encode()).hexdigest()[:12] for key in (77, 6000)}
    assert not set(found.keys) & set(looked(table).keys), "another answer has another secret"


def test_rows_that_were_dropped_on_their_way_are_found_at_the_source(make: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = land._rows

    @dataclasses.dataclass
    class Dropping:
        rows: Any

        def __post_init__(self) -> None:
            self.schema = self.rows.schema

        def __iter__(self) -> Any:
            return (batch.slice(0, batch.num_rows - 3) for batch in self.rows)

        def facts(self) -> Any:
            return self.rows.facts()

    def dropping(*given: Any) -> Rows:
        return Dropping(honest(*given))

    monkeypatch.setattr(land, "_rows", dropping)
    table = notes(make, server)
    table.load(1, 12)
    assert told(looked(table)) == (4997, 0, 0, 3, 0)


def test_where_more_differs_than_is_read_again_what_was_read_is_told(make: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "LEAST_ROWS", 100)
    table = notes(make, server, 20_000)
    table.load(1, 12)
    table.execute("UPDATE {t} SET note = 'unseen'")
    found = looked(table)
    assert not found.whole
    assert 0 < found.altered < 20_000


def test_a_table_without_a_cursor_is_equal_or_differs(make: Any, server: Server) -> None:
    table = notes(make, server, 3000)
    table.load(1, 12)
    whole = dataclasses.replace(table.plan(), load="full", cursor=None)
    table.execute("UPDATE {t} SET note = 'newer', updated_at = '2026-03-01 18:00:00' WHERE id <= 3", "DELETE FROM {t} WHERE id = 9")
    found = live.look(table.lake, server.source(), Aws(), whole)
    assert isinstance(found, live.Compared)
    assert (found.high, *told(found)) == (None, 3000, 0, 1, 0, 3)


def test_a_table_without_a_key_is_counted(make: Any, server: Server) -> None:
    table = make(
        f"note VARCHAR(9), updated_at {STAMP[server.engine]} NOT NULL",
        30,
        "'same', " + ("'2026-03-01 06:00:00'" if server.engine == "mysql" else "timestamp '2026-03-01 06:00:00'"),
        (),
    )
    table.load(1, 12)
    table.execute("INSERT INTO {t} VALUES ('one', '2026-03-01 18:00:00')")
    assert live.look(table.lake, server.source(), Aws(), table.plan()) == live.Counted(30, 31)


def test_a_source_is_not_read_again_outside_of_its_hours(make: Any, server: Server) -> None:
    table = notes(make, server, 10)
    table.load(1, 12)
    closed = (table.lake.clock.now().hour + 2) % 24
    with pytest.raises(OutsideHours):
        looked(table, hours=f"{closed:02d}:00-{(closed + 1) % 24:02d}:00")


def test_items_of_dynamodb_are_counted_of_the_tenant_alone(lake: Lake) -> None:
    table = Followed(lake)
    for number in range(3):
        table.put(number)
        table.put(number, "13")
    table.load()
    table.delete(0)
    found = live.look(lake, table.source, table.aws, plan(table.crawl()))
    assert found == live.Counted(3, 2)
    table.load()
    assert live.look(lake, table.source, table.aws, plan(table.crawl())) == live.Counted(2, 2), "what the stream says is gone is no row"
