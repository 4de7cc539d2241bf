"""Which partitions a changed contract, mapping or code makes stale, in both derived layers, and what makes them again."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lab_insights.config import Source
from lab_insights.lab import contracts, curation, pipeline
from lab_insights.lab.stale import Rectangle, Stale, rectangles, stale
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer, Partition
from lab_insights.names import TenantId
from lab_insights_tests.lab.test_wide import order, patient
from lab_insights_tests.lab.world import RAW, Lab
from lab_insights_tests.lake.world import day

SOURCES = {
    name: Source.model_validate({"engine": "mysql", "url": "env:NONE", "tenancy": {"schema": {"schema": "x"}}})
    for name in ("crm", "lis", "audit", "messages")
} | {
    "notifications": Source.model_validate(
        {"engine": "dynamodb", "tenancy": {"discriminator": {"column": "tenant_id", "value": "1"}}, "tables": ["critical_notification"]}
    )
}


def listed(lab: Lab) -> list[tuple[str, str, date]]:
    return [(each.partition.layer, each.partition.table, each.partition.day) for each in stale(lab.lake, lab.tenant, SOURCES)]


def test_a_changed_contract_makes_its_days_stale_and_the_wide_ones_that_read_it_until_they_are_made_again(
    lake: Lake, tenant: TenantId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(lake, tenant)
    lab.modelled(1, "snapshot", patient=[patient("p1")], lab_order=[order("o1", "p1")])
    lab.modelled(2, patient=[patient("p1", mrn="later")])
    tables = ("account_profile", "order_detail", "patient_profile")
    for number in (1, 2):
        for table in ("account", "lab_order", "result"):  # messages, which feed them too, were landed since
            lab.curate(RAW[table], number)
        for table in tables:
            lab.transform(table, number)
    assert listed(lab) == []
    shutil.copytree(contracts.DIRECTORY, tmp_path / "files")
    changed = tmp_path / "files" / "patient.yaml"
    changed.write_text(changed.read_text().replace("Telephone number.", "Telephone number, as dialled."))
    monkeypatch.setattr(contracts, "DIRECTORY", tmp_path / "files")
    found = stale(lake, tenant, SOURCES)
    assert listed(lab) == [
        *(("curated", "patient", day(number)) for number in (1, 2)),
        *(("transformed", table, day(number)) for table in tables for number in (1, 2)),
    ]
    days = (day(1), day(2))
    assert rectangles(found) == [
        Rectangle("curated", ("curated/patient",), (tenant,), days),
        Rectangle("transformed", tuple(f"transformed/{table}" for table in tables), (tenant,), days),
    ]
    for number in (1, 2):
        pipeline.curate_table(lake, tenant, RAW["patient"], day(number), contracts.contracts()["patient"], "test")
        for table in tables:
            lab.transform(table, number)
    assert listed(lab) == []


def test_what_reads_a_stale_partition_is_stale_as_well_and_tables_that_no_contract_describes_are_one_step(
    lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(lake, tenant)
    lab.modelled(1, "snapshot", patient=[patient("p1")])
    lab.land("crm.udt_visit", 1, [{"id": "1"}], pa.schema([("id", pa.string())]), cursor=None)
    lab.curate("crm.udt_visit", 1)
    pipeline.unpivot_table(lake, tenant, "crm.udt_visit", day(1), "test")
    lab.transform("order_detail", 1)
    monkeypatch.setattr("lab_insights.lab.curate.CODE_VERSION", "next")
    found = stale(lake, tenant, SOURCES)
    assert {("curated", "crm.udt_visit"), ("transformed", "crm.udt_visit_long"), ("transformed", "order_detail")} <= {
        (each.partition.layer, each.partition.table) for each in found
    }
    assert {"curated/user_defined", "transformed/user_defined", "transformed/order_detail"} <= {each.step for each in found}
    assert stale(lake, tenant, SOURCES, since=day(2)) == []
    assert stale(lake, tenant, {}, since=day(1)) == [each for each in found if each.step.endswith("/user_defined")], "what is not served"


def test_the_days_that_a_table_had_before_its_contract_are_stale(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    schema = pa.schema([("id", pa.string()), ("updated_at", pa.timestamp("us"))])
    for number in (1, 2):
        lab.land("lis.patient", number, [], schema)
        pipeline.curate_table(lake, tenant, "lis.patient", day(number), None, "test")
    lab.curate("lis.patient", 2)
    assert ("curated", "patient", day(1)) in listed(lab)
    assert ("curated", "patient", day(2)) not in listed(lab)
    lab.curate("lis.patient", 1)
    assert listed(lab) == []


def test_the_version_of_a_day_is_that_of_the_sources_that_landed_on_it() -> None:
    patients = contracts.contracts()["patient"]
    both = curation.version_of_day(patients, {"lis.patient", "messages.message"})
    assert both.split("+")[0] == curation.version_of_day(patients, {"lis.patient"})
    assert curation.version_of_day(patients, {"messages.message"}) in both
    assert curation.version_of_day(patients, set()) == ""


def test_days_and_tenants_that_need_the_same_are_done_together_and_days_apart_are_not() -> None:
    def one(layer: Layer, tenant: str, table: str, number: int) -> Stale:
        return Stale(Partition(layer, TenantId(tenant), table, day(number)), "a", "b")

    found = [one("curated", tenant, "patient", number) for tenant in ("t_a", "t_b") for number in (1, 2, 4)]
    found += [one("transformed", "t_b", "order_detail", 1), one("curated", "t_b", "result", 4)]
    days = (day(1), day(1) + timedelta(days=1))
    assert rectangles(found) == [
        Rectangle("curated", ("curated/patient",), (TenantId("t_a"), TenantId("t_b")), days),
        Rectangle("curated", ("curated/patient",), (TenantId("t_a"),), (day(4),)),
        Rectangle("curated", ("curated/patient", "curated/result"), (TenantId("t_b"),), (day(4),)),
        Rectangle("transformed", ("transformed/order_detail",), (TenantId("t_b"),), (day(1),)),
    ]
