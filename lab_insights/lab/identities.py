"""Identities: which account a (connection, host code) is, and which patient a merged one lives on in. Expressions over curated tables, live rows only.

Names that activities keep are no identities: they go stale, and nothing joins by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

# Merges in a row that are followed: each is a join, of the few patients that were merged. Longer chains, and circles, are followed nowhere.
HOPS = 8


def records_by_code(crosswalk: ir.Table, record_type: str) -> ir.Table:
    """Return one row per (connection, code) of a type of record: `code_connection`, `code` and the `record_id` that it is.

    A row of the crosswalk may hold several pairs, each list parted by `^` in the same order. A pair that two rows claim is the lowest record's, so
    that the answer does not depend on the order of rows.
    """
    rows = crosswalk.filter(crosswalk.record_type == record_type)
    pairs = rows.select(rows.record_id, pair=rows.connection_id.split("^").zip(rows.host_code.split("^")).unnest())
    told = pairs.select(pairs.record_id, code_connection=pairs.pair["f1"].strip(), code=pairs.pair["f2"].strip())
    whole = told.filter(told.code_connection.notnull() & (told.code != ""))
    return whole.group_by(["code_connection", "code"]).agg(record_id=whole.record_id.min())


def survivors(patients: ir.Table) -> ir.Table:
    """Return `person` and `survivor` of each patient: the end of its chain of merges, itself where it was not merged or its chain has no end.

    A merge that was undone has no link any more, so that its patients are themselves again.
    """
    import ibis

    merged = patients.filter(patients.merged_into_patient_id != patients.patient_id)
    step = merged.select(via=merged.patient_id, onward=merged.merged_into_patient_id)
    ends = step.select(person=step.via, end=step.onward)
    for _ in range(HOPS - 1):
        then = step.view()
        hop = ends.left_join(then, ends.end == then.via).mutate(on=lambda row: row.onward.fill_null(row.end))
        ends = hop.select(person=hop.person, end=hop.on)
    then = step.view()
    last = ends.left_join(then, ends.end == then.via).mutate(is_end=lambda row: row.via.isnull())
    ended = last.filter(last.is_end).select(merged_person="person", survivor="end")
    rows = patients.select(person=patients.patient_id).left_join(ended, [("person", "merged_person")])
    return rows.mutate(end=ibis.coalesce(rows.survivor, rows.person)).select("person", survivor="end")


def merged_with(survivors: ir.Table, touched: ir.Column) -> ir.Table:
    """Return `person` of everybody who lives on in the same patient as one of the `touched`: whom a change of one of them concerns."""
    reached = survivors.filter(survivors.person.isin(touched) | survivors.survivor.isin(touched)).select(reached="survivor").distinct()
    return survivors.filter(survivors.survivor.isin(reached.reached)).select("person")
