"""A tenant's life by the command line: added, suspended, offboarded."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import pytest
import yaml

from lab_insights.aws import Aws
from lab_insights.governance import glue
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry
from lab_insights.warehouse.report_page import key as page_key
from lab_insights_tests.commands.cli import Cli, seen_bars
from lab_insights_tests.commands.shapes import shapes, shown
from lab_insights_tests.commands.tenants import cli, lake, put, tenant
from lab_insights_tests.lake.world import day, fresh_tenant
from lab_insights_tests.listed import every

__all__ = ["cli", "lake", "tenant"]


def recorded(cli: Cli, tenant: TenantId) -> list[str]:
    from lab_insights import config
    from lab_insights.warehouse.session import connect

    loaded = config.load(cli.path)
    with connect(loaded.snowflake, Aws(endpoint_url=loaded.aws.endpoint_url)) as session:
        rows = session.execute("SELECT STATEMENT FROM STAND_IN.RECORDED.STATEMENTS ORDER BY ORDINAL")
    return [str(statement) for (statement,) in rows if tenant.upper() in statement]


def test_adding_a_tenant_makes_all_it_needs_says_so_and_again_changes_nothing(cli: Cli, lake: Lake) -> None:
    its = fresh_tenant()
    output = cli("tenant", "add", its, "--key", "1", "--tier", "frequent", code=0).output
    name = f"LAB_INSIGHTS_{its.upper()}"
    for line in (
        f"lake: prefix tenant={its}/ in 4 buckets",
        f"database: {name}",
        "partitions: by the sensor",
        "registry: active, frequent",
    ):
        assert f"✓ {line}" in output
    said = shown("how-to/tenants.md", "tenant add aurora_clinic --key 12 --tier frequent")
    assert shapes(output, its, lake.storage.prefix) == said
    assert output.count("recorded, not enforced") == 2
    assert "✓ permissions: 2 roles in AWS, 6 tags and grants in Lake Formation" in output
    assert Registry(lake.storage.aws, lake.storage.prefix).get(its).suspended is False
    statements = recorded(cli, its)
    assert f'GRANT USAGE ON WAREHOUSE "LAB_INSIGHTS_FREQUENT" TO ROLE "{name}_ANALYST"' in statements
    may_read = {s.split(" IN SCHEMA ")[1] for s in statements if s.startswith("GRANT SELECT") and ("READER" in s or "ANALYST" in s)}
    assert len(may_read) == 3
    assert not [place for place in may_read if "CURATED" in place or "TRANSFORMED" in place]
    assert cli("tenant", "add", its, "--key", "1", "--tier", "frequent", code=0).output == output


def test_what_is_done_for_a_tenant_is_told_to_programs_as_it_is_to_people(
    cli: Cli, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = fresh_tenant()
    words = ("tenant", "add", its, "--key", "1")
    planned = cli(*words, "--dry-run", code=0).stdout.splitlines()
    [plan] = json.loads(cli(*words, "--dry-run", "--json", code=0).stdout)
    assert (plan["tenant"], plan["state"], plan["told"]) == (its, "planned", planned)
    [added] = json.loads(cli(*words, "--json", code=0).stdout)
    assert (added["tenant"], added["state"]) == (its, "registered")
    assert added["told"][-1] == "registry: active, daily, days in UTC"
    [closed] = json.loads(cli("tenant", "suspend", its, "--json", code=0).stdout)
    assert (closed["tenant"], closed["state"], bool(closed["told"])) == (its, "suspended", True)
    seen = seen_bars(monkeypatch)
    [gone] = json.loads(cli("tenant", "offboard", its, "--export", str(tmp_path / "out"), "--confirm", its, "--json", code=0).stdout)
    assert gone["state"] == "offboarded"
    assert f"{len(gone['told'])}/{len(gone['told'])} steps" in seen.getvalue()
    assert gone["certificate"].endswith(f"offboarded/tenant={its}/certificate.json")
    assert its not in {known.id for known in Registry(lake.storage.aws, lake.storage.prefix).all()}


POOLED = {"discriminator": {"schema": "pool", "column": "org", "value": "{key}"}, "schema": {"schema": "lab_{tenant}"}}


def test_a_tenant_that_would_read_the_rows_of_another_is_refused_and_nothing_is_made(cli: Cli, lake: Lake, tmp_path: Path) -> None:
    config = yaml.safe_load(cli.path.read_text())
    config["sources"] = {"lis": {"engine": "mysql", "url": "env:NONE", "tenancy": POOLED}}
    cli.path.write_text(yaml.safe_dump(config))
    first, second, third = sorted(fresh_tenant() for _ in range(3))
    key = uuid.uuid4().hex[:12]

    def listed(*tenants: tuple[TenantId, str, str]) -> tuple[str, ...]:
        entries = [{"id": its, "key": its_key, "layouts": {"lis": layout}} for its, its_key, layout in tenants]
        (tmp_path / "tenants.yaml").write_text(yaml.safe_dump({"tenants": entries}))
        return "tenant", "apply", "tenants.yaml"

    pooled = ("--layout", "lis=discriminator")
    cli("tenant", "add", first, "--key", key, *pooled, code=0)
    cli("tenant", "add", first, "--key", key, *pooled, code=0)
    for words in (
        ("tenant", "add", second, "--key", key, *pooled),
        ("tenant", "add", second, "--key", key, *pooled, "--dry-run"),
        listed((third, f"{key}3", "discriminator"), (second, key, "discriminator")),
    ):
        output = cli(*words, code=2).output
        assert f"In source lis this tenant would have the rows of {first}." in output
        assert f"tenant {second}" in output
        assert "remedy: give each tenant a key of its own" in output
    registry = Registry(lake.storage.aws, lake.storage.prefix)
    assert not {second, third} & {known.id for known in registry.all()}
    # Keys that go from one to another in one file, and equal keys where they do not tell tenants apart.
    cli(*listed((first, f"{key}2", "discriminator"), (second, key, "discriminator"), (third, key, "schema")), code=0)


def test_a_dry_run_prints_every_step_and_does_none(cli: Cli, lake: Lake) -> None:
    its = fresh_tenant()
    output = cli("tenant", "add", its, "--key", "1", "--dry-run", code=0).output
    name = f"LAB_INSIGHTS_{its.upper()}"
    for line in (
        f"registry: {its}, daily, days in UTC",
        f"lake: s3://{lake.storage.bucket('reports')}/tenant={its}/",
        'database: SQL: CREATE RESOURCE MONITOR IF NOT EXISTS "LAB_INSIGHTS_DAILY" WITH CREDIT_QUOTA = 24',
        f'database: admin API: CREATE DATABASE IF NOT EXISTS "{name}"',
        f'database: admin API: GRANT SELECT ON FUTURE TABLES IN SCHEMA "{name}"."REPORTS" TO ROLE "{name}_READER"',
    ):
        assert line in output
    assert recorded(cli, its) == []
    assert "does not hold" in cli("tenant", "suspend", its, code=2).output


def test_a_suspended_tenant_is_shown_as_such_and_comes_back(cli: Cli, lake: Lake, tenant: TenantId) -> None:
    lake_formation = lake.storage.aws.client("lakeformation")

    def granted() -> bool:
        return tenant in json.dumps(every(lake_formation, "list_permissions", "PrincipalResourcePermissions"))

    assert granted()
    output = cli("tenant", "suspend", tenant, code=0).output
    assert "✓ registry: suspended" in output
    assert shapes(output, tenant, lake.storage.prefix) == shown("how-to/tenants.md", "tenant suspend aurora_clinic")
    assert "readers and analysts can not use" in output
    assert not granted()
    assert Registry(lake.storage.aws, lake.storage.prefix).get(tenant).suspended
    assert any(statement.startswith("REVOKE USAGE ON DATABASE") for statement in recorded(cli, tenant))
    assert "suspended" in cli("tenant", "list", code=0).output
    assert "active again" in cli("tenant", "suspend", tenant, "--resume", code=0).output
    assert granted()
    assert not Registry(lake.storage.aws, lake.storage.prefix).get(tenant).suspended
    last = [statement for statement in recorded(cli, tenant) if " USAGE ON DATABASE" in statement][-1]
    assert last.startswith("GRANT")


def test_offboarding_wants_to_be_confirmed_and_a_tenant_that_exists(cli: Cli, tenant: TenantId) -> None:
    assert "deletes everything" in cli("tenant", "offboard", tenant, "--export", "out", code=2).output
    assert "does not hold" in cli("tenant", "offboard", "nobody", "--export", "out", "--confirm", "nobody", code=2).output


def test_offboarding_exports_everything_then_deletes_it_everywhere_but_from_other_tenants(
    cli: Cli, lake: Lake, tenant: TenantId, tmp_path: Path
) -> None:
    aws, prefix = lake.storage.aws, lake.storage.prefix
    other = fresh_tenant()
    for its in (tenant, other):
        put(lake, its, "crm.note", text=["secret", "b"])
        put(lake, its, "crm.note", "raw", text=["secret", "b"])
        lake.storage.put("reports", page_key(its, day(1)), b"<html>secret")
    glue.register_lake(lake, [tenant, other])
    words = ("tenant", "offboard", tenant, "--export", str(tmp_path / "export"), "--confirm", tenant)
    output = cli(*words, code=0).output
    assert f"{tenant} is offboarded" in output
    said = shown("how-to/tenants.md", "tenant offboard aurora_clinic --export aurora --confirm aurora_clinic")
    assert shapes(output, tenant, lake.storage.prefix) == said

    exported = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    listed = json.loads(lake.storage.get("raw", f"offboarded/tenant={tenant}/export.json") or b"")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in exported}
    assert len(listed) == len(exported) == 4
    assert digests == {each["sha256"] for each in listed}

    s3, db = aws.client("s3"), aws.client("dynamodb")
    for layer in (*LAYERS, "reports"):
        its = {"Bucket": lake.storage.bucket(layer), "Prefix": f"tenant={tenant}/"}
        assert [every(s3, "list_object_versions", kind, **its) for kind in ("Versions", "DeleteMarkers")] == [[], []]
    for table in ("bookmarks", "status", "tenants"):
        items = every(db, "scan", "Items", TableName=f"{prefix}-{table}")
        assert tenant not in json.dumps([item for item in items if not item.get("pk", {"S": ""})["S"].startswith("@audit#")])
    assert [each for each in recorded(cli, tenant) if each.startswith("DROP ROLE")]
    catalog = aws.client("glue")
    partitions = every(catalog, "get_partitions", "Partitions", DatabaseName=glue.database(prefix, "curated"), TableName="crm_note")
    assert [tenant, str(day(1))] not in [each["Values"] for each in partitions]
    assert [other, str(day(1))] in [each["Values"] for each in partitions]
    assert lake.state.tables("curated", other) == ["crm.note"]
    assert lake.storage.get("reports", page_key(other, day(1)))
    left = [each["Name"] for each in every(catalog, "get_databases", "DatabaseList")]
    assert glue.database(prefix, "curated", other) in left
    assert glue.database(prefix, "curated", tenant) not in left
    assert not [each for each in every(aws.client("iam"), "list_roles", "Roles") if tenant in each["RoleName"]]
    assert tenant not in json.dumps(every(aws.client("lakeformation"), "list_permissions", "PrincipalResourcePermissions"))

    certificate = json.loads(lake.storage.get("raw", f"offboarded/tenant={tenant}/certificate.json") or b"")
    deleted = certificate["deleted"]
    assert set(deleted) == {"database", "permissions", "lake", "catalog", "state", "partitions"}
    assert deleted["lake"]["objects"] >= 5
    assert (deleted["database"]["databases"], deleted["database"]["tables"], deleted["database"]["roles"]) == (1, 3, 4)
    assert deleted["catalog"] == {"partitions": 2, "databases": 2}
    assert deleted["permissions"] == {"grants": 4, "roles": 2}
    assert deleted["state"]["items"] > 0
    assert "secret" not in json.dumps(certificate)
    assert "was offboarded before" in cli(*words, code=0).output


def test_a_part_that_is_not_what_its_manifest_says_stops_the_offboarding_before_anything_is_deleted(
    cli: Cli, lake: Lake, tenant: TenantId, tmp_path: Path
) -> None:
    put(lake, tenant, "crm.note", text=["a", "b"])
    [stored] = [each for each in lake.storage.stored("curated", f"tenant={tenant}/") if each.key.endswith(".parquet")]
    lake.storage.put("curated", stored.key, b"something else")
    output = cli("tenant", "offboard", tenant, "--export", str(tmp_path / uuid.uuid4().hex), "--confirm", tenant, code=1).output
    assert "nothing was deleted" in output
    assert lake.state.tables("curated", tenant) == ["crm.note"]
    assert Registry(lake.storage.aws, lake.storage.prefix).get(tenant).suspended
