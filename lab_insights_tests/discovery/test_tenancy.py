"""Which tenancy is proposed for which names, and what the written file says."""

from __future__ import annotations

from datetime import date

import pytest
import yaml

from lab_insights.config import Config
from lab_insights.discovery.look import Seen
from lab_insights.discovery.tenancy import propose
from lab_insights.discovery.write import Deployment, render

SHOP = {"orders": {"id"}, "items": {"id"}, "people": {"id"}}


def seen(schemas: dict[str, dict[str, set[str]]], home: str = "", engine: str = "mysql") -> Seen:
    held = {name: {table: frozenset(columns) for table, columns in tables.items()} for name, tables in schemas.items()}
    return Seen("shop", engine, "env:SHOP_URL", "MariaDB 10.11", home, held)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "template", "tenants"),
    [
        (["shop_north", "shop_nord"], "shop_{tenant}", ["nord", "north"]),
        (["north_shop", "south_shop"], "{tenant}_shop", ["north", "south"]),
        (["acme", "globex"], "{tenant}", ["acme", "globex"]),
        (["lab12", "lab13", "lab1"], "lab{key}", ["1", "12", "13"]),
        (["shop_12", "shop_27"], "shop_{key}", ["12", "27"]),
        (["shop_Acme", "shop_globex"], "shop_{key}", ["Acme", "globex"]),
        (["{x}_a", "{x}_b"], "{{x}}_{tenant}", ["a", "b"]),
    ],
)
def test_schemas_that_look_alike_are_tenants(names: list[str], template: str, tenants: list[str]) -> None:
    proposal = propose(seen(dict.fromkeys(names, SHOP)))
    assert (proposal.layout, proposal.keys["schema"], sorted(proposal.tenants)) == ("schema", template, tenants)


def test_schemas_of_unlike_applications_are_no_family() -> None:
    proposal = propose(seen({"crm": {"account": {"id"}}, "lis": {"result": {"id"}, "specimen": {"id"}}}))
    assert (proposal.layout, proposal.keys["schema"], proposal.tenants) == ("schema", "lis", ())
    assert "register one only" in proposal.check


def test_on_a_shared_server_the_schema_that_the_url_names_is_meant_and_not_its_neighbours() -> None:
    everything = {
        "theirs_a": SHOP,
        "theirs_b": SHOP,
        "mine": {name: {*columns, "tenant_id"} for name, columns in SHOP.items()} | {"x": set()},
    }
    everything["mine"] |= {"y": set(), "z": set()}
    assert propose(seen(everything)).keys["schema"] == "theirs_{tenant}"
    assert propose(seen(everything, home="mine")).keys["schema"] == "mine"
    assert propose(seen(everything, home="theirs_a")).keys["schema"] == "theirs_{tenant}"


@pytest.mark.parametrize(
    ("tables", "prefix"),
    [
        (["t12_orders", "t12_items", "t27_orders", "t27_items"], "t{key}_"),
        (["acme_orders", "acme_items", "globex_orders", "globex_items", "version"], "{key}_"),
        (["wp_1_posts", "wp_1_users", "wp_2_posts", "wp_2_users"], "wp_{key}_"),
    ],
)
def test_table_prefixes_that_look_alike_are_tenants_in_a_way_that_the_configuration_takes(tables: list[str], prefix: str) -> None:
    its = seen({"pool": {table: {"id"} for table in tables}})
    proposal = propose(its)
    assert (proposal.layout, dict(proposal.keys)) == ("prefix", {"schema": "pool", "prefix": prefix})
    assert render(Deployment("acme", "us-east-1", None, "a", "env:S", date(2026, 1, 1)), [(its, proposal)])


def test_a_common_word_at_the_beginning_of_table_names_is_no_tenant() -> None:
    tables = ["order_items", "order_notes", "customer_phones", "customer_mails", "audit"]
    assert propose(seen({"pool": {table: {"id"} for table in tables}})).layout == "schema"


def test_a_column_of_most_tables_is_the_discriminator_and_tables_without_it_are_named() -> None:
    tables = {"a": {"id", "Tenant_Id"}, "b": {"id", "Tenant_Id", "customer_id"}, "c": {"id", "Tenant_Id", "customer_id"}, "codes": {"code"}}
    proposal = propose(seen({"pool": tables}))
    assert (proposal.layout, proposal.keys["column"], proposal.keys["value"]) == ("discriminator", "Tenant_Id", "{key}")
    assert "not loaded: codes" in proposal.check


def test_a_column_of_few_tables_is_not() -> None:
    assert propose(seen({"pool": {"a": {"customer_id"}, "b": {"id"}, "c": {"id"}}})).layout == "schema"


def test_hostile_names_stay_names_in_the_file() -> None:
    hostile = {"a\nsources: {}": SHOP, 'b": {x}': SHOP, "c #": SHOP, "é😀": {"t\nlake: {}": {"id"}, "u": {"id"}, "v": {"id"}}}
    its = seen(hostile, home="é😀")
    text = render(Deployment("acme", "us-east-1", None, "on", "env:S", date(2026, 1, 1)), [(its, propose(its))])
    loaded = Config.model_validate(yaml.safe_load(text))
    assert loaded.sources["shop"].tenancy.by_schema
    assert loaded.sources["shop"].tenancy.by_schema.schema_name == "é😀"
    assert (loaded.lake.prefix, loaded.snowflake.account) == ("acme", "on")


def test_prefixes_of_several_words_could_begin_each_others_tables_and_are_not_proposed() -> None:
    tables = ["north_eu_orders", "north_eu_items", "south_us_orders", "south_us_items"]
    assert propose(seen({"pool": {table: {"id"} for table in tables}})).layout == "schema"


def test_a_line_break_in_a_name_does_not_end_its_comment() -> None:
    its = seen({"pool": {"a": {"tenant_id"}, "b": {"tenant_id"}, "x\nlake: {prefix: evil}": set()}})
    text = render(Deployment("acme", "us-east-1", None, "a", "env:S", date(2026, 1, 1)), [(its, propose(its))])
    assert "evil" in text
    assert yaml.safe_load(text)["lake"]["prefix"] == "acme"
