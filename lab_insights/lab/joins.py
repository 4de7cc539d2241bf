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
SURVIVOR = Field(
    "surviving_patient_id",
    "string",
    "Where that patient lives on: the end of its merges; of whom messages tell the patient of the system with the same number; or itself.",
)


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


def same_number(patients: ir.Table) -> ir.Table:
    """One row per medical record number (`same_mrn`) that one patient of a laboratory system alone has: that patient (`linked_patient_id`).

    Of a number that two have nobody knows whose it is.
    """
    own = patients.filter(~is_told(patients) & ~patients.is_deleted)
    known = own.group_by(same_mrn=own.mrn).agg(n=own.count(), linked_patient_id=own.patient_id.min())
    return known.filter(known.n == 1).drop("n")


def merged_people(inputs: Inputs) -> ir.Table:
    """Each patient, its number, where the merges end that it went through, and whether a change of the day concerns it or anyone it is one with.

    Whom messages tell of is the patient of the system with the same number, where there is one: so merges that messages tell are that patient's as well,
    unless the system itself says into whom it was merged.
    """
    import ibis

    every = inputs.newest("patient", "source_system")
    rows, same = every.filter(~every.is_deleted), same_number(every)
    rows = rows.left_join(same, [rows.mrn == same.same_mrn, is_told(rows)])
    rows = rows.mutate(one=rows.linked_patient_id.coalesce(rows.patient_id))
    ones = rows.select(other=rows.patient_id, into=rows.one)
    into = rows.left_join(ones, rows.merged_into_patient_id == ones.other)
    into = into.mutate(into=into.into.coalesce(into.merged_into_patient_id))
    merges = into.filter(into.into.notnull() & (into.into != into.one))
    merged = merges.group_by(merged_one=merges.one).agg(own=merges.into.min(where=~is_told(merges)), told=merges.into.min())
    each = rows.select(person=rows.one).distinct().left_join(merged, [("person", "merged_one")])
    ends = identities.survivors(each.select(patient_id=each.person, merged_into_patient_id=ibis.coalesce(each.own, each.told)))
    ends = ends.rename(ended="person")
    found = rows.left_join(ends, rows.one == ends.ended)
    people = found.select(person=found.patient_id, mrn=found.mrn, survivor=found.survivor)
    numbers = inputs.touched("patient", "mrn")
    changed = ibis.union(
        *(inputs.touched("patient", name).as_table() for name in ("patient_id", "merged_into_patient_id")),
        people.filter(people.mrn.isin(numbers)).select(touched="person"),
        # What messages merged it into, until its own system said otherwise.
        rows.filter(rows.mrn.isin(numbers)).select(touched="merged_into_patient_id"),
    )
    touched = identities.merged_with(people.drop("mrn"), changed.touched).person
    return people.select(person=people.person, number=people.mrn, surviving_patient_id=people.survivor, touched=people.person.isin(touched))


def order_links(inputs: Inputs) -> ir.Table:
    """Each order that messages tell of (`told_order`), the same one of a laboratory system (`linked_order_id`), and whether the day may have changed that.

    That is the order of its filler number, else of placer number and patient: a filler number is the laboratory's own; a placer number is one of many
    placers', so it counts for the same medical record number alone.
    """
    orders, patients = inputs.newest("lab_order", "source_system"), inputs.live("patient")
    person = patients.select(person=patients.patient_id, mrn=patients.mrn)
    placed = orders.left_join(person, orders.patient_id == person.person)
    numbers = placed.select("lab_order_id", "filler_number", "placer_number", "mrn", "source_system", "is_deleted")
    told, own = numbers.filter(is_told(numbers)), numbers.filter(~is_told(numbers) & ~numbers.is_deleted)
    by_filler = own.group_by(own_filler=own.filler_number).agg(filled=own.lab_order_id.min(), filled_n=own.count())
    by_placer = own.group_by(own_placer=own.placer_number, own_mrn=own.mrn).agg(placed=own.lab_order_id.min(), placed_n=own.count())
    rows = told.left_join(by_filler, [told.filler_number == by_filler.own_filler, by_filler.filled_n == 1])
    rows = rows.left_join(by_placer, [rows.placer_number == by_placer.own_placer, rows.mrn == by_placer.own_mrn, by_placer.placed_n == 1])
    touched = told.filter(
        told.filler_number.isin(inputs.touched("lab_order", "filler_number"))
        | told.placer_number.isin(inputs.touched("lab_order", "placer_number"))
        | told.mrn.isin(inputs.touched("patient", "mrn"))
    ).lab_order_id
    linked = rows.filled.coalesce(rows.placed)
    return rows.select(told_order=rows.lab_order_id, linked_order_id=linked, relinked=rows.lab_order_id.isin(touched))


def is_told(rows: ir.Table) -> ir.BooleanValue:
    """Whether a row is what messages tell, and no laboratory system's own."""
    return rows.source_system.isin(sorted(told_by_messages()))
