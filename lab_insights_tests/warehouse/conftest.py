"""A tenant's database on the real stand-ins, and its lake."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.local import snowflake
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.people import Loader
from lab_insights_tests.warehouse.weeks import Weeks, computed


@pytest.fixture(scope="session")
def aws(aws_endpoint: str) -> Aws:
    return Aws(endpoint_url=aws_endpoint)


@pytest.fixture(scope="session")
def storage(aws: Aws) -> Storage:
    """Three layer buckets, which keep versions, and the state's tables; each test has a tenant of its own in them."""
    made = Storage(aws, f"wh-{uuid.uuid4().hex[:8]}")
    for layer in ("raw", "curated", "transformed"):
        aws.client("s3").create_bucket(Bucket=made.bucket(layer))
        aws.client("s3").put_bucket_versioning(Bucket=made.bucket(layer), VersioningConfiguration={"Status": "Enabled"})
    for table in ("bookmarks", "status"):
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        types = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        name = f"{made.prefix}-{table}"
        aws.client("dynamodb").create_table(TableName=name, KeySchema=keys, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST")
    return made


@pytest.fixture(scope="session")
def account(aws: Aws, snowflake_server: tuple[str, int]) -> SnowflakeSection:
    name = f"warehouse-tests-{uuid.uuid4().hex[:8]}/snowflake"
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(snowflake.LOGIN))
    host, port = snowflake_server
    return SnowflakeSection(account="fakesnow", host=host, port=port, protocol="http", credentials=f"secret:{name}")


@pytest.fixture
def tenant() -> TenantId:
    return tenant_id(f"t{uuid.uuid4().hex[:10]}")


@pytest.fixture
def session(account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId) -> Iterator[Session]:
    """A session with the test's tenant provisioned and current."""
    with connect(account, aws, run_id="test") as opened:
        provision(opened, storage, tenant)
        yield opened
        opened.execute(f'DROP DATABASE "LAB_INSIGHTS_{tenant.upper()}"')


@pytest.fixture
def lake(storage: Storage, tenant: TenantId) -> TestLake:
    return TestLake(storage, tenant, State(storage.aws, storage.prefix))


@pytest.fixture
def loaded(session: Session, storage: Storage, tenant: TenantId) -> Loader:
    """Loads batches into the test's database."""
    return lambda *manifests: load(session, storage, tenant, manifests, run_id="test")


@pytest.fixture(scope="session")
def weeks(account: SnowflakeSection, aws: Aws, storage: Storage) -> Iterator[Weeks]:
    with computed(account, aws, storage) as made:
        yield made
