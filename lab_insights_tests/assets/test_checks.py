"""Asset checks over real data: each fails for the tenant that it is about, by name and numbers, and holds back nobody else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest

from lab_insights.assets.deliveries import DELIVERIES, left_failed
from lab_insights.checks import deadlines, delivery, loads, rows
from lab_insights.checks.verdicts import (
    FRESH,
    NO_ORPHANS,
    NO_PARTITION_LEFT_FAILED,
    RECONCILED,
    SCHEMA_UNCHANGED,
    UNIQUE_GRAIN,
    Gate,
    HeldBack,
    Judgement,
    Subject,
    Verdicts,
)
from lab_insights.lab.kpis.quality import MEASURES
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.provision import use
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, GHOST, PEOPLE, SECOND, Loaded, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
ACCOUNT = "snowflake/account"


def _evaluations(world: World, run_id: str) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """The last evaluation of each (asset, check) of a run."""
    found = {}
    for entry in world.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        its: Any = entry.dagster_event and entry.dagster_event.event_specific_data
        found[its.asset_key.to_user_string(), its.check_name] = its
    return found


def _metadata(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


@pytest.fixture
def verdicts(world: World) -> Verdicts:
    return Verdicts(world.lake.state.aws, world.lake.state.prefix)


@pytest.fixture
def damaged(world: World) -> Iterator[TenantId]:
    """A tenant of whose accounts somebody has deleted one in the warehouse; afterwards it is whole again."""
    with world.warehouse.session("test") as session:
        use(session, AURORA)
        session.execute("CREATE TABLE OPS.KEPT AS SELECT * FROM CURATED.ACCOUNT")
        session.execute("DELETE FROM CURATED.ACCOUNT WHERE ACCOUNT_ID = (SELECT MIN(ACCOUNT_ID) FROM CURATED.ACCOUNT)")
        yield AURORA
        session.execute("DELETE FROM CURATED.ACCOUNT")
        session.execute("INSERT INTO CURATED.ACCOUNT SELECT * FROM OPS.KEPT")
        session.execute("DROP TABLE OPS.KEPT")
    assert world.operate("reconcile", reconcile_warehouse={"config": {"tenants": [AURORA]}}).success


def test_every_check_of_every_layer_passes_in_the_loading_run_and_says_what_it_counted(loaded: Loaded) -> None:
    assert loaded.result.success, told(loaded.result)
    found = _evaluations(loaded.world, loaded.result.run_id)
    graph = loaded.world.definitions.resolve_asset_graph()
    assert set(found) == {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys if key.asset_key != DELIVERIES}
    # A patient who was changed on a later day that is not loaded yet is in no loaded day any more: orders without a patient are what the check is for.
    failed = {each: str(_metadata(its)["failures"]) for each, its in found.items() if not its.passed}
    assert {name: said for name, said in failed.items() if name != ("reports/data_quality", NO_ORPHANS)} == {}
    assert MEASURES["orders_without_patient"] in failed["reports/data_quality", NO_ORPHANS]
    assert _metadata(found["curated/result", UNIQUE_GRAIN])["evaluated"] == 4
    counted = _metadata(found["curated/result", UNIQUE_GRAIN])
    assert counted["rows"] == counted["distinct_keys"] > 0
    facts = _metadata(found["reports/ordered_test", UNIQUE_GRAIN])
    assert facts["rows"] == facts["distinct_keys"] > 0
    reconciled = _metadata(found["snowflake/result", RECONCILED])
    assert reconciled["rows_in_the_lake"] == reconciled["rows_loaded"] > 0


def test_a_row_that_is_gone_from_the_warehouse_fails_the_check_with_its_tenant_and_numbers_and_no_value(
    world: World, damaged: TenantId
) -> None:
    lake, warehouse = world.count(damaged, "OPS.KEPT"), world.count(damaged, "CURATED.ACCOUNT")
    result = world.operate("reconcile")
    evaluation = _evaluations(world, result.run_id)[ACCOUNT, RECONCILED]
    assert not evaluation.passed
    said = _metadata(evaluation)
    assert said["failing_tenants"] == damaged
    assert f"the lake has {lake} live rows" in said["failures"]
    assert f"the warehouse {warehouse}" in said["failures"]
    [newest] = world.instance.fetch_materializations(dg.AssetKey.from_user_string(ACCOUNT), limit=1).records
    of = evaluation.target_materialization_data
    # Else the UI shows a check that ran in the same second as "not evaluated".
    assert of
    assert (of.storage_id, of.run_id) == (newest.storage_id, newest.run_id)
    with world.warehouse.session("test") as session:
        use(session, damaged)
        values = [str(name) for (name,) in session.execute("SELECT NAME FROM OPS.KEPT")]
    assert len(values) == lake
    assert [value for value in values if value in str(said)] == []


def test_a_table_that_differs_holds_back_its_tenants_reports_and_nobody_elses(world: World, damaged: TenantId, verdicts: Verdicts) -> None:
    world.operate("reconcile")
    gate = Gate.of(verdicts, {"snowflake"}, (RECONCILED,))
    with pytest.raises(HeldBack, match=r"snowflake/account: the lake has .*reconciliation\.md"):
        gate.pass_(damaged, FIRST)
    gate.pass_(BIRCHWOOD, FIRST)

    page = dg.AssetKey(["reports", "daily_page"])
    every = [key for key in world.definitions.resolve_asset_graph().materializable_asset_keys if key.path[0] == "reports"]
    result = world.run("curated_to_snowflake", [AURORA, BIRCHWOOD], [SECOND], assets=every)
    assert not result.success
    assert damaged in told(result)["reports"]
    assert f"**{BIRCHWOOD}**" not in told(result)["reports"]
    done = world.materialized(result.run_id, page.to_user_string())
    assert set(done) == {(page.to_user_string(), f"{SECOND}|{BIRCHWOOD}")}


def test_loading_again_compares_a_table_that_differed_row_by_row_and_does_not_take_the_ledgers_word(
    world: World, damaged: TenantId, verdicts: Verdicts
) -> None:
    world.operate("reconcile")
    result = world.run("curated_to_snowflake", [AURORA], [SECOND], assets=[dg.AssetKey(["snowflake", "account"])])
    assert result.success, told(result)
    assert not _evaluations(world, result.run_id)[ACCOUNT, RECONCILED].passed
    with world.warehouse.session("test") as session:
        use(session, damaged)
        session.execute("DELETE FROM CURATED.ACCOUNT")
        session.execute("INSERT INTO CURATED.ACCOUNT SELECT * FROM OPS.KEPT")
    result = world.run("curated_to_snowflake", [AURORA], [SECOND], assets=[dg.AssetKey(["snowflake", "account"])])
    assert _evaluations(world, result.run_id)[ACCOUNT, RECONCILED].passed
    assert verdicts.standing(RECONCILED) == []


def test_a_batch_that_the_ledger_lacks_is_told_with_the_rows_of_both_sides(world: World) -> None:
    batches = partition_manifests(world.lake, Partition("curated", AURORA, "patient", FIRST))
    batch = batches[0].model_copy(update={"batch": 99_999_999})
    with world.warehouse.session("test") as session:
        use(session, AURORA)
        [whole] = loads.by_ledger(session, lambda _, table: table, batches)
        [absent] = loads.by_ledger(session, lambda _, table: table, [batch])
    assert whole.passed
    assert absent.message == f"the lake has {batch.rows} rows in 1 batches, 0 rows were loaded; 1 batches are not in the ledger"


def test_a_row_of_another_tenant_in_a_pooled_source_table_is_counted_where_it_is_landed(world: World) -> None:
    audit = partition_manifests(world.lake, Partition("raw", AURORA, "audit.audit_event", FIRST))
    mine, theirs = str(PEOPLE[0].key), str(PEOPLE[1].key)
    assert all(each.passed for each in rows.landed(world.lake, "raw/audit/audit_event", audit, ("tenant_id", mine)))
    _, foreign = rows.landed(world.lake, "raw/audit/audit_event", audit, ("tenant_id", theirs))
    total = sum(batch.rows for batch in audit)
    assert foreign.message == f"{total} of {total} rows are not marked as this tenant's"


def test_a_failing_check_of_one_tenant_stops_that_tenant_at_the_next_layer_and_carries_the_others_on(
    world: World, verdicts: Verdicts
) -> None:
    of = Subject(UNIQUE_GRAIN, "curated/account", BIRCHWOOD, "account", FIRST)
    verdicts.settle([Judgement(of, "3 rows have 2 keys", {"rows": 3, "distinct_keys": 2})])
    account = dg.AssetKey(["snowflake", "account"])
    result = world.run("curated_to_snowflake", [AURORA, BIRCHWOOD], [FIRST], assets=[account])
    assert not result.success
    assert "unique_grain of curated/account: 3 rows have 2 keys" in told(result)["snowflake_modelled"]
    assert set(world.materialized(result.run_id)) == {("snowflake/account", f"{FIRST}|{AURORA}")}
    assert _evaluations(world, result.run_id)[ACCOUNT, RECONCILED].passed, (
        "the healthy tenant's evaluation is written though the step failed"
    )

    result = world.run("curation", [BIRCHWOOD], [FIRST], assets=[dg.AssetKey(["curated", "account"])])
    assert result.success, told(result)
    assert verdicts.standing(UNIQUE_GRAIN) == [], "evaluated again and passed"
    assert world.run("curated_to_snowflake", [AURORA, BIRCHWOOD], [FIRST], assets=[account]).success


def test_a_schema_that_changed_since_the_day_before_is_a_warning_that_names_the_columns(world: World) -> None:
    table = f"udt_schema_{uuid.uuid4().hex[:8]}"
    physical = f"{world.base}_crm_{PEOPLE[4].id}.{table}"
    tenant, day = TenantId(PEOPLE[4].id), world.simulate()
    at = datetime.combine(day, time(6))
    world.execute("crm", f"CREATE TABLE {physical} (id INT PRIMARY KEY, note VARCHAR(20), updated_at DATETIME(6) NOT NULL)")
    world.execute("crm", f"INSERT INTO {physical} VALUES (1, 'x', '{at}')")
    asset = dg.AssetKey(["raw", "user_defined"])
    try:
        world.at(day + timedelta(days=1), 0.5)
        assert world.run("raw", [tenant], [day], assets=[asset]).success
        world.execute("crm", f"ALTER TABLE {physical} ADD COLUMN colour VARCHAR(9), DROP COLUMN note")
        following = world.simulate()
        world.at(following + timedelta(days=1), 0.5)
        result = world.run("raw", [tenant], [following], assets=[asset])
        assert result.success, told(result)
        found = _evaluations(world, result.run_id)["raw/user_defined", SCHEMA_UNCHANGED]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert f"crm.{table}: on {following} added colour; dropped note" in _metadata(found)["failures"]
        world.at(world.simulate() + timedelta(days=1), 0.5)
        result = world.run("raw", [tenant], [world.day], assets=[asset])
        assert f"crm.{table}" not in _metadata(_evaluations(world, result.run_id)["raw/user_defined", SCHEMA_UNCHANGED]).get("failures", "")
    finally:
        world.execute("crm", f"DROP TABLE {physical}")


def test_a_tenants_due_day_is_late_until_it_is_in_its_database_and_then_remembered(world: World) -> None:
    config, registry = world.resource.config(), world.resource.registry()
    aurora, ghost = registry.get(AURORA), registry.get(GHOST)

    def look(lake: Lake, *tenants: Tenant) -> dict[str, deadlines.Delivery]:
        opened = lambda: world.warehouse.session("test")  # noqa: E731 (a factory)
        return {each.tenant: each for each in delivery.deliveries(lake, tenants, config.sources, opened, FIRST)}

    before = world.lake.clock.now()
    world.at(SECOND, 23)
    try:
        found = look(world.lake, aurora, ghost)
        assert found[AURORA].day == FIRST
        assert found[AURORA].missing == ()
        assert found[AURORA].at is not None
        assert found[GHOST].state == "late"
        assert any(name.startswith("raw/crm.") for name in found[GHOST].missing)
        assert "h ago" in str(found[GHOST])
        known = deadlines.Deliveries(world.lake.state.aws, world.lake.state.prefix)
        assert known.at(AURORA, FIRST) == found[AURORA].at

        def nobody() -> Any:
            raise AssertionError("a day that was delivered wakes no warehouse")

        [again] = delivery.deliveries(world.lake, [aurora], config.sources, nobody, FIRST)
        assert again.at == found[AURORA].at
        assert look(world.lake, aurora.model_copy(update={"suspended": True})) == {}
    finally:
        world.lake.clock.set(before)


def test_the_check_job_names_late_tenants_and_partitions_that_were_left_failed(world: World) -> None:
    before = world.lake.clock.now()
    world.at(SECOND, 23)
    try:
        failed = world.run("raw", [GHOST], [FIRST], assets=[dg.AssetKey(["raw", "crm", "account"])])
        assert not failed.success
        result = world.definitions.resolve_job_def("check").execute_in_process(instance=world.instance, raise_on_error=False)
    finally:
        world.lake.clock.set(before)
    found = {name: its for (_, name), its in _evaluations(world, result.run_id).items()}
    assert not found[FRESH].passed
    late = _metadata(found[FRESH])
    assert GHOST in late["late_tenants"]
    assert AURORA not in late["late_tenants"]
    assert late["met"] + late["delivered_late"] >= 1
    assert 0 <= late["share_met_this_month"] < 1
    deadlines = {line.split("**")[1]: line for line in late["deadlines"].splitlines() if "**" in line}
    assert f"| {FIRST} |" in deadlines[GHOST]
    assert "| late |" in deadlines[GHOST]
    assert "| not known yet | 0% of 1 |" in deadlines[GHOST]
    assert f"| {SECOND} predicted " in deadlines[AURORA]
    left = _metadata(found[NO_PARTITION_LEFT_FAILED])
    assert not found[NO_PARTITION_LEFT_FAILED].passed
    assert left["failed_partitions"] >= 1
    assert f"**{GHOST}**" in left["failures"]
    account = dg.AssetKey(["raw", "crm", "account"])
    grid: Any = world.definitions.resolve_asset_graph().get(account).partitions_def
    failed_ = left_failed(world.instance, [account], grid, world.resource)
    assert ("raw/crm/account", f"{FIRST}|{GHOST}") in failed_
    assert {partition.partition("|")[2] for _, partition in failed_} == {GHOST}, "the others were materialized, or never asked for"
