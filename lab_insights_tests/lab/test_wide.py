"""Wide tables: a day re-emits every row that its changes touch, as of the day's end, and no other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lab import pipeline
from lab_insights.lab.pipeline import MissingInput
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import Lab, at
from lab_insights_tests.lake.world import Rows, day, fresh_tenant, put

CODES = {"connection_id": "lis", "account_host_code": "A1"}


def patient(key: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "mrn": f"m{key}", "sex": "F", "birth_date": "1980-05-06", **more}


def code(record: str, connection: str, host: str, **more: Any) -> dict[str, Any]:
    return {"record_type": "account", "connection_id": connection, "host_code": host, "record_id": record, **more}


def order(key: str, of: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "patient_id": of, "ordered_at": at(1), "priority": "S", **CODES, **more}


def result(key: str, of: str, by: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "lab_order_id": of, "patient_id": by, "status_raw": "F", "verified_at": at(1, 9), "resulted_at": at(1, 9), **more}


@pytest.fixture(scope="session")
def lived(lake: Lake) -> Lab:
    """Three days of one tenant. Day 1: two patients, orders and results. Day 2: what the tests are about. Day 3: nothing."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1"), patient("p2"), patient("p3")],
        account=[
            {"id": "a1", "name": "North", "connection_id": "lis^fin", "host_code": "A1^F1"},
            {"id": "a2", "name": "South", "connection_id": "lis", "host_code": "A2"},
        ],
        provider=[{"id": "d1", "is_provider": "1"}],
        record_host_code=[code("a1", "lis^fin", "A1^F1"), code("a2", "lis", "A2")],
        lab_order=[order("o1", "p1"), order("o2", "p2", account_host_code="A2"), order("o3", "p3", account_host_code="unknown")],
        result=[
            result("r1", "o1", "p1", order_item_id="i1", value_raw="1,2"),
            result("r2", "o2", "p2"),
            result("r3", "o2", "p2", status_raw="P"),
        ],
        order_item=[{"id": "i1", "lab_order_id": "o1", "test_code": "UA"}],
        test_component=[{"test_code": "UA", "component_code": code, "sequence": "1"} for code in ("PH", "SG")],
        crm_case=[{"id": "k1", "account_id": "a1", "status": "open", "opened_at": at(1)}],
        udf_value=[{"id_c": "a1", "*_c": "of a side table"}],
    )
    lab.modelled(
        2,
        patient=[patient("p1", mrn="m1-corrected")],
        lab_order=[order("o9", "p3", ordered_at=at(1, 1))],
        result=[result("r3", "o2", "p2", status_raw="C"), result("r2", "o1", "p1")],
        critical_notification=[{"notification_id": "n1", "result_id": "r1", "notified_at": at(2, 7)}],
        crm_case=[{"id": "k1", "account_id": "a2", "status": "closed", "opened_at": at(1)}],
    )
    lab.modelled(3)
    return lab


def emitted(lab: Lab, table: str, number: int, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in columns) for row in lab.transform(table, number)]


def test_the_first_day_emits_every_row_with_what_belongs_to_it(lived: Lab) -> None:
    columns = ("lab_order_id", "mrn", "sex", "account_id", "account_name", "priority", "result_count", "is_deleted")
    assert emitted(lived, "order_detail", 1, *columns) == [
        ("o1", "mp1", "female", "a1", "North", "stat", 1, False),
        ("o2", "mp2", "female", "a2", "South", "stat", 1, False),
        ("o3", "mp3", "female", None, None, "stat", 0, False),
    ]


def test_a_changed_patient_a_late_order_and_a_moved_result_re_emit_the_orders_that_they_touch(lived: Lab) -> None:
    # o1: its patient changed and it won r2; o2: it lost r2, and r3 became final; o9 is new; o3 is not touched
    assert emitted(lived, "order_detail", 2, "lab_order_id", "mrn", "result_count") == [
        ("o1", "m1-corrected", 2),
        ("o2", "mp2", 1),
        ("o9", "mp3", 0),
    ]


def test_results_follow_their_patients_orders_and_notifications(lived: Lab) -> None:
    assert emitted(lived, "result_detail", 2, "result_id", "lab_order_id", "mrn", "status_norm", "notified_at") == [
        ("r1", "o1", "m1-corrected", "final", at(2, 7)),
        ("r2", "o1", "m1-corrected", "final", None),
        ("r3", "o2", "mp2", "corrected", None),
    ]


def test_a_patients_profile_counts_what_is_his_and_follows_what_moved(lived: Lab) -> None:
    assert emitted(lived, "patient_profile", 1, "patient_id", "order_count", "result_count") == [("p1", 1, 1), ("p2", 1, 2), ("p3", 1, 0)]
    assert emitted(lived, "patient_profile", 2, "patient_id", "mrn", "order_count", "result_count") == [
        ("p1", "m1-corrected", 1, 2),
        ("p2", "mp2", 1, 1),
        ("p3", "mp3", 2, 0),
    ]


def test_rows_that_say_they_are_no_result_are_none_and_take_back_what_they_were(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    results = [result("r1", "o1", "p1"), result("r2", "o1", "p1", status_raw="A"), result("r3", "o1", "p1", status_raw="O")]
    lab.modelled(1, "snapshot", patient=[patient("p1")], lab_order=[order("o1", "p1")], result=results)
    lab.modelled(2, result=[result("r1", "o1", "p1", status_raw="N")])
    assert {row["result_id"]: row["is_deleted"] for row in lab.transform("result_detail", 1)} == {"r1": False, "r2": False, "r3": True}
    assert {row["result_id"]: row["is_deleted"] for row in lab.transform("result_detail", 2)} == {"r1": True}
    assert [lab.transform("order_detail", day)[0]["result_count"] for day in (1, 2)] == [2, 1]


def test_an_accounts_profile_follows_a_case_that_moved_to_another(lived: Lab) -> None:
    assert emitted(lived, "account_profile", 1, "account_id", "case_count", "open_case_count", "order_count") == [
        ("a1", 1, 1, 1),
        ("a2", 0, 0, 1),
    ]
    assert emitted(lived, "account_profile", 2, "account_id", "case_count", "open_case_count", "order_count") == [
        ("a1", 0, 0, 2),
        ("a2", 1, 0, 1),
    ]


@pytest.mark.parametrize("table", [wide.table for wide in WIDE_TABLES])
def test_a_day_without_changes_emits_nothing(lived: Lab, table: str) -> None:
    assert lived.transform(table, 3) == []


@pytest.mark.parametrize("wide", WIDE_TABLES, ids=lambda wide: wide.table)
def test_a_wide_tables_key_is_unique_and_its_rows_say_what_they_are(lived: Lab, wide: Any) -> None:
    rows = lived.transform(wide.table, 1)
    assert len({tuple(row[name] for name in wide.key) for row in rows}) == len(rows)
    assert {(row["tenant_id"], row["as_of"]) for row in rows} == {(lived.tenant, day(1))}
    assert list(rows[0])[: len(wide.fields)] == [field.name for field in wide.fields]


def test_days_transformed_in_any_order_say_the_same(lived: Lab) -> None:
    fresh = Lab(lived.lake, fresh_tenant())
    fresh.modelled(1, "snapshot", patient=[patient("p1")], lab_order=[order("o1", "p1")])
    fresh.modelled(2, patient=[patient("p1", mrn="later")])
    second = emitted(fresh, "order_detail", 2, "lab_order_id", "mrn", "record_hash")
    first = emitted(fresh, "order_detail", 1, "lab_order_id", "mrn", "record_hash")
    assert (first[0][1], second[0][1]) == ("mp1", "later")
    assert emitted(fresh, "order_detail", 2, "lab_order_id", "mrn", "record_hash") == second


def test_what_a_snapshot_no_longer_holds_is_taken_from_the_rows_that_it_touched(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1"), patient("p2")],
        lab_order=[order("o1", "p1"), order("o2", "p2")],
        result=[result("r1", "o1", "p1"), result("r2", "o1", "p1"), result("r3", "o2", "p2")],
    )
    assert emitted(lab, "order_detail", 1, "lab_order_id", "result_count") == [("o1", 2), ("o2", 1)]
    # r2 was deleted at the source, and r3 moved to another order: only a full load shows it
    lab.modelled(2, "snapshot", supersedes=True, result=[result("r1", "o1", "p1"), result("r3", "o1", "p1")])
    assert emitted(lab, "order_detail", 2, "lab_order_id", "result_count", "is_deleted") == [("o1", 2, False), ("o2", 0, False)]
    assert emitted(lab, "result_detail", 2, "result_id", "lab_order_id", "is_deleted") == [
        ("r1", "o1", False),
        ("r2", "o1", True),
        ("r3", "o1", False),
    ]
    assert emitted(lab, "patient_profile", 2, "patient_id", "result_count") == [("p1", 2), ("p2", 0)]
    lab.modelled(3, patient=[patient("p1", mrn="later")])
    assert emitted(lab, "order_detail", 3, "lab_order_id", "result_count") == [("o1", 2)]


def test_a_tombstone_that_curation_gives_takes_the_row_from_what_it_touched(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    lab.modelled(1, "snapshot", patient=[patient("p1")], lab_order=[order("o1", "p1")], result=[result("r1", "o1", "p1")])
    lab.modelled(2)
    partition = Partition("curated", tenant, "result", day(1))
    [alive] = lab.rows(pipeline.landed(lake, partition)[-1])
    dead = {**alive, "is_deleted": True, "source_updated_at": at(2)}
    schema = pipeline.landed(lake, partition)[-1].schema_()
    put(lake, Partition("curated", tenant, "result", day(2)), Rows(pa.Table.from_pylist([dead], schema).to_batches()), supersedes=True)
    assert emitted(lab, "order_detail", 2, "lab_order_id", "result_count") == [("o1", 0)]
    assert emitted(lab, "result_detail", 2, "result_id", "is_deleted") == [("r1", True)]


def test_without_one_of_its_inputs_a_wide_table_is_refused(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    lab.land("lis.patient", 1, [], pa.schema([("id", pa.string()), ("updated_at", pa.timestamp("us"))]))
    lab.curate("lis.patient", 1)
    with pytest.raises(MissingInput, match="curated partition was never materialized") as raised:
        lab.transform("patient_profile", 1)
    assert raised.value.tenant == tenant


def test_a_merge_of_a_merge_reaches_everybody_whom_it_makes_one_and_an_undone_one_gives_them_back(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", merged_into_id="p2"), patient("p2"), patient("p3"), patient("p4")],
        lab_order=[order("o1", "p1"), order("o2", "p2"), order("o3", "p3"), order("o4", "p4")],
    )
    assert emitted(lab, "order_detail", 1, "lab_order_id", "surviving_patient_id") == [
        ("o1", "p2"), ("o2", "p2"), ("o3", "p3"), ("o4", "p4"),
    ]  # fmt: skip
    # p1's own row does not change, and neither does p3's: both are one with p2, which does
    lab.modelled(2, patient=[patient("p2", merged_into_id="p3")])
    assert emitted(lab, "order_detail", 2, "lab_order_id", "surviving_patient_id") == [("o1", "p3"), ("o2", "p3"), ("o3", "p3")]
    assert emitted(lab, "patient_profile", 2, "patient_id", "surviving_patient_id") == [("p1", "p3"), ("p2", "p3"), ("p3", "p3")]
    lab.modelled(3, patient=[patient("p2")])
    assert emitted(lab, "order_detail", 3, "lab_order_id", "surviving_patient_id") == [("o1", "p2"), ("o2", "p2"), ("o3", "p3")]


def test_an_account_is_known_by_its_pair_alone_and_follows_the_crosswalk(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    accounts = [{"id": "a1", "name": "North"}, {"id": "a2", "name": "South"}]
    codes = [code("a1", "lis", "X"), code("a2", "fin^old", "X^Y")]
    orders = [order("o1", "p1", account_host_code="X"), order("o2", "p1", connection_id="fin", account_host_code="X")]
    lab.modelled(1, "snapshot", account=accounts, record_host_code=codes, lab_order=[*orders, order("o3", "p1", account_host_code="Z")])
    columns = ("lab_order_id", "account_id", "account_name")
    assert emitted(lab, "order_detail", 1, *columns) == [("o1", "a1", "North"), ("o2", "a2", "South"), ("o3", None, None)]
    lab.modelled(2, record_host_code=[code("a1", "lis", "Z")], account=[{"id": "a2", "name": "South Bank"}])
    # a name is the account's own, whatever was saved elsewhere; o1 is not touched
    assert emitted(lab, "order_detail", 2, *columns) == [("o2", "a2", "South Bank"), ("o3", "a1", "North")]
