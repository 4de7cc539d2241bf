"""The curated and transformed tables that KPIs read, with the columns that they need of each. A test holds them against the contracts."""

from __future__ import annotations

from lab_insights.lab.kpis.model import Input

_ID, _TEXT, _AT, _FLAG = "VARCHAR", "VARCHAR", "TIMESTAMP_NTZ", "BOOLEAN"
_DRUG = dict.fromkeys(("patient_mrn", "drug_code", "drug_name", "drug_system", "status_raw"), _TEXT)

INPUTS: dict[str, Input] = {
    "account": Input("account", {"account_id": _ID, "name": _TEXT, "status": _TEXT}),
    "patient": Input("patient", {"patient_id": _ID}),
    "lab_order": Input(
        "lab_order",
        {
            "lab_order_id": _ID,
            "patient_id": _ID,
            "provider_id": _ID,
            "encounter_id": _ID,
            "placer_number": _TEXT,
            "priority": _TEXT,
            "status": _TEXT,
            "ordered_at": _AT,
        },
        counted_once=True,
    ),
    "order_detail": Input("order_detail", {"lab_order_id": _ID, "account_id": _ID, "surviving_patient_id": _ID}, layer="transformed"),
    "result": Input(
        "result",
        {
            "result_id": _ID,
            "order_item_id": _ID,
            "lab_order_id": _ID,
            "component_code": _TEXT,
            "loinc": _TEXT,
            "value_raw": _TEXT,
            "value_type": _TEXT,
            "value_num": "NUMBER(38,9)",
            "unit_raw": _TEXT,
            "unit_declared": _TEXT,
            "unit_ucum": _TEXT,
            "flag_raw": _TEXT,
            "flag_norm": _TEXT,
            "is_critical": _FLAG,
            "status_raw": _TEXT,
            "status_norm": _TEXT,
            "performing_lab": _TEXT,
            "resulted_at": _AT,
            "verified_at": _AT,
        },
        counted_once=True,
    ),
    "result_version": Input(
        "result_version",
        dict.fromkeys(("result_id", "value_raw", "unit_raw", "flag_raw", "status_norm"), _TEXT) | {"resulted_at": _AT, "verified_at": _AT},
        optional=True,
    ),
    "critical_notification": Input(
        "critical_notification", {"notification_id": _ID, "result_id": _ID, "notified_at": _AT, "acknowledged_at": _AT}
    ),
    "crm_case": Input(
        "crm_case",
        {
            "case_id": _ID,
            "account_id": _ID,
            "status": _TEXT,
            "root_cause": _TEXT,
            "opened_at": _AT,
            "closed_at": _AT,
            "is_removed": _FLAG,
        },
    ),
    "message_log": Input("message_log", {"message_id": _ID, "received_at": _AT}),
    "message_reject": Input("message_reject", {"message_id": _ID, "reason": _TEXT}),
    "audit_event": Input("audit_event", {"occurred_at": _AT, "user_name": _TEXT, "action": _TEXT, "outcome": _TEXT}),
    "order_item": Input(
        "order_item",
        {"order_item_id": _ID, "lab_order_id": _ID, "test_code": _TEXT, "status": _TEXT, "is_add_on": _FLAG, "added_at": _AT},
        counted_once=True,
    ),
    "specimen": Input(
        "specimen",
        {"specimen_id": _ID, "lab_order_id": _ID, "status": _TEXT, "reject_reason": _TEXT, "collected_at": _AT, "received_at": _AT},
        counted_once=True,
    ),
    "encounter": Input(
        "encounter",
        {"encounter_id": _ID, "admitted_at": _AT, "discharged_on_raw": _TEXT, "arrival_raw": _TEXT, "arrival_time": _TEXT},
        own=True,
    ),
    "visit": Input("encounter", {"encounter_id": _ID, "encounter_class": _TEXT, "ward": _TEXT}),
    "reject_reason": Input("reject_reason", {"code": _TEXT, "label": _TEXT}),
    "orderable": Input(
        "orderable",
        {
            "test_code": _TEXT,
            "name": _TEXT,
            "department": _TEXT,
            "tat_target_minutes": "NUMBER(10,0)",
            "stat_target_minutes": "NUMBER(10,0)",
            "min_retest_hours": "NUMBER(10,0)",
            "is_billable": _FLAG,
        },
    ),
    "test_component": Input("test_component", {"test_code": _TEXT, "component_code": _TEXT, "loinc": _TEXT}, optional=True),
    "crm_task": Input(
        "crm_task", {"task_id": _ID, "account_id": _ID, "status": _TEXT, "created_at": _AT, "due_at": _AT, "completed_at": _AT}
    ),
    "case_status_history": Input("case_status_history", {"case_id": _ID, "to_status": _TEXT}, optional=True),
    "opportunity": Input(
        "opportunity",
        {"opportunity_id": _ID, "account_id": _ID, "stage": _TEXT, "amount": "NUMBER(12,2)", "created_at": _AT},
        optional=True,
    ),
    "opportunity_stage_history": Input(
        "opportunity_stage_history", {"opportunity_id": _ID, "to_stage": _TEXT, "changed_at": _AT}, optional=True
    ),
    "personal_profile": Input(
        "patient_profile",
        {"patient_id": _ID, "mrn": _TEXT, "surviving_patient_id": _ID, "linked_patient_id": _ID, "as_of": "DATE"},
        layer="transformed",
    ),
    "personal_result": Input(
        "result",
        dict.fromkeys(("result_id", "order_item_id", "patient_id", "component_code", "loinc", "unit_raw", "unit_ucum"), _TEXT)
        | dict.fromkeys(("value_num", "range_low", "range_high"), "NUMBER(38,9)")
        | {"value_operator": _TEXT, "status_norm": _TEXT, "resulted_at": _AT, "verified_at": _AT},
        counted_once=True,
    ),
    "personal_medication_order": Input("medication_order", {**_DRUG, "ordered_at": _AT, "start_at": _AT, "end_at": _AT}),
    "personal_medication_dispense": Input("medication_dispense", {**_DRUG, "dispensed_at": _AT}),
}
"""Relation → the table that it is read from."""
