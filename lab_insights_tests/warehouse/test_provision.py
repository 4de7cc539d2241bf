"""Provisioning: through the admin API where it has the resource, as the plan says, and as often as one likes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.errors import WarehouseError
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse import roles
from lab_insights.warehouse.admin import Make, Step, apply, means
from lab_insights.warehouse.provision import plan, provision
from lab_insights.warehouse.session import Session, connect

RECORDED = "SELECT STATEMENT FROM STAND_IN.RECORDED.STATEMENTS WHERE ORDINAL > ? ORDER BY ORDINAL"
# What the stand-in has itself is made there; all else it records.
MADE = ("DATABASE", "SCHEMA", "STAGE")


def recorded(session: Session, after: int) -> list[str]:
    return [str(statement) for (statement,) in session.execute(RECORDED, after)]


def newest(session: Session) -> int:
    return int(session.execute("SELECT COALESCE(MAX(ORDINAL), 0) FROM STAND_IN.RECORDED.STATEMENTS")[0][0])


def test_the_server_is_asked_for_exactly_what_the_plan_reads_as(session: Session, storage: Storage, tenant: TenantId) -> None:
    before = newest(session)
    steps = plan(storage, tenant, "daily", session.login)
    done: list[Step] = []
    assert provision(session, storage, tenant, "daily", done.append) == len(steps)
    assert done == steps
    here = ("CREATE TABLE", "USE SCHEMA")
    expected = [str(step) for step in steps if not (isinstance(step, Make) and step.kind in MADE) and not str(step).startswith(here)]
    assert recorded(session, before) == expected
    by_sql = {" ".join(str(step).split()[:3]) for step in steps if means(step) == "SQL"}
    policies = {"CREATE MASKING POLICY", "CREATE ROW ACCESS"}
    assert by_sql == {"CREATE RESOURCE MONITOR", f'USE SCHEMA "LAB_INSIGHTS_{tenant.upper()}".OPS', "CREATE TABLE IF", *policies}


@pytest.mark.parametrize(
    ("dropped", "seen"),
    [
        ("DROP TABLE OPS.HEADS", "SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'OPS' AND TABLE_NAME = 'HEADS'"),
        ("DROP SCHEMA REPORTS CASCADE", "SELECT COUNT(*) FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = 'REPORTS'"),
    ],
)
def test_what_somebody_dropped_comes_back(session: Session, storage: Storage, tenant: TenantId, dropped: str, seen: str) -> None:
    session.execute("INSERT INTO OPS.LEDGER (LAYER) VALUES ('kept')")
    session.execute(dropped)
    assert session.execute(seen) == [(0,)]
    provision(session, storage, tenant)
    assert session.execute(seen) == [(1,)]
    schemas = {str(name) for (name,) in session.execute("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA")}
    assert {"OPS", "CURATED", "TRANSFORMED", "REPORTS", "DEIDENTIFIED"} <= schemas
    assert session.execute("SELECT LAYER FROM OPS.LEDGER") == [("kept",)]


def test_a_dropped_database_comes_back_and_removal_may_be_repeated(
    account: SnowflakeSection, aws: Aws, storage: Storage, tenant: TenantId
) -> None:
    its = tenant_id(f"{tenant}_gone")
    for steps in (plan(storage, its), roles.removal(its), roles.removal(its), plan(storage, its)):
        with connect(account, aws) as own:
            before = newest(own)
            apply(own, steps)
            if steps == roles.removal(its):
                assert recorded(own, before) == [f'DROP ROLE IF EXISTS "{roles.role(its, name)}"' for name in roles.ROLES]
    with connect(account, aws) as own:
        assert own.execute(f'SELECT COUNT(*) FROM "LAB_INSIGHTS_{its.upper()}".OPS.LEDGER') == [(0,)]
        apply(own, roles.removal(its))


def test_what_the_api_refuses_names_the_step_and_the_remedy(session: Session, tenant: TenantId) -> None:
    with pytest.raises(WarehouseError, match=r"admin API refused `CREATE SCHEMA IF NOT EXISTS \"NOWHERE\"") as refused:
        apply(session, [Make("SCHEMA", ("NOWHERE", "S"))])
    assert "snowflake.role" in refused.value.remedy


def test_a_name_is_only_a_name(session: Session, tenant: TenantId) -> None:
    name = f"LAB_INSIGHTS_{tenant.upper()}"
    apply(session, [Make("SCHEMA", (name, "x y/%2F?z#"))])
    assert "X Y/%2F?Z#" in {row[0] for row in session.execute("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA")}


def test_a_local_lake_needs_no_integration_and_a_real_one_has_it(storage: Storage, tenant: TenantId) -> None:
    local = [str(step) for step in plan(storage, tenant)]
    real = [str(step) for step in plan(Storage(type(storage.aws)(), "acme"), tenant)]
    assert not [step for step in local if "INTEGRATION" in step]
    assert next(step for step in real if "STAGE" in step).endswith("STORAGE_INTEGRATION = LAB_INSIGHTS URL = 's3://acme-curated/'")


def test_a_start_of_the_stand_in_leaves_nothing_in_the_directory_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab_insights.local import processes, snowflake

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    processes.stop(snowflake.start(tmp_path, "http://127.0.0.1:1", tmp_path / "log"))
    assert list(temporary.iterdir()) == []


def test_the_admin_api_is_imported_only_by_what_provisions() -> None:
    import subprocess

    code = "import sys, lab_insights.definitions, lab_insights.warehouse.load, lab_insights.warehouse.provision; sys.exit('snowflake.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
