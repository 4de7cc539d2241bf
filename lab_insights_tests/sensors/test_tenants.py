"""Dagster's tenant partitions follow the registry."""

from __future__ import annotations

import pytest

from lab_insights import partitions
from lab_insights.errors import LabInsightsError
from lab_insights.names import TenantId, tenant_id
from lab_insights.tenants.registry import Listing, Registry, Tenant
from lab_insights_tests.sensors.world import TENANTS, World


def test_new_tenants_become_partitions_in_the_order_of_registration(world: World) -> None:
    for name in ("zeta_labs", "delta_labs"):
        world.resource.registry().put(Tenant(id=tenant_id(name), key=name))
    world.tick("tenant_registry")
    assert world.instance.get_dynamic_partitions("tenants") == [*TENANTS, "zeta_labs", "delta_labs"]
    assert world.tick("tenant_registry").skip_message == "5 tenants."


def test_a_tenant_that_left_the_registry_is_reported_and_keeps_its_partition(world: World) -> None:
    world.instance.add_dynamic_partitions("tenants", ["left_long_ago"])
    assert world.tick("tenant_registry").skip_message == "3 tenants. No longer registered: left_long_ago."
    assert "left_long_ago" in world.instance.get_dynamic_partitions("tenants")


def test_an_id_that_is_none_never_becomes_a_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for hostile in ("a|b", "../evil", "Upper", ""):
        entry = Tenant.model_construct(id=TenantId(hostile), key="1")
        monkeypatch.setattr(Registry, "listing", lambda _, entry=entry: Listing([entry], {}))
        with pytest.raises(LabInsightsError, match="is not a tenant id"):
            world.tick("tenant_registry")
    assert world.instance.get_dynamic_partitions("tenants") == list(TENANTS)


def test_more_partitions_than_dagster_can_carry_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MOST", 400 * len(TENANTS))
    assert world.tick("tenant_registry").skip_message == "3 tenants."
    world.resource.registry().put(Tenant(id=tenant_id("one_too_many"), key="9"))
    with pytest.raises(LabInsightsError, match="4 tenants × 400 days"):
        world.tick("tenant_registry")


def test_an_item_written_wrongly_by_hand_is_reported_and_the_other_tenants_get_their_partitions(world: World) -> None:
    registry = world.resource.registry()
    registry.put(Tenant(id=tenant_id("zeta_labs"), key="9"))
    item = {"tenant": {"S": "by_hand"}, "body": {"S": "{}"}, "registered_at": {"S": "2026-01-01T00:00:00+00:00"}}
    world.resource.aws().client("dynamodb").put_item(TableName=f"{world.resource.prefix}-tenants", Item=item)
    world.instance.add_dynamic_partitions("tenants", ["by_hand"])
    world.tick("tenant_registry")
    assert "zeta_labs" in world.instance.get_dynamic_partitions("tenants")
    assert world.tick("tenant_registry").skip_message == "4 tenants. Invalid, left out: 'by_hand'."
    world.tick("curation_queue")
    world.tick("manifest_sweep")
