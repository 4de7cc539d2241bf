"""The warehouse's IO manager: what engineers' assets return is merged into each tenant's own database, and read from there."""

# No `from __future__ import annotations` here: Dagster wants the very types of an asset's inputs, not their names.

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from lab_insights.io_managers import snowflake as module
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.session import Session
from lab_insights_tests.io_managers.clinic import DAYS, Clinic, why

pytestmark = pytest.mark.xdist_group("io_managers")
ROWS = pa.table(
    {
        "patient_id": pa.array(["p1", "p2", "p3"]),
        "score": pa.array([Decimal("0.123456789"), None, Decimal("98765432109876543210987654321.000000001")], pa.decimal128(38, 9)),
        "visits": pa.array([1, 2, None], pa.int64()),
        "seen_at": pa.array([datetime(2026, 3, 2, 23, 59, 59, 999999), None, datetime(1969, 12, 31)], pa.timestamp("us")),
        "born_on": pa.array([date(1940, 2, 29), None, date(2026, 3, 2)], pa.date32()),
    }
)


def _returning(clinic: Clinic, value: Any, key: tuple[str, ...] = ("patient_id",)) -> dg.AssetsDefinition:
    @dg.asset(
        name="risk",
        partitions_def=clinic.grid,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="snowflake_io",
        metadata={"key": list(key)} if key else {},
    )
    def made(context: dg.AssetExecutionContext) -> Any:
        return value(list(context.partition_keys)) if callable(value) else value

    return made


def _reading(clinic: Clinic, wanted: Any, seen: list[Any]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=clinic.grid, backfill_policy=dg.BackfillPolicy.single_run())
    def reader(risk: wanted) -> None:
        seen.append(risk)

    return reader


@pytest.mark.parametrize("wanted", [pa.Table, Any], ids=["arrow", "untyped"])
def test_rows_come_back_from_the_tenants_database_as_they_went(wanted: Any, provisioned: Clinic) -> None:
    seen: list[pa.Table] = []
    result = provisioned.materialize(_returning(provisioned, ROWS), _reading(provisioned, wanted, seen), first=provisioned.keys()[0])
    assert result.success, why(result)
    assert seen[0].select(ROWS.column_names).sort_by("patient_id").to_pylist() == ROWS.to_pylist()
    [event] = result.asset_materializations_for_node("risk")
    assert (event.metadata["dagster/partition_row_count"].value, event.metadata["inserted"].value) == (3, 3)


def test_pandas_goes_and_comes(provisioned: Clinic) -> None:
    seen: list[pd.DataFrame] = []
    frame = pd.DataFrame({"patient_id": ["p1", "p2"], "seen_at": [datetime(2026, 3, 2, 8, tzinfo=UTC), None], "visits": [1, 2]})
    result = provisioned.materialize(_returning(provisioned, frame), _reading(provisioned, pd.DataFrame, seen), first=provisioned.keys()[0])
    assert result.success, why(result)
    rows = seen[0].sort_values("patient_id")
    assert list(rows["visits"]) == [1, 2]
    assert [rows["seen_at"].iloc[0], rows["seen_at"].isna().iloc[1]] == [pd.Timestamp(2026, 3, 2, 8), True]


def test_a_rectangle_reaches_each_tenants_own_database_and_no_other(provisioned: Clinic) -> None:
    def each(keys: list[str]) -> dict[str, pa.Table]:
        return {key: pa.table({"patient_id": [f"{key} a", f"{key} b"]}) for key in keys}

    keys, seen = provisioned.keys(), []
    result = provisioned.materialize(
        _returning(provisioned, each), _reading(provisioned, dict[str, pa.Table], seen), first=keys[0], last=keys[-1]
    )
    assert result.success, why(result)
    for tenant in provisioned.tenants:
        rows = provisioned.query(tenant, "SELECT PATIENT_ID FROM TRANSFORMED.RISK ORDER BY 1")
        assert [row[0] for row in rows] == [f"{key} {end}" for key in keys if key.endswith(tenant) for end in "ab"]
        assert seen[0][tenant].num_rows == 4
    assert {event.partition for event in result.asset_materializations_for_node("risk")} == set(keys)


def test_a_tenants_rows_are_loaded_in_the_tenants_own_session(provisioned: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, load = [], module.load

    def loading(session: Session, storage: Storage, tenant: TenantId, *arguments: Any, **more: Any) -> Any:
        sessions.append((tenant, storage.aws.tenant))
        return load(session, storage, tenant, *arguments, **more)

    monkeypatch.setattr(module, "load", loading)
    keys = provisioned.keys(days=DAYS[:1])
    every = _returning(provisioned, lambda keys: {key: pa.table({"patient_id": ["p1"]}) for key in keys})
    result = provisioned.materialize(every, first=keys[0], last=keys[-1])
    assert result.success, why(result)
    assert sorted(sessions) == [(tenant, tenant) for tenant in sorted(provisioned.tenants)]


def test_materializing_again_updates_rows_and_doubles_none(provisioned: Clinic) -> None:
    key, tenant = provisioned.keys()[0], provisioned.tenants[0]
    for visits in (1, 7):
        rows = pa.table({"patient_id": ["p1", "p2"], "visits": [visits, 2]})
        assert provisioned.materialize(_returning(provisioned, rows), first=key).success
    assert provisioned.query(tenant, "SELECT PATIENT_ID, VISITS FROM TRANSFORMED.RISK_LIVE ORDER BY 1") == [("p1", 7), ("p2", 2)]


def test_a_column_that_is_new_today_is_added(provisioned: Clinic) -> None:
    first, second = provisioned.keys(provisioned.tenants[:1])
    assert provisioned.materialize(_returning(provisioned, pa.table({"patient_id": ["p1"]})), first=first).success
    assert provisioned.materialize(_returning(provisioned, pa.table({"patient_id": ["p2"], "note": ["new"]})), first=second).success
    rows = provisioned.query(provisioned.tenants[0], "SELECT PATIENT_ID, NOTE FROM TRANSFORMED.RISK ORDER BY 1")
    assert rows == [("p1", None), ("p2", "new")]


def test_an_asset_without_a_key_is_refused(provisioned: Clinic) -> None:
    result = provisioned.materialize(_returning(provisioned, ROWS, key=()), first=provisioned.keys()[0])
    assert "needs metadata `key`: the columns that tell its rows apart" in why(result)


def test_a_tenant_without_a_database_is_named_with_what_to_do(clinic: Clinic) -> None:
    result = clinic.materialize(_returning(clinic, ROWS), first=clinic.keys()[0])
    assert clinic.tenants[0] in why(result)
    assert "provision the tenant" in why(result)


def test_a_notebook_reads_an_asset_without_any_run(provisioned: Clinic) -> None:
    made = _returning(provisioned, ROWS)
    assert provisioned.materialize(made, first=provisioned.keys()[0]).success
    loaded = dg.Definitions(assets=[made], resources=provisioned.resources)
    found = loaded.load_asset_value("risk", partition_key=provisioned.keys()[0], instance=provisioned.instance, python_type=pd.DataFrame)
    assert sorted(found["patient_id"]) == ["p1", "p2", "p3"]


def test_what_the_product_itself_has_loaded_is_read_by_its_own_key(provisioned: Clinic) -> None:
    """Keys below `snowflake` are tables of the tenant's database, those below `reports` its reports."""
    provisioned.materialize(_returning(provisioned, ROWS), first=provisioned.keys()[0])
    provisioned.query(provisioned.tenants[0], "CREATE TABLE REPORTS.DAILY_ACTIVITY AS SELECT 7 AS ORDERS")
    seen: list[Any] = []

    @dg.asset(
        partitions_def=provisioned.grid,
        ins={
            "risk": dg.AssetIn(["snowflake", "risk"], input_manager_key="snowflake_io"),
            "report": dg.AssetIn(["reports", "daily_activity"], input_manager_key="snowflake_io"),
        },
    )
    def reader(risk: pa.Table, report: pa.Table) -> None:
        seen.extend([risk.num_rows, report.to_pylist()])

    there = [
        dg.AssetSpec(["snowflake", "risk"], partitions_def=provisioned.grid),
        dg.AssetSpec(["reports", "daily_activity"], partitions_def=provisioned.grid),
    ]
    result = dg.materialize(
        [reader, *there],
        selection=[reader],
        instance=provisioned.instance,
        resources=provisioned.resources,
        tags={"dagster/asset_partition_range_start": provisioned.keys()[0], "dagster/asset_partition_range_end": provisioned.keys()[0]},
        raise_on_error=False,
    )
    assert result.success, why(result)
    assert seen == [3, [{"orders": 7}]]
