"""The wide tables that exist, each with its grain and its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab.components import RESULT_COMPONENT_LONG
from lab_insights.lab.fields import UDF_VALUE_LONG
from lab_insights.lab.joins import PERSON, SURVIVOR, account_codes, merged_people, order_links, touched_codes
from lab_insights.lab.profiles import PROFILES
from lab_insights.lab.terminology import NO_RESULT, REPORTED
from lab_insights.lab.transform import Field, Inputs, Wide

if TYPE_CHECKING:
    import ibis.expr.types as ir


def _order_detail(inputs: Inputs) -> ir.Table:
    orders, patients, results = inputs.newest("lab_order", "source_system"), inputs.live("patient"), inputs.live("result")
    codes, people = account_codes(inputs), merged_people(inputs).rename(merged_person="person")
    person = patients.select(person=patients.patient_id, mrn=patients.mrn, sex=patients.sex, birth_date=patients.birth_date)
    links = order_links(inputs)
    reported = results.filter(results.status_norm.isin(REPORTED))
    by_result = (
        reported.group_by("lab_order_id")
        .agg(result_count=reported.count(), last_verified_at=reported.verified_at.max())
        .rename(result_of="lab_order_id")
    )
    rows = (
        orders.left_join(person, orders.patient_id == person.person)
        .left_join(codes, [orders.connection_id == codes.code_connection, orders.account_host_code == codes.code])
        .left_join(by_result, orders.lab_order_id == by_result.result_of)
        .left_join(links, orders.lab_order_id == links.told_order)
        .left_join(people, orders.patient_id == people.merged_person)
    )
    return rows.filter(
        rows.lab_order_id.isin(inputs.touched("lab_order", "lab_order_id"))
        | rows.relinked.fill_null(False)
        | rows.lab_order_id.isin(inputs.touched("result", "lab_order_id"))
        | rows.patient_id.isin(inputs.touched("patient", "patient_id"))
        | rows.touched.fill_null(False)
        | rows.account_id.isin(inputs.touched("account", "account_id"))
        | rows.account_host_code.isin(touched_codes(inputs))
    ).mutate(result_count=rows.result_count.fill_null(0))


def _result_detail(inputs: Inputs) -> ir.Table:
    results, orders, patients = inputs.newest("result"), inputs.live("lab_order"), inputs.live("patient")
    notifications, codes = inputs.live("critical_notification"), account_codes(inputs)
    people = merged_people(inputs).rename(merged_person="person")
    placed = orders.left_join(codes, [orders.connection_id == codes.code_connection, orders.account_host_code == codes.code])
    order = placed.select(
        of_order=placed.lab_order_id,
        account_host_code=placed.account_host_code,
        account_id=placed.account_id,
        account_name=placed.account_name,
        priority=placed.priority,
        ordered_at=placed.ordered_at,
    )
    person = patients.select(person=patients.patient_id, mrn=patients.mrn, sex=patients.sex, birth_date=patients.birth_date)
    told = notifications.group_by("result_id").agg(notified_at=notifications.notified_at.min()).rename(told_of="result_id")
    rows = (
        results.left_join(order, results.lab_order_id == order.of_order)
        .left_join(person, results.patient_id == person.person)
        .left_join(told, results.result_id == told.told_of)
        .left_join(people, results.patient_id == people.merged_person)
    )
    # A row that says it is no result takes back what an earlier version of it said.
    gone = rows.is_deleted | rows.status_norm.isin(NO_RESULT).fill_null(False)
    return rows.filter(
        rows.result_id.isin(inputs.touched("result", "result_id"))
        | rows.lab_order_id.isin(inputs.touched("lab_order", "lab_order_id"))
        | rows.patient_id.isin(inputs.touched("patient", "patient_id"))
        | rows.touched.fill_null(False)
        | rows.result_id.isin(inputs.touched("critical_notification", "result_id"))
        | rows.account_id.isin(inputs.touched("account", "account_id"))
        | rows.account_host_code.isin(touched_codes(inputs))
    ).mutate(is_deleted=gone)


_ACCOUNT = (
    Field("account_id", "string", "Ordering account, found by (connection, host code)."),
    Field("account_name", "string", "Current name of the ordering account."),
)

WIDE_TABLES: tuple[Wide, ...] = (
    *PROFILES,
    UDF_VALUE_LONG,
    RESULT_COMPONENT_LONG,
    Wide(
        "order_detail",
        "laboratory",
        "One order with its patient, its ordering account and how far its results are.",
        ("lab_order_id",),
        ("lab_order", "patient", "account", "result", "record_host_code"),
        (
            Field("lab_order_id", "string", "Identifier of the order in the LIS."),
            Field("patient_id", "string", "Patient that the order is for, as placed."),
            SURVIVOR,
            *PERSON,
            *_ACCOUNT,
            Field("provider_id", "string", "Ordering provider."),
            Field("placer_number", "string", "Order number of the placer."),
            Field("filler_number", "string", "Order number of the laboratory."),
            Field(
                "linked_order_id",
                "string",
                "Of an order that messages tell of: the same order of a laboratory system, which alone is counted.",
            ),
            Field("priority", "string", "stat, asap, routine, preoperative or timed."),
            Field("status", "string", "Status of the order."),
            Field("ordered_at", "timestamp", "When the order was placed, UTC."),
            Field("result_count", "int64", "Results of the order that were released: final, corrected, amended or appended."),
            Field("last_verified_at", "timestamp", "When the newest of them was verified, UTC."),
        ),
        _order_detail,
    ),
    Wide(
        "result_detail",
        "laboratory",
        "One result with its order, patient, ordering account and the first notification of a critical value.",
        ("result_id",),
        ("result", "lab_order", "patient", "account", "critical_notification", "record_host_code"),
        (
            Field("result_id", "string", "Identifier of the result in the LIS."),
            Field("lab_order_id", "string", "Order that the result belongs to."),
            Field("order_item_id", "string", "Ordered test that the result answers."),
            Field("patient_id", "string", "Patient the specimen was taken from, as reported."),
            SURVIVOR,
            *PERSON,
            *_ACCOUNT,
            Field("priority", "string", "Priority of the order."),
            Field("component_code", "string", "Local code of the analyte."),
            Field("loinc", "string", "LOINC code as mapped by the source."),
            Field("value_raw", "string", "Value as reported."),
            Field("value_num", "decimal(38,9)", "The value as a number, where it is one."),
            Field("unit_raw", "string", "Unit as reported."),
            Field("flag_norm", "string", "high, low, critical_high, critical_low, abnormal, critical_abnormal …"),
            Field(
                "status_norm",
                "string",
                "final, corrected, amended, preliminary, registered, cancelled …; rows of order_detail and not_asked are not here.",
            ),
            Field("ordered_at", "timestamp", "When the order was placed, UTC."),
            Field("resulted_at", "timestamp", "When the value was reported first, UTC."),
            Field("verified_at", "timestamp", "When the value was verified, UTC."),
            Field("notified_at", "timestamp", "When a critical value was first told, UTC."),
        ),
        _result_detail,
    ),
)
