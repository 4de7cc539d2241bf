"""What counts as used, against a real lake and a real ledger."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.events import ManifestRef
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.local.snowflake import LOGIN
from lab_insights.names import tenant_id
from lab_insights.sensors import consumed as consumed_by
from lab_insights.sensors.consumed import curated_names_it, delivered
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights_tests.sensors.world import World, put, today
from lab_insights_tests.warehouse.lake import TestLake

TENANT = tenant_id("aurora_clinic")


def ref(manifest: Manifest) -> ManifestRef:
    return ManifestRef(manifest.partition, manifest.batch_id)


def test_a_raw_manifest_is_used_by_every_table_that_it_becomes_and_one_without_a_contract_by_its_own(world: World) -> None:
    for raw_table, becoming in (("lis.result", ("result", "result_version")), ("crm.udt_equipment", ("crm.udt_equipment",))):
        first = world.land(table=raw_table)
        for table in becoming:
            assert not curated_names_it(world.lake, first)
            put(world.lake, Partition("curated", TENANT, table, today()), (first.key,))
        assert curated_names_it(world.lake, first)
        second = world.land(table=raw_table)
        put(world.lake, Partition("curated", TENANT, becoming[0], today()), (second.key,), supersedes=True)
        assert not curated_names_it(world.lake, first), "the live batch was not made from it"


def test_a_curated_manifest_is_used_once_its_wide_tables_and_the_ledger_have_it(
    world: World, snowflake_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumed_by, "served_wide", lambda _: WIDE_TABLES)  # as if this world had every source
    name = f"{world.resource.prefix}/snowflake"
    world.resource.aws().client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(LOGIN))
    host, port = snowflake_server
    world.configure(snowflake=f'account: fakesnow, host: {host}, port: {port}, protocol: http, credentials: "secret:{name}"')
    storage, schema = world.lake.storage, pa.schema([("id", pa.int64())])
    batches = TestLake(storage, TENANT, world.lake.state)

    def used(manifest: Manifest) -> bool:
        with delivered(world.warehouse) as consumed:
            return consumed(world.lake, ref(manifest))

    plain = batches.batch("udt_equipment", 1, [{"id": 1}], schema)
    assert not used(plain), "the tenant has no database yet"
    with world.warehouse.session("test") as session:
        provision(session, storage, TENANT)
        assert not used(plain)
        load(session, storage, TENANT, [plain], run_id="test")
        assert used(plain)
        modelled = batches.batch("result", 1, [{"result_id": "1"}], pa.schema([("result_id", pa.string())]), key=("result_id",))
        load(session, storage, TENANT, [modelled], run_id="test")
        assert not used(modelled), "no wide table was made from it"
        session.execute('DROP DATABASE "LAB_INSIGHTS_AURORA_CLINIC"')
    assert used(plain), "what was loaded is remembered and asks the warehouse no more"
