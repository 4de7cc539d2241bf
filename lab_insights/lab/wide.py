"""The wide tables that exist, each with its grain and its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab import identities
from lab_insights.lab.mappings import told_by_messages
from lab_insights.lab.transform import Field, Inputs, Wide

if TYPE_CHECKING:
    import ibis.expr.types as ir


def _account_codes(inputs: Inputs) -> ir.Table:
    """One row per (connection, host code) of an account: orders name only the pair."""
    accounts, codes = inputs.live("account"), identities.records_by_code(inputs.live("record_host_code"), "account")
    named = accounts.select(account_id=accounts.account_id, account_name=accounts.name)
    found = codes.join(named, codes.record_id == named.account_id)
    return found.select("account_id", "account_name", "code_connection", "code")


def _touched_codes(inputs: Inputs) -> ir.Column:
    """Host codes of any version of a row of the crosswalk that changed on the day."""
    packed = inputs.touched("record_host_code", "host_code").as_table()
    return packed.select(code=packed.touched.split("^").unnest()).code


def _people(inputs: Inputs) -> ir.Table:
    """Each patient, where the merges end that it went through, and whether a change of the day concerns it or anyone it is one with."""
    people = identities.survivors(inputs.live("patient"))
    changed = inputs.touched("patient", "patient_id").as_table().union(inputs.touched("patient", "merged_into_patient_id").as_table())
    return people.mutate(touched=people.person.isin(identities.merged_with(people, changed.touched).person)).rename(
        surviving_patient_id="survivor"
    )


def _count_and_last(rows: ir.Table, by: str, instant: str, name: str) -> ir.Table:
    return rows.group_by(by).agg(**{f"{name}_count": rows.count(), f"last_{name}_at": rows[instant].max()}).rename({f"{name}_of": by})


def _account_profile(inputs: Inputs) -> ir.Table:
    accounts, cases = inputs.newest("account"), inputs.live("crm_case")
    orders = inputs.live("lab_order")
    codes = _account_codes(inputs)
    placed = orders.join(codes, [orders.connection_id == codes.code_connection, orders.account_host_code == codes.code])
    by_case = cases.group_by("account_id").agg(
        case_count=cases.count(), open_case_count=(cases.status != "closed").sum(), last_case_at=cases.opened_at.max()
    )
    by_order = _count_and_last(placed, "account_id", "ordered_at", "order")
    rows = accounts.left_join(by_case, accounts.account_id == by_case.account_id).left_join(
        by_order, accounts.account_id == by_order.order_of
    )
    placed_by = inputs.touched("lab_order", "account_host_code")
    touched_accounts = codes.filter(codes.code.isin(placed_by) | codes.code.isin(_touched_codes(inputs))).account_id
    return rows.filter(
        rows.account_id.isin(inputs.touched("account", "account_id"))
        | rows.account_id.isin(inputs.touched("record_host_code", "record_id"))
        | rows.account_id.isin(inputs.touched("crm_case", "account_id"))
        | rows.account_id.isin(touched_accounts)
    ).mutate(
        case_count=rows.case_count.fill_null(0),
        open_case_count=rows.open_case_count.fill_null(0),
        order_count=rows.order_count.fill_null(0),
    )


def _told(rows: ir.Table) -> ir.BooleanValue:
    """Whether a row is what messages tell, and no laboratory system's own."""
    return rows.source_system.isin(sorted(told_by_messages()))


def _patient_profile(inputs: Inputs) -> ir.Table:
    patients, people = inputs.newest("patient", "source_system"), _people(inputs)
    # A number that two patients of a laboratory system have says which of them nobody knows.
    own = patients.filter(~_told(patients) & ~patients.is_deleted)
    known = own.group_by("mrn").agg(n=own.count(), linked_patient_id=own.patient_id.min())
    same = known.filter(known.n == 1).select(same_mrn=known.mrn, linked_patient_id=known.linked_patient_id)
    patients = patients.left_join(same, [patients.mrn == same.same_mrn, _told(patients)]).drop("same_mrn")
    messages, events = inputs.live("message_log"), inputs.live("audit_event")
    by_order = _count_and_last(inputs.live("lab_order"), "patient_id", "ordered_at", "order")
    by_result = _count_and_last(inputs.live("result"), "patient_id", "resulted_at", "result")
    by_message = _count_and_last(messages, "patient_mrn", "received_at", "message")
    seen = events.filter(events.entity_type == "patient")
    by_access = _count_and_last(seen, "entity_id", "occurred_at", "access")
    rows = (
        patients.left_join(by_order, patients.patient_id == by_order.order_of)
        .left_join(by_result, patients.patient_id == by_result.result_of)
        .left_join(by_message, patients.mrn == by_message.message_of)
        .left_join(by_access, patients.patient_id == by_access.access_of)
        .left_join(people, patients.patient_id == people.person)
    )
    counts = {f"{name}_count": rows[f"{name}_count"].fill_null(0) for name in ("order", "result", "message", "access")}
    return rows.filter(
        rows.patient_id.isin(inputs.touched("patient", "patient_id"))
        | rows.touched.fill_null(False)
        | rows.patient_id.isin(inputs.touched("lab_order", "patient_id"))
        | rows.patient_id.isin(inputs.touched("result", "patient_id"))
        | rows.mrn.isin(inputs.touched("message_log", "patient_mrn"))
        | rows.patient_id.isin(inputs.touched("audit_event", "entity_id"))
        | rows.mrn.isin(inputs.touched("patient", "mrn"))
    ).mutate(surviving_patient_id=rows.surviving_patient_id.coalesce(rows.patient_id), **counts)


def _order_links(orders: ir.Table, person: ir.Table) -> ir.Table:
    """Return the orders that messages tell of, each with the same order of a laboratory system: that of its filler number, else of placer number and patient.

    A filler number is the laboratory's own; a placer number is one of many placers', so it counts for the same medical record number alone.
    """
    placed = orders.left_join(person, orders.patient_id == person.person)
    numbers = placed.select("lab_order_id", "filler_number", "placer_number", "mrn", "source_system", "is_deleted")
    told, own = numbers.filter(_told(numbers)), numbers.filter(~_told(numbers) & ~numbers.is_deleted)
    by_filler = own.group_by(own_filler=own.filler_number).agg(filled=own.lab_order_id.min(), filled_n=own.count())
    by_placer = own.group_by(own_placer=own.placer_number, own_mrn=own.mrn).agg(placed=own.lab_order_id.min(), placed_n=own.count())
    rows = told.left_join(by_filler, [told.filler_number == by_filler.own_filler, by_filler.filled_n == 1])
    rows = rows.left_join(by_placer, [rows.placer_number == by_placer.own_placer, rows.mrn == by_placer.own_mrn, by_placer.placed_n == 1])
    return rows.select(told_order=rows.lab_order_id, linked_order_id=rows.filled.coalesce(rows.placed))


def _order_detail(inputs: Inputs) -> ir.Table:
    orders, patients, results = inputs.newest("lab_order", "source_system"), inputs.live("patient"), inputs.live("result")
    codes, people = _account_codes(inputs), _people(inputs).rename(merged_person="person")
    person = patients.select(person=patients.patient_id, mrn=patients.mrn, sex=patients.sex, birth_date=patients.birth_date)
    links = _order_links(orders, person)
    reported = results.filter(results.status_norm.isin(["final", "corrected"]))
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
        | rows.filler_number.isin(inputs.touched("lab_order", "filler_number"))
        | rows.placer_number.isin(inputs.touched("lab_order", "placer_number"))
        | rows.mrn.isin(inputs.touched("patient", "mrn"))
        | rows.lab_order_id.isin(inputs.touched("result", "lab_order_id"))
        | rows.patient_id.isin(inputs.touched("patient", "patient_id"))
        | rows.touched.fill_null(False)
        | rows.account_id.isin(inputs.touched("account", "account_id"))
        | rows.account_host_code.isin(_touched_codes(inputs))
    ).mutate(result_count=rows.result_count.fill_null(0))


def _result_detail(inputs: Inputs) -> ir.Table:
    results, orders, patients = inputs.newest("result"), inputs.live("lab_order"), inputs.live("patient")
    notifications, codes = inputs.live("critical_notification"), _account_codes(inputs)
    people = _people(inputs).rename(merged_person="person")
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
    return rows.filter(
        rows.result_id.isin(inputs.touched("result", "result_id"))
        | rows.lab_order_id.isin(inputs.touched("lab_order", "lab_order_id"))
        | rows.patient_id.isin(inputs.touched("patient", "patient_id"))
        | rows.touched.fill_null(False)
        | rows.result_id.isin(inputs.touched("critical_notification", "result_id"))
        | rows.account_id.isin(inputs.touched("account", "account_id"))
        | rows.account_host_code.isin(_touched_codes(inputs))
    )


_PERSON = (
    Field("mrn", "string", "Medical record number of the patient."),
    Field("sex", "string", "Administrative sex of the patient."),
    Field("birth_date", "date", "Date of birth of the patient."),
)
_SURVIVOR = Field("surviving_patient_id", "string", "Where that patient lives on: the end of its merges, or itself.")
_ACCOUNT = (
    Field("account_id", "string", "Ordering account, found by (connection, host code)."),
    Field("account_name", "string", "Current name of the ordering account."),
)

WIDE_TABLES: tuple[Wide, ...] = (
    Wide(
        "account_profile",
        "crm",
        "One account with its cases and orders counted, and when the last of each was.",
        ("account_id",),
        ("account", "crm_case", "lab_order", "record_host_code"),
        (
            Field("account_id", "string", "Identifier of the account in the CRM."),
            Field("name", "string", "Current name of the organisation."),
            Field("parent_account_id", "string", "Account of the parent organisation."),
            Field("city", "string", "City of the organisation."),
            Field("state", "string", "State of the organisation."),
            Field("status", "string", "active, inactive or prospect."),
            Field("case_count", "int64", "Cases of the account."),
            Field("open_case_count", "int64", "Cases of the account that are not closed."),
            Field("last_case_at", "timestamp", "When the newest case was opened, UTC."),
            Field("order_count", "int64", "Orders of the account."),
            Field("last_order_at", "timestamp", "When the newest order was placed, UTC."),
        ),
        _account_profile,
    ),
    Wide(
        "patient_profile",
        "laboratory",
        "One patient over all sources: orders, results, messages, and who looked at the record.",
        ("patient_id",),
        ("patient", "lab_order", "result", "message_log", "audit_event"),
        (
            Field("patient_id", "string", "Identifier of the patient in the LIS."),
            *_PERSON,
            _SURVIVOR,
            Field(
                "linked_patient_id",
                "string",
                "Of a patient whom messages tell of: the one of a laboratory system with the same medical record number.",
            ),
            *(
                Field(f"{name}_count", "int64", f"{text} of the patient.")
                for name, text in (
                    ("order", "Orders"),
                    ("result", "Results"),
                    ("message", "Messages"),
                    ("access", "Recorded accesses to the record"),
                )
            ),
            *(
                Field(f"last_{name}_at", "timestamp", f"When the newest {name} was, UTC.")
                for name in ("order", "result", "message", "access")
            ),
        ),
        _patient_profile,
    ),
    Wide(
        "order_detail",
        "laboratory",
        "One order with its patient, its ordering account and how far its results are.",
        ("lab_order_id",),
        ("lab_order", "patient", "account", "result", "record_host_code"),
        (
            Field("lab_order_id", "string", "Identifier of the order in the LIS."),
            Field("patient_id", "string", "Patient that the order is for, as placed."),
            _SURVIVOR,
            *_PERSON,
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
            Field("result_count", "int64", "Final and corrected results of the order."),
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
            _SURVIVOR,
            *_PERSON,
            *_ACCOUNT,
            Field("priority", "string", "Priority of the order."),
            Field("component_code", "string", "Local code of the analyte."),
            Field("loinc", "string", "LOINC code as mapped by the source."),
            Field("value_raw", "string", "Value as reported."),
            Field("value_num", "decimal(38,9)", "The value as a number, where it is one."),
            Field("unit_raw", "string", "Unit as reported."),
            Field("flag_norm", "string", "high, low, critical_high, critical_low or abnormal."),
            Field("status_norm", "string", "preliminary, final, corrected or cancelled."),
            Field("ordered_at", "timestamp", "When the order was placed, UTC."),
            Field("resulted_at", "timestamp", "When the value was reported first, UTC."),
            Field("verified_at", "timestamp", "When the value was verified, UTC."),
            Field("notified_at", "timestamp", "When a critical value was first told, UTC."),
        ),
        _result_detail,
    ),
)
