"""Runs work in their tenants' sessions, each of which reaches its own tenant's prefix and nothing else: with IAM enforced."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

import dagster as dg
import pytest

from lab_insights import definitions, operations
from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId, tenant_id
from lab_insights.partitions import TENANTS, partition_key
from lab_insights.resources.lake import LakeResource
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.session import Session
from lab_insights_tests.assets.world import QUIET, told
from lab_insights_tests.governance.enforced import Deployment, deployed, enforcing

DAY = date(2026, 3, 2)
CONFIGURATION = """
aws: {{endpoint_url: "{endpoint}", tenant_role: "{role}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: fakesnow, host: {host}, port: {port}, protocol: http, credentials: "secret:{prefix}/snowflake"}}
sources:
  notifications:
    engine: dynamodb
    tables: [{prefix}-src-critical_notification]
    tenancy: {{discriminator: {{column: tenant_id, value: "{{key}}"}}}}
partitions: {{start: 2026-03-01}}
clock: {{file: {clock}}}
"""
TABLE = "critical_notification"


class Notifications:
    """The real steps of raw and curated over one DynamoDB source, and the schema sync, for two tenants."""

    def __init__(self, deployment: Deployment, directory: Path, instance: dg.DagsterInstance, warehouse: tuple[str, int]) -> None:
        self.deployment, self.instance, self.clock = deployment, instance, directory / "clock"
        Clock(self.clock).set(datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC))
        path = directory / "lab_insights.yaml"
        values = {"endpoint": deployment.endpoint, "role": deployment.tenant_role, "prefix": deployment.prefix, "clock": self.clock}
        path.write_text(CONFIGURATION.format(**values, host=warehouse[0], port=warehouse[1]))
        self.resource = LakeResource(config_path=str(path))
        self.tenants = [tenant_id(f"{name}_{uuid.uuid4().hex[:6]}") for name in ("acorn", "beech")]
        self._fill(Aws(endpoint_url=deployment.endpoint).client("dynamodb"))
        instance.add_dynamic_partitions(str(TENANTS.name), list(self.tenants))

    def _fill(self, db: Any) -> None:
        name, keys = f"{self.deployment.prefix}-src-{TABLE}", {"tenant_id": "HASH", "notification_id": "RANGE"}
        with contextlib.suppress(db.exceptions.ResourceInUseException):
            db.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        for tenant in self.tenants:
            self.resource.registry().put(Tenant(id=tenant, key=tenant.replace("_", "-")))
            text = {"notification_id": "1", "result_id": "7", "channel": "phone", "updated_at": f"{DAY} 08:00:00"}
            db.put_item(
                TableName=name, Item={"tenant_id": {"S": tenant.replace("_", "-")}, **{key: {"S": each} for key, each in text.items()}}
            )

    def run(self) -> dg.ExecuteInProcessResult:
        built = definitions.build(self.resource.config(), self.resource.config_path)
        ends = [str(partition_key(DAY, tenant)) for tenant in self.tenants]
        return built.resolve_job_def("everything").execute_in_process(
            instance=self.instance,
            tags=dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), ends, strict=True)),
            run_config=QUIET,
            asset_selection=[dg.AssetKey(["raw", "notifications", TABLE]), dg.AssetKey(["curated", TABLE])],
            raise_on_error=False,
        )

    def sync_schemas(self) -> dg.ExecuteInProcessResult:
        built = definitions.build(self.resource.config(), self.resource.config_path)
        return built.resolve_job_def("schema_sync").execute_in_process(
            instance=self.instance,
            run_config={**QUIET, "ops": {"sync_schemas": {"config": {"tenants": list(self.tenants)}}}},
            raise_on_error=False,
        )

    def landed(self, layer: Layer, tenant: TenantId) -> int:
        table = f"notifications.{TABLE}" if layer == "raw" else TABLE
        return sum(made.rows for made in partition_manifests(self.resource.open(), Partition(layer, tenant, table, DAY)))

    def keys(self, tenant: TenantId) -> list[str]:
        return [each.key for layer in LAYERS for each in self.resource.open().storage.stored(layer, f"tenant={tenant}/")]


@pytest.fixture(scope="module")
def deployment(aws_endpoint: str) -> Deployment:
    return deployed(aws_endpoint)


@pytest.fixture
def notifications(deployment: Deployment, tmp_path: Path, snowflake_server: tuple[str, int]) -> Iterator[Notifications]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Notifications(deployment, tmp_path, instance, snowflake_server)


def test_steps_of_raw_and_curated_and_the_schema_sync_work_in_their_tenants_sessions(
    notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, sync = [], operations.sync.sync

    def syncing(session: Session, lake: Lake, tenant: TenantId, run_id: str) -> Any:
        sessions.append((tenant, lake.storage.aws.tenant, lake.state.aws.tenant))
        return sync(session, lake, tenant, run_id)

    monkeypatch.setattr(operations.sync, "sync", syncing)
    with enforcing(notifications.deployment):
        result = notifications.run()
        assert result.success, told(result)
        assert [notifications.landed(layer, tenant) for layer in ("raw", "curated") for tenant in notifications.tenants] == [1, 1, 1, 1]
        result = notifications.sync_schemas()
        assert result.success, told(result)
    assert sessions == [(tenant,) * 3 for tenant in notifications.tenants]


def test_a_planted_cross_tenant_write_inside_a_run_is_denied_and_fails_its_tenant_alone(
    notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy, planted = notifications.tenants
    upload = Storage.upload

    def astray(self: Storage, layer: Layer, key: str, file: IO[bytes]) -> None:
        upload(self, layer, key.replace(f"tenant={planted}/", f"tenant={healthy}/"), file)

    monkeypatch.setattr(Storage, "upload", astray)
    with enforcing(notifications.deployment):
        result = notifications.run()
        said = told(result)["raw_notifications"]
        assert f"**{planted}**" in said
        assert "AWS refuses PutObject to this tenant's session" in said
        assert f"**{healthy}**" not in said
        assert notifications.landed("raw", healthy) == 1
        assert not any("00000000-001-00000" in key for key in notifications.keys(planted))
        parts = [key for key in notifications.keys(healthy) if key.endswith(".parquet")]
        assert len(parts) == 1, "the one part is the healthy tenant's own"
        assert notifications.landed("raw", planted) == 0
