"""The jobs, each of which does what its name says: four loads, the crawl, the schema sync, and the way from the lake to Snowflake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import yaml
from pyspark.sql import SparkSession

from lab_insights.assets.sources import source_key
from lab_insights.aws import Aws
from lab_insights.extract.catalog import SourceTable
from lab_insights.governance import glue, history
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests
from lab_insights.local.stack import ON_SPARK
from lab_insights.partitions import partition_key
from lab_insights_tests.assets.world import AURORA, CEDAR, DOVER, FIR, GHOST, World, told
from lab_insights_tests.governance import haystack
from lab_insights_tests.listed import every

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
TABLE = "udt_instrument_log"


@pytest.fixture
def now(world: World) -> datetime:
    """The simulated instant; today is open."""
    return world.lake.clock.now()


def _later(world: World, hours: float) -> datetime:
    """Let time pass, and return the instant half way."""
    before = world.lake.clock.now()
    world.lake.clock.set(before + timedelta(hours=hours))
    return before + timedelta(hours=hours / 2)


def test_a_full_load_takes_whole_modelled_tables_and_an_incremental_one_what_changed_since(world: World, now: datetime) -> None:
    schema, day = f"{world.base}_crm_{DOVER}", now.date()
    accounts = Partition("raw", DOVER, "crm.account", day)

    full = world.run("full_load", [DOVER], [day])
    assert full.success, told(full)
    landed = {asset for asset, _ in world.materialized(full.run_id)}
    assert landed == {key.to_user_string() for key in _raw(world)} - {"raw/user_defined"}
    [snapshot] = partition_manifests(world.lake, accounts)
    assert (snapshot.kind, snapshot.load) == ("snapshot", "full")

    stamp = _later(world, 0.5).replace(tzinfo=None)
    world.execute("crm", f"UPDATE {schema}.account SET city = 'Dover', updated_at = '{stamp}' ORDER BY id LIMIT 2")
    changed = world.run("incremental_load", [DOVER], [day])
    assert changed.success, told(changed)
    [_, delta] = partition_manifests(world.lake, accounts)
    assert (delta.kind, delta.load) == ("delta", "incremental")
    assert 2 <= delta.rows < snapshot.rows
    assert world.metadata(changed.run_id, "raw/crm/account", str(partition_key(day, DOVER)))["load"] == "incremental"


@pytest.fixture
def on_spark(world: World) -> Iterator[World]:
    """The world with what the local stack declares of its large user-defined table."""
    path = world.home / "lab_insights.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    for source, overrides in ON_SPARK.items():
        content["sources"][source]["overrides"] = overrides
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    yield world
    path.write_text(before)
    if started := SparkSession.getActiveSession():
        started.stop()


@pytest.mark.slow
def test_the_dynamic_loads_do_the_same_for_user_defined_tables_alone_and_their_metadata_names_the_engine_of_each(
    on_spark: World, now: datetime
) -> None:
    world = on_spark
    schema, day = f"{world.base}_crm_{DOVER}", now.date()
    log, key = Partition("raw", DOVER, f"crm.{TABLE}", day), str(partition_key(day, DOVER))

    def line(run_id: str) -> dict[str, Any]:
        """What the run's metadata says of the table."""
        metadata = world.metadata(run_id, "raw/user_defined", key)
        assert metadata["tables"] == len(metadata["loads"].records)
        assert metadata["limits"]["crm"]["connections"] > 0
        [found] = [record.data for record in metadata["loads"].records if record.data["table"] == f"crm.{TABLE}"]
        assert metadata["kept_as_text"] == sum(int(str(record.data["kept_as_text"])) for record in metadata["loads"].records)
        return dict(found)

    full = world.run("dynamic_full_load", [DOVER], [day])
    assert full.success, told(full)
    assert {asset for asset, _ in world.materialized(full.run_id)} == {"raw/user_defined"}
    [snapshot] = partition_manifests(world.lake, log)
    assert (snapshot.kind, snapshot.load, snapshot.engine, snapshot.ranges) == ("snapshot", "dynamic_full", "spark", 2)
    said = line(full.run_id)
    assert (said["load"], said["engine"], said["rows"], said["reason"]) == ("dynamic_full", "spark", snapshot.rows, snapshot.reason)
    assert "declared: engine, ranges" in snapshot.reason

    stamp = _later(world, 0.5).replace(tzinfo=None)
    world.execute("crm", f"UPDATE {schema}.{TABLE} SET instrument = 'mended', updated_at = '{stamp}' ORDER BY id LIMIT 3")
    changed = world.run("dynamic_incremental_load", [DOVER], [day])
    assert changed.success, told(changed)
    [_, delta] = partition_manifests(world.lake, log)
    assert (delta.kind, delta.load, delta.engine) == ("delta", "dynamic_incremental", "spark")
    assert 3 <= delta.rows < snapshot.rows
    said = line(changed.run_id)
    assert (said["load"], said["engine"], said["rows"], said["reason"]) == (
        "dynamic_incremental",
        "spark",
        snapshot.rows + delta.rows,
        delta.reason,
    )


def _raw(world: World) -> set[dg.AssetKey]:
    graph = world.definitions.resolve_asset_graph()
    return {key for key in graph.materializable_asset_keys if key.path[0] == "raw"}


@pytest.fixture
def never_crawled(world: World) -> World:
    """The world in which no crawl has seen Dover yet."""
    db, table = world.resource.aws().client("dynamodb"), f"{world.resource.prefix}-status"
    for item in every(db, "scan", "Items", TableName=table):
        if item["pk"]["S"].startswith(f"schema#{DOVER}#"):
            db.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})
    return world


def test_the_crawl_writes_the_catalog_and_the_history_and_sees_a_change_once(never_crawled: World) -> None:
    world = never_crawled

    def crawl() -> dict[str, int]:
        result = world.operate("crawl", crawl_sources={"config": {"tenants": [DOVER]}})
        assert result.success, told(result)
        return _metadata(result, "crawl_sources")

    first = crawl()
    assert (first["schema_changes"], first["first_seen"], first["tables"]) == (0, first["tables"], 19)
    registered = world.resource.aws().client("glue").get_table(DatabaseName=glue.database(world.resource.prefix, "raw"), Name="crm_account")
    columns = {column["Name"]: column["Comment"] for column in registered["Table"]["StorageDescriptor"]["Columns"]}
    assert columns["id"].startswith("bigint")
    known = {name.removeprefix("lab_insights."): its for name, its in registered["Table"]["Parameters"].items()}
    assert (known["key"], int(known["rows"]) > 0, int(known["bytes"]) > 0) == ("id", True, True)

    again = crawl()
    assert (again["first_seen"], again["schema_changes"], again["glue_partitions"]) == (0, 0, 0)

    haystack.subscribe(world)
    world.execute("crm", f"ALTER TABLE {world.base}_crm_{DOVER}.account ADD COLUMN loyalty_tier VARCHAR(20)")
    assert crawl()["schema_changes"] == 1
    assert crawl()["schema_changes"] == 0
    seen = [record.asset_observation for record in world.instance.fetch_observations(source_key("crm", "account"), limit=20).records]
    [observation] = [each for each in seen if each and each.description == f"Schema change: {DOVER} crm.account: added loyalty_tier"]
    assert {name: its.value for name, its in observation.metadata.items()} == {
        "tenant": DOVER, "table": "account", "version": 2, "added": "loyalty_tier"
    }  # fmt: skip
    [(_, heard)] = haystack.alarms(world)
    [message] = json.loads(heard)
    told_ = json.loads(message["Body"])
    assert told_["MessageAttributes"]["kind"]["Value"] == "schema_change"
    assert f"- {DOVER}: crm.account: added loyalty_tier" in told_["Message"]


def test_a_change_is_told_though_another_tables_history_can_not_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = history.record

    def record(aws: Aws, prefix: str, table: SourceTable, *rest: Any) -> history.Change | None:
        if table.table_id == "lis.result":
            raise ConnectionError
        return honest(aws, prefix, table, *rest)

    world.operate("crawl", crawl_sources={"config": {"tenants": [DOVER]}})
    haystack.subscribe(world)
    world.execute("crm", f"ALTER TABLE {world.base}_crm_{DOVER}.account ADD COLUMN nickname VARCHAR(20)")
    monkeypatch.setattr(history, "record", record)
    result = world.operate("crawl", crawl_sources={"config": {"tenants": [DOVER]}})
    [message] = told(result).values()
    assert f"lis.result of {DOVER}" in message
    assert any("crm.account: added nickname" in heard for _, heard in haystack.alarms(world))


def test_a_crawl_names_the_source_that_it_can_not_read_and_keeps_the_others(world: World) -> None:
    result = world.operate("crawl", crawl_sources={"config": {"tenants": [GHOST, CEDAR]}})
    assert not result.success
    [message] = told(result).values()
    assert (
        "3 sources could not be crawled; the others are in the catalog: crm of ghost_lab, lis of ghost_lab, messages of ghost_lab."
        in message
    )
    history = (
        world.resource.aws()
        .client("dynamodb")
        .query(
            TableName=f"{world.resource.prefix}-status",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"schema#{CEDAR}#crm.account"}},
        )
    )
    assert len(history["Items"]) == 1


@pytest.fixture(scope="module")
def loaded_day(world: World) -> date:
    """The open day of a tenant of these tests alone, which is in every layer."""
    day = world.lake.clock.now().date()
    result = world.run("everything", [FIR], [day])
    assert result.success, told(result)
    return day


@pytest.fixture
def lost(world: World, loaded_day: date) -> Iterator[World]:
    """The world after that tenant's database was lost."""
    with world.warehouse.session("test") as session:
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{FIR.upper()}"')
    yield world
    _sync(world)


def _sync(world: World, *tenants: str) -> dg.ExecuteInProcessResult:
    return world.operate("schema_sync", sync_schemas={"config": {"tenants": list(tenants or [FIR])}})


def _metadata(result: dg.ExecuteInProcessResult, op: str) -> dict[str, int]:
    [output] = [event.step_output_data for event in result.events_for_node(op) if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.metadata.items() if isinstance(value.value, int)}


def test_a_lost_database_is_made_anew_from_the_lake_alone(lost: World, loaded_day: date) -> None:
    made = _sync(lost)
    assert made.success, told(made)
    assert _metadata(made, "sync_schemas")["changes"] >= 12
    assert lost.count(FIR, "CURATED.PATIENT") == 0
    assert _metadata(_sync(lost), "sync_schemas")["changes"] == 0, "a second run has nothing to do"

    loaded = lost.run("curated_to_snowflake", [FIR], [loaded_day])
    assert loaded.success, told(loaded)
    assert {asset.split("/")[0] for asset, _ in lost.materialized(loaded.run_id)} == {"snowflake", "reports"}
    [patients] = partition_manifests(lost.lake, Partition("curated", FIR, "patient", loaded_day))
    assert lost.count(FIR, "CURATED.PATIENT") == patients.rows > 0
    assert lost.count(FIR, "REPORTS.DAILY_ACTIVITY") > 0


def test_rows_that_the_source_deleted_are_tombstones_down_to_the_warehouse(world: World, loaded_day: date) -> None:
    table = world.resource.sources().table(world.resource.registry().get(FIR), "lis.result")
    assert table.placement.discriminator
    column, value = table.placement.discriminator

    only = {job: [dg.AssetKey([layer, "result"])] for job, layer in (("curation", "curated"), ("curated_to_snowflake", "snowflake"))}

    def dead_after(job: str) -> tuple[int, dict[str, object]]:
        """Delete the oldest row at the source, run the job, and return the warehouse's tombstones and what the run says of the raw day."""
        oldest = f"{table.placement.schema}.{table.physical} WHERE {column} = '{value}' ORDER BY updated_at LIMIT 1"
        world.execute("lis", f"DELETE FROM {oldest}")
        results = [world.run(each, [FIR], [loaded_day], assets=only.get(each)) for each in (job, *only)]
        assert all(result.success for result in results), [told(result) for result in results]
        said = world.metadata(results[0].run_id, "raw/lis/result", str(partition_key(loaded_day, FIR)))
        return world.count(FIR, 'CURATED.RESULT WHERE "IS_DELETED"'), said

    dead, said = dead_after("find_deletes")
    assert (dead, said["tombstones"], said["load"]) == (1, 1, "deletes")
    dead, said = dead_after("full_load")
    assert (dead, said["kind"], said["load"]) == (2, "snapshot", "full")
    assert world.count(FIR, "CURATED.RESULT_LIVE") == world.count(FIR, "CURATED.RESULT") - 2


def test_a_schema_sync_names_the_tenant_that_it_can_not_serve_and_serves_the_others(lost: World) -> None:
    with lost.warehouse.session("test") as session:
        session.execute(f'CREATE DATABASE "LAB_INSIGHTS_{FIR.upper()}"')
        session.execute(f'CREATE SCHEMA "LAB_INSIGHTS_{FIR.upper()}".CURATED')
        session.execute(f'CREATE VIEW "LAB_INSIGHTS_{FIR.upper()}".CURATED.PATIENT AS SELECT 1 AS X')
    result = _sync(lost, FIR, AURORA)
    with lost.warehouse.session("test") as session:
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{FIR.upper()}"')
    assert not result.success
    [message] = told(result).values()
    assert "1 client databases could not be brought into line; the others are: fir_valley." in message


def test_an_unknown_tenant_is_named(world: World) -> None:
    result = world.operate("schema_sync", sync_schemas={"config": {"tenants": ["nobody_lab"]}})
    assert "[tenant nobody_lab] The registry does not hold this tenant." in told(result)["sync_schemas"]
