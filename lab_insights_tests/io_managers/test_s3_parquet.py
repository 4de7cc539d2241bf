"""The lake's IO manager: what engineers' assets return is committed, any rectangle of it, and comes back as the type that was asked for."""

# No `from __future__ import annotations` here: Dagster wants the very types of an asset's inputs, not their names.

from collections.abc import Callable
from datetime import datetime
from typing import Any

import dagster as dg
import ibis
import pandas as pd
import pyarrow as pa
import pytest

from lab_insights.assets.receipts import Receipt
from lab_insights.lab.publish import publish
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation
from lab_insights.names import TenantId
from lab_insights_tests.io_managers.clinic import DAYS, Clinic, why

pytestmark = pytest.mark.xdist_group("io_managers")
ROWS = pa.table({"patient_id": ["p1", "p2", "p3"], "score": [0.5, None, 1.5], "visits": [1, 2, 3]})


def _returning(clinic: Clinic, value: Any, key: tuple[str, ...] = ("patient_id",), name: str = "risk") -> dg.AssetsDefinition:
    """Return an asset that returns `value`, or what `value` makes of the run's partition keys."""

    @dg.asset(
        name=name,
        partitions_def=clinic.grid,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="lake_io",
        metadata={"key": list(key)} if key else {},
    )
    def made(context: dg.AssetExecutionContext) -> Any:
        return value(list(context.partition_keys)) if callable(value) else value

    return made


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(ROWS, id="arrow"),
        pytest.param(ROWS.to_batches()[0], id="record batch"),
        pytest.param(ROWS.to_pandas(), id="pandas"),
        pytest.param(ibis.memtable(ROWS), id="ibis"),
    ],
)
def test_what_an_asset_returns_for_a_partition_is_committed_as_its_batch(value: Any, clinic: Clinic) -> None:
    key = clinic.keys()[0]
    result = clinic.materialize(_returning(clinic, value), first=key)
    assert result.success
    [batch] = clinic.committed("risk", key)
    assert (batch.rows, batch.key, batch.run_id) == (3, ("patient_id",), result.run_id)
    [event] = result.asset_materializations_for_node("risk")
    assert event.partition == key
    assert event.metadata["dagster/partition_row_count"].value == 3
    assert event.metadata["dagster/uri"].value == clinic.lake.storage.uri("transformed", batch.partition.directory)


@pytest.mark.soak
def test_what_spark_made_is_committed_too(clinic: Clinic) -> None:
    from pyspark.sql import SparkSession

    with SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate() as spark:
        frame = spark.createDataFrame(ROWS.to_pandas())
        assert clinic.materialize(_returning(clinic, frame), first=clinic.keys()[0]).success
    assert clinic.committed("risk", clinic.keys()[0])[0].rows == 3


def test_a_mapping_is_committed_partition_by_partition_over_any_rectangle(clinic: Clinic) -> None:
    def each(keys: list[str]) -> dict[str, pa.Table]:
        return {key: ROWS.slice(0, 1 + index % 3) for index, key in enumerate(keys)}

    keys = clinic.keys()
    result = clinic.materialize(_returning(clinic, each), first=keys[0], last=keys[-1])
    assert result.success, why(result)
    assert [sum(batch.rows for batch in clinic.committed("risk", key)) for key in keys] == [1, 2, 3, 1]
    counted = {
        event.partition: event.metadata["dagster/partition_row_count"].value for event in result.asset_materializations_for_node("risk")
    }
    assert counted == dict(zip(keys, [1, 2, 3, 1], strict=True))


def test_what_can_not_be_committed_for_one_tenant_is_for_the_others_and_is_told(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, bad = clinic.keys(), clinic.tenants[0]

    def refusing(lake: Lake, tenant: TenantId, *args: Any, **how: Any) -> Manifest:
        if tenant == bad:
            raise ValueError("p1")
        return publish(lake, tenant, *args, **how)

    monkeypatch.setattr("lab_insights.io_managers.s3_parquet.publish", refusing)
    result = clinic.materialize(_returning(clinic, lambda keys: dict.fromkeys(keys, ROWS)), first=keys[0], last=keys[-1])
    assert not result.success
    failed = [key for key in keys if key.endswith(f"|{bad}")]
    assert [key for key in keys if clinic.committed("risk", key)] == [key for key in keys if key not in failed]
    assert f"committed but for {len(failed)} of {len(keys)} partitions" in why(result)
    assert all(f"{key}: ValueError in refusing" in why(result) for key in failed)


def test_materializing_again_replaces_the_batch(clinic: Clinic) -> None:
    key = clinic.keys()[0]
    for rows in (ROWS, ROWS.slice(1)):
        assert clinic.materialize(_returning(clinic, rows), first=key).success
    assert [batch.rows for batch in clinic.committed("risk", key)] == [2]


def test_a_partition_without_rows_is_a_partition(clinic: Clinic) -> None:
    key = clinic.keys()[0]
    assert clinic.materialize(_returning(clinic, ROWS.slice(0, 0)), first=key).success
    assert [batch.rows for batch in clinic.committed("risk", key)] == [0]


def test_receipts_pass_since_what_they_tell_is_committed_already(clinic: Clinic) -> None:
    key = clinic.keys()[0]
    assert clinic.materialize(_returning(clinic, {key: Receipt(3, {})}), first=key).success
    assert clinic.committed("risk", key) == []


@pytest.mark.parametrize(
    ("value", "key", "told"),
    [
        pytest.param(ROWS, ("patient_id",), "one value for 4 partitions", id="one value for a rectangle"),
        pytest.param(lambda keys: dict.fromkeys(keys[:-1], ROWS), ("patient_id",), "does not name this run's partitions", id="one missing"),
        pytest.param(lambda keys: dict.fromkeys([*keys, "x|y"], ROWS), ("patient_id",), "does not name this run's", id="one too many"),
        pytest.param({}, ("patient_id",), "does not name this run's partitions", id="nothing"),
        pytest.param(lambda keys: dict.fromkeys(keys, ROWS), (), "needs metadata `key`", id="no key"),
        pytest.param(lambda keys: dict.fromkeys(keys, ROWS), ("mrn",), "without its key columns mrn", id="a key that is no column"),
        pytest.param(
            lambda keys: dict.fromkeys(keys, ROWS),
            ("patient_id", "As_Of"),
            "columns that every row is given here: As_Of",
            id="a key of ours",
        ),
        pytest.param(
            lambda keys: dict.fromkeys(keys, ROWS.append_column("tenant_id", ROWS["patient_id"])),
            ("patient_id",),
            "columns that every row is given here: tenant_id",
            id="a column of ours",
        ),
        pytest.param(lambda keys: dict.fromkeys(keys, "rows"), ("patient_id",), "a str is neither Arrow", id="no data"),
        pytest.param(
            lambda keys: dict.fromkeys(keys, pa.concat_tables([ROWS, ROWS])), ("patient_id",), "does not tell apart", id="doubled rows"
        ),
        pytest.param(lambda keys: dict.fromkeys(keys, ROWS), ("score",), "does not tell apart", id="a null in the key"),
    ],
)
def test_what_can_not_be_right_is_refused_before_anything_is_committed(value: Any, key: tuple[str, ...], told: str, clinic: Clinic) -> None:
    keys = clinic.keys()
    result = clinic.materialize(_returning(clinic, value, key), first=keys[0], last=keys[-1])
    assert not result.success
    assert told in why(result)
    assert "p1" not in why(result), "an error shows no row"
    assert [clinic.committed("risk", key) for key in keys] == [[], [], [], []]


def test_data_under_the_key_of_a_layer_that_is_made_from_sources_is_refused(clinic: Clinic) -> None:
    @dg.asset(key=["curated", "risk"], partitions_def=clinic.grid, io_manager_key="lake_io", metadata={"key": ["patient_id"]})
    def made() -> pa.Table:
        return ROWS

    assert "curated is made from the sources alone" in why(clinic.materialize(made, first=clinic.keys()[0]))


def test_instants_are_microseconds_of_utc_and_categories_their_words_as_everywhere_in_the_lake(clinic: Clinic) -> None:
    tokyo = pd.Timestamp("2026-03-02 09:00:00.000001", tz="Asia/Tokyo")
    frame = pd.DataFrame({"patient_id": ["p1"], "seen_at": [tokyo], "sex": pd.Categorical(["F"])})
    assert clinic.materialize(_returning(clinic, frame), first=clinic.keys()[0]).success
    [batch] = clinic.committed("risk", clinic.keys()[0])
    assert batch.schema_().field("seen_at").type == pa.timestamp("us")
    assert batch.schema_().field("sex").type == pa.string()
    rows = relation(clinic.lake.storage, [batch], batch.schema_())
    assert rows["seen_at"].to_pylist() == [datetime(2026, 3, 2, 0, 0, 0, 1)]


def test_an_instant_that_would_be_cut_is_refused(clinic: Clinic) -> None:
    rows = pa.table({"patient_id": ["p1"], "seen_at": pa.array([1], pa.timestamp("ns"))})
    assert "seen_at holds instants finer than a microsecond" in why(clinic.materialize(_returning(clinic, rows), first=clinic.keys()[0]))


def _reading(clinic: Clinic, wanted: Any, seen: Callable[[Any], None]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=clinic.grid, backfill_policy=dg.BackfillPolicy.single_run())
    def reader(risk: wanted) -> None:
        seen(risk)

    return reader


@pytest.mark.parametrize(
    ("wanted", "made"),
    [(pd.DataFrame, pd.DataFrame), (pa.Table, pa.Table), (Any, pa.Table)],
    ids=["pandas", "arrow", "untyped"],
)
def test_an_input_comes_as_the_type_that_it_is_annotated_with(wanted: Any, made: type, clinic: Clinic) -> None:
    seen: list[Any] = []
    result = clinic.materialize(_returning(clinic, ROWS), _reading(clinic, wanted, seen.append), first=clinic.keys()[0])
    assert result.success, why(result)
    [value] = seen
    assert isinstance(value, made)
    rows = pa.Table.from_pandas(value) if isinstance(value, pd.DataFrame) else value
    assert rows.select(ROWS.column_names).sort_by("patient_id").to_pydict() == ROWS.to_pydict()
    assert set(META_COLUMNS) < set(rows.column_names)


@pytest.mark.parametrize("wanted", [dict[str, pd.DataFrame], dict], ids=["annotated", "bare"])
def test_several_partitions_come_as_a_mapping_by_partition_key(wanted: Any, clinic: Clinic) -> None:
    seen: list[dict[str, Any]] = []
    keys = clinic.keys()
    written = _returning(clinic, lambda keys: dict.fromkeys(keys, ROWS))
    result = clinic.materialize(written, _reading(clinic, wanted, seen.append), first=keys[0], last=keys[-1])
    assert result.success, why(result)
    assert sorted(seen[0]) == sorted(keys)
    assert {type(value) for value in seen[0].values()} == {pd.DataFrame if wanted is not dict else pa.Table}
    assert {len(value) for value in seen[0].values()} == {3}


def test_an_input_that_was_never_materialized_is_named(clinic: Clinic) -> None:
    written = _returning(clinic, ROWS)
    first, second = clinic.keys(clinic.tenants[:1], DAYS)
    assert clinic.materialize(written, first=first).success
    loaded = dg.Definitions(assets=[written], resources=clinic.resources)
    assert loaded.load_asset_value("risk", partition_key=first, instance=clinic.instance, python_type=pd.DataFrame).shape[0] == 3
    with pytest.raises(Exception, match="transformed partition was never materialized"):
        loaded.load_asset_value("risk", partition_key=second, instance=clinic.instance)
