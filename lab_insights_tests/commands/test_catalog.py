"""The catalog of the lake: what it holds of each layer, what is found in it, how each column is classified, and who read the tables."""

from __future__ import annotations

import json

import pytest

from lab_insights.aws import Aws
from lab_insights.governance import glue
from lab_insights.governance.classes import phi_class
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS, Layer
from lab_insights.names import TenantId
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.commands.tenants import cli, lake, put, tenant
from lab_insights_tests.lake.world import day
from lab_insights_tests.warehouse import access

__all__ = ["cli", "lake", "tenant"]


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
