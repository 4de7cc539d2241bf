"""A tenant's session reaches the tenant's own prefix and nothing else: tried with IAM enforced."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab_insights import aws as module
from lab_insights.aws import DENIED, Aws
from lab_insights.config import Config, PhiSection
from lab_insights.doctor import Check, writes
from lab_insights.errors import ConfigError
from lab_insights.governance.deidentify import tenant_key
from lab_insights.lake.layout import LAYERS
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.governance.enforced import Deployment, deployed, enforcing

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
    made, s3 = deployed(aws_endpoint), Aws(endpoint_url=aws_endpoint).client("s3")
    for bucket, tenant in itertools.product(BUCKETS, IDS):
        s3.put_object(Bucket=f"{made.prefix}-{bucket}", Key=f"tenant={tenant}/table=t/there", Body=b"1")
    return made


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
