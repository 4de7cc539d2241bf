"""The de-identified form of a client database: real columns, by the same versions as the tables, and nothing in it that tells who somebody is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.config import PhiSection
from lab_insights.governance import classes
from lab_insights.governance.deidentify import pseudonym, rule, tenant_key
from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import contract_schema
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse import deidentified, sql
from lab_insights.warehouse.load import load
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import sync
from lab_insights_tests.warehouse.lake import META, TestLake
from lab_insights_tests.warehouse.people import Loader

PATIENT = pa.schema([field for field in contract_schema(contracts()["patient"]) if field.name not in META.names])
KEY = PhiSection(pseudonym_key="env:LAB_INSIGHTS_TEST_PSEUDONYMS")
SHOWN = ["patient_id", "mrn", "birth_date", "sex", "postal_code", "merged_into_patient_id", "updated_at", "source_system"]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_TEST_PSEUDONYMS", "the key of these tests")


@pytest.fixture
def keyed(storage: Storage) -> Storage:
    return dataclasses.replace(storage, phi=KEY)


@pytest.fixture
def loaded(session: Session, keyed: Storage, tenant: TenantId) -> Loader:
    return lambda *manifests: load(session, keyed, tenant, manifests, run_id="test")


def person(number: int, **more: Any) -> dict[str, Any]:
    its = {"patient_id": f"p{number}", "mrn": f"MRN-{number}", "family_name": "Sampledottir", "sex": "female", "postal_code": "62701"}
    return {**its, "birth_date": date(1980, 5, 6), "updated_at": datetime(2026, 1, 2, 3), **more}


def people(lake: TestLake, day: int, rows: Sequence[dict[str, Any]], **more: Any) -> Manifest:
    return lake.batch("patient", day, rows, PATIENT, key=("patient_id",), **more)


def shown(session: Session) -> dict[str, tuple[Any, ...]]:
    """Return birth year, area and last change by pseudonym."""
    rows = session.execute("SELECT PATIENT_ID, BIRTH_DATE, POSTAL_CODE, UPDATED_AT FROM DEIDENTIFIED.PATIENT")
    return {row[0]: row[1:] for row in rows}


def named(storage: Storage, tenant: TenantId, value: str) -> str:
    key = tenant_key(storage.phi, storage.aws, tenant)
    assert key
    return pseudonym(key, value)


def test_years_areas_and_pseudonyms_are_all_that_is_left_of_a_person(
    session: Session, loaded: Loader, lake: TestLake, keyed: Storage, tenant: TenantId
) -> None:
    rows = [
        person(1),
        person(2, birth_date=date(1901, 2, 3), postal_code="03601"),
        person(3, birth_date=None, postal_code=None, sex=None),
        person(4, postal_code="SW1A 1AA", merged_into_patient_id="p1"),
    ]
    loaded(people(lake, 1, rows))
    columns = [name for name, *_ in session.execute("DESCRIBE VIEW DEIDENTIFIED.PATIENT")]
    assert sorted(columns) == sorted(name.upper() for name in SHOWN)
    one, two, three, four = (named(keyed, tenant, f"p{number}") for number in (1, 2, 3, 4))
    oldest = session.execute("SELECT YEAR(CURRENT_DATE()) - 90")[0][0]
    assert shown(session) == {one: (1980, "627", 2026), two: (oldest, "000", 2026), three: (None, None, 2026), four: (1980, "000", 2026)}
    assert session.execute(f"SELECT PATIENT_ID FROM DEIDENTIFIED.PATIENT WHERE MERGED_INTO_PATIENT_ID = '{one}'") == [(four,)]
    text = str(session.execute("SELECT * FROM DEIDENTIFIED.PATIENT"))
    assert not [word for word in ("Sampledottir", "MRN-", "62701", "1901", "'p1'", tenant) if word in text]


def test_it_follows_versions_tombstones_and_snapshots_whatever_the_order_of_days(
    session: Session, loaded: Loader, lake: TestLake, keyed: Storage, tenant: TenantId
) -> None:
    batches = [
        people(lake, 1, [person(n) for n in (1, 2, 3, 4)], kind="snapshot"),
        people(lake, 2, [person(1, postal_code="10001"), person(5)]),
        people(lake, 3, [person(1, postal_code="10001", at=2), person(2, at=1), person(5, at=2)], kind="snapshot"),
        people(lake, 4, [person(2, deleted=True), person(3, postal_code="90001")]),
    ]
    for number in (3, 0, 2, 1):
        loaded(batches[number])
    area = {"p1": "100", "p5": "627", "p3": "900"}
    assert {key: row[1] for key, row in shown(session).items()} == {named(keyed, tenant, key): value for key, value in area.items()}
    live = session.execute("SELECT COUNT(*) FROM CURATED.PATIENT_LIVE")
    assert live == session.execute("SELECT COUNT(*) FROM DEIDENTIFIED.PATIENT") == [(3,)]
    [again] = loaded(batches[3])
    assert again.skipped


def test_pairs_of_value_and_pseudonym_are_gone_with_their_load_and_no_version_of_them_is_kept(
    loaded: Loader, lake: TestLake, keyed: Storage, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deidentified, "_LEFT_BEHIND", timedelta())
    directory = f"tenant={tenant}/pseudonyms/"
    keyed.put("curated", f"{directory}killed.parquet", b"pairs of a load that was killed")
    brought: list[str] = []
    copies = sql.copies
    monkeypatch.setattr(sql, "copies", lambda table, layer, keys: brought.extend(keys) or copies(table, layer, keys))
    loaded(people(lake, 1, [person(1)]))
    assert [key for key in brought if key.startswith(directory)]
    kept = keyed.aws.client("s3").list_object_versions(Bucket=keyed.bucket("curated"), Prefix=directory)
    assert not kept.get("Versions", []) + kept.get("DeleteMarkers", [])
    keyed.erase("curated", f"{directory}killed.parquet")  # which another load may have done


def test_two_tenants_have_no_pseudonym_in_common(keyed: Storage) -> None:
    assert named(keyed, tenant_id("one"), "p1") != named(keyed, tenant_id("two"), "p1")


def test_the_key_is_in_no_statement_and_in_no_table(
    session: Session, loaded: Loader, lake: TestLake, keyed: Storage, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    real = Session.execute
    monkeypatch.setattr(Session, "execute", lambda self, sql, *binds: said.append(f"{sql} {binds}") or real(self, sql, *binds))
    loaded(people(lake, 1, [person(1)]))
    key = tenant_key(keyed.phi, keyed.aws, tenant)
    assert key
    assert len(said) > 10
    assert not [each for each in said for form in ("the key of these tests", key.hex(), str(key)) if form in each]
    assert not [each for each in said if "Sampledottir" in each or "MRN-1" in each or named(keyed, tenant, "p1") in each]


def test_without_a_key_nothing_is_de_identified(session: Session, storage: Storage, tenant: TenantId, lake: TestLake) -> None:
    load(session, storage, tenant, [people(lake, 1, [person(1)])], run_id="test")
    assert session.execute("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA IN ('DEIDENTIFIED', 'PSEUDONYMOUS')") == [
        (0,)
    ]


def test_a_key_that_comes_later_and_rules_that_change_reach_what_was_loaded_before(
    session: Session, keyed: Storage, storage: Storage, tenant: TenantId, lake: TestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Lake(keyed, lake.state)  # type: ignore[arg-type]
    load(
        session,
        storage,
        tenant,
        [people(lake, 1, [person(1), person(2)], kind="snapshot"), people(lake, 2, [person(2, deleted=True)])],
        run_id="test",
    )
    sync(session, opened, tenant)
    assert shown(session) == {named(keyed, tenant, "p1"): (1980, "627", 2026)}
    statements = session.statements
    assert sync(session, opened, tenant) == []
    assert session.statements - statements < 13, "a second run finds nothing to do"
    strict = dict(classes._classes(classes.directories()))
    strict["curated", "patient"] = {**strict["curated", "patient"], "postal_code": "direct", "family_name": "operational"}
    monkeypatch.setattr(classes, "_classes", lambda _: strict)
    assert [change.what for change in sync(session, opened, tenant)] == ["new column", "view", "class", "class"]
    assert session.execute("SELECT PATIENT_ID, FAMILY_NAME FROM DEIDENTIFIED.PATIENT") == [(named(keyed, tenant, "p1"), "Sampledottir")]
    assert "POSTAL_CODE" not in [name for name, *_ in session.execute("DESCRIBE VIEW DEIDENTIFIED.PATIENT")]
    statements = session.statements
    assert sync(session, opened, tenant) == []
    assert session.statements - statements < 13, "what was made by the new rules is not made again"


@pytest.mark.parametrize("table", sorted({*contracts(), *(wide.table for wide in WIDE_TABLES)}))
def test_every_modelled_table_has_a_key_that_survives_and_no_direct_identifier(table: str) -> None:
    if table in contracts():
        layer, key, columns = "curated", contracts()[table].key, {c.name: c.type for c in contracts()[table].columns}
    else:
        [wide] = [wide for wide in WIDE_TABLES if wide.table == table]
        layer, key, columns = "transformed", wide.key, {f.name: f.type for f in wide.fields}
    kinds = {name: "date" if kind in {"date", "timestamp"} else "text" if kind == "string" else "other" for name, kind in columns.items()}
    rules = {name: rule(layer, table, name, kinds[name], PhiSection()) for name in columns}  # type: ignore[arg-type]
    assert all(rules[name] or kinds[name] == "text" for name in key)
    for name, by in rules.items():
        phi = classes.phi_class(layer, table, name)  # type: ignore[arg-type]
        assert by != "kept" or phi not in {"direct", "unclassified"}, name
        assert by in {None, "year", "birth year"} or kinds[name] != "date", name
