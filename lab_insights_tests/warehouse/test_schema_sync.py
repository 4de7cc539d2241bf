"""Schema sync on a database: what changes in the source's shape does to a tenant's tables, and that no value is lost or altered by it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.errors import WarehouseError
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse import schema_sync
from lab_insights.warehouse.sync import pending, sync
from lab_insights_tests.warehouse.client import ID, Client, client, named
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.renames import MET_FIRST, renamed_after

__all__ = ["client"]


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


def test_a_column_is_not_filled_from_a_part_that_lacks_rows(client: Client, lake: TestLake) -> None:
    client.load(named(lake, 1, {1: "a", 2: "b"}))
    client.session.execute('ALTER TABLE CURATED.T DROP COLUMN "NAME"')
    lake.damage("t")
    with pytest.raises(WarehouseError, match="1 rows were copied where the manifest says 2") as failed:
        client.sync()
    assert failed.value.table == "CURATED.T"
    assert client.live("ID", "NAME", table="T") == [(1, None), (2, None)]
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
    killed = 0
    while dies(client, after=killed):
        killed += 1
    assert killed > 2
    client.load(*[batch for batch in batches(client) if batch.day.day == 2])
    assert client.sync() == []
    client.proven()


def batches(client: Client) -> list[Manifest]:
    from lab_insights.lake.tables import manifests

    return manifests(client.lake, "curated", client.tenant, "t")


def dies(client: Client, after: int) -> bool:
    """Sync until `after` statements of changes were run; return whether one more was to be run, at which it died."""
    run, counted = client.session.execute, 0

    def execute(sql: str, *binds: Any) -> Any:
        nonlocal counted
        if sql.lstrip().startswith(("ALTER", "UPDATE", "INSERT", "CREATE", "COPY", "COMMENT")):
            counted += 1
            if counted > after:
                raise KeyboardInterrupt
        return run(sql, *binds)

    client.session.execute = execute  # type: ignore[method-assign]
    try:
        sync(client.session, client.lake, client.tenant, "test")
    except KeyboardInterrupt:
        return True
    finally:
        client.session.execute = run  # type: ignore[method-assign]
    return False


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
