"""A column that is renamed in the source stays one column of a tenant's table, whatever its types, and whether a sync or a load meets it first."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from lab_insights.errors import WarehouseError
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse.catalog import read_catalog
from lab_insights.warehouse.changes import apply
from lab_insights.warehouse.sync import pending
from lab_insights_tests.warehouse.client import ID, Client, client, named
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.renames import MET_FIRST, renamed_after

__all__ = ["client"]
RENAMED = "TABLE_SCHEMA, TABLE_NAME, WHAT, COLUMN_NAME, RENAMED_TO, BEFORE_BATCH"


def test_a_renamed_column_goes_on_under_its_new_name_whatever_came_first(client: Client, lake: TestLake) -> None:
    old = {1: "a", 2: "b", 3: "c"}
    before = named(lake, 1, old)
    after = named(lake, 3, {2: "b", 3: "c", 4: "d"}, "label")
    late = named(lake, 2, {5: "late"})
    client.load(before)
    assert client.sync() == ["rename NAME"]
    assert "NAME" not in client.columns()
    client.load(after, late)
    everything = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "late")]
    assert client.live("ID", "LABEL") == client.live("ID", "NAME") == everything
    client.proven()
    assert client.sync() == []


def test_a_rename_that_loads_met_first_is_made_one_column_again(client: Client, lake: TestLake) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b", 3: "c"}))
    client.load(named(lake, 2, {2: "b", 3: "c", 4: "d"}, "label"))
    assert client.live("ID", "LABEL") == [(1, None), (2, "b"), (3, "c"), (4, "d")]
    assert client.sync() == ["rename NAME"]
    assert client.live("ID", "LABEL") == client.live("ID", "NAME") == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert "NAME:FORMER" in client.columns()
    client.proven()


@pytest.mark.parametrize("met_first", [False, True], ids=["sync first", "load first"])
def test_a_column_that_is_renamed_to_and_fro_stays_one_column(client: Client, lake: TestLake, met_first: bool) -> None:
    rows = {1: "a", 2: "b"}
    client.load(named(lake, 1, rows | {3: "c"}))
    for day, column, before in ((2, "label", "NAME"), (4, "name", "LABEL"), (6, "label", "NAME")):
        after = named(lake, day, rows | {day + 2: column}, column)
        if met_first:
            client.load(after)
        assert client.sync() == [f"rename {before}"]
        client.load(after)
        assert client.sync() == []
    client.load(named(lake, 5, {7: "late name"}), named(lake, 3, {5: "late label"}, "label"))
    everything = [(1, "a"), (2, "b"), (3, "c"), (4, "label"), (5, "late label"), (6, "name"), (7, "late name"), (8, "label")]
    assert client.live("ID", "LABEL") == client.live("ID", "NAME") == everything
    client.proven()
    # by a session that planned it before the others were recorded
    called = read_catalog(client.session, [("CURATED", "T")]).called
    client.session.execute(
        f"INSERT INTO OPS.SCHEMA_CHANGES ({RENAMED}) SELECT {RENAMED} FROM OPS.SCHEMA_CHANGES WHERE WHAT = 'rename' AND COLUMN_NAME = 'LABEL'"
    )
    assert read_catalog(client.session, [("CURATED", "T")]).called == called


@pytest.mark.parametrize("met_first", [False, True], ids=["sync first", "load first"])
def test_a_column_that_has_a_renamed_columns_old_name_can_be_renamed_itself(client: Client, lake: TestLake, met_first: bool) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    label = named(lake, 2, {1: "a", 2: "b"}, "label")
    if met_first:
        client.load(label)
    assert client.sync() == ["rename NAME"]

    def both(day: int, other: str) -> Manifest:
        rows = [{"id": 1, "label": "a", other: "x"}, {"id": 2, "label": "b", other: "y"}]
        return lake.batch("t", day, rows, pa.schema([ID, ("label", pa.string()), (other, pa.string())]), kind="snapshot")

    client.load(label, both(3, "name"))
    assert client.live("ID", "LABEL", "NAME") == [(1, "a", "x"), (2, "b", "y")]
    title = both(4, "title")
    if met_first:
        client.load(title)
    assert client.sync() == ["rename NAME"]
    client.load(title)
    assert client.live("ID", "LABEL", "TITLE", "NAME") == [(1, "a", "x", "x"), (2, "b", "y", "y")]
    client.proven()
    assert client.sync() == []


def test_a_view_answers_to_every_name_that_a_column_had(client: Client, lake: TestLake) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    for day, column, before in ((2, "label", "NAME"), (3, "title", "LABEL")):
        named(lake, day, {1: "a", 2: "b"}, column)
        assert client.sync() == [f"rename {before}"]
    assert client.live("ID", "TITLE") == client.live("ID", "LABEL") == client.live("ID", "NAME") == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("met_first", [False, True], ids=["sync first", "load first"])
def test_what_a_renamed_columns_type_can_not_hold_follows_it(client: Client, lake: TestLake, met_first: bool) -> None:
    client.load(lake.batch("t", 1, [{"id": 1, "name": 10}, {"id": 2, "name": 20}], pa.schema([ID, ("name", pa.int32())])))
    client.load(named(lake, 2, {2: "twenty", 3: "3.50"}))
    after, late = named(lake, 4, {1: "10", 2: "twenty", 4: "d"}, "label"), named(lake, 3, {5: "late"})
    if met_first:
        client.load(after)
    assert client.sync() == ["rename NAME"]
    assert client.live("ID", "LABEL")[:3] == client.live("ID", "NAME")[:3] == [(1, "10"), (2, "twenty"), (3, "3.50")]
    client.load(after, late)
    assert client.live("ID", "LABEL") == [(1, "10"), (2, "twenty"), (3, "3.50"), (4, "d"), (5, "late")]
    assert "NAME:VARCHAR" not in client.columns()
    client.proven()
    assert client.sync() == []


def test_a_rename_that_loads_met_first_alters_no_value_whatever_the_old_column_was(client: Client, lake: TestLake) -> None:
    batches, told = renamed_after(lake, MET_FIRST), f"label{[*MET_FIRST].index('no truth')}"
    # and what the new column can not hold either is beside it by then
    beside = [
        field.with_type(pa.string()) if field.name == told else field for field in batches[-1].schema_() if field.name.startswith("label")
    ]
    for each in (*batches, lake.batch("t", 4, [{"id": 9, told: "text"}], pa.schema([ID, *beside]))):
        client.load(each)
    assert f"{told.upper()}:VARCHAR" in client.columns()
    assert [done for done in client.sync() if done.startswith("rename")] == [f"rename NAME{number}" for number in range(len(MET_FIRST))]
    labels, names = ([f"{name}{number}" for number in range(len(MET_FIRST))] for name in ("LABEL", "NAME"))
    shown = client.live("ID", *labels)
    assert shown == client.live("ID", *names)
    assert dict(zip(MET_FIRST, shown[3][1:], strict=True)) == {case: kind[4] for case, kind in MET_FIRST.items()}
    assert shown[2][1:] == (None,) * len(MET_FIRST)
    assert client.live("ID", told.upper())[-1] == (9, "text")
    assert not [name for name in client.columns() if name.endswith(":VARCHAR")]
    client.proven()


def test_a_load_finishes_a_rename_whose_old_values_its_new_column_could_not_hold(client: Client, lake: TestLake) -> None:
    batches = renamed_after(lake, {"real": (pa.string(), "a", pa.float64(), [0.5, 2.5], "a")})
    for each in batches:
        client.load(each)
    [rename] = [change for change in pending(client.session, client.lake, client.tenant) if change.what == "rename"]
    apply(client.session, [dataclasses.replace(rename, statements=rename.statements[:1])])
    client.load(lake.batch("t", 4, [{"id": 1, "label0": 0.25}], pa.schema([ID, ("label0", pa.float64())])))
    assert client.live("ID", "LABEL0")[-1] == (8, "a")
    client.proven()
    assert client.sync() == []


def test_a_rename_in_the_middle_of_a_day_loses_neither_half(client: Client, lake: TestLake) -> None:
    both = pa.schema([ID, ("name", pa.string()), ("label", pa.string())])
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    client.load(lake.batch("t", 2, [{"id": 3, "name": "c"}, {"id": 4, "label": "d"}], both))
    client.load(named(lake, 3, {1: "a", 2: "b"}, "label"))
    assert client.sync() == ["rename NAME"]
    assert client.live("ID", "LABEL") == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    client.proven()


def test_a_key_that_was_renamed_is_refused_until_it_is_recognised(client: Client, lake: TestLake) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    schema = pa.schema([("number", pa.int64()), ("name", pa.string())])
    batch = lake.batch("t", 2, [{"number": n, "name": name} for n, name in ((1, "a"), (2, "bb"))], schema, key=("number",), kind="snapshot")
    with pytest.raises(WarehouseError, match="key of this table is another one"):
        client.load(batch)
    assert client.sync() == ["rename ID"]
    client.load(batch)
    assert client.live("NUMBER", "NAME") == [(1, "a"), (2, "bb")]
    client.proven()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({2: "x", 3: "y"}, id="other values"),
        pytest.param({8: "a", 9: "b"}, id="no row in common"),
        pytest.param({2: "b"}, id="one value alone"),
    ],
)
def test_what_only_looks_like_a_rename_is_a_new_column_and_a_deprecated_one(client: Client, lake: TestLake, rows: dict[int, str]) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b", 3: "c"}))
    client.load(named(lake, 2, rows, "other"))
    assert client.sync() == ["deprecated NAME"]
    assert {"NAME", "OTHER"} < client.columns()
    client.load(named(lake, 3, {7: "back"}))
    assert client.sync() == ["in use again NAME", "deprecated OTHER"]
    client.proven()
