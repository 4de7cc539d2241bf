"""Rectangles of tenants × days through every layer, and one tenant that fails without stopping the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from lab_insights.lake import deadletters, queue
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.partitions import partition_key
from lab_insights.sensors import queues
from lab_insights_tests.assets.backfills import backfill, persistent
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, CEDAR, ELM, FIRST, GHOST, SECOND, Loaded, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
HEALTHY = (CEDAR, ELM)


def _cells(world: World, layer: str, tenants: Iterable[TenantId], days: Iterable[date]) -> set[tuple[str, str]]:
    """Return (asset, partition) of a layer, all layers for ""."""
    every = (key.to_user_string() for key in world.definitions.resolve_asset_graph().materializable_asset_keys)
    assets = [asset for asset in every if asset.startswith(layer)]
    return {(asset, str(partition_key(day, tenant))) for asset in assets for tenant in tenants for day in days}


def test_a_rectangle_of_tenants_and_days_goes_through_every_layer_in_one_run(loaded: Loaded) -> None:
    world, result = loaded.world, loaded.result
    assert result.success, told(result)
    expected = _cells(world, "", [AURORA, BIRCHWOOD], [FIRST, SECOND])
    assert {asset.split("/")[0] for asset, _ in expected} == {"raw", "curated", "transformed", "snowflake", "reports"}
    assert dict(world.materialized(result.run_id)) == dict.fromkeys(expected, 1)
    assert all("dagster/partition_row_count" in each.metadata for each in world.materializations(result.run_id))
    for layer, table in (("raw", "crm.account"), ("curated", "account"), ("transformed", "account_profile")):
        [batch] = partition_manifests(world.lake, Partition(layer, AURORA, table, FIRST))  # type: ignore[arg-type]
        assert batch.run_id == result.run_id


def test_one_tenant_without_a_schema_fails_alone_and_the_sensors_carry_the_others_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "DELAY_SECONDS", 0)
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)
    day = world.simulate()
    world.at(day + timedelta(days=1), 0.5)
    world.forget_events()

    result = world.run("everything", [CEDAR, GHOST, ELM], [day])

    assert not result.success
    failed = told(result)
    assert {"raw_crm", "raw_lis", "raw_messages", "raw_user_defined"} <= set(failed)
    assert all(GHOST in message and "The others are done" in message for message in failed.values())
    raw = _cells(world, "raw", HEALTHY, [day])
    assert {cell: count for cell, count in world.materialized(result.run_id, "raw").items() if cell in raw} == dict.fromkeys(raw, 1)

    launched: list[dg.ExecuteInProcessResult] = []
    while requests := [*world.tick("curation_queue"), *world.tick("transformation_queue")]:
        launched += [world.launch(request) for request in requests]
        assert len(launched) < 20, "the sensors ask for the same again and again"

    for asset, partition in sorted(_cells(world, "", HEALTHY, [day])):
        assert _is_there(world, asset, partition), asset
    ghosts = {asset for asset, partition in _cells(world, "", [GHOST], [day]) if _is_there(world, asset, partition)}
    assert "raw/audit/audit_event" in ghosts, "what a tenant has is landed"
    assert not {"transformed/patient_profile", "snowflake/patient", "reports/daily_activity"} & ghosts, "and nothing is made of the half"
    assert _dead_tenants(world) == {GHOST}


def _is_there(world: World, asset: str, partition: str) -> bool:
    return partition in world.instance.get_materialized_partitions(dg.AssetKey(asset.split("/")))


def _dead_tenants(world: World) -> set[str]:
    found = deadletters.dead_letters(world.resource.aws(), world.resource.prefix, "transformation")
    return {letter.manifest.partition.tenant for letter in found if letter.manifest}


def test_a_backfill_of_a_chain_with_one_bad_tenant_does_the_others_once_and_can_be_finished(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", world.resource.config_path)
    day = world.simulate()
    world.at(day + timedelta(days=1), 0.5)
    raw = [dg.AssetKey(["raw", "crm", table]) for table in ("account", "crm_case")]
    below = [dg.AssetKey([layer, key.path[-1]]) for layer in ("curated", "snowflake") for key in raw]
    healthy = [str(partition_key(day, tenant)) for tenant in HEALTHY]

    with persistent(world, tmp_path) as kept:
        status, runs = backfill(kept, [*raw, *below], [*healthy, str(partition_key(day, GHOST))])
        assert status.value == "COMPLETED_FAILED"
        done = sum((kept.materialized(run.run_id) for run in runs), Counter())
        assert done == {(key.to_user_string(), partition): 1 for key in raw for partition in healthy}

        status, runs = backfill(kept, [*raw, *below], healthy)
        assert status.value == "COMPLETED_SUCCESS"
        assert all(_is_there(kept, key.to_user_string(), partition) for key in below for partition in healthy)
    for tenant in HEALTHY:
        assert len(partition_manifests(world.lake, Partition("raw", tenant, "crm.account", day))) == 1, "what was done was not done again"


def test_a_reversed_range_of_tenants_fails_rather_than_succeed_with_nothing_done(world: World) -> None:
    result = world.run("raw", [BIRCHWOOD, AURORA], [FIRST], assets=[dg.AssetKey(["raw", "audit", "audit_event"])])
    assert not result.success
    assert "no partitions" in told(result)["raw_audit"]


def test_doing_it_again_reads_nothing_and_writes_nothing(world: World) -> None:
    cells = [
        Partition(layer, AURORA, table, FIRST)
        for layer, table in (("raw", "lis.result"), ("curated", "result"), ("transformed", "result_detail"))
    ]
    before = [partition_manifests(world.lake, cell) for cell in cells]
    chain = [
        dg.AssetKey(path)
        for path in (["raw", "lis", "result"], ["curated", "result"], ["transformed", "result_detail"], ["snowflake", "result"])
    ]
    result = world.run("everything", [AURORA], [FIRST], assets=chain)
    assert result.success, told(result)
    assert [partition_manifests(world.lake, cell) for cell in cells] == before
    assert world.metadata(result.run_id, "snowflake/result", str(partition_key(FIRST, AURORA)))["already_loaded"] == 1


def test_a_closed_day_reads_nothing_until_it_is_reloaded(world: World) -> None:
    day, account = world.simulate(), dg.AssetKey(["raw", "crm", "account"])
    world.at(day + timedelta(days=1), 0.5)
    partition = Partition("raw", AURORA, "crm.account", day)

    def load(**config: bool) -> list[tuple[int, bool]]:
        result = world.run("raw", [AURORA], [day], assets=[account], config={"ops": {"raw_crm": {"config": config}}})
        assert result.success, told(result)
        return [(batch.rows, batch.supersedes) for batch in partition_manifests(world.lake, partition)]

    [(rows, _)] = load()
    world.execute("crm", f"UPDATE {world.base}_crm_{AURORA}.account SET updated_at = '{day} 12:00:00' WHERE updated_at < '{day}' LIMIT 1")
    assert load() == [(rows, False)], "the day is closed, whatever was written into it since"
    assert load(reload=True) == [(rows + 1, True)]


def test_a_run_calls_nothing_that_is_deprecated(loaded: Loaded) -> None:
    assert loaded.warned == []
