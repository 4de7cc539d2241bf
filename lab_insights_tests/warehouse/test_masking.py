"""Masking policies, tags and row access policies: in the statement that makes a column or a table, and never after it.

The stand-in records them and enforces none: what is tested here is what Snowflake would be told.
"""

from __future__ import annotations

import dataclasses
import re

import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.config import Config, PhiSection, SnowflakeSection
from lab_insights.doctor import warehouse as doctor
from lab_insights.errors import WarehouseError
from lab_insights.governance.classes import PHI, STRICTEST, phi_class
from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import contract_schema
from lab_insights.lake.commit import Lake
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import masking, provision, roles, sharing
from lab_insights.warehouse.load import load
from lab_insights.warehouse.masking import Protection, policy
from lab_insights.warehouse.session import Session, connect
from lab_insights.warehouse.sync import sync
from lab_insights.warehouse.types import ColumnType
from lab_insights_tests.warehouse.lake import META, TestLake

SCORE = pa.schema([("id", pa.int64()), ("value", pa.decimal128(10, 3)), ("note", pa.string())])


def recorded(session: Session, *phrases: str) -> list[str]:
    """Return the statements that were recorded with all of `phrases` in them, in order."""
    where = " AND ".join("CONTAINS(STATEMENT, ?)" for _ in phrases)
    rows = session.execute(f"SELECT STATEMENT FROM STAND_IN.RECORDED.STATEMENTS WHERE {where} ORDER BY ORDINAL", *phrases)
    return [statement for (statement,) in rows]


def configured(account: SnowflakeSection, aws: Aws) -> Config:
    its = {"lake": {"prefix": "none"}, "sources": {}, "partitions": {"start": "2026-01-01"}}
    return Config.model_validate({**its, "aws": {"endpoint_url": aws.endpoint_url}, "snowflake": account.model_dump()})


def clauses(statement: str) -> dict[str, tuple[str, str]]:
    """Return policy (empty for none) and tag of each column that a statement makes."""
    column = r""""([^"]+)" [A-Z_]+(?:\([\d,]+\))?(?: WITH MASKING POLICY "OPS"\."(\w+)")? WITH TAG \("OPS"\."PHI" = '(\w+)'\)"""
    return {name: (of, tag) for name, of, tag in re.findall(column, statement)}


def test_every_column_of_a_table_has_tag_and_policy_in_the_statement_that_makes_it(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    patient = pa.schema([field for field in contract_schema(contracts()["patient"]) if field.name not in META.names])
    row = {"patient_id": f"p-{tenant}", "mrn": "m"}
    load(session, storage, tenant, [lake.batch("patient", 1, [row], patient, key=("patient_id",))], run_id="test")
    [create] = recorded(session, 'CREATE TABLE IF NOT EXISTS "CURATED"."PATIENT"')[-1:]
    found = clauses(create)
    assert found.keys() == {name.upper() for name in [*patient.names, *META.names]}
    assert found["MRN"] == ("MASK_DIRECT_VARCHAR", "direct")
    assert found["BIRTH_DATE"] == ("MASK_QUASI_DATE", "quasi")
    assert found["UPDATED_AT"] == ("", "operational")
    assert found["TENANT_ID"] == ("", "none")
    assert found["RECORD_HASH"] == ("MASK_UNCLASSIFIED_VARCHAR", "unclassified")
    for name, (of, tag) in found.items():
        assert tag == phi_class("curated", "patient", name)
        assert bool(of) == (tag in PHI)
    assert create.endswith('WITH ROW ACCESS POLICY "OPS"."ONLY_TENANT" ON ("TENANT_ID")')
    assert session.execute("SELECT MRN FROM CURATED.PATIENT_LIVE") == [("m",)], "recorded, not enforced"


def test_a_column_that_comes_later_or_is_widened_never_lacks_its_policy(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    table = f"crm.udt_{tenant}"
    place = f'"CURATED"."{table.upper()}"'
    narrow = pa.schema([("id", pa.int64()), ("value", pa.date32())])
    for day, schema in ((1, narrow), (2, SCORE)):
        load(session, storage, tenant, [lake.batch(table, day, [{"id": day}], schema)], run_id="test")
    wide = pa.schema([("id", pa.string()), *list(SCORE)[1:], ("more", pa.decimal128(12, 5))])
    load(session, storage, tenant, [lake.batch(table, 3, [{"id": "x"}], wide)], run_id="test")
    made = recorded(session, place)
    assert clauses(made[0])["VALUE"] == ("MASK_UNCLASSIFIED_DATE", "unclassified")
    added = {name: of for statement in made[1:] for name, of in clauses(statement).items()}
    assert added == {
        "VALUE:VARCHAR": ("MASK_UNCLASSIFIED_VARCHAR", "unclassified"),
        "NOTE": ("MASK_UNCLASSIFIED_VARCHAR", "unclassified"),
        "ID:WIDER": ("MASK_UNCLASSIFIED_VARCHAR", "unclassified"),
        "MORE": ("MASK_UNCLASSIFIED_NUMBER_5", "unclassified"),
    }
    everything = recorded(session, tenant.upper())
    [scale] = [number for number, text in enumerate(everything) if '"MASK_UNCLASSIFIED_NUMBER_5" AS' in text]
    assert "NUMBER(38,5)" in everything[scale]


def test_a_class_that_is_declared_later_reaches_the_column_once(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    table = f"crm.udt_{tenant}"
    load(session, storage, tenant, [lake.batch(table, 1, [{"id": 1}], SCORE)], run_id="test")
    declared = PhiSection.model_validate({"classes": {"crm.udt_*": {"value": "clinical", "note": "none"}}})
    opened = Lake(dataclasses.replace(storage, phi=declared), lake.state)  # type: ignore[arg-type]
    changes = [change for change in sync(session, opened, tenant) if change.what == "class"]
    assert {(change.column, change.detail) for change in changes} == {("VALUE", "clinical"), ("NOTE", "none")}
    place = f'"CURATED"."{table.upper()}" MODIFY COLUMN'
    assert [statement.partition("MODIFY COLUMN ")[2] for statement in recorded(session, place)] == [
        '"VALUE" SET MASKING POLICY "OPS"."MASK_CLINICAL_NUMBER_3" FORCE',
        '"VALUE" SET TAG "OPS"."PHI" = \'clinical\'',
        '"NOTE" UNSET MASKING POLICY',
        '"NOTE" SET TAG "OPS"."PHI" = \'none\'',
    ]
    assert [change for change in sync(session, opened, tenant) if change.what == "class"] == []
    back = sync(session, Lake(storage, lake.state), tenant)  # type: ignore[arg-type]
    assert {(change.column, change.detail) for change in back if change.what == "class"} == {
        ("VALUE", "unclassified"),
        ("NOTE", "unclassified"),
    }


def with_classes(lake: TestLake, **classes: str) -> Lake:
    phi = PhiSection.model_validate({"classes": {"crm.udt_*": classes}})
    return Lake(dataclasses.replace(lake.storage, phi=phi), lake.state)  # type: ignore[arg-type]


def reclassified(session: Session, lake: Lake, tenant: TenantId) -> dict[str, str]:
    return {change.column: change.detail for change in sync(session, lake, tenant) if change.what == "class"}


@pytest.mark.parametrize("met_first", [False, True], ids=["sync first", "load first"])
def test_a_column_that_is_renamed_is_masked_by_its_new_name(session: Session, tenant: TenantId, lake: TestLake, met_first: bool) -> None:
    table, opened = f"crm.udt_{tenant}", with_classes(lake, name="none")
    schemas = [pa.schema([("id", pa.int64()), (name, pa.string())]) for name in ("name", "label")]
    before = lake.batch(table, 1, [{"id": n, "name": f"n{n}"} for n in range(3)], schemas[0])
    load(session, opened.storage, tenant, [before], run_id="test")
    after = lake.batch(table, 2, [{"id": n, "label": f"n{n}"} for n in range(3)], schemas[1])
    place = f'"CURATED"."{table.upper()}" MODIFY COLUMN'
    masked = ['{} SET MASKING POLICY "OPS"."MASK_UNCLASSIFIED_VARCHAR" FORCE', '{} SET TAG "OPS"."PHI" = \'unclassified\'']
    if met_first:  # the load made a column of its own, and what was left of the other one is as it was declared
        load(session, opened.storage, tenant, [after], run_id="test")
        assert reclassified(session, opened, tenant) == {}
        assert reclassified(session, with_classes(lake), tenant) == {"NAME:FORMER": "unclassified"}
    else:
        assert reclassified(session, opened, tenant) == {"LABEL": "unclassified"}
    column = '"NAME:FORMER"' if met_first else '"LABEL"'
    assert [text.partition("MODIFY COLUMN ")[2] for text in recorded(session, place)] == [text.format(column) for text in masked]
    assert reclassified(session, with_classes(lake) if met_first else opened, tenant) == {}


def test_a_class_that_a_contract_changes_reaches_the_columns_that_are_there(
    session: Session, tenant: TenantId, lake: TestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = pa.schema([field for field in contract_schema(contracts()["patient"]) if field.name not in META.names])
    opened = Lake(lake.storage, lake.state)  # type: ignore[arg-type]
    load(session, lake.storage, tenant, [lake.batch("patient", 1, [{"patient_id": "p"}], patient, key=("patient_id",))], run_id="test")
    assert reclassified(session, opened, tenant) == {}

    def stricter(layer: str, table: str, column: str, *declared: PhiSection) -> str:
        return "direct" if column.upper() == "UPDATED_AT" else phi_class(layer, table, column, *declared)  # type: ignore[arg-type]

    monkeypatch.setattr(masking, "phi_class", stricter)
    run = session.execute

    def cut_off(sql: str, *binds: object) -> object:
        if "SET TAG" in sql:
            raise KeyboardInterrupt
        return run(sql, *binds)

    with monkeypatch.context() as patched:
        patched.setattr(session, "execute", cut_off)
        with pytest.raises(KeyboardInterrupt):
            sync(session, opened, tenant)
    assert reclassified(session, opened, tenant) == {"UPDATED_AT": "direct"}, "it was not done before"
    assert '"UPDATED_AT" SET MASKING POLICY "OPS"."MASK_DIRECT_TIMESTAMP_NTZ"' in recorded(session, "UPDATED_AT", "MODIFY COLUMN")[-2]
    assert reclassified(session, opened, tenant) == {}


def test_policies_are_made_before_any_table_and_let_only_owner_and_loader_see() -> None:
    one = tenant_id("one")
    made = list(map(str, masking.policies(one)))
    kinds = {ColumnType("VARCHAR"), ColumnType("NUMBER", 38), ColumnType("NUMBER", 38, 9), ColumnType("TIMESTAMP_NTZ")}
    assert kinds <= {*masking.provisioned()}
    for phi in STRICTEST:
        for kind in masking.provisioned():
            [*statements] = [text for text in made if f'"{policy(phi, kind)}" AS (VAL {kind.sql}) RETURNS {kind.sql} -> ' in text]
            assert len(statements) == (phi in PHI)
    [body] = [text.partition("-> ")[2] for text in made if '"MASK_DIRECT_VARCHAR"' in text]
    seen = "IS_ROLE_IN_SESSION('LAB_INSIGHTS_ONE_OWNER') OR IS_ROLE_IN_SESSION('LAB_INSIGHTS_ONE_LOADER')"
    assert body == f"CASE WHEN {seen} THEN VAL END"
    assert "-> ITS IS NULL OR ITS = 'one'" in made[-1]
    assert all("IF NOT EXISTS" in text for text in made)
    granted = list(map(str, masking.grants(one)))
    assert all('TO ROLE "LAB_INSIGHTS_ONE_LOADER"' in text and "ACCOUNT" not in text for text in granted)


def test_the_plan_makes_them_before_roles_are_granted_anything(storage: Storage) -> None:
    statements = list(map(str, provision.plan(storage, tenant_id("one"), "daily")))
    first = next(number for number, text in enumerate(statements) if "MASKING POLICY" in text)
    assert statements.index('CREATE SCHEMA IF NOT EXISTS "LAB_INSIGHTS_ONE"."OPS"') < first
    assert first < next(number for number, text in enumerate(statements) if text.startswith("GRANT"))
    assert not [text for text in statements if "PSEUDONYMOUS" in text and "GRANT" in text and "READER" in text]


def test_the_plan_gives_the_pipeline_the_loader_and_leaves_every_masked_table_to_loads_that_act_as_it(
    account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    name, pipeline = f"LAB_INSIGHTS_{tenant.upper()}", account.model_copy(update={"role": "PIPELINE", "warehouse": "LOAD"})
    with connect(pipeline, aws) as session:
        provision.provision(session, storage, tenant, "daily")
        plan = recorded(session, name)
        assert not [text for text in plan if text.startswith("CREATE TABLE")], "a masked table is made by loads"
        [granted] = [number for number, text in enumerate(plan) if text == f'GRANT ROLE "{name}_LOADER" TO ROLE "PIPELINE"']
        assert plan.index(f'CREATE ROLE IF NOT EXISTS "{name}_LOADER"') < granted
        stages = [text for text in plan if "STAGES IN" in text]
        assert stages == [f'GRANT USAGE ON {every} STAGES IN SCHEMA "{name}"."OPS" TO ROLE "{name}_LOADER"' for every in ("ALL", "FUTURE")]
        assert f'GRANT USAGE ON WAREHOUSE "LOAD" TO ROLE "{name}_LOADER"' in plan
        load(session, storage, tenant, [lake.batch("crm.udt_x", 1, [{"id": 1}], SCORE)], run_id="test")
        provision.provision(session, storage, tenant)
        roles_ = [text for text in recorded(session, "USE ROLE") if text in {f'USE ROLE "{name}_LOADER"', 'USE ROLE "PIPELINE"'}]
        assert roles_[-2:] == [f'USE ROLE "{name}_LOADER"', 'USE ROLE "PIPELINE"'], "it provisions as itself again"
        session.execute(f'DROP DATABASE "{name}"')


def test_a_load_whose_login_lacks_the_loader_is_refused_before_it_writes(
    session: Session, account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    loader = f'"{roles.role(tenant, "LOADER")}"'
    batch = lake.batch("crm.udt_x", 1, [{"id": 1}], SCORE)
    session.execute(f'REVOKE ROLE {loader} FROM ROLE "LAB_INSIGHTS"')
    with connect(account, aws) as other:
        before = session.execute("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES")
        with pytest.raises(WarehouseError, match=r"can not act as .*_LOADER.*not assigned") as refused:
            load(other, storage, tenant, [batch], run_id="test")
        assert f'GRANT ROLE {loader} TO ROLE "LAB_INSIGHTS"' in refused.value.remedy
        assert refused.value.tenant == tenant
        assert session.execute("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES") == before
        check = list(doctor.snowflake(configured(account, aws), aws, [Tenant(id=tenant, key="1")]))[-1]
        assert (check.subject, check.status) == (f"snowflake LAB_INSIGHTS_{tenant.upper()}", "failed")
        assert "can not act as" in check.message
        session.execute(f'GRANT ROLE {loader} TO ROLE "LAB_INSIGHTS"')
        load(other, storage, tenant, [batch], run_id="test")
    assert session.execute('SELECT COUNT(*) FROM CURATED."CRM.UDT_X"') == [(1,)]
    assert list(doctor.snowflake(configured(account, aws), aws, [Tenant(id=tenant, key="1")]))[-1].status == "ok"


def test_a_declared_class_counts_for_what_no_contract_describes_and_nowhere_else() -> None:
    declared = PhiSection.model_validate({"classes": {"crm.udt_*": {"Score": "clinical", "*": "direct"}, "patient": {"*": "none"}}})
    assert phi_class("curated", "crm.udt_x", "score", declared) == "clinical"
    assert phi_class("raw", "crm.UDT_X", "SCORE", declared) == "clinical"
    assert phi_class("curated", "crm.udt_x", "other", declared) == "direct"
    assert phi_class("curated", "patient", "mrn", declared) == "direct"
    assert phi_class("transformed", "crm.udt_x_long", "value_text", declared) == "unclassified"
    assert phi_class("curated", "crm.other", "score", declared) == "unclassified"
    protection = Protection(tenant_id("t"), declared)
    assert protection.phi_class(("CURATED", "CRM.UDT_X"), "SCORE:NARROW") == "clinical"
    assert protection.phi_class(("CURATED", "PATIENT"), "MRN:RENAMED") == "direct"


def test_a_share_shows_the_de_identified_views_to_named_accounts_and_ends_with_them(
    account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId, session: Session
) -> None:
    session.execute('CREATE VIEW "DEIDENTIFIED"."PATIENT" AS SELECT 1 AS "X"')
    its = Tenant(id=tenant, key="1", share_with=("ACME.RESEARCH", "ACME.OTHER"))
    name, database = f'"{sharing.share(tenant)}"', f'"LAB_INSIGHTS_{tenant.upper()}"'
    wanted = [
        f"CREATE SHARE IF NOT EXISTS {name}",
        f"GRANT USAGE ON DATABASE {database} TO SHARE {name}",
        f'GRANT USAGE ON SCHEMA {database}."DEIDENTIFIED" TO SHARE {name}',
        f'GRANT SELECT ON VIEW {database}."DEIDENTIFIED"."PATIENT" TO SHARE {name}',
        f"ALTER SHARE {name} SET ACCOUNTS = ACME.RESEARCH, ACME.OTHER",
    ]
    with connect(account, aws) as other:
        for _ in range(2):
            assert sharing.apply(other, its) == 5
    assert recorded(session, name) == wanted * 2
    sharing.apply(session, its.model_copy(update={"suspended": True}))
    assert recorded(session, name)[-1] == f"DROP SHARE IF EXISTS {name}"
    assert sharing.plan(tenant, (), ["PATIENT"]) == sharing.removal(tenant)
    assert not any("SHARE" in str(step) for step in roles.permissions(tenant, "daily", provision.NOBODY))


@pytest.mark.parametrize("account", ["acme", "a.b.c", "a.b; DROP SHARE x", ""])
def test_an_account_that_is_none_is_refused(account: str) -> None:
    with pytest.raises(ValueError, match="share_with"):
        Tenant(id=tenant_id("t"), key="1", share_with=(account,))
