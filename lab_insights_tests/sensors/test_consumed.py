"""What counts as used, against a real lake and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest

from lab_insights.lab.pipeline import unpivot_table
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.erase import erase_items, erase_objects
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.local.snowflake import LOGIN
from lab_insights.names import tenant_id
from lab_insights.sensors import consumed as consumed_by
from lab_insights.sensors.consumed import curated_names_it, delivered
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import Session
from lab_insights_tests.sensors.world import World, put, today
from lab_insights_tests.warehouse.lake import TestLake

TENANT = tenant_id("aurora_clinic")
DATABASE = '"LAB_INSIGHTS_AURORA_CLINIC"'
SCHEMA = pa.schema([("id", pa.int64())])


def committed(lake: Lake, partition: Partition, key: str) -> Committed:
    batches = lake.state.batches(partition.layer, partition.tenant, partition.table, partition.day, partition.day)
    return next(batch for batch in batches if batch.manifest == key)


def test_a_raw_manifest_is_used_by_every_table_that_it_becomes_and_one_without_a_contract_by_its_own(world: World) -> None:
    for raw_table, becoming in (("lis.result", ("result", "result_version")), ("crm.udt_equipment", ("crm.udt_equipment",))):
        landed = world.land(table=raw_table)
        first = committed(world.lake, landed.partition, landed.key)
        for table in becoming:
            assert not curated_names_it(world.lake, first)
            put(world.lake, Partition("curated", TENANT, table, today()), (landed.key,))
        assert curated_names_it(world.lake, first)
        second = world.land(table=raw_table)
        put(world.lake, Partition("curated", TENANT, becoming[0], today()), (second.key,), supersedes=True)
        assert not curated_names_it(world.lake, first), "the live batch was not made from it"


@pytest.fixture
def batches(world: World, snowflake_server: tuple[str, int]) -> TestLake:
    """A tenant's curated batches of a deployment with a warehouse, and with a source."""
    name = f"{world.resource.prefix}/snowflake"
    world.resource.aws().client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(LOGIN))
    host, port = snowflake_server
    world.configure(
        snowflake=f'account: fakesnow, host: {host}, port: {port}, protocol: http, credentials: "secret:{name}"',
        sources='{shop: {engine: mysql, url: "env:NONE", tenancy: {schema: {schema: "shop_{tenant}"}}}}',
    )
    return TestLake(world.lake.storage, TENANT, world.lake.state)


@pytest.fixture
def session(world: World, batches: TestLake) -> Iterator[Session]:
    """A session to the warehouse; the tenant's database goes with it."""
    with world.warehouse.session("test") as made:
        yield made
        made.execute(f"DROP DATABASE IF EXISTS {DATABASE}")


def used(world: World, manifest: Manifest) -> bool:
    batch = committed(world.lake, manifest.partition, manifest.object_key)
    with delivered(world.warehouse) as consumed:
        return consumed(world.lake, batch)


def test_a_curated_manifest_is_used_once_its_wide_tables_and_the_ledger_have_it(
    world: World, batches: TestLake, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumed_by, "served_wide", lambda _: WIDE_TABLES)  # as if this world had every source
    plain = batches.batch("equipment", 1, [{"id": 1}], SCHEMA)
    assert not used(world, plain), "the tenant has no database yet"
    provision(session, world.lake.storage, TENANT)
    assert not used(world, plain)
    load(session, world.lake.storage, TENANT, [plain], run_id="test")
    assert used(world, plain)
    modelled = batches.batch("result", 1, [{"result_id": "1"}], pa.schema([("result_id", pa.string())]), key=("result_id",))
    load(session, world.lake.storage, TENANT, [modelled], run_id="test")
    assert not used(world, modelled), "no wide table was made from it"
    session.execute(f"DROP DATABASE {DATABASE}")
    assert used(world, plain), "what was loaded is remembered and asks the warehouse no more"


def test_a_user_defined_table_is_used_once_its_long_table_is_made_of_it_and_loaded(
    world: World, batches: TestLake, session: Session
) -> None:
    provision(session, world.lake.storage, TENANT)
    defined = batches.batch("shop.udt_stock", 1, [{"id": 1, "bin": "A"}], pa.schema([*SCHEMA, ("bin", pa.string())]))
    load(session, world.lake.storage, TENANT, [defined], run_id="test")
    assert not used(world, defined), "its day has no long rows"
    long = unpivot_table(world.lake, TENANT, defined.table, defined.day, "test")
    assert not used(world, defined), "they are not loaded"
    load(session, world.lake.storage, TENANT, [long], run_id="test")
    assert used(world, defined)


def test_a_tenant_that_was_offboarded_and_came_back_is_not_taken_for_delivered(world: World, batches: TestLake, session: Session) -> None:
    provision(session, world.lake.storage, TENANT)
    before = batches.batch("equipment", 1, [{"id": 1}], SCHEMA)
    load(session, world.lake.storage, TENANT, [before], run_id="test")
    assert used(world, before)
    session.execute(f"DROP DATABASE {DATABASE}")
    erase_objects(world.lake, "curated", TENANT)
    erase_items(world.lake, TENANT)
    again = put(world.lake, before.partition)
    assert again.object_key == before.object_key
    assert not used(world, again)
