"""Random sequences of changes, schema changes, loads, kills, re-runs and out-of-order days: the client database always equals the source.

Ten sequences in every run. `make soak N=1000` runs a thousand others; a failure names its seed, and prints what happened.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import connect
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import make_lake
from lab_insights_tests.warehouse.histories import Client, History

SEEDS = range(10)
FIRST = 1000


@pytest.fixture(scope="module")
def source(mysql_url: str) -> Iterator[Server]:
    made = Server("mysql", mysql_url)
    # one connection for all that happens: making one takes longer than what is done in it
    made.own = sa.create_engine(mysql_url, isolation_level="AUTOCOMMIT")
    yield made
    made.close()
    made.own.dispose()


@pytest.fixture(scope="module")
def client(account: SnowflakeSection, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    clock = tmp_path_factory.mktemp("clock") / "clock"
    with connect(account, aws, run_id="history") as session:
        made = Client(session, aws, clock)
        provision(session, make_lake(str(aws.endpoint_url), clock).storage, made.tenant)
        yield made
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{made.tenant.upper()}"')


def lived(seed: int, source: Server, client: Client) -> None:
    with client.emptied() as lake:
        History(random.Random(seed), source, lake, client.session, client.tenant).run(rounds=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_client_database_equals_the_source(seed: int, source: Server, client: Client) -> None:
    lived(seed, source, client)


@pytest.mark.soak
def test_it_does_whatever_happens(source: Server, client: Client, tmp_path: Path) -> None:
    failed: dict[int, str] = {}
    for seed in range(FIRST, FIRST + int(os.environ.get("N", "100"))):
        try:
            lived(seed, source, client)
        except Exception as error:  # noqa: BLE001 (a thousand sequences are not run again for the second failure)
            failed[seed] = f"{type(error).__name__}: {error}"
            (tmp_path / f"{seed}.txt").write_text(failed[seed])
    assert not failed, f"{len(failed)} sequences, told in {tmp_path}: {sorted(failed)}"
