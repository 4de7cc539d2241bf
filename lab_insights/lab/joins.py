"""What several wide tables are joined with: accounts by their codes, patients with those they were merged into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab import identities
from lab_insights.lab.mappings import told_by_messages
from lab_insights.lab.transform import Field, Inputs

if TYPE_CHECKING:
    import ibis.expr.types as ir

PERSON = (
    Field("mrn", "string", "Medical record number of the patient."),
    Field("sex", "string", "Administrative sex of the patient."),
    Field("birth_date", "date", "Date of birth of the patient."),
)
SURVIVOR = Field("surviving_patient_id", "string", "Where that patient lives on: the end of its merges, or itself.")


def account_codes(inputs: Inputs) -> ir.Table:
    """One row per (connection, host code) of an account: orders name only the pair."""
    accounts, codes = inputs.live("account"), identities.records_by_code(inputs.live("record_host_code"), "account")
    named = accounts.select(account_id=accounts.account_id, account_name=accounts.name)
    found = codes.join(named, codes.record_id == named.account_id)
    return found.select("account_id", "account_name", "code_connection", "code")


def same_code(inputs: Inputs, record_type: str) -> ir.Table:
    """One row per `same_code` that one record of that type alone has, at whichever connection: the record (`same_record`)."""
    crosswalk = inputs.newest("record_host_code", "source_system")
    own = crosswalk.filter(~crosswalk.is_deleted & ~is_told(crosswalk))
    codes = identities.records_by_code(own, record_type)
    known = codes.group_by(same_code=codes.code).agg(n=codes.record_id.nunique(), same_record=codes.record_id.min())
    return known.filter(known.n == 1).drop("n")


def touched_codes(inputs: Inputs) -> ir.Column:
    """Host codes of any version of a row of the crosswalk that changed on the day."""
    packed = inputs.touched("record_host_code", "host_code").as_table()
    return packed.select(code=packed.touched.split("^").unnest()).code


def merged_people(inputs: Inputs) -> ir.Table:
    """Each patient, where the merges end that it went through, and whether a change of the day concerns it or anyone it is one with."""
    people = identities.survivors(inputs.live("patient"))
    changed = inputs.touched("patient", "patient_id").as_table().union(inputs.touched("patient", "merged_into_patient_id").as_table())
    return people.mutate(touched=people.person.isin(identities.merged_with(people, changed.touched).person)).rename(
        surviving_patient_id="survivor"
    )


def is_told(rows: ir.Table) -> ir.BooleanValue:
    """Whether a row is what messages tell, and no laboratory system's own."""
    return rows.source_system.isin(sorted(told_by_messages()))
