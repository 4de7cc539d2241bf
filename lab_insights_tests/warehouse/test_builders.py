"""The pure parts: names, types, plans and statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_insights.config import PhiSection
from lab_insights.errors import WarehouseError
from lab_insights.lake.manifest import Manifest, encode_schema
from lab_insights.names import tenant_id
from lab_insights.warehouse import sql
from lab_insights.warehouse.catalog import Catalog, composed
from lab_insights.warehouse.changes import Change
from lab_insights.warehouse.ddl import live_columns
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import column_names, table_name
from lab_insights.warehouse.schema_sync import plan as plan_with
from lab_insights.warehouse.schema_sync import planned
from lab_insights.warehouse.shape import Rename, Shape, shape
from lab_insights.warehouse.types import ColumnType, from_arrow, widest

NUMBER, TEXT = ColumnType("NUMBER", 19), ColumnType("VARCHAR")
TABLE = ("CURATED", "T")


PROTECTION = Protection(tenant_id("t"), PhiSection())
UNCLASSIFIED = """WITH MASKING POLICY "OPS"."MASK_UNCLASSIFIED_VARCHAR" WITH TAG ("OPS"."PHI" = 'unclassified')"""


def plan(shapes: Sequence[Shape], catalog: Catalog, **more: Any) -> list[Change]:
    return plan_with(shapes, catalog, PROTECTION, **more)


def a_shape(**columns: ColumnType) -> Shape:
    return Shape("curated", "t", {name.lower(): name for name in columns}, columns, ("ID",))


def a_batch(schema: pa.Schema, key: tuple[str, ...] = ("id",)) -> Manifest:
    return Manifest(
        layer="curated",
        tenant=tenant_id("t"),
        table="t",
        day=datetime(2026, 1, 1).date(),
        batch=0,
        attempt=1,
        kind="delta",
        key=key,
        arrow_schema=encode_schema(schema),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


META = [("source_updated_at", pa.timestamp("us")), ("batch_id", pa.string()), ("is_deleted", pa.bool_())]


@given(st.lists(st.text(min_size=1), unique=True))
def test_no_two_columns_become_one_whatever_their_order(names: list[str]) -> None:
    found = column_names(names)
    assert len({name.upper() for name in found.values()}) == len(names)
    assert column_names(reversed(names)) == found


def test_of_names_that_differ_by_case_the_lower_case_one_keeps_its_name() -> None:
    assert column_names(["ID", "id", "Id", "x"])["id"] == "ID"
    assert column_names(["ID", "x"]) == {"ID": "ID", "x": "X"}


def test_columns_that_differ_by_case_are_copied_apart() -> None:
    # not run on the stand-in, whose engine has no such columns; Snowflake compares quoted names exactly
    its = shape(a_batch(pa.schema([("id", pa.int64()), ("ID", pa.string()), *META])))
    other = its.names["ID"]
    assert '"id" NUMBER(19,0), "ID" VARCHAR' in sql.create_stage_table("S", its)
    merge = sql.merge("T", its.columns, "S", its, snapshot_at=None, superseded_by=None)
    assert f'"id" AS "ID", "ID" AS "{other}"' in merge
    assert "MATCH_BY_COLUMN_NAME = CASE_SENSITIVE" in sql.copies("S", "curated", ["k"])[0]


@given(st.lists(st.from_regex(r"[a-z]{1,2}(_live)?_{0,2}", fullmatch=True), unique=True))
def test_no_table_is_called_as_another_ones_view(tables: list[str]) -> None:
    names = [table_name(table) for table in tables]
    assert len({*names, *(f"{name}_LIVE" for name in names)}) == 2 * len(tables)


def test_a_copy_names_at_most_a_thousand_files_and_every_one_once() -> None:
    keys = [f"it's/{number}.parquet" for number in range(2001)]
    statements = sql.copies("S", "curated", keys)
    assert [statement.count(".parquet'") for statement in statements] == [1000, 1000, 1]
    assert "FILES = ('it''s/2000.parquet')" in statements[2]
    assert all("USE_LOGICAL_TYPE = TRUE" in statement and "FORCE = TRUE" in statement for statement in statements)


@pytest.mark.parametrize(
    ("arrow", "expected"),
    [
        (pa.int8(), "NUMBER(3,0)"),
        (pa.int64(), "NUMBER(19,0)"),
        (pa.uint64(), "NUMBER(20,0)"),
        (pa.decimal128(38, 37), "NUMBER(38,37)"),
        (pa.decimal128(38, 38), "VARCHAR"),
        (pa.decimal256(50, 2), "VARCHAR"),
        (pa.float32(), "FLOAT"),
        (pa.timestamp("us"), "TIMESTAMP_NTZ(6)"),
        (pa.date32(), "DATE"),
        (pa.time64("us"), "TIME(6)"),
        (pa.binary(), "BINARY"),
        (pa.dictionary(pa.int32(), pa.string()), "VARCHAR"),
        (pa.null(), "VARCHAR"),
    ],
)
def test_every_arrow_type_has_one_snowflake_type(arrow: pa.DataType, expected: str) -> None:
    assert from_arrow(arrow).sql == expected


KINDS = st.sampled_from(
    [from_arrow(kind) for kind in (pa.int16(), pa.int64(), pa.uint64(), pa.decimal128(12, 4), pa.decimal128(38, 37))]
) | st.sampled_from([from_arrow(kind) for kind in (pa.float64(), pa.string(), pa.date32(), pa.timestamp("us"), pa.bool_(), pa.binary())])


@given(KINDS, KINDS)
def test_widening_is_the_same_from_both_sides_and_ends(one: ColumnType, other: ColumnType) -> None:
    wide = widest(one, other)
    assert wide == widest(other, one)
    assert widest(wide, one) == widest(wide, other) == wide


def held(**columns: ColumnType) -> Catalog:
    """A catalog of one table, as it is named; `WIDER_A` stands for the passing column `A:WIDER`."""
    plain = {name: kind for name, kind in columns.items() if not name.startswith(("WIDER_", "NARROW_"))}
    passing = {f"{name.partition('_')[2]}:{name.partition('_')[0]}": kind for name, kind in columns.items() if name not in plain}
    return Catalog({TABLE: plain}, {TABLE: passing} if passing else {}, {TABLE: live_columns(plain)})


def applied(columns: dict[str, ColumnType], *renames: Rename, **more: Any) -> Catalog:
    """A catalog after a plan was applied."""
    view = live_columns(columns, [(rename.old, rename.new) for rename in renames])
    return Catalog({TABLE: columns}, views={TABLE: view}, **{"called": {TABLE: renames}, **more})


def test_a_plan_is_empty_once_it_was_applied() -> None:
    shapes = [a_shape(ID=NUMBER, A=NUMBER), a_shape(ID=NUMBER, A=TEXT, B=ColumnType("DATE"))]
    for catalog in (Catalog(), held(ID=ColumnType("NUMBER", 5)), held(ID=NUMBER, A=ColumnType("FLOAT"), OLD=TEXT)):
        assert plan(shapes, catalog)
        assert plan(shapes, applied(planned(catalog, shapes, PROTECTION)[TABLE])) == []


def test_a_plan_says_what_it_does_and_drops_nothing() -> None:
    [new] = plan([a_shape(ID=NUMBER)], Catalog())
    assert (new.what, new.table) == ("new table", TABLE)
    changes = plan([a_shape(ID=ColumnType("NUMBER", 20), B=TEXT)], held(ID=NUMBER, GONE=TEXT))
    assert [(change.what, change.column, change.detail) for change in changes] == [
        ("widening", "ID", "NUMBER(19,0) to NUMBER(20,0)"),
        ("new column", "B", "VARCHAR"),
        ("view", "", "T_LIVE"),
    ]
    assert '"ID", "GONE", "B"' in changes[-1].statements[0]
    assert not any("DROP" in statement for change in changes for statement in change.statements)


def test_a_type_that_can_not_hold_what_comes_keeps_its_values_and_gets_a_second_column() -> None:
    shapes = [a_shape(ID=NUMBER, A=TEXT)]
    [added, view] = plan(shapes, held(ID=NUMBER, A=NUMBER))
    assert (added.what, added.column) == ("incompatible", "A")
    assert added.statements == (f'ALTER TABLE "CURATED"."T" ADD COLUMN IF NOT EXISTS "A:VARCHAR" VARCHAR {UNCLASSIFIED}',)
    assert 'COALESCE("A:VARCHAR", CAST(CAST("A" AS DECIMAL(19,0)) AS VARCHAR)) AS "A"' in view.statements[0]
    assert '"A:VARCHAR",' not in view.statements[0].replace('COALESCE("A:VARCHAR",', "")


def test_what_rows_are_found_by_becomes_text_itself() -> None:
    [change, _] = plan([a_shape(ID=TEXT)], held(ID=NUMBER))
    assert (change.what, change.detail) == ("widening", "NUMBER(19,0) to VARCHAR")


def test_a_table_whose_key_is_another_one_is_refused() -> None:
    with pytest.raises(WarehouseError, match="key of this table is another one"):
        plan([a_shape(ID=NUMBER, A=TEXT)], held(A=TEXT))


def test_a_widening_that_died_is_finished_wherever_it_died() -> None:
    for kinds, first in (
        ({"NARROW_A": NUMBER}, "ADD COLUMN"),
        ({"NARROW_A": NUMBER, "WIDER_A": TEXT}, "ADD COLUMN"),
        ({"WIDER_A": TEXT}, "RENAME COLUMN"),
    ):
        change, *others = plan([a_shape(ID=NUMBER, A=TEXT)], held(ID=NUMBER, **kinds))
        assert (change.what, change.column) == ("widening", "A")
        assert first in change.statements[0]
        assert change.statements[-1].endswith('RENAME COLUMN "A:WIDER" TO "A"')
        assert others[-1].what == "view"


def test_a_view_that_a_death_left_behind_its_table_is_made_again() -> None:
    columns = {"ID": NUMBER, "A": NUMBER}
    for before in ({}, {"ID": NUMBER}, {"ID": NUMBER, "A": ColumnType("NUMBER", 5)}):
        [view] = plan([a_shape(**columns)], Catalog({TABLE: columns}, views={TABLE: before}))
        assert (view.what, view.detail) == ("view", "T_LIVE")
    variant = {**columns, "A:VARCHAR": TEXT}
    [view] = plan([a_shape(**columns)], Catalog({TABLE: variant}, views={TABLE: columns}))
    assert view.what == "view"
    assert plan([a_shape(**columns)], applied(variant)) == []


def test_a_rename_goes_on_in_the_same_column_and_the_view_answers_to_both_names() -> None:
    rename = Rename("A", "B", "9")
    changes = plan([a_shape(ID=NUMBER, B=TEXT)], held(ID=NUMBER, A=TEXT), renames={TABLE: [rename]})
    assert [change.what for change in changes] == ["rename", "view"]
    assert changes[0].statements == ('ALTER TABLE "CURATED"."T" RENAME COLUMN "A" TO "B"',)
    assert '"B" AS "A"' in changes[1].statements[0]
    done = applied({"ID": NUMBER, "B": TEXT}, rename)
    assert plan([a_shape(ID=NUMBER, B=TEXT)], done) == []
    another = applied({"ID": NUMBER, "B": TEXT, "A": NUMBER}, rename, called={})
    assert plan([a_shape(ID=NUMBER, B=TEXT, A=NUMBER)], another) == []


def test_a_later_rename_takes_older_names_along_and_ends_that_of_another_column() -> None:
    there, on, back, other = Rename("A", "B", "1"), Rename("B", "C", "2"), Rename("B", "A", "2"), Rename("A", "C", "2")
    assert composed([there], on) == (Rename("A", "C", "1"), on)
    assert composed([there], back) == (back,)
    assert composed([there], other) == (other,)


def test_what_is_left_of_two_columns_of_one_name_is_of_its_class() -> None:
    protection = Protection(tenant_id("t"), PhiSection(classes={"t": {"a": "operational"}}))
    assert {protection.phi_class(TABLE, f"A{beside}") for beside in ("", ":FORMER", ":FORMER:FORMER", ":VARCHAR:FORMER:FORMER")} == {
        "operational"
    }


@pytest.mark.parametrize(
    ("schema", "key"),
    [
        (pa.schema([("id", pa.int64()), *META]), ()),
        (pa.schema([("id", pa.int64()), *META]), ("other",)),
        (pa.schema([("id", pa.int64()), *META[1:]]), ("id",)),
    ],
)
def test_a_batch_without_key_or_version_is_refused(schema: pa.Schema, key: tuple[str, ...]) -> None:
    with pytest.raises(WarehouseError, match="can not be merged"):
        shape(a_batch(schema, key))
