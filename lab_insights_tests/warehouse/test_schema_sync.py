"""Schema sync on a database: what changes in the source's shape does to a tenant's tables, and that no value is lost or altered by it."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import schema_sync
from lab_insights.warehouse.catalog import read_catalog
from lab_insights.warehouse.load import load
from lab_insights.warehouse.reconcile import reconcile
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import pending, sync
from lab_insights_tests.warehouse.lake import TestLake

ID = ("id", pa.int64())
RENAMED = "TABLE_SCHEMA, TABLE_NAME, WHAT, COLUMN_NAME, RENAMED_TO, BEFORE_BATCH"
NAMED, CALLED = pa.schema([ID, ("name", pa.string())]), pa.schema([ID, ("label", pa.string())])


class Client:
    """One tenant's database beside its lake."""

    def __init__(self, session: Session, lake: Lake, tenant: TenantId) -> None:
        self.session, self.lake, self.tenant = session, lake, tenant

    def load(self, *batches: Manifest) -> None:
        load(self.session, self.lake.storage, self.tenant, batches, run_id="test")

    def sync(self) -> list[str]:
        """Sync, and return what was done, without views; a second sync has nothing to do."""
        done = sync(self.session, self.lake, self.tenant, "test")
        assert [str(change) for change in pending(self.session, self.lake, self.tenant)] == []
        return [f"{change.what} {change.column}" for change in done if change.what != "view"]

    def live(self, *columns: str, table: str = "T_LIVE") -> list[tuple[Any, ...]]:
        return self.session.execute(f"SELECT {', '.join(f'{chr(34)}{name}{chr(34)}' for name in columns)} FROM CURATED.{table} ORDER BY ID")

    def columns(self) -> set[str]:
        rows = self.session.execute("SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'T'")
        return {str(name) for (name,) in rows}

    def proven(self) -> None:
        assert [finding.message for finding in reconcile(self.session, self.lake, self.tenant) if not finding.ok] == []


@pytest.fixture
def client(session: Session, storage: Storage, tenant: TenantId) -> Client:
    return Client(session, Lake(storage, State(storage.aws, storage.prefix)), tenant)


def named(lake: TestLake, day: int, rows: dict[int, str], column: str = "name", **more: Any) -> Manifest:
    schema = pa.schema([ID, (column, pa.string())])
    return lake.batch("t", day, [{"id": key, column: value} for key, value in rows.items()], schema, **more)


def test_tables_of_the_lake_are_made_before_anything_is_loaded(client: Client, lake: TestLake) -> None:
    batch = named(lake, 1, {1: "a"})
    assert client.sync() == ["new table "]
    client.load(batch)
    assert client.live("ID", "NAME") == [(1, "a")]
    assert client.sync() == []


def test_values_that_a_type_can_not_hold_stand_beside_it_and_the_view_shows_one_column(client: Client, lake: TestLake) -> None:
    first = lake.batch("t", 1, [{"id": 1, "v": 10}, {"id": 2, "v": 20}], pa.schema([ID, ("v", pa.int32())]))
    second = lake.batch("t", 2, [{"id": 2, "v": "twenty"}, {"id": 3, "v": "3.50"}], pa.schema([ID, ("v", pa.string())]))
    third = lake.batch("t", 3, [{"id": 3, "v": 4}], pa.schema([ID, ("v", pa.int64())]))
    client.load(first)
    client.load(second)
    assert client.live("ID", "V", "V:VARCHAR", table="T") == [(1, 10, None), (2, None, "twenty"), (3, None, "3.50")]
    client.load(third)
    assert client.live("ID", "V") == [(1, "10"), (2, "twenty"), (3, "4")]
    client.proven()
    assert client.sync() == []


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


# Of a column that loads met under its new name first: what it was at first and a value of that, what it was before and after the rename, and what is shown.
MET_FIRST: dict[str, tuple[pa.DataType, Any, pa.DataType, list[Any], Any]] = {
    "text": (pa.string(), "a", pa.int32(), [10, 20], "a"),
    "real": (pa.float64(), 0.5, pa.int32(), [10, 20], 0.5),
    "more decimals": (pa.decimal128(12, 4), Decimal("0.1234"), pa.decimal128(8, 2), [Decimal("0.25"), Decimal("2.50")], Decimal("0.1234")),
    "more digits": (pa.int64(), 2**40, pa.int16(), [10, 20], 2**40),
    "instant": (pa.timestamp("us"), datetime(2026, 2, 3, 4, 5, 6, 7), pa.string(), ["x", "y"], "2026-02-03 04:05:06.000007"),
    "truth": (pa.bool_(), False, pa.string(), ["x", "y"], "false"),
    "time": (pa.time64("us"), time(4, 5, 6, 7), pa.string(), ["x", "y"], "04:05:06.000007"),
    "no truth": (pa.date32(), date(2026, 2, 3), pa.bool_(), [True, False], "2026-02-03"),
    "real beside text": (pa.float64(), 0.5, pa.string(), ["x", "y"], "4503599627370496p-53"),
}


def renamed_after(lake: TestLake, cases: dict[str, tuple[pa.DataType, Any, pa.DataType, list[Any], Any]]) -> list[Manifest]:
    """Return three batches of a table of `cases`: the old types, the newer types, and these under new names."""
    kinds = list(cases.values())

    def batch(day: int, name: str, types: list[pa.DataType], rows: dict[int, list[Any]]) -> Manifest:
        named = [f"{name}{number}" for number in range(len(types))]
        schema = pa.schema([ID, *zip(named, types, strict=True)])
        return lake.batch("t", day, [{"id": key} | dict(zip(named, values, strict=True)) for key, values in rows.items()], schema)

    newer = {1: [kind[3][0] for kind in kinds], 2: [kind[3][1] for kind in kinds]}
    return [
        batch(1, "name", [kind[0] for kind in kinds], {7: [None] * len(kinds), 8: [kind[1] for kind in kinds]}),
        batch(2, "name", [kind[2] for kind in kinds], newer),
        batch(3, "label", [kind[2] for kind in kinds], newer),
    ]


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
    schema_sync.apply(client.session, [dataclasses.replace(rename, statements=rename.statements[:1])])
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


def test_a_column_that_was_added_after_its_batches_were_loaded_is_filled_and_no_other(client: Client, lake: TestLake) -> None:
    wide = pa.schema([ID, ("name", pa.string()), ("amount", pa.decimal128(9, 2))])
    client.load(lake.batch("t", 1, [{"id": n, "name": f"n{n}", "amount": Decimal(n)} for n in (1, 2, 3)], wide))
    client.load(lake.batch("t", 2, [{"id": 3, "name": "newer", "amount": Decimal("3.5")}], wide))
    client.session.execute('ALTER TABLE CURATED.T DROP COLUMN "AMOUNT"')
    client.session.execute("UPDATE CURATED.T SET NAME = 'kept' WHERE ID = 1")
    # a load makes the column again, and leaves filling it to the sync
    client.load(lake.batch("t", 3, [{"id": 2, "name": "n2", "amount": None}], wide))
    assert client.live("ID", "AMOUNT", table="T") == [(1, None), (2, None), (3, None)]
    assert client.sync() == ["back-fill AMOUNT"]
    assert client.live("ID", "NAME", "AMOUNT", table="T") == [(1, "kept", Decimal(1)), (2, "n2", None), (3, "newer", Decimal("3.5"))]
    assert client.session.execute("SELECT COUNT(*) FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME LIKE 'STAGE%'") == [(0,)]


@pytest.mark.parametrize("scenario", ["widening", "rename", "taking over", "with a variant", "of another type", "back-fill", "to and fro"])
def test_a_sync_that_dies_between_two_statements_is_finished_by_the_next(client: Client, lake: TestLake, scenario: str) -> None:
    real = pa.schema([ID, ("name", pa.float64())])
    if scenario == "widening":
        client.load(lake.batch("t", 1, [{"id": 1, "name": 5}, {"id": 2, "name": 6}], pa.schema([ID, ("name", pa.int16())])))
        lake.batch("t", 2, [{"id": 9, "name": 0.5}], real)
    elif scenario == "of another type":
        for each in renamed_after(lake, {"no truth": MET_FIRST["no truth"]}):
            client.load(each)
        client.load(lake.batch("t", 4, [{"id": 9, "label0": "text"}], pa.schema([ID, ("label0", pa.string())])))
    else:
        if scenario == "with a variant":
            client.load(lake.batch("t", 1, [{"id": 8, "name": 5}], pa.schema([ID, ("name", pa.int16())])))
        client.load(named(lake, 1, {1: "a", 2: "b", 7: "only here"}))
        after = named(lake, 2, {1: "a", 2: "b", 9: "z"}, "label")
        if scenario in {"taking over", "with a variant"}:
            client.load(after)
        if scenario == "to and fro":
            client.sync()
            client.load(after)
            client.load(named(lake, 3, {1: "a", 2: "b", 9: "z"}))
        if scenario == "back-fill":
            client.sync()
            client.session.execute('ALTER TABLE CURATED.T DROP COLUMN "LABEL"')
    steps = dying(client, limit=0)
    while not (done := dying(client, limit=steps))[1]:
        steps = done[0] + 1
    client.load(*[batch for batch in batches(client) if batch.day.day == 2])
    assert client.sync() == []
    client.proven()


def batches(client: Client) -> list[Manifest]:
    from lab_insights.lake.tables import manifests

    return manifests(client.lake, "curated", client.tenant, "t")


def dying(client: Client, limit: int) -> Any:
    """Sync until `limit` statements of changes were run; return how far it came, and whether it came to its end."""
    if limit == 0:
        return 1
    run, counted = client.session.execute, 0

    def execute(sql: str, *binds: Any) -> Any:
        nonlocal counted
        if sql.lstrip().startswith(("ALTER", "UPDATE", "INSERT", "CREATE", "COPY", "COMMENT")):
            counted += 1
            if counted > limit:
                raise KeyboardInterrupt
        return run(sql, *binds)

    client.session.execute = execute  # type: ignore[method-assign]
    try:
        sync(client.session, client.lake, client.tenant, "test")
    except KeyboardInterrupt:
        return limit, False
    finally:
        client.session.execute = run  # type: ignore[method-assign]
    return limit, True


def test_a_load_that_meets_a_table_under_change_tries_again_by_its_new_shape(
    client: Client, lake: TestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.load(lake.batch("t", 1, [{"id": 1, "v": 1}], pa.schema([ID, ("v", pa.int16())])))
    late = lake.batch("t", 2, [{"id": 2, "v": 2}], pa.schema([ID, ("v", pa.int16())]))
    real = lake.batch("t", 3, [{"id": 3, "v": 0.5}], pa.schema([ID, ("v", pa.float64())]))
    changes = pending(client.session, client.lake, client.tenant)
    [widening] = [change for change in changes if change.what == "widening"]
    planned = schema_sync.planned

    def then_changed(*arguments: Any) -> Any:
        after = planned(*arguments)
        if then_changed.once:  # type: ignore[attr-defined]
            then_changed.once = False  # type: ignore[attr-defined]
            for statement in widening.statements[:3]:
                client.session.execute(statement)
        return after

    then_changed.once = True  # type: ignore[attr-defined]
    monkeypatch.setattr(schema_sync, "planned", then_changed)
    client.load(late)
    assert client.live("ID", "V") == [(1, 1.0), (2, 2.0)]
    client.load(real)
    client.proven()


def test_every_change_is_recorded_with_its_run(client: Client, lake: TestLake) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    client.load(named(lake, 2, {1: "a", 2: "b"}, "label"))
    client.sync()
    rows = client.session.execute(
        "SELECT WHAT, COLUMN_NAME, RENAMED_TO, RUN_ID FROM OPS.SCHEMA_CHANGES WHERE WHAT <> 'class' ORDER BY CHANGED_AT"
    )
    assert rows == [("new table", "", None, "test"), ("new column", "LABEL", None, "test"), ("rename", "NAME", "LABEL", "test")]
