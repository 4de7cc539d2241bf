"""Alerts as their readers get them: what a message says, what is told again and when, and that every kind has a runbook."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import yaml
from mkdocs.structure.files import File

from lab_insights import alerts
from lab_insights.alerts import AGAIN, LINES, RULES, Alerts, Fact, Kind
from lab_insights.config import AlertsSection
from lab_insights.local import template
from lab_insights_tests.alerts.inbox import AURORA, FACTS, GHOST, Inbox

ROOT = Path(__file__).resolve().parents[2]


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
    assert f"- and 7 more: {', '.join(sorted(f'tenant_{LINES + number}' for number in range(7)))}" in body


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
