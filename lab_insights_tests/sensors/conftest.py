"""The world of the sensors' tests as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from lab_insights.lake import queue
from lab_insights.names import tenant_id
from lab_insights.resources.lake import LakeResource
from lab_insights.sensors import queues, sweep
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.sensors.world import TENANTS, World, write_config


@pytest.fixture
def world(aws_endpoint: str, deployed_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A fresh deployment and instance with three registered tenants that are partitions already; put-back messages come again at once."""
    monkeypatch.setattr(queues, "DELAY_SECONDS", 0)
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)
    monkeypatch.setattr(sweep, "GRACE", timedelta())
    config = tmp_path / "lab_insights.yaml"
    write_config(config, aws_endpoint, deployed_prefix)
    with dg.DagsterInstance.ephemeral() as instance:
        made = World(instance, LakeResource(config_path=str(config)))
        for key, tenant in enumerate(TENANTS):
            made.resource.registry().put(Tenant(id=tenant_id(tenant), key=str(key)))
        instance.add_dynamic_partitions("tenants", list(TENANTS))
        yield made
