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
    patients = patients.left_join(merged, patients.patient_id == merged.person)
    patients = patients.mutate(surviving_patient_id=patients.surviving_patient_id.coalesce(patients.patient_id))
    # Whose a number is, or was before the merge.
    people = patients.filter(~patients.is_deleted).select(number="mrn", survivor="surviving_patient_id").distinct()
    events = inputs.live("audit_event")
    told = {"message": ("message_log", "received_at"), "medication": ("medication_order", "ordered_at")}
    told |= {"genomic_result": ("genomic_result", "resulted_at")}
    rows, touched = _with_pairs(inputs, "patient", patients)
    for name, (table, instant) in told.items():
        its = inputs.live(table)
        counted = _count_and_last(its.join(people, its.patient_mrn == people.number), "survivor", instant, name)
        rows = rows.left_join(counted, rows.patient_id == counted[f"{name}_of"])
    by_access = _count_and_last(events.filter(events.entity_type == "patient"), "entity_id", "occurred_at", "access")
    rows = rows.left_join(by_access, rows.patient_id == by_access.access_of)
    numbers = _any(*(inputs.touched(table, "patient_mrn") for table, _ in told.values()))
    reached = people.filter(people.number.isin(numbers)).survivor
    ids = _any(touched, reached, inputs.touched("patient", "patient_id"), inputs.touched("audit_event", "entity_id"))
    renumbered = rows.mrn.isin(inputs.touched("patient", "mrn"))
    return rows.filter(rows.patient_id.isin(ids) | renumbered | rows.touched.fill_null(False)).mutate(
        **{f"{name}_count": rows[f"{name}_count"].fill_null(0) for name in (*told, "access")}
    )


def _with_pairs(inputs: Inputs, owner: pairs.Owner, owners: ir.Table) -> tuple[ir.Table, ir.Column]:
    """Return the owners with what they have, and the identifiers of those that the day touched through it."""
    had, touched = pairs.had(inputs, owner, owners)
    rows = owners.left_join(had, owners[f"{owner}_id"] == had.owner_id)
    return rows.mutate(**{name: rows[name].fill_null(0) for name in had.columns if name.endswith("_count")}), touched.owner_id


def _any(*values: ir.Column) -> ir.Column:
    import ibis

    return ibis.union(*(each.as_table().select(touched=each.get_name()) for each in values)).touched


def _count_and_last(rows: ir.Table, by: str, instant: str, name: str) -> ir.Table:
    return rows.group_by(by).agg(**{f"{name}_count": rows.count(), f"last_{name}_at": rows[instant].max()}).rename({f"{name}_of": by})


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
