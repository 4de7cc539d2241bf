"""`lab-insights schema stale` and `schema backfill`: a contract changes, its days are listed, one command makes them again, nothing is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_insights.aws import Aws
from lab_insights.commands import console
from lab_insights.lab import contracts
from lab_insights.local import snowflake
from lab_insights.resources.lake import open_lake
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.commands.shop import Shop, opened

CONTRACT = {
    "table": "customer",
    "domain": "crm",
    "description": "Who buys.",
    "key": ["customer_id"],
    "source": {"name": "shop", "table": "customers", "cursor": "updated_at", "key": ["id"]},
    "columns": [
        {"name": "customer_id", "type": "string", "from": "id", "phi": "none", "description": "Number of the customer."},
        {"name": "updated_at", "type": "timestamp", "from": "updated_at", "phi": "none", "description": "When it changed."},
    ],
}
NAME = {"name": "name", "type": "string", "from": "name", "phi": "direct", "description": "Name of the customer."}


@pytest.fixture(scope="module")
def shop(mysql_url: str, postgres_url: str) -> Iterator[Shop]:
    with opened(mysql_url, postgres_url) as made:
        yield made


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Shop, aws_endpoint: str, deployed_prefix: str) -> Iterator[Cli]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for name, value in {
        "LAB_INSIGHTS_CONFIG": str(tmp_path / "lab_insights.yaml"),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "SHOP_URL": shop.mysql,
        "SNOWFLAKE_LOGIN": json.dumps(snowflake.LOGIN),
    }.items():
        monkeypatch.setenv(name, value)
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 300)
    for merchant in ("north", "south"):
        Registry(Aws(endpoint_url=aws_endpoint), deployed_prefix).put(Tenant.model_validate({"id": merchant, "key": "1"}))
    yield Cli(tmp_path)
    contracts.use(None)


def describe(cli: Cli, name: str, columns: list[dict[str, str]], shop: Shop, endpoint: str, prefix: str) -> str:
    """Write the configuration with models of a directory that this process has not read, and return the first day, today."""
    (cli.path / name / "contracts").mkdir(parents=True)
    (cli.path / name / "contracts" / "customer.yaml").write_text(yaml.safe_dump(CONTRACT | {"columns": columns}))
    tenancy = {"schema": {"schema": f"{shop.base}_{{tenant}}"}}
    written: dict[str, Any] = {
        "lake": {"prefix": prefix},
        "aws": {"endpoint_url": endpoint},
        "snowflake": {"account": "fakesnow", "credentials": "env:SNOWFLAKE_LOGIN"},
        "sources": {"shop": {"engine": "mysql", "url": "env:SHOP_URL", "tenancy": tenancy, "include": ["customers", "coupons"]}},
        "partitions": {"start": datetime.now(UTC).date()},
        "models": name,
    }
    (cli.path / "lab_insights.yaml").write_text(yaml.safe_dump(written))
    return str(console.load_config().partitions.start)


def listed(cli: Cli, *words: str) -> list[tuple[str, str, str, str]]:
    found = json.loads(cli("schema", "stale", "--json", *words, code=0).stdout)
    return [(each["tenant"], each["layer"], each["table"], each["partition"]) for each in found]


@pytest.mark.slow
def test_a_changed_contract_is_listed_made_again_by_one_command_and_listed_no_more(
    cli: Cli, shop: Shop, aws_endpoint: str, deployed_prefix: str
) -> None:
    day = describe(cli, "models", CONTRACT["columns"], shop, aws_endpoint, deployed_prefix)  # type: ignore[arg-type]
    for job in ("raw", "curation"):
        cli("run", job, "--day", day, "--json", code=0)
    assert listed(cli) == []
    assert "nothing is stale" in cli("schema", "stale", code=0).output

    describe(cli, "changed", [*CONTRACT["columns"], NAME], shop, aws_endpoint, deployed_prefix)  # type: ignore[misc]
    assert listed(cli) == [(merchant, "curated", "customer", day) for merchant in ("north", "south")]
    assert listed(cli, "--tenant", "south") == [("south", "curated", "customer", day)]
    assert "schema backfill" in cli("schema", "stale", code=0).output
    lake = open_lake(console.load_config())
    before = {
        (merchant, table): lake.state.batches("curated", merchant, table)
        for merchant in ("north", "south")
        for table in lake.state.tables("curated", merchant)
    }

    done = json.loads(cli("schema", "backfill", "--tenant", "north", "--json", code=0).stdout)
    assert (done["ok"], done["partitions"], len(done["runs"])) == (True, 1, 1)
    assert listed(cli) == [("south", "curated", "customer", day)]
    assert "1 stale partitions" in cli("schema", "backfill", code=0).output
    assert listed(cli) == []
    after = {of: lake.state.batches("curated", *of) for of in before}
    assert {table for (_, table), batches in after.items() if batches != before[_, table]} == {"customer"}, "and nothing else was made"
    [made] = [json.loads(lake.storage.get("curated", batch.manifest) or b"{}") for batch in after["north", "customer"]]
    assert made["code_version"] == after["north", "customer"][0].code_version
    assert made["rows"] == 2
