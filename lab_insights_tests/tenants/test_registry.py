"""The tenant registry: who is registered, and what can not be registered at all."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lab_insights.errors import ConfigError, InvalidTenant, UnknownTenant
from lab_insights.lake.commit import Lake
from lab_insights.tenants.registry import Registry, Tenant, read_file
from lab_insights_tests.lake.world import fresh_tenant


@pytest.fixture
def registry(lake: Lake) -> Registry:
    return Registry(lake.storage.aws, lake.storage.prefix)


def tenant(name: str, **more: Any) -> Tenant:
    return Tenant.model_validate({"id": name, "key": "12", **more})


def test_a_tenant_comes_back_as_it_was_put(registry: Registry) -> None:
    name = fresh_tenant()
    put = tenant(name, layouts={"lis": "prefix"}, zone="America/New_York", tier="frequent", deliver_by="18:30")
    registry.put(put)
    found = registry.get(name)
    assert found.registered_at is not None
    assert found.model_copy(update={"registered_at": None}) == put
    assert (found.deliver_by, found.database) == (time(18, 30), f"LAB_INSIGHTS_{name.upper()}")


def test_putting_a_tenant_again_changes_what_differs_and_not_when_it_came(registry: Registry) -> None:
    name = fresh_tenant()
    registry.put(tenant(name))
    first = registry.get(name)
    registry.put(tenant(name, tier="frequent"))
    again = registry.get(name)
    assert (again.tier, again.registered_at) == ("frequent", first.registered_at)


def test_tenants_are_listed_as_they_came_whatever_their_names(registry: Registry) -> None:
    names = sorted((fresh_tenant() for _ in range(4)), reverse=True)
    for name in names:
        registry.put(tenant(name))
    registry.put(tenant(names[0], tier="frequent"))
    assert [each.id for each in registry.all() if each.id in names] == names


def test_who_is_not_registered_is_told_how_to_be(registry: Registry) -> None:
    with pytest.raises(UnknownTenant) as raised:
        registry.get("nobody_here")
    assert raised.value.tenant == "nobody_here"
    assert "tenant add" in raised.value.remedy
    with pytest.raises(InvalidTenant):
        registry.get("../evil")


@pytest.mark.parametrize("name", ["../evil", "a|b", "A", "", "a" * 64, "tenant=x"])
def test_an_id_that_may_not_enter_a_path_is_no_tenants(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a tenant id"):
        tenant(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "a/b"),
        ("key", ""),
        ("key", "'; DROP"),
        ("zone", "Mars/Olympus"),
        ("zone", "America"),
        ("zone", "../etc/passwd"),
        ("zone", ""),
        ("tier", "hourly"),
        ("layouts", {"lis": "view"}),
        ("deliver_by", "25:00"),
        ("deliver_by", 1110),
        ("surprise", 1),
    ],
)
def test_what_no_tenant_can_have_is_refused_as_a_value(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        tenant("aurora", **{field: value})


def test_a_file_of_tenants_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text('tenants:\n  - {id: aurora, key: "12", zone: America/New_York, deliver_by: "18:30"}\n  - {id: birchwood, key: t27}\n')
    assert [(each.id, each.key, each.deliver_by) for each in read_file(path)] == [
        ("aurora", "12", time(18, 30)),
        ("birchwood", "t27", time(6)),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a list of tenants"),
        (b"tenants", "is not a list of tenants"),
        (b"customers: []", "is not a list of tenants"),
        (b"tenants: {", "is not a list of tenants"),
        (b"\xff\xfe", "is not a list of tenants"),
        (b'tenants: [{id: ok, key: "1"}, {id: ../evil, key: "2"}]', r"tenants\.1\.id"),
        (b'tenants: [{id: "a|b", key: "1"}]', r"tenants\.0\.id"),
        (b'tenants: [{id: ok, key: "1", zone: Mars/Olympus}]', r"tenants\.0\.zone.*IANA"),
        (b'tenants: [{id: ok, key: "1", zone: America}]', r"tenants\.0\.zone"),
        (b'tenants: [{id: ok, key: "1", deliver_by: 18:30}]', r"tenants\.0\.deliver_by.*quotes"),
        (b"tenants: [{id: ok, key: 12}]", r"tenants\.0\.key"),
        (b'tenants: [{id: ok, key: "1"}, {id: ok, key: "2"}]', "names ok twice"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_the_entry(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=told) as raised:
        read_file(path)
    assert str(path) in str(raised.value)
    assert raised.value.remedy


def test_the_file_of_the_how_to_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "tenants.md"
    [example] = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "tenants.yaml").write_text(example)
    first, second = read_file(tmp_path / "tenants.yaml")
    assert (first.key, first.deliver_by, first.tier) == ("12", time(5, 30), "daily")
    assert (second.key, second.deliver_by, second.layouts["lis"]) == ("27", time(6), "prefix")


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a list of tenants"):
        read_file(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"body": {"S": '{"id": "NAME", "key": "a/b"}'}}, "key: String should match"),
        ({"body": {"S": "not JSON"}}, "body: Invalid JSON"),
        ({"body": {"S": '{"id": "somebody_else", "key": "1"}'}}, "its key and the id in its body differ"),
        ({}, "is missing"),
        ({"body": {"S": '{"id": "NAME", "key": "1"}'}, "registered_at": {"S": "yesterday"}}, "no instant"),
    ],
)
def test_an_item_written_wrongly_by_hand_is_left_out_with_a_warning_and_the_others_go_on(
    lake: Lake, registry: Registry, item: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, good = fresh_tenant(), fresh_tenant()
    registry.put(tenant(good))
    body = {key: {"S": value["S"].replace("NAME", name)} for key, value in item.items()}
    put = {"tenant": {"S": name}, "registered_at": {"S": "2026-01-01T00:00:00+00:00"}} | body
    lake.storage.aws.client("dynamodb").put_item(TableName=f"{lake.storage.prefix}-tenants", Item=put)
    try:
        assert {good} <= {each.id for each in registry.all()}.difference({name})
        [record] = [record for record in caplog.records if getattr(record, "tenant", "") == name]
        assert told in record.getMessage()
        assert told in registry.listing().invalid[name]
        with pytest.raises(ConfigError, match="is not valid") as raised:
            registry.get(name)
        assert raised.value.tenant == name
    finally:
        lake.storage.aws.client("dynamodb").delete_item(TableName=f"{lake.storage.prefix}-tenants", Key={"tenant": {"S": name}})
