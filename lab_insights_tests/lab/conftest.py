"""One lake for all tests here; each test has a tenant of its own in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab_insights.lab import contracts
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.lab import telling
from lab_insights_tests.lab.world import RIDGELINE, Lab
from lab_insights_tests.lake.world import fresh_tenant, make_lake

# The conftest above says in the summary that they are left out.
collect_ignore = [] if os.environ.get("LAB_INSIGHTS_SAMPLES") else ["test_samples.py"]


@pytest.fixture(scope="session")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


@pytest.fixture(scope="session")
def whole(lake: Lake) -> Lab:
    return telling.whole(lake)


@pytest.fixture
def tenant() -> TenantId:
    return fresh_tenant()


@pytest.fixture
def ridgeline() -> Iterator[None]:
    """The deployment's own files are in force."""
    contracts.use(RIDGELINE)
    yield
    contracts.use(None)
