"""The tables of the lake that KPIs read, by the columns that they need, and rows of them that become batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lab_insights.lake.manifest import Manifest
from lab_insights_tests.warehouse.lake import TestLake

ZONE = "America/New_York"
TRANSFORMED = {"order_detail", "patient_profile"}
Row = dict[str, Any]

_TYPES = {"at": pa.timestamp("us"), "day": pa.date32(), "flag": pa.bool_(), "whole": pa.int64(), "value": pa.decimal128(38, 9)}
_TYPES |= {"money": pa.decimal128(12, 2)}


def _schema(texts: str, **others: str) -> pa.Schema:
    """A table of text columns, and of others by type; its key is the first."""
    fields = [(name, pa.string()) for name in texts.split()]
    return pa.schema(fields + [(name, _TYPES[kind]) for kind, names in others.items() for name in names.split()])


SCHEMAS: dict[str, pa.Schema] = {
    "lab_order": _schema("lab_order_id patient_id provider_id encounter_id placer_number priority status", at="ordered_at"),
    "order_detail": _schema("lab_order_id account_id surviving_patient_id linked_order_id", day="as_of"),
    "patient_profile": _schema("patient_id mrn surviving_patient_id linked_patient_id", day="as_of"),
    "medication_order": _schema(
        "medication_order_id patient_mrn drug_code drug_name drug_system status_raw", at="ordered_at start_at end_at"
    ),
    "medication_dispense": _schema("medication_dispense_id patient_mrn drug_code drug_name drug_system status_raw", at="dispensed_at"),
    "patient": _schema("patient_id merged_into_patient_id"),
    "result": _schema(
        "result_id order_item_id lab_order_id patient_id component_code loinc value_raw value_type value_operator unit_raw unit_declared unit_ucum flag_raw "
        "flag_norm status_raw status_norm performing_lab",
        value="value_num range_low range_high",
        flag="is_critical",
        at="resulted_at verified_at",
    ),
    "result_version": _schema(
        "report_id version_id result_id value_raw unit_raw flag_raw status_norm", flag="is_lower_bound", at="resulted_at verified_at"
    ),
    "critical_notification": _schema("notification_id result_id", at="notified_at acknowledged_at"),
    "crm_case": _schema("case_id account_id status root_cause", at="opened_at closed_at", flag="is_removed"),
    "case_status_history": _schema("case_status_history_id case_id to_status"),
    "opportunity": _schema("opportunity_id account_id stage", money="amount", at="created_at"),
    "opportunity_stage_history": _schema("opportunity_stage_history_id opportunity_id to_stage", at="changed_at"),
    "order_item": _schema("order_item_id lab_order_id test_code status", flag="is_add_on", at="added_at"),
    "encounter": _schema("encounter_id encounter_class ward source_system discharged_on_raw arrival_raw arrival_time", at="admitted_at"),
    "specimen": _schema("specimen_id lab_order_id status reject_reason", at="collected_at received_at"),
    "reject_reason": _schema("code label"),
    "orderable": _schema(
        "orderable_id test_code name department", whole="tat_target_minutes stat_target_minutes min_retest_hours", flag="is_billable"
    ),
    "test_component": _schema("test_component_id test_code component_code loinc"),
    "crm_task": _schema("task_id account_id status", at="created_at due_at completed_at"),
    "audit_event": _schema("audit_event_id user_name action outcome", at="occurred_at"),
    "message_log": _schema("message_id", at="received_at"),
    "message_reject": _schema("message_id reason"),
}


@dataclass
class Tables:
    """Rows by lake table."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})

    def add(self, table: str, **row: Any) -> None:
        self.rows[table].append(row)

    def write(self, lake: TestLake, day: int) -> list[Manifest]:
        """Commit every table that has rows as a batch of a day."""
        return [
            lake.batch(
                table,
                day,
                rows,
                SCHEMAS[table],
                key=(SCHEMAS[table].names[0],),
                layer="transformed" if table in TRANSFORMED else "curated",
            )
            for table, rows in self.rows.items()
            if rows
        ]
