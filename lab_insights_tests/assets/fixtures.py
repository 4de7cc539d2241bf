"""The world of the asset graph's tests, one for a test process: two days of two tenants are in every layer when the first test begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import lab_insights
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, NOBODY, PEOPLE, SECOND, Loaded, Servers, World, customer, opened

DISCOURAGED = (DeprecationWarning, dg.SupersessionWarning, dg.PreviewWarning, dg.BetaWarning)
PACKAGE = Path(lab_insights.__file__).parent


@pytest.fixture(scope="session")
def servers(aws_endpoint: str, snowflake_server: tuple[str, int], mysql_url: str, postgres_url: str) -> Servers:
    """Every server that a deployment needs."""
    return Servers(aws_endpoint, snowflake_server[1], {"mysql": mysql_url, "postgresql": postgres_url})


@pytest.fixture(scope="session")
def loaded(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The world, and the run of `everything` over two tenants and two days that filled it."""
    with opened(servers, tmp_path_factory.mktemp("world"), PEOPLE, FIRST) as world:
        aurora, birchwood, cedar, *others = map(customer, PEOPLE)
        world.register(aurora, birchwood, cedar, NOBODY, *others)
        world.simulate()
        # The first day has just ended, the second is open: both can be loaded in one run, snapshots included.
        world.at(SECOND, 5)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = world.run("everything", [AURORA, BIRCHWOOD], [FIRST, SECOND])
        ours = [each for each in caught if issubclass(each.category, DISCOURAGED) and Path(each.filename).is_relative_to(PACKAGE)]
        yield Loaded(world, result, [f"{each.filename}: {each.message}" for each in ours])


@pytest.fixture(scope="session")
def world(loaded: Loaded) -> World:
    """The world, where two tenants have two days in every layer."""
    return loaded.world
