"""A new user's first hour, with databases of an application that nobody here has seen: init, doctor, tenant add, plan, run, cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from lab_insights import config
from lab_insights.commands import console
from lab_insights.local import snowflake
from lab_insights_tests.commands.cli import Cli, seen_bars
from lab_insights_tests.commands.shop import MERCHANTS, PASSWORD, Shop, opened


@pytest.fixture(scope="module")
def shop(mysql_url: str, postgres_url: str) -> Iterator[Shop]:
    with opened(mysql_url, postgres_url) as made:
        yield made


class Discreet(Cli):
    """Repeats no password."""

    def __call__(self, *words: str, code: int | None = None, typed: str | None = None) -> Result:
        result = super().__call__(*words, code=code, typed=typed)
        assert PASSWORD not in result.output
        return result


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Cli:
    """A terminal in an empty directory, with the URLs exported; the URL of MySQL carries a password that must not be seen again."""
    monkeypatch.chdir(tmp_path)
    for name in ("LAB_INSIGHTS_CONFIG", "DAGSTER_HOME", "LAB_INSIGHTS_LOCAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 300)
    monkeypatch.setenv("SHOP_URL", shop.mysql)
    monkeypatch.setenv("STOCK_URL", shop.postgres)
    monkeypatch.setenv("SNOWFLAKE_LOGIN", json.dumps(snowflake.LOGIN))
    return Discreet(tmp_path / "lab_insights.yaml")


def sources(shop: Shop) -> list[str]:
    """Return the options that name the application's databases, of all that are on these servers."""
    names = {"shop": ("SHOP_URL", f"{shop.base}_*"), "stock": ("STOCK_URL", shop.stock)}
    return [word for name, (url, like) in names.items() for word in ("--source", f"{name}=env:{url}", "--schemas", f"{name}={like}")]


def checks(cli: Cli, *words: str, code: int) -> dict[str, dict[str, str]]:
    return {check["subject"]: check for check in json.loads(cli("doctor", "--json", *words, code=code).stdout)}


@pytest.mark.slow
def test_a_stranger_gets_from_two_databases_to_a_lake(
    cli: Cli,
    shop: Shop,
    aws_endpoint: str,
    deployed_prefix: str,
    snowflake_server: tuple[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = cli("init", *sources(shop), "--prefix", deployed_prefix, "--endpoint-url", aws_endpoint, code=0).output
    assert "2 schemas hold the same tables" in said
    assert "tenants seen: north, south" in said
    assert "3 of 4 tables" in said
    assert "not loaded: carrier" in said
    assert "lab-insights tenant add north --key north" in said
    text = cli.path.read_text()
    assert "://" not in text.replace(aws_endpoint, "")
    assert PASSWORD not in text

    # Which server stands in for Snowflake is what no database can tell.
    content = yaml.safe_load(text)
    content["snowflake"] |= {"account": "fakesnow", "host": "127.0.0.1", "port": snowflake_server[1], "protocol": "http"}
    content["alerts"] = {"ui_url": "https://dagster.example/"}
    cli.path.write_text(yaml.safe_dump(content))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    before = checks(cli, code=0)
    assert {name: check["status"] for name, check in before.items() if name.startswith(("source", "bucket", "table", "queue", "glue"))} == {
        name: "ok" for name in before if name.startswith(("source", "bucket", "table", "queue", "glue"))
    }
    assert (before["tenants"]["status"], before["tenants"]["remedy"]) == ("warning", "lab-insights tenant add ID --key KEY")
    assert before[f"topic {deployed_prefix}-alarms"]["status"] == "warning"

    cli("tenant", "add", "north", "--key", str(MERCHANTS["north"]), code=0)
    after = checks(cli, code=0)
    assert after["source shop of north"]["message"] == "4 tables can be read"
    assert after["source stock of north"]["status"] == "warning"
    assert "left out: carrier has no column company_id" in after["source stock of north"]["message"]
    assert after["snowflake LAB_INSIGHTS_NORTH"]["status"] == "ok"
    assert "dagster partitions" not in after

    planned = {table["table"]: table for table in json.loads(cli("plan", "--json", code=0).stdout)["tables"]}
    assert {"shop.orders", "shop.customers", "shop.order_items", "shop.coupons", "stock.article", "stock.movement"} <= set(planned)
    assert planned["shop.orders"]["cursor"] == "updated_at"

    today = str(yaml.safe_load(text)["partitions"]["start"])
    ran: dict[str, Any] = json.loads(cli("run", "raw", "--day", today, "--json", code=0).stdout)
    [made] = ran["runs"]
    assert (ran["ok"], ran["failed"], made["layers"]["raw"]["rows"]) == (True, {}, 2 + MERCHANTS["north"] + 1)
    curated = cli("run", "curation", "--tenant", "north", "--day", today, code=0).output
    assert "succeeded  https://dagster.example/runs/" in curated
    [spent] = json.loads(cli("cost", "--json", code=0).stdout)
    assert (spent["tenant"], spent["day"], spent["statements"]) == ("north", today, 0)
    assert spent["layers"]["raw"]["bytes"] == made["layers"]["raw"]["bytes"] > 0
    assert spent["layers"]["curated"]["rows"] == made["layers"]["raw"]["rows"]

    cli("run", "curated_to_snowflake", "--tenant", "north", "--day", today, code=0)
    seen = seen_bars(monkeypatch)
    rebuilt = json.loads(cli("schema", "rebuild", "curated.shop.orders", "--tenant", "north", "--json", code=0).stdout)
    assert rebuilt == {"tenant": "north", "table": "curated.shop.orders", "rows": MERCHANTS["north"]}
    assert f"1/1 batches  {MERCHANTS['north']} rows, " in seen.getvalue()

    cli("tenant", "add", "nowhere", "--key", "99", code=0)
    failed: dict[str, Any] = json.loads(cli("run", "raw", "--day", today, "--json", code=1).stdout)
    assert (failed["ok"], list(failed["failed"])) == (False, ["nowhere"])
    assert "has no schema" in failed["failed"]["nowhere"]
    said = cli("run", "raw", "--day", today, "--tenant", "nowhere", code=1).output
    assert "failed: nowhere" in said
    assert "The others are done" in said


def test_init_asks_when_no_source_is_named_and_asks_again_for_one_that_does_not_answer(cli: Cli, shop: Shop) -> None:
    typed = "Shop!\nshop\nenv:NO_SUCH_URL\nshop\nenv:SHOP_URL\n\n"
    said = cli("init", "--schemas", f"shop={shop.base}_*", code=0, typed=typed).output
    assert "A name is a lower-case letter" in said
    assert "The variable NO_SUCH_URL is not set" in said
    assert list(config.load(cli.path).sources) == ["shop"]


def test_init_never_writes_over_a_file_unless_it_is_forced(cli: Cli, shop: Shop) -> None:
    cli.path.write_text("mine")
    assert "is there already" in cli("init", *sources(shop), code=2).output
    assert cli.path.read_text() == "mine"
    cli("init", *sources(shop), "--force", code=0)
    assert config.load(cli.path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--source", "shop=mysql://root:hunter2@127.0.0.1/x"), "A source is named by a reference"),
        (("--source", "shop"), "is not NAME=VALUE"),
        (("--source", "shop=env:SHOP_URL", "--source", "shop=env:SHOP_URL"), "names shop twice"),
        (("--source", "shop=env:SHOP_URL", "--schemas", "stock=x"), "`--schemas` names stock, which is no source"),
        (("--source", "shop=env:SNOWFLAKE_LOGIN"), "does not hold a URL"),
        (("--source", "shop=env:SHOP_URL", "--start", "soon"), "is no date"),
        (("--json",), "nothing is asked"),
    ],
)
def test_a_wrong_init_is_told_writes_nothing_and_repeats_no_password(cli: Cli, words: tuple[str, ...], told: str) -> None:
    said = cli("init", *words, code=2).output
    assert told in said
    assert "remedy:" in said
    assert "hunter2" not in said
    assert not cli.path.exists()


def test_a_source_that_shows_nothing_is_no_source(cli: Cli) -> None:
    assert (
        "shows this login no table in schemas like nothing_*"
        in cli("init", "--source", "shop=env:SHOP_URL", "--schemas", "shop=nothing_*", code=1).output
    )


@contextmanager
def dynamodb_tables(endpoint: str, *names: str) -> Iterator[None]:
    """Make tables that are keyed by `org_id`, and drop them."""
    import boto3

    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x")
    for name in names:
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "org_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "org_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    try:
        yield
    finally:
        for name in names:
            client.delete_table(TableName=name)


def test_dynamodb_tables_are_described_by_their_keys(cli: Cli, aws_endpoint: str) -> None:
    with dynamodb_tables(aws_endpoint, "shop-events"):
        found = cli("init", "--source", "events=dynamodb:shop-events", "--endpoint-url", aws_endpoint, "--json", code=0)
    [source] = json.loads(found.stdout)["sources"]
    assert source["tenancy"] == {"discriminator": {"column": "org_id", "value": "{key}"}}
    assert config.load(cli.path).sources["events"].tables == ("shop-events",)


def test_dynamodb_tables_of_one_name_are_told_before_a_file_is_written(cli: Cli, aws_endpoint: str) -> None:
    with dynamodb_tables(aws_endpoint, "orders-events", "results-events"):
        said = cli("init", "--source", "shop=dynamodb:orders-events,results-events", "--endpoint-url", aws_endpoint, code=2).output
    assert "the tables orders-events and results-events would both be events in the lake" in " ".join(said.split())
    assert not cli.path.exists()


def test_a_source_called_like_one_that_contracts_describe_is_told_what_they_expect(cli: Cli, shop: Shop) -> None:
    said = cli("init", "--source", "crm=env:SHOP_URL", "--schemas", f"crm={shop.base}_*", code=0).output
    assert "Contracts describe a source called crm, and expect of it: account, account_access_node" in said
