"""The third link: the warehouse equals the lake, or it is said where it does not."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.reconcile import Finding, reconcile
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.lake import TestLake

Verified = Callable[[], list[Finding]]
PEOPLE = pa.schema([("id", pa.int64()), ("name", pa.string()), ("amount", pa.decimal128(10, 2)), ("real", pa.float64())])
ODD = pa.schema([("id", pa.int64()), ('x"; DROP TABLE y', pa.string()), ("gr\u00f6\u00dfe", pa.date32())])


DETAIL = pa.schema([("id", pa.int64()), ("as_of", pa.date32())])


def days(lake: TestLake) -> list[Manifest]:
    """Three days of a table with a snapshot, deletes and a widened column; an odd, an empty and a transformed table."""
    people = [{"id": n, "name": f"secret-{n}", "amount": Decimal(n) / 4, "real": n / 3} for n in range(40)]
    wider = pa.schema([*PEOPLE, ("more", pa.string())]).set(2, pa.field("amount", pa.decimal128(20, 4)))
    return [
        lake.batch("people", 1, people, PEOPLE, kind="snapshot", parts=3),
        lake.batch("people", 2, [{"id": 3, "deleted": True}, {"id": 50, "name": "secret-new"}], PEOPLE),
        lake.batch("people", 3, [{"id": 5, "name": "secret-5b", "amount": Decimal("1.0001"), "more": "m"}], wider),
        lake.batch("crm.odd", 1, [{"id": 1, 'x"; DROP TABLE y': "a", "gr\u00f6\u00dfe": date(2026, 1, 1)}], ODD),
        lake.batch("crm.none", 1, [], ODD),
        lake.batch("detail", 1, [{"id": 1, "as_of": date(2026, 1, 1)}], DETAIL, layer="transformed"),
    ]


def answers(session: Session, storage: Storage, tenant: TenantId) -> list[Finding]:
    return reconcile(session, Lake(storage, State(storage.aws, storage.prefix)), tenant)


@pytest.fixture
def verified(session: Session, storage: Storage, tenant: TenantId, lake: TestLake) -> Verified:
    load(session, storage, tenant, days(lake), run_id="test")
    return lambda: answers(session, storage, tenant)


@pytest.fixture(scope="module")
def standing(account: SnowflakeSection, aws: Aws, storage: Storage) -> Iterator[tuple[Session, Verified]]:
    """A loaded tenant for the tests that damage it within a transaction."""
    tenant = tenant_id(f"t{uuid.uuid4().hex[:10]}")
    with connect(account, aws) as session:
        provision(session, storage, tenant)
        load(session, storage, tenant, days(TestLake(storage, tenant, State(storage.aws, storage.prefix))), run_id="t")
        yield session, lambda: answers(session, storage, tenant)
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{tenant.upper()}"')


def damaged(standing: tuple[Session, Verified], damage: str) -> list[Finding]:
    session, verified = standing
    session.execute("BEGIN")
    try:
        session.execute(damage)
        return verified()
    finally:
        session.execute("ROLLBACK")


def broken(findings: list[Finding]) -> list[tuple[str, date | None]]:
    return [(finding.table, finding.day) for finding in findings if not finding.ok]


def test_all_is_well_after_loading_and_costs_five_statements(standing: tuple[Session, Verified]) -> None:
    session, verified = standing
    before = session.statements
    findings = verified()
    assert broken(findings) == []
    assert {finding.table for finding in findings} == {
        "curated/people",
        "curated/crm.odd",
        "curated/crm.none",
        "transformed/detail",
    }
    assert session.statements - before == 5


def test_a_newer_snapshot_and_its_tombstones_agree_on_both_sides(
    verified: Verified, session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    later = [
        lake.batch("people", 4, [{"id": 7, "name": "kept", "at": 1}], PEOPLE, kind="snapshot"),
        lake.batch("people", 5, [{"id": 7, "deleted": True}, {"id": 8, "name": "back"}], PEOPLE),
    ]
    load(session, storage, tenant, later[1:], run_id="test")
    load(session, storage, tenant, later, run_id="test")
    assert broken(verified()) == []


@pytest.mark.parametrize(
    ("damage", "what", "day"),
    [
        ("DELETE FROM CURATED.PEOPLE WHERE ID = 1", "missing", date(2026, 1, 1)),
        ("DELETE FROM CURATED.PEOPLE WHERE ID = 50", "missing", date(2026, 1, 2)),
        ("DELETE FROM CURATED.PEOPLE WHERE ID = 3", "tombstone", date(2026, 1, 2)),
        ("UPDATE CURATED.PEOPLE SET NAME = 'other' WHERE ID = 5", "different", date(2026, 1, 3)),
        ("UPDATE CURATED.PEOPLE SET REAL = REAL + 0.0000000000000001 WHERE ID = 1", "different", date(2026, 1, 1)),
        ("UPDATE CURATED.PEOPLE SET MORE = '' WHERE ID = 1", "different", date(2026, 1, 1)),
        ("INSERT INTO CURATED.PEOPLE (ID, IS_DELETED) VALUES (99, FALSE)", "extra", None),
    ],
)
def test_a_changed_row_is_found_and_named_without_its_value(
    standing: tuple[Session, Verified], damage: str, what: str, day: date | None
) -> None:
    findings = damaged(standing, damage)
    assert broken(findings) == [("curated/people", day)]
    [message] = [finding.message for finding in findings if not finding.ok]
    assert what in message
    assert "secret" not in message


def test_a_key_is_named_by_a_hash_that_nobody_can_make_from_a_list_of_record_numbers(
    verified: Verified, session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    mrn = "MRN-4711"
    batch = lake.batch("by_mrn", 4, [{"mrn": mrn}], pa.schema([("mrn", pa.string())]), key=("mrn",))
    load(session, storage, tenant, [batch], run_id="test")
    session.execute("DELETE FROM CURATED.BY_MRN")
    digits = []
    for _ in range(2):
        [message] = [finding.message for finding in verified() if not finding.ok]
        assert mrn not in message
        digits += re.findall(r"row ([0-9a-f]{12}) is missing", message)
    assert len(set(digits)) == 2, "another answer has another secret"
    for known in ("", f"{storage.prefix}/{tenant}/"):
        assert hashlib.md5(f"{known}{mrn}".encode()).hexdigest()[:12] not in digits


def test_more_differences_than_can_be_named_are_cut_to_five(standing: tuple[Session, Verified]) -> None:
    assert len(broken(damaged(standing, "UPDATE CURATED.PEOPLE SET NAME = 'other'"))) == 5


def test_a_day_that_was_never_loaded_is_named(verified: Verified, lake: TestLake) -> None:
    lake.batch("people", 4, [{"id": 60}], PEOPLE)
    lake.batch("crm.none", 4, [], ODD)
    assert broken(verified()) == [("curated/crm.none", date(2026, 1, 4)), ("curated/people", date(2026, 1, 4))]


def test_a_dropped_table_is_named(verified: Verified, session: Session) -> None:
    session.execute('DROP TABLE CURATED."CRM.ODD"')
    assert broken(verified()) == [("curated/crm.odd", None)]
