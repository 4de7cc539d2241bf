"""`verify --live`: the source is read again, and what moved on since is told from what was lost or altered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from lab_insights import config
from lab_insights.config import Config
from lab_insights.extract.sources import Sources
from lab_insights.findings import Finding
from lab_insights.lab.declared import declared
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.verify import Live, Report
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.lake.world import fresh_tenant
from lab_insights_tests.verify.world import World, day

ACCOUNT = ("account",)


@pytest.fixture
def settings(world: World, tmp_path: Path) -> Config:
    """A configuration file of the world."""
    tables = ["account", "record_host_code", "crm_case", "udt_note"]
    source = {"engine": "mysql", "url": "env:VERIFY_TEST_URL", "tenancy": {"schema": {"schema": world.schema}}}
    content = {
        "aws": {"endpoint_url": world.aws.endpoint_url},
        "lake": {"prefix": world.lake.storage.prefix},
        "snowflake": {"account": "fakesnow", "credentials": f"secret:{world.lake.storage.prefix}/snowflake"},
        "sources": {"crm": {**source, "include": tables}, "lis": {**source, "include": ["lab_order"]}},
        "partitions": {"start": str(day(1))},
        "clock": {"file": str(world.lake.clock.file)},
    }
    path = tmp_path / "lab_insights.yaml"
    path.write_text(yaml.safe_dump(content))
    return config.load(path)


@pytest.fixture
def landed(world: World, whole: TenantId) -> TenantId:
    """A tenant of the registry whose accounts were landed up to the second day; the third has happened since."""
    tenant = fresh_tenant()
    Registry(world.aws, world.lake.storage.prefix).put(Tenant(id=tenant, key="1", layouts={"crm": "schema", "lis": "schema"}))
    for number in (1, 2):
        world.land(tenant, number, tables=ACCOUNT)
    return tenant


@contextmanager
def changed(world: World, statement: str, back: str) -> Iterator[None]:
    world.execute(statement.format(t=f"{world.schema}.account"))
    try:
        yield
    finally:
        world.execute(back.format(t=f"{world.schema}.account"))


UNSEEN = ("UPDATE {t} SET host_code = 'secret' WHERE id = 'a18'", "UPDATE {t} SET host_code = 'h18' WHERE id = 'a18'")


def again(world: World, settings: Config, tenant: TenantId) -> Report:
    sources = Sources(settings, world.aws, world.lake, declared(), kept=False)
    return world.verify_lake(tenant, layers=["raw"], live=Live(sources, Registry(world.aws, world.lake.storage.prefix)))


def now(report: Report) -> Finding:
    [found] = [finding for finding in report.findings if finding.day is None]
    return found


def test_what_happened_since_is_counted_and_no_error(world: World, settings: Config, landed: TenantId) -> None:
    report = again(world, settings, landed)
    assert (report.ok, report.proven) == (True, True)
    assert now(report).moved_on == 4, "three accounts of the third day, and one of the second that it changed"
    assert now(report).message == "what was read lies in the lake; 4 rows are new or changed since 2026-03-03 00:00:00, 0 are gone"


def test_a_row_that_was_read_and_is_other_in_the_lake_is_broken_and_named_by_a_hash(
    world: World, settings: Config, landed: TenantId
) -> None:
    with changed(world, *UNSEEN):
        report = again(world, settings, landed)
    assert not report.ok
    assert (now(report).status, now(report).table) == ("broken", "crm.account")
    assert "0 rows that were read are missing and 1 are other in the lake (keys " in now(report).message
    assert "secret" not in json.dumps(report.to_dict())
    assert "a18" not in json.dumps(report.to_dict())
    assert again(world, settings, landed).ok


def test_a_source_that_is_not_configured_or_can_not_be_reached_proves_nothing(
    world: World, settings: Config, landed: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = settings.model_copy(update={"sources": {"lis": settings.sources["lis"]}})
    assert now(again(world, without, landed)).message == "no source is called crm any more"
    monkeypatch.setenv("VERIFY_TEST_URL", "mysql://nobody@127.0.0.1:1/x")
    report = again(world, settings, landed)
    assert (now(report).status, report.ok) == ("not proven", True)


def test_the_command_counts_what_moved_on_and_exits_with_one_for_what_is_broken(
    world: World, settings: Config, landed: TenantId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(tmp_path / "lab_insights.yaml"))
    cli, words = Cli(tmp_path / "lab_insights.yaml"), ("verify", "--tenant", landed, "--table", "crm.account")
    assert "moved on: 4 rows of 1 tables" in cli(*words, "--live", code=0).output
    assert "moved on" not in cli(*words, code=0).output
    with changed(world, *UNSEEN):
        cli(*words, code=0)
        found = json.loads(cli(*words, "--live", "--json", code=1).stdout)
    assert [(each["status"], each["moved_on"]) for each in found["findings"] if each["day"] is None] == [("broken", 4)]
