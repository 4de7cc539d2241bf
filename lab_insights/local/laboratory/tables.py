"""The tables of the four relational sources, a column as `name:word[:argument][?]` in the words of `schema.py`.

What they have on purpose: tables without a cursor (`accounts_cstm`, `reject_reason`), one without a primary key and
without transactions (`specimen_tracking`), with a nullable cursor (`campaign`), composite keys, latin1 text, zero dates
(`encounter.discharged_on`, MySQL only), decimals of 38 digits, flags that hold 2, times over 24 hours, JSON and blobs.
"""

from __future__ import annotations

from lab_insights.local.laboratory.schema import Table, columns
from lab_insights.local.laboratory.tenancy import Relational

SLOTS = " ".join(
    f"{kind}_{number}:{word}?"
    for kind, word in (("text", "text:255"), ("numeric", "decimal:18,6"), ("date", "date"))
    for number in range(1, 11)
)
ACTIVITY = "account_id:big account_name:text:160?"  # the name as it was when the activity was saved last


def _table(
    name: str,
    source: Relational,
    spec: str,
    key: tuple[str, ...] = ("id",),
    indexes: tuple[str, ...] = ("updated_at",),
    transactional: bool = True,
) -> Table:
    return Table(name, source, columns(spec), key, indexes, transactional)


CRM = (
    _table(
        "account",
        "crm",
        "id:big name:text:160 parent_id:big? host_code:text:120 connection_id:text:120 city:text:80? state:text:2? "
        "postal_code:text:10? phone:text:20? status:enum:active,inactive,prospect created_at:stamp updated_at:stamp",
    ),
    _table(
        "accounts_cstm",
        "crm",
        "id_c:big lab_director_c:text:120? is_vip_c:flag? contract_discount_c:decimal:5,2? courier_cutoff_c:time? "
        "turnaround_allowance_c:span? portal_url_c:text:255?",
        key=("id_c",),
    ),
    _table(
        "record_host_code",
        "crm",
        "record_type:enum:account,contact,panel connection_id:text:60 host_code:text:60 record_id:big updated_at:stamp",
        key=("record_type", "connection_id", "host_code"),
    ),
    _table(
        "account_access_node",
        "crm",
        "account_id:big node_code:text:40 node_path:text:160 is_primary:flag updated_at:stamp",
        key=("account_id", "node_code"),
    ),
    _table(
        "contact",
        "crm",
        "id:big account_id:big npi:text:10? given_name:latin1:80 family_name:latin1:80 credential:text:20? "
        f"specialty:text:60? email:text:120? phone:text:20? is_provider:flag {SLOTS} created_at:stamp "
        "updated_at:stamp",
    ),
    _table(
        "provider_account",
        "crm",
        "contact_id:big account_id:big role:enum:ordering,attending,director is_primary:flag since:date? updated_at:stamp",
        key=("contact_id", "account_id"),
    ),
    _table(
        "crm_user",
        "crm",
        "id:int user_name:text:60 full_name:text:120 email:text:120 team:text:60? is_active:flag updated_at:stamp",
    ),
    _table(
        "panel",
        "crm",
        "id:int code:text:20 name:text:120 "
        "department:enum:chemistry,hematology,immunology,urinalysis,microbiology,pathology specimen_type:text:20 "
        "tat_target_minutes:int? stat_target_minutes:int? min_retest_hours:int? price:decimal:10,2? "
        "is_billable:flag updated_at:stamp",
    ),
    _table(
        "crm_case",
        "crm",
        f"id:big {ACTIVITY} patient_mrn:text:30? provider_id:big? assigned_user_id:int? subject:text:200 body:long? "
        "status:enum:open,in_progress,closed,reopened root_cause:text:60? opened_at:stamp closed_at:stamp? "
        "deleted:flag updated_at:stamp",
    ),
    _table(
        "case_status_history",
        "crm",
        "id:big case_id:big from_status:text:20? to_status:text:20 changed_by_user_id:int? changed_at:stamp updated_at:stamp",
    ),
    _table(
        "task",
        "crm",
        f"id:big {ACTIVITY} assigned_user_id:int? subject:text:200 status:enum:open,done,deferred due_at:instant? "
        f"completed_at:instant? {SLOTS} created_at:instant updated_at:instant",
    ),
    _table(
        "memo",
        "crm",
        f"id:big {ACTIVITY} author_user_id:int memo_type:text:40? body:long? visited_on:date? visited_time:time? "
        "deleted:flag created_at:stamp updated_at:stamp",
    ),
    _table(
        "opportunity",
        "crm",
        f"id:big {ACTIVITY} name:text:160 stage:text:40 amount:decimal:12,2? probability:text:10? close_on:date? "
        "created_at:stamp updated_at:stamp",
    ),
    _table(
        "opportunity_stage_history",
        "crm",
        "id:big opportunity_id:big from_stage:text:40? to_stage:text:40 changed_at:stamp updated_at:stamp",
    ),
    _table(
        "activity_link",
        "crm",
        "activity_type:enum:case,task,memo activity_id:big record_type:enum:account,contact,patient record_id:text:40 updated_at:stamp",
        key=("activity_type", "activity_id", "record_type", "record_id"),
    ),
    _table(
        "campaign",
        "crm",
        "id:big name:text:120 starts_on:date? ends_on:date? settings:json? updated_at:stamp?",
    ),
    _table(
        "attachment",
        "crm",
        "id:big case_id:big file_name:text:120 content:blob? updated_at:stamp",
    ),
    _table(
        "udf_definition",
        "crm",
        "id:int record_type:text:30 slot:text:30 label:text:120 udf_type:text:20 picklist:text:255? updated_at:stamp",
    ),
)

LIS = (
    _table(
        "patient",
        "lis",
        "id:big mrn:text:30 family_name:text:80? given_name:text:80? birth_date:date? sex:text:1? "
        "postal_code:text:10? phone:text:20? merged_into_id:big? updated_at:stamp",
    ),
    _table(
        "patient_identifier",
        "lis",
        "authority:text:40 identifier_type:text:10 identifier:text:40 patient_id:big updated_at:stamp",
        key=("authority", "identifier_type", "identifier"),
    ),
    _table(
        "encounter",
        "lis",
        "id:big patient_id:big visit_number:text:30 class:enum:inpatient,outpatient,emergency ward:text:40? "
        "admitted_at:stamp? discharged_on:zerodate? arrival_text:text:30? updated_at:stamp",
    ),
    _table(
        "test_component",
        "lis",
        "test_code:text:20 component_code:text:20 sequence:int name:text:120 loinc:text:10? unit:text:20? "
        "range_low:decimal:18,6? range_high:decimal:18,6? updated_at:stamp",
        key=("test_code", "component_code"),
        indexes=(),
    ),
    _table(
        "reject_reason",
        "lis",
        "code:text:10 label:text:80",
        key=("code",),
    ),
    _table(
        "lab_order",
        "lis",
        "id:big patient_id:big encounter_id:big? connection_id:text:60 account_host_code:text:60 provider_id:big? "
        "placer_number:text:30 filler_number:text:30 accession:text:30 priority:text:1 "
        "status:enum:ordered,in_process,completed,cancelled ordered_at:stamp updated_at:stamp",
        indexes=("updated_at", "patient_id"),
    ),
    _table(
        "order_item",
        "lis",
        "id:big lab_order_id:big test_code:text:20 status:enum:ordered,completed,cancelled is_add_on:flag "
        "added_at:stamp completed_at:stamp? updated_at:stamp",
    ),
    _table(
        "specimen",
        "lis",
        "id:big lab_order_id:big specimen_number:text:30 specimen_type:text:20 "
        "status:enum:collected,received,rejected reject_reason:text:10? collected_at:stamp? received_at:stamp? "
        "volume_ml:decimal:6,2? updated_at:instant",
    ),
    _table(
        "result",
        "lis",
        "id:big order_item_id:big lab_order_id:big patient_id:big component_code:text:20 loinc:text:10? "
        "value_raw:text:255? value_type:text:2? unit_raw:text:20? range_raw:text:40? flag_raw:text:10? "
        "status_raw:text:1 performing_lab:text:60? analysed_at:stamp? resulted_at:stamp? verified_at:stamp? "
        "updated_at:stamp",
        indexes=("updated_at", "order_item_id"),
    ),
    _table(
        "specimen_tracking",
        "lis",
        "specimen_number:text:30 location:text:60 scanned_text:text:30? updated_at:stamp",
        key=(),
        transactional=False,
    ),
    _table(
        "analyzer_reading",
        "lis",
        "specimen_id:big component_code:text:20 run_number:int reading:decimal:38,12 signal:double? frame:blob? updated_at:stamp",
        key=("specimen_id", "component_code", "run_number"),
        indexes=(),
    ),
)

AUDIT = (
    _table(
        "audit_event",
        "audit",
        "id:big occurred_at:stamp user_name:text:60 action:text:20 entity_type:text:30 entity_id:text:40? "
        "outcome:text:10 client_address:inet? details:json? updated_at:stamp",
    ),
)

MESSAGES = (
    _table(
        "message",
        "messages",
        "id:big format:text:5 message_type:text:40 control_id:text:40 patient_mrn:text:30? placer_number:text:30? "
        "received_at:instant updated_at:instant body:long",
    ),
)
