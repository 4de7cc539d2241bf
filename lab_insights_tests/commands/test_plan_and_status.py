"""`plan` and `status`: what will be done with each table, what became of it, for people and for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lab_insights import config
from lab_insights.aws import Aws
from lab_insights.cli import app
from lab_insights.commands import console
from lab_insights.errors import SourceError
from lab_insights.extract.land import Mode, Request
from lab_insights.extract.sources import Sources
from lab_insights.lab.declared import declared
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights.resources.lake import open_lake
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, instant, make_lake

CONFIG = """\
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: none, host: 127.0.0.1, port: 1, protocol: http, credentials: "env:NO_SUCH_VARIABLE"}}
clock: {{file: "{clock}"}}
sources:
  crm:
    engine: mysql
    url: env:{variable}
    tenancy: {{schema: {{schema: {schema}}}}}
    overrides: {{udt_note: {{engine: spark, key: [id]}}}}
    limits: {{connections: 3}}
partitions: {{start: 2026-01-01}}
"""


@dataclass
class Deployment:
    """One tenant with three tables on a real server, and the command line that means it."""

    server: Server
    lake: Lake
    tenant: TenantId
    path: Path

    def __call__(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*words, "--tenant", self.tenant], env={"COLUMNS": "400", "TERM": "dumb"})
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)

    def load(self, table: str, number: int = 1, hour: float = 12, mode: Mode = "auto") -> str | None:
        """Load a table of the source as Dagster does, and return what a person should know of it."""
        its = config.load(self.path)
        lake = open_lake(its)
        lake.clock.set(instant(number, hour))
        sources = Sources(its, lake.state.aws, lake, declared())
        found = sources.table(Registry(lake.state.aws, lake.state.prefix).get(self.tenant), f"crm.{table}")
        sources.load(found, Request(day(number), mode, dynamic=True, run_id=f"run-{number}-{hour}"))
        return sources.warning(self.tenant, f"crm.{table}")


@pytest.fixture
def deployment(mysql_url: str, aws_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 400)
    server, lake = Server("mysql", mysql_url), make_lake(aws_endpoint, tmp_path / "clock", instant(1, 12))
    server.execute(
        "CREATE TABLE {s}.account (id INT PRIMARY KEY, name VARCHAR(20), updated_at DATETIME(6) NOT NULL, KEY (updated_at))",
        "CREATE TABLE {s}.udt_note (id INT PRIMARY KEY, note VARCHAR(20), updated_at DATETIME(6) NULL)",
        "CREATE TABLE {s}.udt_plain (id INT, note VARCHAR(20))",
        "INSERT INTO {s}.account VALUES (1, 'a', '2026-03-01 06:00:00'), (2, 'b', '2026-03-01 07:00:00')",
        "INSERT INTO {s}.udt_note VALUES (1, 'a', '2026-03-01 06:00:00'), (2, 'b', NULL), (3, 'c', NULL), (4, 'd', NULL)",
    )
    made = Deployment(server, lake, fresh_tenant(), tmp_path / "lab_insights.yaml")
    made.path.write_text(
        CONFIG.format(
            endpoint=aws_endpoint, prefix=lake.storage.prefix, variable=server.variable, schema=server.schema, clock=tmp_path / "clock"
        )
    )
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(made.path))
    Registry(Aws(endpoint_url=aws_endpoint), lake.storage.prefix).put(Tenant(id=made.tenant, key="1"))
    yield made
    server.close()


def test_the_plan_of_each_table_says_how_it_is_loaded_and_why(deployment: Deployment) -> None:
    found = {row["table"]: row for row in deployment.json("plan")["tables"]}
    account, note, plain = (found[f"crm.{name}"] for name in ("account", "udt_note", "udt_plain"))
    assert (account["load"], account["key"], account["cursor"], account["engine"]) == ("incremental", ["id"], "updated_at", "arrow")
    assert account["reason"] == "cursor updated_at is declared, indexed"
    assert account["rows"] == 2
    assert account["bytes"] > 0
    assert (note["load"], note["cursor"], note["engine"], note["declared"]) == ("dynamic_full", None, "spark", ["key", "engine"])
    assert "so it is no cursor (75.0% of its values are null); declared: key, engine" in note["reason"]
    assert (plain["load"], plain["key"], plain["reason"]) == ("dynamic_full", [], "no key, so changed rows can not be told from new ones")
    output = deployment("plan").stdout
    assert all(text in output for text in (deployment.tenant, "dynamic full", "incremental", "crm.udt_note", "spark", "75.0%"))
    assert "×" not in output


def test_several_readers_are_counted_beside_their_engine(deployment: Deployment) -> None:
    several = "{udt_note: {engine: spark, key: [id], ranges: 3}, account: {ranges: 2}}"
    deployment.path.write_text(deployment.path.read_text().replace("{udt_note: {engine: spark, key: [id]}}", several))
    lines = deployment("plan").stdout.splitlines()
    [account, note] = [next(line for line in lines if f"crm.{name}" in line) for name in ("account", "udt_note")]
    assert re.search(r"incremental +arrow × 2 ", account)
    assert re.search(r"dynamic full +spark × 3 ", note)


def test_the_plan_is_made_from_the_last_receipts(deployment: Deployment) -> None:
    deployment.load("account")
    deployment.server.execute("UPDATE {s}.account SET name = 'x', updated_at = '2026-03-01 12:30:00' WHERE id = 1")
    deployment.load("account", hour=13)
    [account] = [row for row in deployment.json("plan")["tables"] if row["table"] == "crm.account"]
    assert (account["rows"], account["engine"]) == (1, "arrow")
    assert account["seconds"] > 0


def test_a_source_that_can_not_be_planned_is_told_and_nothing_is_written(deployment: Deployment) -> None:
    deployment.path.write_text(deployment.path.read_text().replace(f"schema: {deployment.server.schema}", "schema: no_such_schema"))
    found = deployment.json("plan", code=1)
    assert found["tables"] == []
    assert "has no schema no_such_schema for this tenant" in found["failed"][0]
    assert deployment.json("status")["sources"][0]["outcome"] is None, "who only looks leaves no trace"


def test_the_status_tells_how_far_each_table_is_and_what_failed(deployment: Deployment) -> None:
    deployment.load("account", hour=12)
    deployment.load("udt_plain", hour=12)
    deployment.server.execute("UPDATE {s}.account SET name = 'unseen' WHERE id = 2")
    deployment.load("account", hour=14, mode="full")
    with pytest.raises(SourceError):
        deployment.load("vanished", hour=14)

    found = deployment.json("status", code=1)
    [crm] = found["sources"]
    assert (crm["source"], crm["outcome"], crm["tables"], crm["failed"], crm["lagging"]) == ("crm", "ok", 3, 1, False)
    account, plain, vanished = found["tables"]
    assert (account["table"], account["last_day"], account["rows"], account["closed"]) == ("crm.account", str(day(1)), 2, False)
    assert account["position"] > "2026-03-01 13"
    assert (account["outcome"], account["run_id"], account["load"]) == ("ok", "run-1-14", "dynamic_full")
    assert "1 rows changed and it did not move" in account["disqualified"][0]
    assert (plain["rows"], plain["disqualified"]) == (0, [])
    assert (vanished["table"], vanished["outcome"], vanished["failures"]) == ("crm.vanished", "failed", 1)
    assert "no such table for this tenant" in vanished["reason"]
    output = deployment("status", code=1).stdout
    assert all(text in output for text in ("crm.account", "open", "disqualified", "failed 1 times", "no such table"))

    [planned] = [row for row in deployment.json("plan")["tables"] if row["table"] == "crm.account"]
    assert (planned["load"], planned["reason"].startswith("cursor updated_at is disqualified")) == ("full", True)


def test_rows_of_the_far_future_are_counted_by_the_first_load_and_by_searches_and_told(deployment: Deployment) -> None:
    deployment.server.execute("INSERT INTO {s}.account VALUES (3, 'c', '9999-12-31 00:00:00'), (4, 'd', '2026-03-02 11:00:00')")
    its, hours = "crm.account", "of more than a day ahead, and no window reaches them. Remedy: mend the values at the source"
    assert hours in str(deployment.load("account", hour=12))
    [account] = [row for row in deployment.json("status")["tables"] if row["table"] == its]
    assert (account["rows"], account["ahead"]) == (2, 1), "what is a clock's error is read in its time"
    assert "1 rows have a cursor of more than a day ahead, and are not read" in deployment("status").stdout
    deployment.server.execute("INSERT INTO {s}.account VALUES (5, 'e', '9999-12-31 00:00:00')")
    assert deployment.load("account", hour=13) is None
    assert "ahead" in deployment("status").stdout, "what was counted stays"
    assert f"2 rows have a `updated_at` {hours}" in str(deployment.load("account", hour=14, mode="deletes"))
    deployment.server.execute("UPDATE {s}.account SET updated_at = '2026-03-01 14:30:00' WHERE updated_at > '9999-01-01'")
    deployment.load("account", hour=15, mode="deletes")
    [account] = [row for row in deployment.json("status")["tables"] if row["table"] == its]
    assert (account["rows"], account["ahead"]) == (4, 0), "a mended row is read by its window"


def test_the_history_of_a_table_is_every_attempt_at_it(deployment: Deployment) -> None:
    for hour in (12, 13, 14):
        deployment.load("account", hour=hour)
    found = deployment.json("status", "--history", "crm.account")
    assert [(each["run_id"], each["outcome"], each["load"]) for each in found] == [
        ("run-1-12", "ok", "dynamic_full"),
        ("run-1-13", "ok", "dynamic_incremental"),
        ("run-1-14", "ok", "dynamic_incremental"),
    ]
    assert "run-1-13" in deployment("status", "--history", "crm.account").stdout
