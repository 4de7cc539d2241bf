"""One lake for all tests here."""

from __future__ import annotations

import pytest

from lab_insights.lake.commit import Lake
from lab_insights_tests.lake.world import make_lake


@pytest.fixture(scope="session")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")
