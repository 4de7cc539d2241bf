"""A tenant's session reaches the tenant's own prefix and nothing else: tried with IAM enforced, and inside a run."""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError

from lab_insights import aws as module
from lab_insights import definitions, operations
from lab_insights.aws import DENIED, Aws
from lab_insights.clock import Clock
from lab_insights.config import Config, PhiSection
from lab_insights.doctor import Check, writes
from lab_insights.errors import ConfigError
from lab_insights.governance.deidentify import tenant_key
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests
from lab_insights.local import deployer, snowflake
from lab_insights.names import TenantId, tenant_id
from lab_insights.partitions import TENANTS, partition_key
from lab_insights.resources.lake import LakeResource
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.session import Session
from lab_insights_tests.assets.world import QUIET, told
from lab_insights_tests.governance.enforced import Deployment, enforcing

# One id begins as another: a prefix without its closing slash would hold both.
IDS = ("acme", "acme_east", "birchwood")
BUCKETS = (*LAYERS, "reports")
DAY = date(2026, 3, 2)


def allowed(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        return False
    return True


@pytest.fixture(scope="module")
def deployment(aws_endpoint: str) -> Deployment:
    prefix = f"iam-{uuid.uuid4().hex[:8]}"
    deployer.deploy(aws_endpoint, prefix)
    s3 = Aws(endpoint_url=aws_endpoint).client("s3")
    for bucket, tenant in itertools.product(BUCKETS, IDS):
        s3.put_object(Bucket=f"{prefix}-{bucket}", Key=f"tenant={tenant}/table=t/there", Body=b"1")
    login = json.dumps(snowflake.LOGIN)
    Aws(endpoint_url=aws_endpoint).client("secretsmanager").create_secret(Name=f"{prefix}/snowflake", SecretString=login)
    return Deployment(aws_endpoint, prefix)


@pytest.fixture
def enforced(deployment: Deployment) -> Iterator[Deployment]:
    with enforcing(deployment):
        yield deployment


def test_every_pair_of_a_tenants_session_and_a_prefix_in_every_bucket_for_reading_writing_and_deleting(enforced: Deployment) -> None:
    for mine, theirs, bucket in itertools.product(IDS, IDS, BUCKETS):
        s3, where = enforced.of(mine).client("s3"), {"Bucket": f"{enforced.prefix}-{bucket}"}
        got = (
            allowed(s3.get_object, **where, Key=f"tenant={theirs}/table=t/there"),
            allowed(s3.put_object, **where, Key=f"tenant={theirs}/table=t/from-{mine}", Body=b"2"),
            allowed(s3.delete_object, **where, Key=f"tenant={theirs}/table=t/from-{mine}"),
        )
        assert got == (mine == theirs,) * 3, (mine, theirs, bucket, got)


def test_arrow_reads_in_the_tenants_session_too(enforced: Deployment) -> None:
    files = enforced.of("acme").arrow_filesystem()
    with files.open_input_stream(f"{enforced.prefix}-curated/tenant=acme/table=t/there") as stream:
        assert stream.read() == b"1"
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.open_input_stream(f"{enforced.prefix}-curated/tenant=acme_east/table=t/there")


def test_a_tenants_session_has_no_part_in_the_audit_log_the_registry_the_catalog_or_roles(enforced: Deployment) -> None:
    aws, prefix = enforced.of("acme"), enforced.prefix
    assert not allowed(aws.client("s3").put_object, Bucket=f"{prefix}-audit", Key="tenant=acme/0000000001.json", Body=b"{}")
    assert not allowed(aws.client("dynamodb").get_item, TableName=f"{prefix}-tenants", Key={"tenant": {"S": "acme"}})
    assert allowed(aws.client("dynamodb").get_item, TableName=f"{prefix}-status", Key={"pk": {"S": "acme#raw"}, "sk": {"S": "x"}})
    assert not allowed(aws.client("glue").get_tables, DatabaseName=f"{prefix.replace('-', '_')}_raw")
    tags = [{"Key": "tenant", "Value": "birchwood"}]
    assume = {"RoleArn": enforced.tenant_role, "RoleSessionName": "other", "Tags": tags}
    assert not allowed(aws.client("sts").assume_role, **assume), "it can not become another tenant"


def test_the_doctor_tries_whether_a_tenants_part_of_the_lake_may_be_written_in_its_session(enforced: Deployment) -> None:
    acme = Tenant(id=tenant_id("acme"), key="1")

    def told(prefix: str = enforced.prefix, role: str | None = enforced.tenant_role) -> Check:
        config = Config.model_validate(
            {
                "aws": {"endpoint_url": enforced.endpoint, "tenant_role": role},
                "lake": {"prefix": prefix},
                "snowflake": {"account": "none", "credentials": "env:NONE"},
                "sources": {},
                "partitions": {"start": DAY},
            }
        )
        [check] = writes.lake(config, Aws(endpoint_url=enforced.endpoint), [acme])
        return check

    assert told() == Check("lake of acme", "ok", "may be written in a session of the tenants' role")
    assert told(role=None).message == "may be written by this login"
    refused = told(prefix=f"{enforced.prefix}-other")
    assert (refused.status, refused.message) == ("failed", "AWS answers AccessDenied.")
    assert "can not be assumed" in told(role=f"{enforced.tenant_role}-no").message


def test_the_key_of_a_tenants_pseudonyms_is_read_by_the_pipeline_since_the_tenants_session_reads_no_secret(deployment: Deployment) -> None:
    name = f"{deployment.prefix}/pseudonyms"
    Aws(endpoint_url=deployment.endpoint).client("secretsmanager").create_secret(Name=name, SecretString="the key of this test")
    with enforcing(deployment):
        assert not allowed(deployment.of("acme").client("secretsmanager").get_secret_value, SecretId=name)
        declared = PhiSection(pseudonym_key=f"secret:{name}")
        assert tenant_key(declared, deployment.of("acme"), TenantId("acme"))


def test_only_pairs_of_value_and_pseudonym_are_deleted_with_their_version_and_only_the_tenants_own(enforced: Deployment) -> None:
    pipeline = Storage(enforced.aws, enforced.prefix)
    for mine, theirs, directory in itertools.product(IDS, IDS, ("pseudonyms", "table=t")):
        key = f"tenant={theirs}/{directory}/pairs-{mine}.parquet"
        pipeline.put("curated", key, b"pairs")
        own = Storage(enforced.of(mine), enforced.prefix)
        assert allowed(own.erase, layer="curated", key=key) == (mine == theirs and directory == "pseudonyms"), key
        assert allowed(pipeline.erase, layer="curated", key=key) == (directory == "pseudonyms"), key


def test_a_session_of_the_role_without_a_tenant_reaches_nothing(enforced: Deployment) -> None:
    made = enforced.aws.client("sts").assume_role(RoleArn=enforced.tenant_role, RoleSessionName="nobody")["Credentials"]
    login = (made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    files = module._arrow_filesystem("us-east-1", enforced.endpoint, login)
    for tenant, bucket in itertools.product(IDS, BUCKETS):
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            files.open_input_stream(f"{enforced.prefix}-{bucket}/tenant={tenant}/table=t/there")


def test_a_session_is_asked_for_once_a_process_and_anew_before_it_ends(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    assume = module._assume
    monkeypatch.setattr(module, "_assume", lambda aws: asked.append(aws.tenant) or assume(aws))
    aws, where = deployment.of("seldom_seen"), {"Bucket": f"{deployment.prefix}-raw", "Prefix": "tenant=seldom_seen/"}
    for _ in range(3):
        aws.client("s3").list_objects_v2(**where)
        aws.client("dynamodb").describe_table(TableName=f"{deployment.prefix}-status")
        aws.arrow_filesystem()
    assert asked == ["seldom_seen"]
    monkeypatch.setattr(module, "_SESSION_SECONDS", 900)
    short = deployment.of("soon_over")
    short.client("s3").list_objects_v2(**where)
    short.client("s3").list_objects_v2(**where)
    assert asked == ["seldom_seen", *["soon_over"] * (len(asked) - 1)]
    assert len(asked) > 2, "a session that is about to end is asked for anew by the same client"


def test_a_role_that_can_not_be_assumed_is_told_with_tenant_and_remedy(enforced: Deployment) -> None:
    wrong = Aws(endpoint_url=enforced.endpoint, tenant_role=f"{enforced.tenant_role}-of-nobody").of(TenantId("acme"))
    with pytest.raises(ConfigError, match=r"tenant acme.*can not be assumed.*TenantRoleArn"):
        wrong.client("s3").list_objects_v2(Bucket=f"{enforced.prefix}-raw")


def test_without_a_role_there_is_one_login_for_all() -> None:
    aws = Aws(endpoint_url="http://127.0.0.1:1")
    assert aws.of(TenantId("acme")) is aws


@pytest.mark.parametrize("there", [True, False])
def test_what_s3_refuses_below_the_own_prefix_is_absent_only_when_a_listing_says_so(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, there: bool
) -> None:
    # Real S3 answers 403 for an absent object to whoever may not list the whole bucket; moto answers 404.
    storage = Storage(deployment.of("acme"), deployment.prefix)
    key = "tenant=acme/table=t/there" if there else "tenant=acme/table=t/nowhere"

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")

    monkeypatch.setattr(storage._s3, "get_object", refuse)
    if there:
        with pytest.raises(ClientError):
            storage.get("raw", key)
    else:
        assert storage.get("raw", key) is None
    with pytest.raises(ClientError):
        storage.get("raw", "tenant=birchwood/table=t/nowhere")


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
