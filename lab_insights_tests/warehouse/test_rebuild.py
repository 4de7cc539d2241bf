"""Rebuilding a table that somebody wrote to: from the lake, beside the old one, with nothing lost that was loaded meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import rebuild as rebuilding
from lab_insights.warehouse.load import load
from lab_insights.warehouse.rebuild import rebuild
from lab_insights.warehouse.reconcile import reconcile
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.people import PEOPLE, live, stages_left


class Killed(BaseException):
    pass


class Client:
    """A tenant's table `people`, and two sessions to rebuild it."""

    def __init__(self, session: Session, holder: Session, lake: Lake, batches: TestLake, tenant: TenantId) -> None:
        self.session, self.holder, self.lake, self.batches, self.tenant = session, holder, lake, batches, tenant

    def load(self, day: int, rows: dict[int, str], kind: Any = "delta") -> None:
        batch = self.batches.batch("people", day, [{"id": key, "name": name} for key, name in rows.items()], PEOPLE, kind=kind)
        load(self.session, self.lake.storage, self.tenant, [batch], run_id=f"load {day}")

    def rebuild(self, table: str = "people") -> int:
        return rebuild(self.session, self.holder, self.lake, self.tenant, "curated", table, "rebuild")

    def wrong(self) -> list[str]:
        return [finding.message for finding in reconcile(self.session, self.lake, self.tenant) if not finding.ok]

    def harm(self) -> None:
        self.session.execute("UPDATE CURATED.PEOPLE SET NAME = 'somebody else' WHERE ID = 1")
        self.session.execute("DELETE FROM CURATED.PEOPLE WHERE ID = 3")
        self.session.execute("INSERT INTO CURATED.PEOPLE (ID, NAME, IS_DELETED) VALUES (9, 'nobody', FALSE)")


@pytest.fixture
def client(session: Session, account: SnowflakeSection, aws: Aws, storage: Storage, lake: TestLake, tenant: TenantId) -> Iterator[Client]:
    with connect(account, aws, run_id="holder") as holder:
        made = Client(session, holder, Lake(storage, State(aws, storage.prefix)), lake, tenant)
        made.load(1, {1: "old", 2: "gone"})
        made.load(2, {1: "a", 2: "b"}, "snapshot")
        made.load(3, {3: "c", 2: "bb"})
        yield made


def test_a_table_that_somebody_wrote_to_equals_the_lake_again_and_was_never_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.harm()
    assert client.wrong()
    said: list[str] = []
    run = Session.execute
    monkeypatch.setattr(Session, "execute", lambda self, sql, *binds: (said.append(sql), run(self, sql, *binds))[1])
    assert client.rebuild() == 4
    assert client.wrong() == []
    assert live(client.session) == [(1, "a"), (2, "bb"), (3, "c")]
    changed = [sql.split("(")[0].strip() for sql in said if sql.startswith(("CREATE TABLE", "ALTER", "DROP TABLE", "MERGE"))]
    new = '"CURATED"."PEOPLE:REBUILT"'
    assert [sql[:60] for sql in changed if not sql.startswith("MERGE")] == [
        f"DROP TABLE IF EXISTS {new}",
        f"CREATE TABLE IF NOT EXISTS {new}",
        f'ALTER TABLE "CURATED"."PEOPLE" SWAP WITH {new}'[:60],
        f"DROP TABLE IF EXISTS {new}",
    ]
    client.load(4, {4: "later"})
    assert client.wrong() == []


def test_what_is_loaded_while_it_is_rebuilt_is_in_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.harm()
    fill, late = rebuilding._fill, iter([{3: "cc"}, {5: "e"}])

    def and_a_load(*arguments: Any) -> int:
        copied = fill(*arguments)
        if rows := next(late, None):
            client.load(4 + len(rows), rows)
        return copied

    monkeypatch.setattr(rebuilding, "_fill", and_a_load)
    client.rebuild()
    assert live(client.session) == [(1, "a"), (2, "bb"), (3, "cc"), (5, "e")]
    assert client.wrong() == []


def test_what_is_loaded_just_after_the_lakes_state_was_read_is_in_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.harm()
    read, late = rebuilding.state, iter([{3: "cc"}, {5: "e"}])

    def and_a_load(*arguments: Any) -> Any:
        found = read(*arguments)
        if rows := next(late, None):
            client.load(4 + min(rows), rows)
        return found

    monkeypatch.setattr(rebuilding, "state", and_a_load)
    client.rebuild()
    assert live(client.session) == [(1, "a"), (2, "bb"), (3, "cc"), (5, "e")]
    assert client.wrong() == []


def test_a_rebuild_that_dies_between_two_statements_leaves_the_old_table_or_the_new_one(
    client: Client, account: SnowflakeSection, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.harm()
    before, after = [(1, "somebody else"), (2, "bb"), (9, "nobody")], [(1, "a"), (2, "bb"), (3, "c")]
    real, seen = Session.execute, []
    for limit in itertools.count(9, 4):
        calls = itertools.count()

        def dying(self: Session, sql: str, *binds: Any, limit: int = limit, calls: Any = calls) -> Any:
            if next(calls) >= limit:
                raise Killed
            return real(self, sql, *binds)

        try:
            with monkeypatch.context() as patched, connect(account, aws) as one, connect(account, aws) as two:
                patched.setattr(Session, "execute", dying)
                rebuild(one, two, client.lake, client.tenant, "curated", "people", f"rebuild {limit}")
            break
        except Killed:
            seen.append(live(client.session))
            assert seen[-1] in (before, after)
            client.harm()
            before = live(client.session)
    assert len(seen) > 3
    client.rebuild()
    assert live(client.session) == after
    assert client.wrong() == []
    for (left,) in stages_left(client.session):
        client.session.execute(f'DROP SCHEMA "{left}" CASCADE')


def test_a_part_that_lacks_rows_is_not_rebuilt_from(client: Client) -> None:
    client.harm()
    held = live(client.session)
    damaged = client.batches.damage("people")
    with pytest.raises(WarehouseError, match="1 rows were copied where the manifest says 2") as failed:
        client.rebuild()
    assert (failed.value.tenant, failed.value.table, failed.value.partition) == (client.tenant, "people", str(damaged.day))
    assert live(client.session) == held
    assert stages_left(client.session) == []


def test_a_table_that_was_never_loaded_is_named(client: Client) -> None:
    with pytest.raises(WarehouseError, match="nothing to rebuild") as failed:
        client.rebuild("nothing")
    assert failed.value.table == "nothing"
