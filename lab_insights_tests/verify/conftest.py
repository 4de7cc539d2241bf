"""One small world for all tests of a process: built once, since what a test damages it puts back."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator

import pytest

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.config import SnowflakeSection
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.local import deployer, snowflake
from lab_insights.names import TenantId
from lab_insights.warehouse.session import connect
from lab_insights_tests.lake.world import fresh_tenant
from lab_insights_tests.verify.world import World


@pytest.fixture(scope="session")
def world(
    aws_endpoint: str, snowflake_server: tuple[str, int], mysql_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A deployment over a schema of its own."""
    prefix = f"verify-{uuid.uuid4().hex[:10]}"
    deployer.deploy(aws_endpoint, prefix)
    aws = Aws(endpoint_url=aws_endpoint)
    aws.client("secretsmanager").create_secret(Name=f"{prefix}/snowflake", SecretString=json.dumps(snowflake.LOGIN))
    host, port = snowflake_server
    account = SnowflakeSection(account="fakesnow", host=host, port=port, protocol="http", credentials=f"secret:{prefix}/snowflake")
    lake = Lake(Storage(aws, prefix), State(aws, prefix), Clock(tmp_path_factory.mktemp("clock") / "clock"))
    os.environ["VERIFY_TEST_URL"] = mysql_url
    made = World(mysql_url, f"lab_insights_test_{uuid.uuid4().hex[:10]}", lake, aws, lambda: connect(account, aws, run_id="test"))
    yield made
    made.close()
    del os.environ["VERIFY_TEST_URL"]


@pytest.fixture(scope="session")
def whole(world: World) -> Iterator[TenantId]:
    """A tenant whose first two days were landed as they happened, twice a day, and are in every layer; the third has happened since."""
    tenant = fresh_tenant()
    for number in (1, 2):
        world.happen(number, 8)
        world.land(tenant, number, 12)
        world.happen(number, 16)
        world.land(tenant, number)
        world.curate(tenant, number)
        world.transform(tenant, number)
    world.happen(3, 8)
    world.happen(3, 16)
    world.warehouse(tenant, 1, 2)
    yield tenant
    with world.session() as session:
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{tenant.upper()}"')


@pytest.fixture
def fresh(whole: TenantId) -> TenantId:
    """A tenant of the test's own, of which nothing was landed yet; the three days have happened."""
    return fresh_tenant()
