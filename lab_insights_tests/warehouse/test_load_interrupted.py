"""Loads that die after any statement, and loads that meet another one."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.config import PhiSection, SnowflakeSection
from lab_insights.errors import WarehouseError
from lab_insights.governance.deidentify import pseudonym, tenant_key
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse import fence
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision, use
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.people import AFTER, PEOPLE, everything, history, live, stages_left


class Broken(Exception):
    pass


PATIENT = pa.schema([("patient_id", pa.string()), ("sex", pa.string())])


def test_a_death_after_any_statement_leaves_the_old_table_or_the_new_one_and_its_de_identified_form(
    session: Session,
    account: SnowflakeSection,
    aws: Aws,
    storage: Storage,
    tenant: TenantId,
    lake: TestLake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_TEST_PSEUDONYMS", "the key of this test")
    keyed = dataclasses.replace(storage, phi=PhiSection(pseudonym_key="env:LAB_INSIGHTS_TEST_PSEUDONYMS"))
    key = tenant_key(keyed.phi, aws, tenant) or b""

    def patients(day: int, rows: dict[str, str], schema: pa.Schema = PATIENT, **more: Any) -> Manifest:
        written = [{"patient_id": each, "sex": sex, "postal_code": "62701"} for each, sex in rows.items()]
        return lake.batch("patient", day, written, schema, key=("patient_id",), **more)

    def held(of: str, *columns: str) -> list[tuple[Any, ...]]:
        return session.execute(f"SELECT {', '.join(('PATIENT_ID', 'SEX', *columns))} FROM {of} ORDER BY SEX")

    load(session, keyed, tenant, [patients(1, {"p1": "a", "p2": "a2"})], run_id="test")
    versions = functools.partial(held, "CURATED.PATIENT", "IS_DELETED", "BATCH_ID")
    deidentified = functools.partial(held, "DEIDENTIFIED.PATIENT")
    before = versions(), deidentified()
    batch = patients(2, {"p2": "b", "p3": "c"}, pa.schema([*PATIENT, ("postal_code", pa.string())]), kind="snapshot")
    real = Session.execute
    for survived in itertools.count():
        calls = itertools.count()

        def dying(self: Session, sql: str, *binds: Any, limit: int = survived, calls: Any = calls) -> Any:
            if next(calls) >= limit:
                raise Broken
            return real(self, sql, *binds)

        with monkeypatch.context() as patched:
            patched.setattr(Session, "execute", dying)
            try:
                with connect(account, aws) as other:
                    load(other, keyed, tenant, [batch], run_id="dying")
                break
            except Broken:
                pass
        # a row for each of both forms
        rows = session.execute("SELECT COUNT(*) FROM OPS.LEDGER")
        assert rows in ([(2,)], [(4,)])
        in_ledger = rows == [(4,)]
        assert in_ledger == (versions() != before[0]) == (deidentified() != before[1])
        if in_ledger:
            break
    assert survived > 12
    load(session, keyed, tenant, [batch], run_id="test")
    assert held("CURATED.PATIENT_LIVE", "POSTAL_CODE") == [("p2", "b", "62701"), ("p3", "c", "62701")], "so does its view"
    shown = [(pseudonym(key, "p2"), "b", "627"), (pseudonym(key, "p3"), "c", "627")]
    assert held("DEIDENTIFIED.PATIENT", "POSTAL_CODE") == shown
    for (left,) in stages_left(session):
        session.execute(f'DROP SCHEMA "{left}" CASCADE')


def together(*runs: Callable[[], Any]) -> list[BaseException]:
    """Run all at the same time and return what they raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(runs))

    def one(run: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            run()
        except BaseException as error:  # noqa: BLE001 (the test looks at every one)
            failures.append(error)

    threads = [threading.Thread(target=one, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_two_loaders_of_the_same_batches_at_once_load_each_once(
    session: Session, account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    batches = history(lake)

    def run(number: int) -> None:
        with connect(account, aws) as own:
            load(own, storage, tenant, batches, run_id=f"racing {number}")

    assert together(*(functools.partial(run, number) for number in range(3))) == []
    assert live(session) == AFTER
    assert len({row[0] for row in everything(session)}) == len(everything(session))
    assert session.execute("SELECT COUNT(*), COUNT(DISTINCT DAY) FROM OPS.LEDGER") == [(5, 5)]


def test_a_loader_that_another_overtook_loads_nothing_again(
    session: Session,
    account: SnowflakeSection,
    aws: Aws,
    storage: Storage,
    tenant: TenantId,
    lake: TestLake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one loads every batch after this one has looked at the ledger, and before it begins."""
    batches, execute = history(lake), session.execute

    def overtaken(sql: str, *binds: Any) -> Any:
        if sql.startswith("CREATE TRANSIENT SCHEMA"):
            monkeypatch.undo()
            with connect(account, aws) as other:
                load(other, storage, tenant, batches, run_id="first")
        return execute(sql, *binds)

    monkeypatch.setattr(session, "execute", overtaken)
    receipts = load(session, storage, tenant, batches, run_id="second")
    assert [receipt.skipped for receipt in receipts] == [True] * 5
    assert session.execute("SELECT COUNT(*), COUNT(DISTINCT DAY) FROM OPS.LEDGER") == [(5, 5)]
    assert live(session) == AFTER


def test_two_tenants_at_once_do_not_meet(account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId) -> None:
    tenants = [tenant_id(f"{tenant}_{letter}") for letter in "ab"]
    batches = {one: TestLake(storage, one).batch("people", 1, [{"id": 1, "name": one}], PEOPLE) for one in tenants}

    def run(one: TenantId) -> None:
        with connect(account, aws) as own:
            provision(own, storage, one)
            load(own, storage, one, [batches[one]], run_id="racing")

    assert together(*(functools.partial(run, one) for one in tenants)) == []
    with connect(account, aws) as own:
        for one in tenants:
            assert own.execute(f'SELECT NAME FROM "LAB_INSIGHTS_{one.upper()}".CURATED.PEOPLE_LIVE') == [(one,)]
            own.execute(f'DROP DATABASE "LAB_INSIGHTS_{one.upper()}"')


def test_a_dead_attempt_of_this_run_is_aborted_and_another_run_only_after_it_was_waited_for(
    session: Session, account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    load(session, storage, tenant, [lake.batch("people", 1, [{"id": 1, "name": "a"}], PEOPLE)], run_id="first")
    batch = lake.batch("people", 2, [{"id": 1, "name": "b"}], PEOPLE)

    def taken(run: str) -> Session:
        """The table, taken by a loader that says nothing any more."""
        dead = connect(account, aws)
        use(dead, tenant)
        dead.execute(f"BEGIN NAME {fence.name(run, tenant, 'curated', 'people')}")
        dead.execute("UPDATE OPS.HEADS SET VERSION = VERSION + 1")
        return dead

    with taken("again") as dead:
        load(session, storage, tenant, [batch], run_id="again")
        assert live(session) == [(1, "b")]
        with pytest.raises(WarehouseError):
            dead.execute("COMMIT")
    own = fence.name("other", tenant, "curated", "people")
    with taken("again"), taken_elsewhere(account, aws, tenant):
        assert fence.abort_predecessors(session, own) == []
        assert len(fence.abort_predecessors(session, own, timedelta(seconds=-1))) == 1
    assert session.execute("SELECT VERSION FROM OPS.HEADS") == [(2,)]


@contextmanager
def taken_elsewhere(account: SnowflakeSection, aws: Aws, tenant: TenantId) -> Iterator[None]:
    """An open transaction of another table, which is nobody's business here."""
    with connect(account, aws) as other:
        use(other, tenant)
        other.execute(f"BEGIN NAME {fence.name('other', tenant, 'curated', 'pets')}")
        yield
        other.execute("COMMIT")
