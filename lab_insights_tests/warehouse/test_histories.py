"""Random sequences of changes, schema changes, loads, reloads, rebuilds, kills, re-runs and out-of-order days: the client database always equals the source.

Ten sequences in every run, and one for each planted defect. `make soak N=1000` runs a thousand others; a failure names its seed, and prints what happened.
A seed that no longer finds its defect, since the histories are others now, is replaced by one that does.
"""

from __future__ import annotations

import dataclasses
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
from lab_insights.extract import land
from lab_insights.governance import classes
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import TableState
from lab_insights.warehouse import ledger, load, rebuild, sql
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import connect
from lab_insights.warehouse.shape import Shape
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import make_lake
from lab_insights_tests.warehouse.changing import Changing
from lab_insights_tests.warehouse.histories import KEY, History
from lab_insights_tests.warehouse.reused import Client

SEEDS = range(10)
FIRST = 1000


@pytest.fixture(scope="module")
def sources(mysql_url: str, postgres_url: str) -> Iterator[list[Server]]:
    made = [Server("mysql", mysql_url), Server("postgresql", postgres_url)]
    for server in made:
        # one connection for all that happens: making one takes longer than what is done in it
        server.own = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
    yield made
    for server in made:
        server.close()
        server.own.dispose()


@pytest.fixture(autouse=True)
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of the histories as one that a contract describes, which a deployment with a key de-identifies."""
    monkeypatch.setenv("LAB_INSIGHTS_TEST_PSEUDONYMS", "the key of these tests")
    known = {**classes._classes(classes.directories()), ("curated", "lis.changing"): {}}
    monkeypatch.setattr(classes, "_classes", lambda _: known)


@pytest.fixture(scope="module")
def client(account: SnowflakeSection, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    clock = tmp_path_factory.mktemp("clock") / "clock"
    with connect(account, aws, run_id="history") as session, connect(account, aws, run_id="history") as holder:
        made = Client(session, holder, aws, clock)
        provision(session, make_lake(str(aws.endpoint_url), clock).storage, made.tenant)
        yield made
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{made.tenant.upper()}"')


def lived(seed: int, sources: list[Server], client: Client) -> History:
    """Live through a history: of two seeds one is on each server, of four two have a key for pseudonyms."""
    with client.emptied() as opened:
        keyed = dataclasses.replace(opened, storage=dataclasses.replace(opened.storage, phi=KEY))
        lake = keyed if seed % 4 > 1 else opened
        rng = random.Random(seed)
        made = History(rng, Changing(rng, sources[seed % 2]), lake, client.session, client.holder, client.tenant)
        made.run(rounds=4)
        return made


def failure(seed: int, sources: list[Server], client: Client) -> str:
    """What went wrong in a sequence, empty when nothing did: a thousand others are not run again for it."""
    try:
        lived(seed, sources, client)
    except pytest.exit.Exception:
        raise
    except Exception as error:  # noqa: BLE001 (any is a failure)
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_client_database_equals_the_source(seed: int, sources: list[Server], client: Client) -> None:
    made = lived(seed, sources, client)
    assert (made.compared > 0) == (seed % 4 > 1)


@pytest.mark.soak
def test_it_does_whatever_happens(sources: list[Server], client: Client, tmp_path: Path) -> None:
    failed: dict[int, str] = {}
    for seed in range(FIRST, FIRST + int(os.environ.get("N", "100"))):
        if told := failure(seed, sources, client):
            failed[seed] = told
            (tmp_path / f"{seed}.txt").write_text(told)
    assert not failed, f"{len(failed)} sequences, told in {tmp_path}: {sorted(failed)}"


def nothing_is_marked(target: str, *_: Any) -> str:
    return f'UPDATE {target} SET "IS_DELETED" = "IS_DELETED" WHERE ? IS NULL'


def deltas_alone(self: Any, manifest: Manifest, head: ledger.Head, its: Shape, source: str, real: Any = load._Load._merged) -> Any:
    return (0, 0, 0) if its.schema and manifest.kind == "snapshot" else real(self, manifest, head, its, source)


def when_it_was_made(manifest: Manifest) -> str:
    return manifest.created_at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def newest_batch_alone(*of: Any, real: Any = rebuild.state) -> TableState:
    return TableState(real(*of).manifests[-1:])


# What is broken, where, and a history that finds it: each by itself must be found.
DEFECTS: dict[str, tuple[int, tuple[Any, str, Any]]] = {
    "a new column waits for its rows to change": (5, (land, "unread", lambda *_: ())),
    "a snapshot takes nothing away": (8, (sql, "tombstone_absent", nothing_is_marked)),
    "whatever is loaded last wins": (4, (sql, "_newer", lambda *_: "TRUE")),
    "an older day brings back what a snapshot lacked": (1032, (ledger, "superseding", lambda *_: None)),
    "snapshots do not reach the de-identified form": (2, (load._Load, "_merged", deltas_alone)),
    "a snapshot that is read again takes away what came after it": (1041, (load, "instant", when_it_was_made)),
    "a rebuilt table has the newest batch alone": (1, (rebuild, "state", newest_batch_alone)),
}


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect: str, sources: list[Server], client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, broken = DEFECTS[defect]
    monkeypatch.setattr(*broken)
    assert "assert self._differing" in failure(seed, sources, client)
