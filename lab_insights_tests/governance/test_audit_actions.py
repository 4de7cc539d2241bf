"""What runs and operations leave in the audit log, on the world of the asset graph's tests."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from botocore.exceptions import ClientError

from lab_insights.errors import CommitConflict
from lab_insights.governance.audit import DEPLOYMENT, Event, Log, Record
from lab_insights.governance.audit.log import chain_of
from lab_insights.governance.audit.verify import verify
from lab_insights.names import TenantId
from lab_insights.partitions import partition_key
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, GHOST, SECOND, Loaded, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
ACCOUNT = dg.AssetKey(["raw", "crm", "account"])


def records(world: World, run_id: str, tenant: TenantId | None = None) -> list[Record]:
    return [each for each in Log(world.lake.storage).records(chain_of(tenant)) if each.run_id == run_id]


def test_a_run_leaves_a_record_of_each_step_with_who_what_when_and_how_much(loaded: Loaded) -> None:
    world, result = loaded.world, loaded.result
    steps = {event.step_key for event in result.all_events if event.is_step_success}
    for tenant in (AURORA, BIRCHWOOD):
        found = records(world, result.run_id, tenant)
        assert {each.subject for each in found} == steps
        assert len(found) == len(steps)
        assert {(each.action, each.outcome, each.days) for each in found} == {("materialize", "done", f"{FIRST}..{SECOND}")}
        assert all(each.counts["days"] == 2 and "@" in each.actor and each.identity.startswith("arn:") for each in found)
        rows = {each.subject: each.counts["rows"] for each in found}
        assert rows["raw_lis"] > 0
        assert rows["curated_lab" if "curated_lab" in rows else min(name for name in rows if name.startswith("curated_"))] > 0
    assert not records(world, result.run_id, GHOST)
    assert all(not chain.findings for chain in verify(Log(world.lake.storage)))


def test_a_failure_is_recorded_for_its_tenant_and_what_asked_for_the_run_is_named(world: World) -> None:
    result = world.run("raw", [GHOST], [FIRST], assets=[ACCOUNT], tags={"dagster/sensor_name": "curation_queue"})
    assert not result.success
    [found] = records(world, result.run_id, GHOST)
    assert (found.outcome, found.subject, found.days, found.actor) == ("failed", "raw_crm", str(FIRST), "sensor:curation_queue")
    assert found.counts == {"days": 1, "rows": 0}


def test_a_tenant_whose_record_can_not_be_written_has_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Log, event: Event, tenant: TenantId | None = None) -> None:
        raise CommitConflict("no log", remedy="again", tenant=tenant)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", refuses)
        result = world.run("raw", [AURORA], [FIRST], assets=[ACCOUNT])
    assert not result.success
    assert "no log" in told(result)["raw_crm"]


def test_a_record_that_aws_refuses_fails_its_tenant_and_keeps_what_was_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Log.append

    def refused(self: Log, event: Event, tenant: TenantId | None = None) -> Record:
        if tenant == AURORA:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "refused"}}, "UpdateItem")
        return append(self, event, tenant)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", refused)
        result = world.run("raw", [AURORA, BIRCHWOOD], [FIRST], assets=[ACCOUNT])
    [said] = told(result).values()
    assert f"**{AURORA}** {FIRST}: no record of it in the audit log: ClientError" in said
    assert f"**{BIRCHWOOD}**" not in said
    cells = [(ACCOUNT.to_user_string(), str(partition_key(FIRST, tenant))) for tenant in (AURORA, BIRCHWOOD)]
    assert world.materialized(result.run_id) == dict.fromkeys(cells, 1)
    assert records(world, result.run_id, BIRCHWOOD)
    assert world.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION), "verdicts are kept"


def test_operations_are_recorded_and_a_schema_change_in_the_tenants_chain(world: World) -> None:
    its = {"config": {"tenants": [AURORA]}}
    assert world.operate("crawl", crawl_sources=its).success
    world.execute("crm", f"ALTER TABLE {world.base}_crm_{AURORA}.account ADD COLUMN audited_extra INT NULL")
    try:
        crawled = world.operate("crawl", crawl_sources=its)
    finally:
        world.execute("crm", f"ALTER TABLE {world.base}_crm_{AURORA}.account DROP COLUMN audited_extra")
    assert crawled.success
    [crawl] = records(world, crawled.run_id)
    assert (crawl.action, crawl.chain, crawl.counts["schema_changes"]) == ("crawl", DEPLOYMENT, 1)
    [change] = records(world, crawled.run_id, AURORA)
    assert (change.action, change.subject) == ("schema.change", "crm.account")
    assert {name: change.counts[name] for name in ("added", "dropped", "changed")} == {"added": 1, "dropped": 0, "changed": 0}
    synced = world.operate("schema_sync", sync_schemas=its)
    assert synced.success
    found = {each.action: each for each in records(world, synced.run_id, AURORA)}
    assert found.keys() == {"schema.change", "schema.sync"}
    assert found["schema.change"].counts["dropped"] == 1, "a schema sync looks at the sources, too"
    kept = world.operate("keep_lake", compact_states=its, sweep_lake=its)
    assert kept.success
    assert {each.action for each in records(world, kept.run_id)} == {"lake.compact", "lake.sweep", "runs.prune"}
    assert "audited_extra" not in json.dumps([each.model_dump(mode="json") for each in records(world, crawled.run_id, AURORA)])
