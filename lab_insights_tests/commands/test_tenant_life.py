"""A tenant's life by the command line: added, crawled, looked at, suspended, offboarded."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lab_insights.aws import Aws
from lab_insights.commands import console
from lab_insights.extract.catalog import Column, SourceTable
from lab_insights.extract.databases import Placement
from lab_insights.governance import glue, history
from lab_insights.governance.classes import phi_class
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.local import snowflake
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry
from lab_insights.warehouse.report_page import key as page_key
from lab_insights_tests.commands.cli import Cli, seen_bars
from lab_insights_tests.commands.shapes import shapes, shown
from lab_insights_tests.lake.world import Rows, day, fresh_tenant, instant, make_lake
from lab_insights_tests.warehouse import access

META = {"source_updated_at": pa.timestamp("us"), "batch_id": pa.string(), "is_deleted": pa.bool_()}


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")
    made.storage.aws.client("s3").create_bucket(Bucket=made.storage.bucket("reports"))
    for layer in LAYERS:
        made.storage.aws.client("glue").create_database(DatabaseInput={"Name": glue.database(made.storage.prefix, layer)})
        made.storage.aws.client("s3").put_bucket_versioning(
            Bucket=made.storage.bucket(layer), VersioningConfiguration={"Status": "Enabled"}
        )
    return made


@pytest.fixture
def cli(lake: Lake, snowflake_server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A deployment on the stand-ins; commands are run in its directory."""
    host, port = snowflake_server
    monkeypatch.setenv("SNOWFLAKE_LOGIN", json.dumps(snowflake.LOGIN))
    monkeypatch.chdir(tmp_path)
    for name in ("LAB_INSIGHTS_CONFIG", "DAGSTER_HOME", "LAB_INSIGHTS_LOCAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 300)
    account = {"account": "fakesnow", "host": host, "port": port, "protocol": "http", "credentials": "env:SNOWFLAKE_LOGIN"}
    config = {
        "aws": {"endpoint_url": lake.storage.aws.endpoint_url},
        "lake": {"prefix": lake.storage.prefix},
        "snowflake": account,
        "sources": {},
        "partitions": {"start": "2026-01-01"},
    }
    (tmp_path / "lab_insights.yaml").write_text(yaml.safe_dump(config))
    return Cli(tmp_path / "lab_insights.yaml")


@pytest.fixture
def tenant(cli: Cli) -> TenantId:
    its = fresh_tenant()
    cli("tenant", "add", its, "--key", "1", code=0)
    return its


def put(
    lake: Lake, tenant: TenantId, table: str, layer: Any = "curated", number: int = 1, *, deleted: bool | None = None, **columns: Any
) -> None:
    nothing = {name: pa.nulls(2, kind) for name, kind in META.items()}
    rows = pa.record_batch({"id": [1, 2], **columns, **nothing, "is_deleted": pa.array([deleted, deleted], pa.bool_())})
    draft = Draft(Partition(layer, tenant, table, day(number)), "delta", key=("id",))
    commit(lake, settled_head(lake, draft.partition), draft, Rows([rows]))


@contextmanager
def under_a_minute() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def recorded(cli: Cli, tenant: TenantId) -> list[str]:
    from lab_insights import config
    from lab_insights.warehouse.session import connect

    loaded = config.load(cli.path)
    with connect(loaded.snowflake, Aws(endpoint_url=loaded.aws.endpoint_url)) as session:
        rows = session.execute("SELECT STATEMENT FROM STAND_IN.RECORDED.STATEMENTS ORDER BY ORDINAL")
    return [str(statement) for (statement,) in rows if tenant.upper() in statement]


def test_adding_a_tenant_makes_all_it_needs_says_so_and_again_changes_nothing(cli: Cli, lake: Lake) -> None:
    its = fresh_tenant()
    with under_a_minute():
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


def test_the_difference_is_printed_as_ddl_and_nothing_is_done(cli: Cli, lake: Lake, tenant: TenantId) -> None:
    put(lake, tenant, "crm.note", text=["a", "b"])
    output = cli("schema", "diff", "--tenant", tenant, code=0).output
    masked = 'WITH MASKING POLICY "OPS"."MASK_UNCLASSIFIED_NUMBER_0" WITH TAG ("OPS"."PHI" = \'unclassified\'), "TEXT" VARCHAR WITH MASKING POLICY'
    assert f'CREATE TABLE IF NOT EXISTS "CURATED"."CRM.NOTE" ("ID" NUMBER(19,0) {masked}' in output
    [change] = json.loads(cli("schema", "diff", "--tenant", tenant, "--json", code=0).stdout)
    assert (change["tenant"], change["table"], change["what"]) == (tenant, "CURATED.CRM.NOTE", "new table")
    assert "not a tenant" in cli("schema", "diff", "--tenant", "../evil", code=2).output
    assert "no table of a client database" in cli("schema", "rebuild", "raw.crm.note", "--tenant", tenant, code=2).output
    assert "never loaded" in cli("schema", "rebuild", "curated.crm.note", "--tenant", tenant, code=1).output


def test_every_version_of_a_schema_is_told_with_its_run_and_what_changed(cli: Cli, lake: Lake, tenant: TenantId) -> None:
    def seen(run: str, *columns: tuple[str, str]) -> None:
        its = tuple(Column(name, kind, nullable=True) for name, kind in columns)
        table = SourceTable("crm", "mysql", tenant, "udt_score", "udt_score", Placement("crm"), its, ("id",))
        history.record(lake.storage.aws, lake.storage.prefix, table, instant(1), run)

    first, second = (uuid.uuid4().hex for _ in range(2))
    seen(first, ("id", "bigint"), ("value", "varchar(20)"), ("remark", "text"))
    seen(second, ("id", "bigint"), ("value", "varchar(40)"), ("comment", "text"), ("reviewed", "int"))
    words = ("schema", "history", "--tenant", tenant, "--table", "crm.udt_score")
    said = shown("explanation/schema-changes.md", "schema history --tenant aurora_clinic --table crm.udt_score")
    assert shapes(cli(*words, code=0).output, tenant, lake.storage.prefix) == said
    found = json.loads(cli(*words, "--json", code=0).stdout)
    assert [(each["version"], each["run_id"], each["added"], each["dropped"], each["changed"]) for each in found] == [
        (1, first, ["id", "value", "remark"], [], []),
        (2, second, ["comment", "reviewed"], ["remark"], ["value"]),
    ]
    assert f"by run {second[:8]}" in cli("schema", "history", "--tenant", tenant, code=0).output
    change = history.Change(tenant, "lis.patient", 3, (), ("mrn", "nobody_reads_it"), ())
    assert history.unread(change) == ("mrn",)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_catalog_holds_every_layer_with_partitions_that_list_live_parts_alone(
    cli: Cli, lake: Lake, tenant: TenantId, layer: Layer
) -> None:
    aws, prefix = lake.storage.aws, lake.storage.prefix
    for number in (1, 2):
        put(lake, tenant, "crm.visit", layer, number, mood=["x", "y"])
    assert glue.register_lake(lake, [tenant]) == 2
    assert glue.register_lake(lake, [tenant]) == 0
    put(lake, tenant, "crm.visit", layer, 2, mood=["x", "z"])
    assert glue.register_lake(lake, [tenant]) == 1
    its = {"DatabaseName": glue.database(prefix, layer), "TableName": "crm_visit"}
    found = aws.client("glue").get_partitions(**its, Expression=f"tenant = '{tenant}'")["Partitions"]
    [first, second] = sorted(found, key=lambda each: each["Values"])
    assert first["Values"] == [tenant, str(day(1))]
    key = second["StorageDescriptor"]["Location"].removeprefix(f"s3://{lake.storage.bucket(layer)}/") + "parts.txt"
    listed = (lake.storage.get(layer, key) or b"").decode().split()
    assert len(listed) == 2
    assert all(lake.storage.size(layer, part.partition(f"-{layer}/")[2]) for part in listed)
    columns = {
        column["Name"]: column
        for column in aws.client("glue").get_table(DatabaseName=its["DatabaseName"], Name="crm_visit")["Table"]["StorageDescriptor"][
            "Columns"
        ]
    }
    assert (columns["id"]["Type"], columns["source_updated_at"]["Type"]) == ("bigint", "timestamp")
    # what a raw table calls `is_deleted` is the source's own
    ours = "unclassified" if layer == "raw" else "none"
    assert (columns["mood"]["Parameters"], columns["is_deleted"]["Parameters"]) == ({"phi": "unclassified"}, {"phi": ours})


def test_columns_codes_and_classes_are_found(cli: Cli, lake: Lake, tenant: TenantId) -> None:
    put(lake, tenant, "crm.survey", favourite_colour=["x", "y"])
    glue.register_lake(lake, [tenant])
    [hit] = json.loads(cli("catalog", "find", "favourite_COL", "--json", code=0).stdout)
    assert (hit["table"], hit["column"], hit["phi"], hit["matched"]) == ("crm.survey", "favourite_colour", "unclassified", "column")
    codes = json.loads(cli("catalog", "find", "critical_high", "--json", code=0).stdout)
    assert ("curated", "result", "flag_norm", "HH = critical_high") in {(c["layer"], c["table"], c["column"], c["code"]) for c in codes}
    own = {"test_code": ["T1", "T1"], "component_code": ["GLUC", "NA1"], "name": ["Glukose", "Natrium"], "loinc": ["2345-7", None]}
    put(lake, tenant, "test_component", **own)
    changed = own | {"component_code": ["XYZ", "NA1"], "loinc": ["99999-9", "2951-2"]}
    put(lake, tenant, "test_component", number=2, **changed)

    def loinc(text: str) -> set[tuple[str, str, str]]:
        hits = json.loads(cli("catalog", "find", text, "--json", code=0).stdout)
        return {(hit["table"], hit["column"], hit["code"]) for hit in hits if hit["matched"] == "code"}

    assert loinc("2345-7") == {("result", "loinc", "2345-7 = Glucose"), ("test_component", "loinc", "2345-7 = Glukose (GLUC)")}
    assert ("test_component", "loinc", "2951-2 = Natrium (NA1)") in loinc("natrium")
    assert loinc("48018-6") == {("genomic_result", "gene", "48018-6 = gene")}
    assert ("result", "value_code", "260385009 = negative") in loinc("260385009")
    put(lake, tenant, "test_component", number=3, deleted=True, **changed)
    assert loinc("99999-9") == set()
    direct = json.loads(cli("catalog", "find", "direct", "--json", code=0).stdout)
    assert {hit["phi"] for hit in direct if hit["matched"] == "phi"} == {"direct"}
    assert "mrn" in {hit["column"] for hit in direct}
    assert "nothing is called so" in cli("catalog", "find", "no such thing", code=0).output


def test_who_read_which_table_of_a_client_database_is_in_the_reads_and_in_the_evidence(
    cli: Cli, tenant: TenantId, aws_endpoint: str
) -> None:
    from lab_insights import config
    from lab_insights.warehouse.session import connect

    span, loaded = ("--from", str(day(1)), "--to", str(day(1))), config.load(cli.path)
    assert "not known" in cli("audit", "reads", "--snowflake", *span, code=2).output
    assert "Nobody is asked" in cli("audit", "reads", *span, code=2).output
    table = access.read(f"LAB_INSIGHTS_{tenant.upper()}.CURATED.PATIENT", "Table", "MRN")
    with (
        connect(loaded.snowflake, Aws(endpoint_url=aws_endpoint)) as session,
        access.history(session, [("q1", f"{day(1)} 10:00:00", "ADA", [table])]),
    ):
        [found] = json.loads(cli("audit", "reads", "--snowflake", "--tenant", tenant, *span, "--json", code=0).stdout)
        shown = cli("audit", "reads", "--snowflake", *span, code=0).output
        page = cli("audit", "evidence", "--snowflake", *span).stdout
    assert (found["tenant"], found["layer"], found["table"], found["identity"], found["reads"]) == (tenant, "curated", "patient", "ADA", 1)
    assert f"{tenant} curated.patient in Snowflake: 1 reads by ADA on {day(1)}" in shown
    assert f"## Reads of the client databases\n\n- {tenant}: ADA, 1 reads of 1 tables\n" in page


def test_what_nobody_classified_is_phi_and_what_is_joined_is_as_strict_as_its_strictest() -> None:
    assert phi_class("curated", "patient", "mrn") == phi_class("raw", "lis.patient", "MRN") == "direct"
    assert phi_class("curated", "crm.udt_x", "anything") == phi_class("raw", "lis.patient", "new_one") == "unclassified"
    assert phi_class("curated", "patient", "is_deleted") == "none"
    # value_raw is read into value_num too, which is clinical
    assert phi_class("raw", "lis.result", "value_raw") == "direct"


def test_a_suspended_tenant_is_shown_as_such_and_comes_back(cli: Cli, lake: Lake, tenant: TenantId) -> None:
    lake_formation = lake.storage.aws.client("lakeformation")

    def granted() -> bool:
        return tenant in json.dumps(lake_formation.list_permissions()["PrincipalResourcePermissions"])

    assert granted()
    with under_a_minute():
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
    with under_a_minute():
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
        left = s3.list_object_versions(Bucket=lake.storage.bucket(layer), Prefix=f"tenant={tenant}/")
        assert not left.get("Versions")
        assert not left.get("DeleteMarkers")
    for table in ("bookmarks", "status", "tenants"):
        items = db.scan(TableName=f"{prefix}-{table}")["Items"]
        assert tenant not in json.dumps([item for item in items if not item.get("pk", {"S": ""})["S"].startswith("@audit#")])
    assert [each for each in recorded(cli, tenant) if each.startswith("DROP ROLE")]
    partitions = aws.client("glue").get_partitions(DatabaseName=glue.database(prefix, "curated"), TableName="crm_note")["Partitions"]
    assert [tenant, str(day(1))] not in [each["Values"] for each in partitions]
    assert [other, str(day(1))] in [each["Values"] for each in partitions]
    assert lake.state.tables("curated", other) == ["crm.note"]
    assert lake.storage.get("reports", page_key(other, day(1)))
    left = [each["Name"] for each in aws.client("glue").get_databases()["DatabaseList"]]
    assert glue.database(prefix, "curated", other) in left
    assert glue.database(prefix, "curated", tenant) not in left
    assert not [each for each in aws.client("iam").list_roles()["Roles"] if tenant in each["RoleName"]]
    assert tenant not in json.dumps(aws.client("lakeformation").list_permissions()["PrincipalResourcePermissions"])

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
