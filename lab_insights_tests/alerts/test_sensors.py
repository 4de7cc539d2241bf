"""What the alert sensors tell of failed runs and of the conditions that they look at, once each."""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lab_insights.alerts import Alerts, Fact
from lab_insights.assets.tenant_days import FAILED
from lab_insights.checks import delivery
from lab_insights.checks.spending import Spending, Spent
from lab_insights.checks.verdicts import FRESH, RECONCILED, SCHEMA_UNCHANGED, UNIQUE_GRAIN, Judgement, Subject, Verdicts
from lab_insights.clock import Clock
from lab_insights.config import Source
from lab_insights.governance.history import Change
from lab_insights.lake.queue import manifest_queue
from lab_insights.partitions import range_tags
from lab_insights.sensors.alerts import alert_sensors
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.alerts.inbox import AURORA, GHOST, Inbox


def _failing(*named: str) -> dg.JobDefinition:
    """A job of two steps that fail for the same tenants, as two layers do; without names it fails with an error of somebody else's."""

    def fail() -> None:
        if not named:
            raise ValueError("row 17: Jane Roe")
        told = "\n".join(f"- **{tenant}** 2026-03-02: [tenant {tenant}] it has no schema. Remedy: mend it." for tenant in named)
        raise dg.Failure(f"{len(named)} of 9 tenants failed.", metadata={FAILED: dg.MetadataValue.md(told)}, allow_retries=False)

    @dg.op
    def raw_crm() -> None:
        fail()

    @dg.op
    def raw_lis() -> None:
        fail()

    @dg.job(tags={"dagster/asset_partition_range_start": "2026-03-02|a", "dagster/asset_partition_range_end": "2026-03-03|z"})
    def everything() -> None:
        raw_crm()
        raw_lis()

    return everything


def _fail(inbox: Inbox, *named: str) -> str:
    """Run the job and the sensor that follows failed runs; return the run's id."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = _failing(*named).execute_in_process(instance=instance, raise_on_error=False)
        _follow(inbox, instance)
        return result.run_id


def _follow(inbox: Inbox, instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    """Evaluate the sensor that follows failed runs as the daemon does, and return its cursor."""
    [sensor] = [each for each in alert_sensors() if each.name == "alert_failed_runs"]
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": inbox.lake}) as context:
        return sensor.evaluate_tick(context).cursor


def test_a_failed_run_is_one_message_with_each_tenant_once_and_its_next_attempt_is_none(inbox: Inbox) -> None:
    run_id = _fail(inbox, GHOST, AURORA)
    [got] = inbox.read()
    assert got["Subject"].endswith(f"{AURORA}, {GHOST}")
    assert re.findall(r"^- (\w+): everything 2026-03-02 to 2026-03-03: ", got["Message"], re.MULTILINE) == [GHOST, AURORA]
    assert f"/runs/{run_id}" in got["Message"]
    _fail(inbox, GHOST, AURORA)
    assert inbox.read() == []
    _fail(inbox, GHOST, AURORA, "elm_street")
    assert [each["Subject"].rpartition(": ")[2] for each in inbox.read()] == ["elm_street"]


def test_a_failed_run_that_could_not_be_told_is_told_by_the_next_tick(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = _follow(inbox, instance)
        _failing(AURORA).execute_in_process(instance=instance, raise_on_error=False)
        with monkeypatch.context() as patched:
            patched.setattr(Alerts, "topic", "arn:aws:sns:us-east-1:123456789012:nowhere")
            with pytest.raises(Exception, match=r"NotFound|does not exist"):
                _follow(inbox, instance, before)
        after = _follow(inbox, instance, before)
        assert len(inbox.read()) == 1
        _follow(inbox, instance, after)
        assert inbox.read() == []


def test_runs_that_name_no_tenant_are_told_each_by_its_partitions_and_those_that_dagster_tries_again_not(inbox: Inbox) -> None:
    spans = [
        range_tags("2026-03-02|a", "2026-03-02|m"),
        range_tags("2026-03-02|n", "2026-03-02|z"),
        {"dagster/partition": "2026-03-02|a"},
        {"dagster/partition": "2026-03-05|z"},
        {"dagster/partition": "2026-03-06|z", "dagster/will_retry": "true"},
    ]
    job = _failing()
    with dg.DagsterInstance.ephemeral() as instance:
        for tags in spans:
            bare = dict.fromkeys(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), "")
            job.execute_in_process(instance=instance, raise_on_error=False, tags={**bare, **tags})
        _follow(inbox, instance)
    told = [each["Message"] for each in inbox.read()]
    assert sorted(re.findall(r"everything (.*): raw_crm", "\n".join(told))) == [
        "2026-03-02|a",
        "2026-03-02|a to 2026-03-02|m",
        "2026-03-02|n to 2026-03-02|z",
        "2026-03-05|z",
    ]
    assert all("Failed partitions (every tenant of the run)" in each for each in told)


def test_a_run_that_names_no_tenant_is_told_by_its_steps_and_never_in_the_words_of_the_error(inbox: Inbox) -> None:
    _fail(inbox)
    [got] = inbox.read()
    assert "raw_crm, raw_lis failed" in got["Message"]
    assert "Jane Roe" not in json.dumps(got)


def test_checks_that_fail_are_told_by_kind_and_told_once(inbox: Inbox) -> None:
    verdicts = Verdicts(inbox.lake.aws(), inbox.lake.prefix)
    of = Subject(RECONCILED, "snowflake/account", AURORA, "curated/account")
    verdicts.settle(
        [
            Judgement(of, "the lake has 40 live rows, the warehouse 39"),
            Judgement(Subject(UNIQUE_GRAIN, "curated/x", GHOST, "x"), "3 rows have 2 keys"),
        ]
    )
    assert inbox.tick() == "Told: 1 reconciliation, 1 data_checks."
    verdicts.settle([Judgement(of, "the lake has 41 live rows, the warehouse 40; row a1b2 is missing")])
    assert inbox.tick() == "Told: nothing new.", "the same table fails, whatever differs in it now"
    told = {each["MessageAttributes"]["kind"]["Value"]: each for each in inbox.read()}
    assert "/assets/snowflake/account?view=checks" in told["reconciliation"]["Message"]
    assert (
        "aurora_clinic: snowflake/account curated/account: the lake has 40 live rows, the warehouse 39" in told["reconciliation"]["Message"]
    )
    assert "docs/runbooks/reconciliation.md" in told["reconciliation"]["Message"]
    assert "3 rows have 2 keys" in told["data_checks"]["Message"]
    assert inbox.tick() == "Told: nothing new."
    assert inbox.read() == []


def test_a_day_that_cost_far_more_than_usual_is_told_once_with_its_runbook(inbox: Inbox) -> None:
    spending, verdicts = Spending(inbox.lake.aws(), inbox.lake.prefix), Verdicts(inbox.lake.aws(), inbox.lake.prefix)
    for day, statements in ((1, 900), (2, 900), (3, 900), (4, 900), (5, 900), (6, 9_000)):
        verdicts.settle([spending.judge(AURORA, date(2026, 3, day), Spent(0, 0.0, statements), "operations/deliveries")])
    assert inbox.tick() == "Told: 1 cost."
    [got] = inbox.read()
    assert "- aurora_clinic: operations/deliveries cost: 2026-03-06 cost 9,000 statements where 900 are usual" in got["Message"]
    assert "docs/runbooks/cost.md" in got["Message"]
    assert inbox.tick() == "Told: nothing new."


@pytest.mark.parametrize("crawled_first", [True, False])
def test_a_schema_change_that_a_crawl_and_a_check_see_is_told_once(inbox: Inbox, crawled_first: bool) -> None:
    """By whoever sees it first: the check says of which day it is, the crawl does not know."""
    change = Change(AURORA, "crm.account", 2, ("loyalty_tier",), ("fax",), ())
    numbers = {"day": "2026-03-02", "before": "2026-03-01", "added": 1, "dropped": 1}
    of = Subject(SCHEMA_UNCHANGED, "raw/crm/account", AURORA, "crm.account")
    Verdicts(inbox.lake.aws(), inbox.lake.prefix).settle([Judgement(of, "on 2026-03-02 added loyalty_tier; dropped fax", numbers)])

    def crawl() -> None:
        inbox.alerts.publish("schema_change", [Fact(change.tenant, str(change).partition(" ")[2], str(change))], run_id="run-1")

    if crawled_first:
        crawl()
    assert inbox.tick() == ("Told: nothing new." if crawled_first else "Told: 1 schema_change.")
    crawl()
    [got] = inbox.read()
    assert "crm.account" in got["Message"]
    assert "added loyalty_tier; dropped fax" in got["Message"]


def test_dead_letters_are_told_with_their_reason_and_stay_where_they_are(inbox: Inbox) -> None:
    its = manifest_queue(inbox.lake.aws(), inbox.lake.prefix, "curation")
    its.send(["not an event"])
    [message] = its.receive()
    its.bury(message, "It is not JSON.")
    assert inbox.tick() == "Told: 1 dead_letters."
    [got] = inbox.read()
    assert "curation: a message that names no manifest: It is not JSON." in got["Message"]
    assert len(its.dead_letters.receive()) == 1
    assert inbox.tick() == "Told: nothing new."


def test_a_late_tenant_is_told_once_for_its_day_and_not_when_it_is_no_longer_waited_for(inbox: Inbox, tmp_path: Path) -> None:
    inbox.lake.registry().put(Tenant(id=AURORA, key="12"))
    lake, verdicts = inbox.lake.open(), Verdicts(inbox.lake.aws(), inbox.lake.prefix)

    def look(days: int = 0) -> None:
        clock = Clock(tmp_path / "clock")
        clock.set(datetime(2026, 3, 3, 11, tzinfo=UTC) + timedelta(days=days))
        sources = {"lis": Source.model_validate({"engine": "mysql", "url": "env:LIS", "tenancy": {"schema": {"schema": "lis_{tenant}"}}})}
        found = delivery.deliveries(replace(lake, clock=clock), inbox.lake.registry().all(), sources, _no_session, date(2026, 1, 1))
        verdicts.settle(delivery.judged(found, verdicts.standing(FRESH), "operations/deliveries"))

    look()
    assert inbox.tick() == "Told: 1 late_tenant."
    [got] = inbox.read()
    said = "- aurora_clinic: operations/deliveries delivery: 2026-03-02 was due 2026-03-03 06:00 UTC, 5.0 h ago;"
    assert said in got["Message"]
    assert "raw/lis." in got["Message"]
    assert "docs/runbooks/late-tenant.md" in got["Message"]
    assert inbox.tick() == "Told: nothing new."
    look(days=1)
    assert inbox.tick() == "Told: 1 late_tenant.", "of another day"
    inbox.lake.registry().put(Tenant(id=AURORA, key="12", suspended=True))
    look(days=2)
    assert inbox.tick() == "Told: nothing new."
    assert verdicts.standing(FRESH) == []


def _no_session() -> Any:
    raise AssertionError("a day that is not complete in the lake wakes no warehouse")


def test_one_kind_that_can_not_be_looked_at_fails_the_tick_without_its_words_and_silences_no_other(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Verdicts(inbox.lake.aws(), inbox.lake.prefix).settle([Judgement(Subject(RECONCILED, "snowflake/x", AURORA, "curated/x"), "differs")])

    def broken(*_: Any) -> Any:
        raise ConnectionError("SELECT 'Jane Roe'")

    monkeypatch.setattr("lab_insights.sensors.alerts.dead_letters", broken)
    with pytest.raises(Exception, match="1 kinds of alerts could not be looked at: dead_letters") as failed:
        inbox.tick()
    told, logged = inbox.read(), capfd.readouterr().err
    assert [each["MessageAttributes"]["kind"]["Value"] for each in told] == ["reconciliation"]
    assert "dead_letters could not be looked at: ConnectionError" in logged
    assert "Jane Roe" not in "".join([logged, json.dumps(told), *traceback.format_exception(failed.value)])
