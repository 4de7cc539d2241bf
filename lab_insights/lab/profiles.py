"""The wide tables of those that the laboratory serves: accounts, providers and patients, each with all that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab import identities, pairs
from lab_insights.lab.joins import PERSON, SURVIVOR, account_codes, is_told, merged_people, same_code, same_number, touched_codes
from lab_insights.lab.transform import Field, Inputs, Wide

if TYPE_CHECKING:
    import ibis.expr.types as ir


def _account_profile(inputs: Inputs) -> ir.Table:
    accounts, same = inputs.newest("account", "source_system"), same_code(inputs, "account")
    accounts = accounts.left_join(same, [accounts.host_code == same.same_code, is_told(accounts)])
    accounts = accounts.drop("same_code").rename(linked_account_id="same_record")
    codes, changed = account_codes(inputs), touched_codes(inputs)
    recoded = codes.filter(codes.code.isin(changed)).account_id
    rows, touched = _with_pairs(inputs, "account", accounts)
    ids = _any(touched, inputs.touched("account", "account_id"), inputs.touched("record_host_code", "record_id"), recoded)
    relinked = is_told(rows) & rows.host_code.isin(changed)
    return rows.filter(rows.account_id.isin(ids) | relinked).mutate(open_case_count=rows.open_case_count.fill_null(0))


def _provider_profile(inputs: Inputs) -> ir.Table:
    import ibis

    accounts = inputs.live("account")
    named = accounts.select(of_account=accounts.account_id, account_name=accounts.name)
    providers, same = inputs.newest("provider", "source_system"), same_code(inputs, "contact")
    own = providers.filter(~is_told(providers) & ~providers.is_deleted)
    national = own.group_by(same_npi=own.npi).agg(n=own.count(), same_national=own.provider_id.min())
    national = national.filter(national.n == 1).drop("n")
    # What messages know a provider by follows the source in the identifier.
    code = providers.provider_id.substr(providers.source_system.length() + 1)
    providers = providers.mutate(code=is_told(providers).ifelse(code, ibis.null("string")))
    providers = providers.left_join(national, [providers.npi == national.same_npi, is_told(providers)])
    providers = providers.left_join(same, providers.code == same.same_code)
    providers = providers.mutate(linked_provider_id=providers.same_national.coalesce(providers.same_record))
    providers = providers.drop("same_npi", "same_national", "same_code", "same_record")
    ids, numbers, codes = inputs.touched("provider", "provider_id"), inputs.touched("provider", "npi"), touched_codes(inputs)
    # Whom the code of such a one names gains or loses what it has.
    retold = providers.filter(providers.provider_id.isin(ids) | providers.npi.isin(numbers)).code
    contacts = identities.records_by_code(inputs.live("record_host_code"), "contact")
    recoded = contacts.filter(contacts.code.isin(_any(codes, retold))).record_id
    rows, touched = _with_pairs(inputs, "provider", providers)
    rows = rows.left_join(named, rows.account_id == named.of_account)
    ids = _any(touched, ids, inputs.touched("record_host_code", "record_id"), recoded)
    relinked = rows.npi.isin(numbers) | rows.code.isin(codes)
    return rows.filter(rows.provider_id.isin(ids) | rows.account_id.isin(inputs.touched("account", "account_id")) | relinked)


def _patient_profile(inputs: Inputs) -> ir.Table:
    patients, merged = inputs.newest("patient", "source_system"), merged_people(inputs)
    same = same_number(patients)
    patients = patients.left_join(same, [patients.mrn == same.same_mrn, is_told(patients)]).drop("same_mrn")
    rows, touched = _with_pairs(inputs, "patient", patients, merged)
    rows = rows.left_join(merged.drop("number"), rows.patient_id == merged.person)
    told = _told_by_number(inputs, merged)
    rows = rows.left_join(told, rows.patient_id == told.told_of)
    events = inputs.live("audit_event")
    events = events.filter(events.entity_type == "patient")
    by_access = events.group_by(access_of="entity_id").agg(access_count=events.count(), last_access_at=events.occurred_at.max())
    rows = rows.left_join(by_access, rows.patient_id == by_access.access_of)
    ids = _any(touched, inputs.touched("patient", "patient_id"), inputs.touched("audit_event", "entity_id"))
    renumbered = rows.mrn.isin(inputs.touched("patient", "mrn"))
    reached = rows.touched.fill_null(False) | rows.reached.fill_null(False)
    return rows.filter(rows.patient_id.isin(ids) | renumbered | reached).mutate(
        surviving_patient_id=rows.surviving_patient_id.coalesce(rows.patient_id),
        **{f"{name}_count": rows[f"{name}_count"].fill_null(0) for name in (*_TOLD, "access")},
    )


_TOLD = {
    "message": ("message_log", "received_at"),
    "medication": ("medication_order", "ordered_at"),
    "genomic_result": ("genomic_result", "resulted_at"),
}


def _told_by_number(inputs: Inputs, people: ir.Table) -> ir.Table:
    """A row per surviving patient (`told_of`) with what names the number of anybody merged into it, counted, and whether the day `reached` one of these.

    `people` is mentioned once, however many tables there are: Spark computes anew what is mentioned twice.
    """
    import ibis

    rows = [inputs.live(table).select(mrn="patient_mrn", at=instant, what=ibis.literal(name)) for name, (table, instant) in _TOLD.items()]
    told = ibis.union(*rows)
    numbers = _any(*(inputs.touched(table, "patient_mrn") for table, _ in _TOLD.values()))
    # Two records of one number who are one are told of once.
    owners = people.select("number", told_of="surviving_patient_id").distinct()
    its = owners.left_join(told, owners.number == told.mrn)
    its = its.mutate(reached=its.number.isin(numbers))
    counted = {f"{name}_count": its.what.count(where=its.what == name) for name in _TOLD}
    last = {f"last_{name}_at": its["at"].max(where=its.what == name) for name in _TOLD}
    return its.group_by("told_of").agg(reached=its.reached.any(), **counted, **last)


def _with_pairs(inputs: Inputs, owner: pairs.Owner, owners: ir.Table, merged: ir.Table | None = None) -> tuple[ir.Table, ir.Column]:
    """Return the owners with what they have, and the identifiers of those that the day touched through it."""
    had, touched = pairs.had(inputs, owner, owners, merged)
    rows = owners.left_join(had, owners[f"{owner}_id"] == had.owner_id)
    return rows.mutate(**{name: rows[name].fill_null(0) for name in had.columns if name.endswith("_count")}), touched.owner_id


def _any(*values: ir.Column) -> ir.Column:
    import ibis

    return ibis.union(*(each.as_table().select(touched=each.get_name()) for each in values)).touched


_THERE = "what it has is counted there, not here."
PROFILES: tuple[Wide, ...] = (
    Wide(
        "account_profile",
        "crm",
        "One account with its orders, results, cases, tasks and memos: how many, when the last was, and the newest five.",
        ("account_id",),
        ("account", "record_host_code", *pairs.TABLES),
        (
            Field("account_id", "string", "Identifier of the account in the CRM."),
            Field("name", "string", "Current name of the organisation."),
            Field("parent_account_id", "string", "Account of the parent organisation."),
            Field("city", "string", "City of the organisation."),
            Field("state", "string", "State of the organisation."),
            Field("status", "string", "active, inactive or prospect."),
            Field(
                "linked_account_id",
                "string",
                f"Of an organisation that messages tell of: the account of the CRM that alone has its code; {_THERE}",
            ),
            Field("open_case_count", "int64", "Cases that are not closed."),
            *pairs.fields(),
        ),
        _account_profile,
    ),
    Wide(
        "provider_profile",
        "crm",
        "One provider with the orders, results, cases, tasks and memos: how many, when the last was, and the newest five.",
        ("provider_id",),
        ("provider", "account", "record_host_code", *pairs.TABLES),
        (
            Field("provider_id", "string", "Identifier of the contact in the CRM."),
            Field("npi", "string", "National Provider Identifier."),
            Field("given_name", "string", "Given name."),
            Field("family_name", "string", "Family name."),
            Field("credential", "string", "Credential, such as MD."),
            Field("specialty", "string", "Medical specialty."),
            Field("account_id", "string", "Account that the provider works for first."),
            Field("account_name", "string", "Current name of that account."),
            Field(
                "linked_provider_id",
                "string",
                "Of a provider whom messages tell of: the one of the CRM with the same national number, else the one that alone has the same code; "
                f"{_THERE}",
            ),
            *pairs.fields(),
        ),
        _provider_profile,
    ),
    Wide(
        "patient_profile",
        "laboratory",
        "One patient over all sources: orders, results, cases, tasks, memos, drugs, variants and messages, and who looked at the record. What a merged "
        "patient has is counted for the one who survives, over every merge of a merge.",
        ("patient_id",),
        (*pairs.TABLES, "message_log", "medication_order", "genomic_result", "audit_event"),
        (
            Field("patient_id", "string", "Identifier of the patient in the LIS."),
            *PERSON,
            SURVIVOR,
            Field(
                "linked_patient_id",
                "string",
                f"Of a patient whom messages tell of: the one of a laboratory system with the same medical record number; {_THERE}",
            ),
            *pairs.fields(),
            Field("medication_count", "int64", "Prescriptions of the patient, as messages tell them."),
            Field(
                "last_medication_at",
                "timestamp",
                "When the newest prescription was, UTC; `patient_insight` has each drug beside its analyte.",
            ),
            Field("genomic_result_count", "int64", "Genetic variants that were reported of the patient."),
            Field("last_genomic_result_at", "timestamp", "When the newest of them was reported, UTC."),
            Field("message_count", "int64", "Messages of the patient."),
            Field("access_count", "int64", "Recorded accesses to the record of the patient."),
            Field("last_message_at", "timestamp", "When the newest message was, UTC."),
            Field("last_access_at", "timestamp", "When the newest access was, UTC."),
        ),
        _patient_profile,
    ),
)
