"""Random sequences of changes, schema changes, loads, kills, re-runs and out-of-order days: the client database always equals the source.

Ten sequences in every run. `make soak N=1000` runs a thousand others; a failure names its seed, and prints what happened.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lake.commit import Lake
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import connect
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import fresh_tenant, instant, make_lake
from lab_insights_tests.warehouse.histories import History

SEEDS = range(10)
FIRST = 1000


@pytest.fixture(scope="module")
def source(mysql_url: str) -> Iterator[Server]:
    made = Server("mysql", mysql_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole_lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


def lived(seed: int, source: Server, lake: Lake, account: SnowflakeSection, aws: Aws) -> None:
    tenant = fresh_tenant()
    lake.clock.set(instant(1, 1))
    with connect(account, aws, run_id="history") as session:
        provision(session, lake.storage, tenant)
        session.execute(f'USE SCHEMA "LAB_INSIGHTS_{tenant.upper()}".OPS')
        history = History(random.Random(seed), source, lake, session, tenant, f"t{seed}_{uuid.uuid4().hex[:6]}")
        history.run(rounds=4)
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{tenant.upper()}"')


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_client_database_equals_the_source(seed: int, source: Server, whole_lake: Lake, account: SnowflakeSection, aws: Aws) -> None:
    lived(seed, source, whole_lake, account, aws)


@pytest.mark.soak
def test_it_does_whatever_happens(source: Server, whole_lake: Lake, account: SnowflakeSection, aws: Aws, tmp_path: Path) -> None:
    failed: dict[int, str] = {}
    for seed in range(FIRST, FIRST + int(os.environ.get("N", "100"))):
        try:
            lived(seed, source, whole_lake, account, aws)
        except Exception as error:  # noqa: BLE001 (a thousand sequences are not run again for the second failure)
            failed[seed] = f"{type(error).__name__}: {error}"
            (tmp_path / f"{seed}.txt").write_text(failed[seed])
    assert not failed, f"{len(failed)} sequences, told in {tmp_path}: {sorted(failed)}"
