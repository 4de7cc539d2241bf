"""What the command line says of tenants' schemas: what differs in their databases, and every version that a source had."""

from __future__ import annotations

import json
import uuid

from lab_insights.extract.catalog import Column, SourceTable
from lab_insights.extract.databases import Placement
from lab_insights.governance import history
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.commands.shapes import shapes, shown
from lab_insights_tests.commands.tenants import cli, lake, put, tenant
from lab_insights_tests.lake.world import instant

__all__ = ["cli", "lake", "tenant"]


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
