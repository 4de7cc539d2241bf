"""Alerts as their readers get them: an SQS queue subscribes to the topic of a deployed stack, and receives what was published."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
import yaml
from mkdocs.structure.files import File

from lab_insights import alerts
from lab_insights.alerts import AGAIN, LINES, RULES, Alerts, Fact, Kind
from lab_insights.assets.tenant_days import FAILED
from lab_insights.checks import delivery
from lab_insights.checks.spending import Spending, Spent
from lab_insights.checks.verdicts import FRESH, RECONCILED, SCHEMA_UNCHANGED, UNIQUE_GRAIN, Judgement, Subject, Verdicts
from lab_insights.clock import Clock
from lab_insights.config import AlertsSection, Source
from lab_insights.governance.history import Change
from lab_insights.lake import queue
from lab_insights.lake.queue import manifest_queue
from lab_insights.local import template
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.sensors.alerts import alert_sensors
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.sensors.world import write_config

ROOT = Path(__file__).resolve().parents[1]
AURORA, GHOST = TenantId("aurora_clinic"), TenantId("ghost_lab")
FACTS = [Fact(AURORA, "raw 2026-03-02: the source does not answer", "one"), Fact(GHOST, "raw 2026-03-02: no schema", "two")]


@dataclass
class Inbox:
    """A deployment whose alarm topic has a reader."""

    lake: LakeResource
    url: str

    @property
    def alerts(self) -> Alerts:
        return Alerts(
            self.lake.aws(),
            self.lake.prefix,
            AlertsSection(ui_url="https://dagster.example/", runbooks_url="https://docs.example/runbooks/"),
        )

    def read(self) -> list[dict[str, Any]]:
        """Return what has come, each once: SNS' own envelope with Subject and Message."""
        sqs, found = self.lake.aws().client("sqs"), []
        while got := sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", ()):
            for each in got:
                found.append(json.loads(each["Body"]))
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return found

    def tick(self, name: str = "alert_conditions") -> str:
        """Evaluate the sensor of conditions, and return why it skipped."""
        [sensor] = [each for each in alert_sensors() if each.name == name]
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(instance=instance, resources={"lake": self.lake}) as context,
        ):
            return str(sensor.evaluate_tick(context).skip_message)


@pytest.fixture
def inbox(aws_endpoint: str, deployed_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)
    write_config(tmp_path / "lab_insights.yaml", aws_endpoint, deployed_prefix)
    lake = LakeResource(config_path=str(tmp_path / "lab_insights.yaml"))
    sqs, sns = lake.aws().client("sqs"), lake.aws().client("sns")
    url = sqs.create_queue(QueueName=f"inbox-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    [topic] = [each["TopicArn"] for each in sns.list_topics()["Topics"] if each["TopicArn"].endswith(f":{deployed_prefix}-alarms")]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    yield Inbox(lake, url)
    sqs.delete_queue(QueueUrl=url)


def test_a_reader_gets_one_message_that_names_the_tenants_the_run_and_the_runbook(inbox: Inbox) -> None:
    assert inbox.alerts.publish("failed_partition", FACTS, run_id="run-1") == FACTS
    [got] = inbox.read()
    assert got["Subject"] == f"[{inbox.lake.prefix}] Failed partitions: aurora_clinic, ghost_lab"
    assert "- aurora_clinic: raw 2026-03-02: the source does not answer" in got["Message"]
    assert "- ghost_lab: raw 2026-03-02: no schema" in got["Message"]
    assert "Look: https://dagster.example/runs/run-1" in got["Message"]
    assert "Do: https://docs.example/runbooks/failed-partition.html" in got["Message"]
    assert got["MessageAttributes"]["kind"]["Value"] == "failed_partition"


def test_what_was_told_is_not_told_again_until_a_day_has_passed_and_what_is_new_is_told_alone(inbox: Inbox) -> None:
    inbox.alerts.publish("late_tenant", FACTS[:1])
    assert inbox.alerts.publish("late_tenant", FACTS) == FACTS[1:]
    assert inbox.alerts.publish("late_tenant", FACTS) == []
    assert [each["Subject"].rpartition(": ")[2] for each in inbox.read()] == [AURORA, GHOST]
    later = Alerts(
        inbox.lake.aws(), inbox.lake.prefix, AlertsSection(), now=lambda: time.time() + (AGAIN + timedelta(minutes=1)).total_seconds()
    )
    assert later.publish("late_tenant", FACTS) == FACTS


def test_the_same_fact_is_another_alert_of_another_kind(inbox: Inbox) -> None:
    assert inbox.alerts.publish("late_tenant", FACTS[:1])
    assert inbox.alerts.publish("dead_letters", FACTS[:1])


def test_an_alert_that_could_not_be_sent_is_sent_the_next_time(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alerts, "topic", "arn:aws:sns:us-east-1:123456789012:nowhere")
    with pytest.raises(Exception, match="NotFound"):
        inbox.alerts.publish("dead_letters", FACTS)
    monkeypatch.undo()
    assert inbox.alerts.publish("dead_letters", FACTS) == FACTS
    assert len(inbox.read()) == 1


def test_what_is_remembered_of_an_alert_names_no_tenant(inbox: Inbox) -> None:
    inbox.alerts.publish("late_tenant", FACTS)
    items = inbox.lake.aws().client("dynamodb").scan(TableName=f"{inbox.lake.prefix}-status")["Items"]
    assert len(items) == 2
    assert AURORA not in str(items)
    assert all(item["expires_at"]["N"] for item in items)


def test_a_long_list_is_cut_and_says_so(inbox: Inbox) -> None:
    many = [Fact(f"tenant_{number}", "late", str(number)) for number in range(LINES + 7)]
    subject, body = alerts.message("late_tenant", many, "p", AlertsSection())
    assert len(subject) == alerts.SUBJECT
    assert "- and 7 more" in body


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_links_to_a_runbook_page_that_exists_as_source_and_as_the_site_names_it(kind: Kind) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    source = AlertsSection().runbook(RULES[kind].runbook)
    assert (ROOT / source).exists()
    page = source.removeprefix("docs/")
    assert page in str(settings["nav"])
    built = File(page, "docs", "site", settings["use_directory_urls"]).url
    _, body = alerts.message(kind, FACTS, "p", AlertsSection(runbooks_url="https://docs.example/lab/runbooks"))
    assert body.splitlines()[-1] == f"Do: https://docs.example/lab/{built}"


def test_the_code_servers_role_may_publish_to_the_topic_and_to_no_other() -> None:
    resources = template.load()["Resources"]
    [policy] = resources["CodeServerRole"]["Properties"]["Policies"]
    granted = [each for each in policy["PolicyDocument"]["Statement"] if "sns:Publish" in each["Action"]]
    assert [each["Resource"] for each in granted] == [{"Ref": "AlarmTopic"}]


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
    [sensor] = [each for each in alert_sensors() if each.name == "alert_failed_runs"]
    with dg.DagsterInstance.ephemeral() as instance:
        result = _failing(*named).execute_in_process(instance=instance, raise_on_error=False)
        [event] = [each for each in result.all_events if each.event_type == dg.DagsterEventType.PIPELINE_FAILURE]
        context = dg.build_run_status_sensor_context(
            sensor.name, event, instance, result.dagster_run, resources={"lake": inbox.lake}
        ).for_run_failure()
        sensor(context)
        return result.run_id


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
    told = {each["MessageAttributes"]["kind"]["Value"]: each for each in inbox.read()}
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


def test_one_kind_that_can_not_be_looked_at_fails_the_tick_and_silences_no_other(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Verdicts(inbox.lake.aws(), inbox.lake.prefix).settle([Judgement(Subject(RECONCILED, "snowflake/x", AURORA, "curated/x"), "differs")])

    def broken(*_: Any) -> Any:
        raise ConnectionError("SELECT 'Jane Roe'")

    monkeypatch.setattr("lab_insights.sensors.alerts.dead_letters", broken)
    with pytest.raises(Exception, match="1 kinds of alerts could not be looked at: dead_letters"):
        inbox.tick()
    assert [each["MessageAttributes"]["kind"]["Value"] for each in inbox.read()] == ["reconciliation"]
