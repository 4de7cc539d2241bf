"""User-defined tables: a large one delays nobody, a broken one is quarantined alone, whatever it is called."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from lab_insights.extract import window
from lab_insights.extract.catalog import SourceTable, table_id
from lab_insights.extract.land import Request
from lab_insights.extract.sources import Sources
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import _part, partition_manifests
from lab_insights.partitions import partition_key
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.assets.backfills import persistent
from lab_insights_tests.assets.world import DOVER, GHOST, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
TABLE, POOL = "udt_instrument_log", "user_defined"
LARGE = 5_000_000
HOSTILE = 'udt_x"; DROP TABLE y'


@pytest.fixture
def today(world: World) -> date:
    """The open day."""
    return world.lake.clock.now().date()


def quarantine(world: World, result: dg.ExecuteInProcessResult, day: date) -> tuple[int, dict[str, str]]:
    metadata = world.metadata(result.run_id, "raw/user_defined", str(partition_key(day, DOVER)))
    return metadata["quarantined_tables"], metadata.get("quarantine", {})


@pytest.mark.parametrize(
    ("pool", "slow", "held", "others"),
    [
        (POOL, f"crm.{TABLE}", ("dynamic_full_load", None), ("full_load", None)),
        ("source_lis", "lis.result", ("raw", dg.AssetKey(["raw", "lis", "result"])), ("raw", dg.AssetKey(["raw", "crm", "account"]))),
    ],
    ids=["a large user-defined table and the modelled ones", "a slow source and another"],
)
def test_while_a_table_fills_its_pool_what_is_in_others_is_loaded(
    world: World,
    today: date,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pool: str,
    slow: str,
    held: tuple[str, dg.AssetKey | None],
    others: tuple[str, dg.AssetKey | None],
) -> None:
    reading, finish, load = threading.Event(), threading.Event(), Sources.load

    def slowly(self: Sources, table: SourceTable, request: Request) -> list[Manifest]:
        if table.table_id == slow:
            reading.set()
            assert finish.wait(60)
        return load(self, table, request)

    monkeypatch.setattr(Sources, "load", slowly)
    with persistent(world, tmp_path) as kept, ThreadPoolExecutor(1) as beside:

        def run(job: str, asset: dg.AssetKey | None) -> dg.ExecuteInProcessResult:
            return kept.run(job, [DOVER], [today], assets=[asset] if asset else None)

        kept.instance.event_log_storage.set_concurrency_slots(pool, 1)
        first = beside.submit(run, *held)
        try:
            assert reading.wait(60)
            other = run(*others)
            assert other.success, told(other)
            its = kept.instance.event_log_storage.get_concurrency_info(pool)
            assert (its.slot_count, its.active_slot_count) == (1, 1), "the first holds the pool's only place all the while"
            assert not first.done()
        finally:
            finish.set()
        assert first.result().success


@pytest.mark.soak
def test_while_five_million_rows_of_one_are_read_the_modelled_tables_are_loaded(
    world: World, today: date, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    schema, reading, others, load = f"{world.base}_crm_{DOVER}", threading.Event(), threading.Event(), Sources.load
    world.execute(
        "crm", f"CREATE TABLE {schema}.udt_large (id INT PRIMARY KEY, instrument VARCHAR(40), value DECIMAL(12,4), taken DATETIME)"
    )

    def beside_others(self: Sources, table: SourceTable, request: Request) -> list[Manifest]:
        if table.name != "udt_large":
            return load(self, table, request)
        reading.set()
        found = load(self, table, request)
        assert others.wait(600), "the modelled tables waited for it"
        return found

    monkeypatch.setattr(Sources, "load", beside_others)
    try:
        for low in range(0, LARGE, 500_000):
            world.execute(
                "crm",
                f"INSERT INTO {schema}.udt_large SELECT seq, CONCAT('analyser ', MOD(seq, 50)), seq / 7, '2026-03-01' + INTERVAL seq SECOND "
                f"FROM {schema}.seq_{low + 1}_to_{low + 500_000}",
            )
        with persistent(world, tmp_path) as kept, ThreadPoolExecutor(1) as pool:
            large = pool.submit(kept.run, "dynamic_full_load", [DOVER], [today])
            assert reading.wait(300)
            modelled = kept.run("full_load", [DOVER], [today])
            others.set()
            assert modelled.success, told(modelled)
            assert large.result(900).success
        [*_, landed] = partition_manifests(world.lake, Partition("raw", DOVER, "crm.udt_large", today))
        assert (landed.rows, landed.proof and landed.proof.rows) == (LARGE, LARGE)
    finally:
        world.execute("crm", f"DROP TABLE {schema}.udt_large")


def test_steps_of_user_defined_tables_and_no_others_are_in_their_pool(world: World) -> None:
    pools = {node.definition.name: node.definition.pool for node in world.definitions.resolve_job_def("everything").graph.nodes}
    assert {name for name, pool in pools.items() if pool == POOL} == {name for name in pools if name.endswith("user_defined")} != set()


@pytest.fixture
def odd(world: World) -> Iterator[World]:
    """A table that the server can not open, and one whose name no identifier should have."""
    schema = f"{world.base}_crm_{DOVER}"
    world.execute("crm", f"CREATE TABLE {schema}.udt_part (id INT PRIMARY KEY) ENGINE=MyISAM")
    world.execute("crm", f"CREATE TABLE {schema}.udt_broken (id INT PRIMARY KEY) ENGINE=MERGE UNION=({schema}.udt_part)")
    world.execute("crm", f"DROP TABLE {schema}.udt_part")
    world.execute("crm", f'CREATE TABLE {schema}.`udt_x"; DROP TABLE y` (id INT PRIMARY KEY, note TEXT)')
    yield world
    for table in ("udt_broken", "udt_leaving", HOSTILE):
        world.execute("crm", f"DROP TABLE IF EXISTS {schema}.`{table}`")


def test_broken_ones_are_quarantined_alone_by_name_and_reason_and_counted(odd: World, today: date, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, undeclared = f"{odd.base}_crm_{DOVER}", Sources.undeclared
    odd.execute("crm", f"CREATE TABLE {schema}.udt_leaving (id INT PRIMARY KEY)")

    def dropped(self: Sources, tenant: Tenant) -> list[SourceTable]:
        found = undeclared(self, tenant)
        odd.execute("crm", f"DROP TABLE IF EXISTS {schema}.udt_leaving")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Sources, "undeclared", dropped)
        result = odd.run("dynamic_full_load", [DOVER], [today])
    assert result.success, told(result)
    count, reasons = quarantine(odd, result, today)
    assert (count, set(reasons)) == (2, {"crm.udt_broken", "crm.udt_leaving"})
    assert reasons["crm.udt_leaving"].startswith("The table or a column of it is gone since it was crawled. Remedy: ")
    assert "Remedy: " in reasons["crm.udt_broken"]
    for table in (TABLE, HOSTILE):
        assert partition_manifests(odd.lake, Partition("raw", DOVER, table_id("crm", table), today)), f"{table} was loaded all the same"
    warned = [entry.user_message for entry in odd.instance.all_logs(result.run_id) if "quarantined:" in entry.user_message]
    assert len(warned) == 2

    modelled = odd.run("full_load", [DOVER], [today], assets=[dg.AssetKey(["raw", "crm", "account"])])
    assert modelled.success, told(modelled)


@pytest.mark.parametrize(("job", "layer", "made"), [("curation", "raw", "curated"), ("transformation", "curated", "transformed")])
def test_one_that_can_not_be_derived_is_quarantined_alone_in_that_layer_too(
    odd: World, today: date, job: str, layer: Layer, made: Layer
) -> None:
    odd.execute("crm", f"INSERT INTO {odd.base}_crm_{DOVER}.`{HOSTILE}` VALUES (1, 'a')")
    for before in ("dynamic_full_load", "curation")[: 1 if layer == "raw" else 2]:
        result = odd.run(before, [DOVER], [today], assets=None if before != "curation" else [dg.AssetKey(["curated", "user_defined"])])
        assert result.success, told(result)
    [*_, batch] = partition_manifests(odd.lake, Partition(layer, DOVER, table_id("crm", HOSTILE), today))
    [part] = batch.parts
    held = odd.lake.storage.get(layer, part.key)
    assert held is not None
    odd.lake.storage.put(layer, part.key, held[: len(held) // 2])
    _part.cache_clear()  # checks have read it
    try:
        result = odd.run(job, [DOVER], [today], assets=[dg.AssetKey([made, "user_defined"])])
    finally:
        odd.lake.storage.put(layer, part.key, held)
    assert result.success, told(result)
    metadata = odd.metadata(result.run_id, f"{made}/user_defined", str(partition_key(today, DOVER)))
    assert (metadata["quarantined_tables"], list(metadata["quarantine"])) == (1, [table_id("crm", HOSTILE)])
    assert metadata["tables"] >= 1
    again = odd.run(job, [DOVER], [today], assets=[dg.AssetKey([made, "user_defined"])])
    metadata = odd.metadata(again.run_id, f"{made}/user_defined", str(partition_key(today, DOVER)))
    assert metadata["quarantined_tables"] == 0, "what was mended is made by the next run"


def test_when_nothing_of_a_tenant_can_be_read_the_tenant_fails(world: World, today: date) -> None:
    result = world.run("dynamic_full_load", [GHOST], [today])
    assert not result.success
    assert GHOST in told(result)["raw_user_defined"]


def test_a_source_whose_transactions_can_not_be_seen_is_told_in_the_log_and_in_the_reason(
    world: World, today: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(window._UNSEEN, "mysql", lambda _: window._FROM_A_REPLICA)
    # a run's own config replaces that of its job, so the mode is said again
    full = {"ops": {"raw_user_defined": {"config": {"mode": "full"}}}}
    result = world.run("dynamic_full_load", [DOVER], [today], config=full)
    assert result.success, told(result)
    logged = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    assert any("Source crm: open transactions can not be seen from a replica: 300 s are kept back." in line for line in logged)
    assert quarantine(world, result, today) == (0, {})
    [*_, landed] = partition_manifests(world.lake, Partition("raw", DOVER, f"crm.{TABLE}", today))
    assert (landed.run_id, landed.kind) == (result.run_id, "snapshot")
    assert landed.reason.endswith("open transactions can not be seen from a replica: 300 s are kept back")
