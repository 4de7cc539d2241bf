"""A deployment for the IO managers' tests; each test has tenants and a Dagster instance of its own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from lab_insights.aws import Aws
from lab_insights.local import deployer, snowflake
from lab_insights_tests.io_managers.clinic import CONFIGURATION, Clinic


@pytest.fixture(scope="session")
def configuration(aws_endpoint: str, snowflake_server: tuple[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a deployment without sources."""
    prefix = f"io-{uuid.uuid4().hex[:10]}"
    deployer.deploy(aws_endpoint, prefix)
    Aws(endpoint_url=aws_endpoint).client("secretsmanager").create_secret(
        Name=f"{prefix}/snowflake", SecretString=json.dumps(snowflake.LOGIN)
    )
    path = tmp_path_factory.mktemp("io") / "lab_insights.yaml"
    host, port = snowflake_server
    path.write_text(CONFIGURATION.format(account=deployer.ACCOUNT, endpoint=aws_endpoint, prefix=prefix, host=host, port=port))
    return path


@pytest.fixture
def clinic(configuration: Path) -> Iterator[Clinic]:
    """Two tenants of this test alone."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Clinic(configuration, instance)


@pytest.fixture
def provisioned(clinic: Clinic) -> Iterator[Clinic]:
    """The same with a database for each tenant."""
    clinic.provision()
    yield clinic
    clinic.drop()
