"""The planner: what is declared wins, what can not be trusted is a full load, and the reason says why."""

from __future__ import annotations

import dataclasses

import pytest

from lab_insights.config import Engine, Override
from lab_insights.errors import ConfigError
from lab_insights.extract.catalog import Column, SourceTable
from lab_insights.extract.databases import Placement
from lab_insights.extract.plan import (
    RANGES_FROM_SECONDS,
    READER_ROWS_PER_SECOND,
    SPARK_FROM_SECONDS,
    Declared,
    Known,
    Machine,
    plan,
)
from lab_insights.lake.processing import Disqualified, Measured
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import instant


def table(*columns: Column, key: tuple[str, ...] = ("id",), indexed: tuple[str, ...] = ()) -> SourceTable:
    its = (Column("id", "bigint", nullable=False), *columns)
    return SourceTable("crm", "mysql", TenantId("aurora"), "account", "account", Placement("crm"), its, key, frozenset(indexed))


def column(name: str = "updated_at", kind: str = "datetime(6)", *, nullable: bool = False, touched: bool = False) -> Column:
    return Column(name, kind, nullable, touched=touched, born=touched)


def test_a_cursor_that_the_server_moves_is_preferred_to_one_that_is_only_named_so() -> None:
    found = plan(table(column("updated_at"), column("seen", touched=True), indexed=("seen",)))
    assert (found.load, found.cursor, found.key) == ("incremental", "seen", ("id",))
    assert found.reason == "cursor seen is moved by the server on every update, indexed"


@pytest.mark.parametrize("how", ["touched", "triggered"])
def test_a_column_that_the_server_sets_on_updates_alone_is_no_cursor_unless_a_person_says_so(how: str) -> None:
    its = table(Column("updated_at", "datetime(6)", nullable=False, **{how: True}))
    for found in (plan(its), plan(its, Declared(("id",), "updated_at")), plan(its, override=Override(cursor="updated_at"))):
        assert (found.load, found.cursor) == ("full", None)
        assert "sets updated_at when a row is updated and not when it is inserted" in found.reason
    trusted = plan(its, override=Override(load="incremental"))
    assert (trusted.cursor, "although the server sets updated_at when" in trusted.reason) == ("updated_at", True)
    assert plan(table(*its.columns[1:], column("modified_at"))).cursor == "modified_at", "the next one that may be one"


def test_a_cursor_without_an_index_is_used_and_said_to_have_none() -> None:
    assert "not indexed" in plan(table(column())).reason


@pytest.mark.parametrize("bad", [column(nullable=True), column(kind="date"), column(kind="int")])
def test_a_cursor_that_could_miss_rows_is_none(bad: Column) -> None:
    found = plan(table(bad))
    assert (found.load, found.cursor) == ("full", None)
    assert "may be null or is no instant" in found.reason


@pytest.mark.parametrize("bad", [column(nullable=True), column(kind="date"), column(kind="int")])
def test_neither_does_a_contract_make_a_cursor_of_a_column_that_could_miss_rows(bad: Column) -> None:
    found = plan(table(bad), Declared(("id",), "updated_at"))
    assert (found.load, found.cursor) == ("full", None)
    with pytest.raises(ConfigError, match="may be null or is no instant") as raised:
        plan(table(bad), override=Override(load="incremental", cursor="updated_at"))
    assert raised.value.table == "crm.account"


def test_without_a_cursor_or_a_key_the_load_is_full() -> None:
    assert plan(table()).reason == "no cursor column"
    keyless = plan(table(column(), key=()))
    assert (keyless.load, keyless.cursor) == ("full", None)
    assert "no key" in keyless.reason


def test_a_person_wins_over_the_contract_and_the_contract_over_the_catalog() -> None:
    its = table(column("updated_at"), column("a"), column("b"))
    assert plan(its, Declared(("a",), "a")).cursor == "a"
    found = plan(its, Declared(("a",), "a"), Override(cursor="b", key=("id", "b"), engine="spark"))
    assert (found.cursor, found.key, found.engine) == ("b", ("id", "b"), "spark")
    assert plan(its, Declared(("a",), "a"), Override(load="full")).load == "full"


def test_what_is_declared_must_be_a_column() -> None:
    for declared, override in (
        (Declared(("no",)), None),
        (Declared(cursor="no"), None),
        (None, Override(key=("no",))),
        (None, Override(cursor="no")),
    ):
        with pytest.raises(ConfigError, match="'no' is not a column"):
            plan(table(), declared, override)


def test_an_incremental_load_without_a_cursor_is_refused() -> None:
    with pytest.raises(ConfigError, match="no cursor column"):
        plan(table(), override=Override(load="incremental"))


def test_dynamodb_is_scanned() -> None:
    its = dataclasses.replace(table(column("updated_at", "S")), engine="dynamodb")
    assert (plan(its, Declared(("id",), "updated_at")).load, plan(its).cursor) == ("full", None)


def test_a_table_of_dynamodb_without_items_shows_its_key_alone_and_is_loaded() -> None:
    its = dataclasses.replace(table(), engine="dynamodb")
    assert plan(its, Declared(("id",), "updated_at")).key == ("id",)
    with pytest.raises(ConfigError, match="'nothing' is not a column"):
        plan(its, Declared(("nothing",), "updated_at"))


def test_loads_of_tables_that_no_contract_describes_are_called_dynamic() -> None:
    full, incremental = plan(table()), plan(table(column()))
    assert [each.load_name(dynamic=dynamic) for each in (full, incremental) for dynamic in (False, True)] == [
        "full",
        "dynamic_full",
        "incremental",
        "dynamic_incremental",
    ]


# what earlier loads told


def sized(rows: int | None, *, key: tuple[str, ...] = ("id",), engine: Engine = "mysql") -> SourceTable:
    return dataclasses.replace(table(column(), key=key), rows=rows, bytes=None if rows is None else rows * 100, engine=engine)


BIG = Machine(cores=8, connections=4)


@pytest.mark.parametrize(
    ("rows", "machine", "engine", "ranges"),
    [
        (None, BIG, "arrow", 1),
        (1000, BIG, "arrow", 1),
        (int(READER_ROWS_PER_SECOND * RANGES_FROM_SECONDS) - 1, BIG, "arrow", 1),
        (int(READER_ROWS_PER_SECOND * RANGES_FROM_SECONDS), BIG, "arrow", 2),
        (READER_ROWS_PER_SECOND * 3600, BIG, "arrow", 4),
        (READER_ROWS_PER_SECOND * 3600, Machine(cores=2, connections=4), "arrow", 2),
        (READER_ROWS_PER_SECOND * 3600, Machine(cores=1, connections=4), "arrow", 1),
        (READER_ROWS_PER_SECOND * 3600, Machine(cores=8, connections=4, cluster=True), "spark", 4),
        (int(READER_ROWS_PER_SECOND * SPARK_FROM_SECONDS * 4) - 1, Machine(cores=8, connections=4, cluster=True), "arrow", 4),
    ],
)
def test_the_engine_is_chosen_by_how_long_one_reader_would_take(rows: int | None, machine: Machine, engine: str, ranges: int) -> None:
    found = plan(sized(rows), machine=machine)
    assert (found.engine, found.ranges, found.rows) == (engine, ranges, rows)
    assert ("s expected of one reader" in found.reason) == (rows is not None and rows >= READER_ROWS_PER_SECOND * RANGES_FROM_SECONDS)


def test_what_the_last_snapshot_measured_is_believed_before_the_catalog() -> None:
    slow = Known(whole=Measured(rows=1_000_000, bytes=77, seconds=100.0))
    found = plan(sized(10), known=slow, machine=BIG)
    assert (found.rows, found.bytes, found.ranges, found.seconds) == (1_000_000, 77, 4, 25.0)
    in_four = Known(whole=Measured(rows=1_000_000, bytes=77, seconds=25.0, ranges=4))
    assert plan(sized(10), known=in_four, machine=BIG).seconds == 25.0
    brief = Known(whole=Measured(rows=100, bytes=77, seconds=0.9))
    assert plan(sized(10), known=brief, machine=BIG).ranges == 1, "a second of commit says nothing of the reader"


def test_a_table_without_a_key_has_one_reader_however_large_it_is() -> None:
    found = plan(sized(10**9, key=()), override=Override(ranges=3), machine=BIG)
    assert found.ranges == 1
    assert "there is no key to cut" in found.reason


def test_changes_are_read_by_one_arrow_reader_unless_a_person_declared_otherwise() -> None:
    known = Known(whole=Measured(rows=10**9, bytes=10**10, seconds=3000), changes=Measured(rows=500, bytes=9000, seconds=0.4))
    found = plan(sized(10), known=known, machine=BIG)
    assert (found.ranges, found.reading("snapshot").ranges, found.reading("delta").ranges) == (4, 4, 1)
    assert (found.reading("delta").rows, found.reading("delta").bytes, found.reading("delta").seconds) == (500, 9000, 0.4)
    assert plan(sized(10), known=known, machine=BIG, override=Override(engine="spark")).reading("delta").engine == "spark"


def test_everything_that_a_person_declared_is_in_the_reason() -> None:
    override = Override(load="incremental", cursor="updated_at", key=("id",), engine="spark", ranges=3)
    found = plan(sized(10), override=override, machine=BIG)
    assert found.reason.startswith("cursor updated_at is declared, not indexed")
    assert found.reason.endswith("; declared: load, key, engine, ranges")
    assert (found.engine, found.ranges, found.declared) == ("spark", 3, ("load", "cursor", "key", "engine", "ranges"))
    fewer = plan(sized(10), override=Override(ranges=9), machine=BIG)
    assert (fewer.ranges, "9 ranges are declared, the source allows fewer" in fewer.reason) == (4, True)


def proof(cursor: str = "updated_at") -> dict[str, Disqualified]:
    return {cursor: Disqualified("crm.account", cursor, 1234, instant(3, 4), "a full load")}


def test_a_disqualified_cursor_gives_way_to_the_next_one_and_without_one_to_a_full_load() -> None:
    its = table(column("updated_at"), column("seen", touched=True))
    assert plan(its, known=Known(disqualified=proof("seen"))).cursor == "updated_at"
    alone = plan(table(column()), known=Known(disqualified=proof()))
    assert (alone.load, alone.cursor) == ("full", None)
    assert alone.reason == "cursor updated_at is disqualified: 1,234 rows changed and it did not move (a full load, 2026-03-03 04:00 UTC)"


def test_a_contracts_word_does_not_save_a_disqualified_cursor_but_a_persons_does() -> None:
    known = Known(disqualified=proof())
    assert plan(table(column()), Declared(("id",), "updated_at"), known=known).load == "full"
    assert plan(table(column()), override=Override(cursor="updated_at"), known=known).load == "full"
    kept = plan(table(column()), override=Override(load="incremental"), known=known)
    assert (kept.cursor, "although cursor updated_at is disqualified" in kept.reason) == ("updated_at", True)


def test_the_share_of_nulls_of_a_candidate_is_told() -> None:
    its = table(column(nullable=True))
    assert plan(its, known=Known(null_share={"updated_at": 0.031})).reason.endswith("so it is no cursor (3.1% of its values are null)")
