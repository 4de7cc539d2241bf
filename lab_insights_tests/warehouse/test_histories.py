"""Random sequences of changes, schema changes, loads, kills, re-runs and out-of-order days: the client database always equals the source.

Ten sequences in every run. `make soak N=1000` runs a thousand others; a failure names its seed, and prints what happened.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.warehouse import ledger, sql
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import connect
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import make_lake
from lab_insights_tests.warehouse.histories import History
from lab_insights_tests.warehouse.reused import Client

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


def failure(seed: int, source: Server, client: Client) -> str:
    """What went wrong in a sequence, empty when nothing did: a thousand others are not run again for it."""
    try:
        lived(seed, source, client)
    except pytest.exit.Exception:
        raise
    except Exception as error:  # noqa: BLE001 (any is a failure)
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_client_database_equals_the_source(seed: int, source: Server, client: Client) -> None:
    lived(seed, source, client)


@pytest.mark.soak
def test_it_does_whatever_happens(source: Server, client: Client, tmp_path: Path) -> None:
    failed: dict[int, str] = {}
    for seed in range(FIRST, FIRST + int(os.environ.get("N", "100"))):
        if told := failure(seed, source, client):
            failed[seed] = told
            (tmp_path / f"{seed}.txt").write_text(told)
    assert not failed, f"{len(failed)} sequences, told in {tmp_path}: {sorted(failed)}"


def nothing_is_marked(target: str, *_: Any) -> str:
    return f'UPDATE {target} SET "IS_DELETED" = "IS_DELETED" WHERE ? IS NULL'


# What is broken, and where. Each by itself must be found.
DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "a snapshot takes nothing away": (sql, "tombstone_absent", nothing_is_marked),
    "whatever is loaded last wins": (sql, "_newer", lambda *_: "TRUE"),
    "an older day brings back what a snapshot lacked": (ledger, "superseding", lambda *_: None),
}


@pytest.mark.soak
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect: str, source: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*DEFECTS[defect])
    assert any(failure(seed, source, client) for seed in range(FIRST))
