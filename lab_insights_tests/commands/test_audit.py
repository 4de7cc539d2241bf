"""`lab-insights audit` over a deployment: what commands did, whether the log is whole, and its evidence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from lab_insights.aws import Aws
from lab_insights.governance.audit import BUCKET, Event, Log
from lab_insights.governance.audit.log import record_key
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.warehouse.report_page import LAYER, key
from lab_insights_tests.commands.cli import seen_bars
from lab_insights_tests.commands.shapes import shapes, shown
from lab_insights_tests.commands.test_commands import CONFIG, Cli, _wide, cli
from lab_insights_tests.lake.world import fresh_tenant, make_lake

__all__ = ["_wide", "cli"]
DAY = date(2026, 3, 2)


@pytest.fixture
def log(cli: Cli, aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Log:
    prefix = make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock").storage.prefix
    cli.path.write_text(CONFIG.format(endpoint=aws_endpoint, prefix=prefix))
    return Log(Storage(Aws(endpoint_url=aws_endpoint), prefix))


@pytest.fixture
def tenant() -> TenantId:
    return fresh_tenant()


def test_what_commands_did_is_shown_by_tenant_and_day(cli: Cli, log: Log, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_ACTOR", "ada@desk")
    s3 = log.storage.aws.client("s3")
    s3.create_bucket(Bucket=log.storage.bucket(LAYER))
    log.storage.put(LAYER, key(tenant, DAY, shared=False), b"page")
    Registry(log.storage.aws, log.storage.prefix).put(Tenant.model_validate({"id": tenant, "key": "1"}))
    cli("report", "--tenant", tenant, "--date", str(DAY), code=0)
    other = fresh_tenant()
    log.append(Event(action="materialize", subject="raw_lis"), other)

    [read] = json.loads(cli("audit", "show", "--tenant", tenant, "--json", code=0).stdout)
    assert (read["action"], read["subject"], read["days"], read["actor"]) == ("report.read", "whole", str(DAY), "ada@desk")
    output = cli("audit", "show", code=0).output
    assert all(word in output for word in ("audit.chain", "report.read", "materialize", "ada@desk", f"tenant={other}"))

    today = datetime.now(UTC).date()
    assert json.loads(cli("audit", "show", "--from", str(today + timedelta(days=2)), "--json", code=0).stdout) == []
    assert len(json.loads(cli("audit", "show", "--from", str(today - timedelta(days=1)), "--json", code=0).stdout)) == 4
    assert json.loads(cli("audit", "show", "--to", str(today - timedelta(days=2)), "--json", code=0).stdout) == []
    assert "is no date" in cli("audit", "show", "--from", "yesterday", code=2).output


def test_verify_says_which_record_and_exits_with_one(cli: Cli, log: Log, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "holds" in cli("audit", "verify", code=0).output
    for number in range(3):
        log.append(Event(action="materialize", subject=f"step_{number}"), tenant)
    seen = seen_bars(monkeypatch)
    assert [each["records"] for each in json.loads(cli("audit", "verify", "--json", code=0).stdout)] == [1, 3]
    assert "2/2 chains" in seen.getvalue()
    log.storage.delete(BUCKET, record_key(f"tenant={tenant}", 2))  # type: ignore[arg-type]
    output = cli("audit", "verify", code=1).output
    assert f"tenant={tenant} record 2 was removed: its object is not there." in output
    found, said = (lines[:-1] for lines in (shapes(output, tenant, log.storage.prefix), shown("how-to/audit.md", "audit verify")))
    assert found == said
    [_, broken] = json.loads(cli("audit", "verify", "--tenant", tenant, "--json", code=1).stdout)
    assert [(each["sequence"], each["what"]) for each in broken["findings"]] == [(2, "removed")]
    assert [each["ok"] for each in json.loads(cli("audit", "verify", "--tenant", fresh_tenant(), "--json", code=0).stdout)] == [True, True]
    assert "**broken**" in cli("audit", "evidence", "--from", "2026-01-01", "--to", "2026-01-02", code=1).output


def test_evidence_is_a_page_or_json(cli: Cli, log: Log, tenant: TenantId) -> None:
    log.append(Event(action="tenant.register"), tenant)
    today = datetime.now(UTC).date()
    span = ("--from", str(today - timedelta(days=1)), "--to", str(today + timedelta(days=1)))
    page = cli("audit", "evidence", *span, code=0).stdout
    assert page.startswith("# Evidence, ")
    assert "tenant.register: 1 done" in page
    found = json.loads(cli("audit", "evidence", *span, "--json", code=0).stdout)
    assert {each["control"]: each["records"] for each in found["controls"]}["164.308(a)(4)(ii)(C)"] == {"tenant.register": {"done": 1}}
    assert len(found["not_recorded"]) == 3
    assert "no days" in cli("audit", "evidence", "--from", "2026-01-02", "--to", "2026-01-01", code=2).output
