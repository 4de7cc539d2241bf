"""One lake for all tests here; each test has a tenant of its own in it."""

from __future__ import annotations

import pytest

from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import fresh_tenant, make_lake


@pytest.fixture(scope="session")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


@pytest.fixture
def tenant() -> TenantId:
    return fresh_tenant()
