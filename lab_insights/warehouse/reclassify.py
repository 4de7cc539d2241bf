"""Columns whose class is no longer that of their policy, by a declaration, a contract or a new name: they get policy and tag of the class that they have now.

The record of schema changes says by which class each column was made, or last given its policy; a rename takes both along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab_insights.config import PhiSection
from lab_insights.governance.classes import PHI
from lab_insights.warehouse.catalog import Catalog, Columns, Table
from lab_insights.warehouse.changes import Change
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import FORMER, STORE, VARIANT
from lab_insights.warehouse.session import Session

_RECORDED = """
SELECT TABLE_SCHEMA, TABLE_NAME, WHAT, COLUMN_NAME, DETAIL, RENAMED_TO FROM OPS.SCHEMA_CHANGES
WHERE WHAT IN ('class', 'rename') ORDER BY CHANGED_AT"""
Classes = dict[Table, dict[str, str]]


def plan(
    session: Session, catalog: Catalog, after: Mapping[Table, Columns], changes: Sequence[Change], protection: Protection
) -> list[Change]:
    """Return a change for each column whose class is not that of its policy; a second plan is empty.

    `after` are the tables' columns once `changes` are applied. Of a column whose class nobody recorded, it is taken for granted only that it was made with
    the class that its name has without any declaration, and never that it is masked.
    """
    known, renamed = _known(session, changes)
    undeclared = replace(protection, phi=PhiSection())
    found = []
    for table, columns in after.items():
        if table[0] in {STORE, "DEIDENTIFIED"}:
            continue
        left = {name: kind for name, kind in catalog.passing.get(table, {}).items() if name.endswith(FORMER)}
        for column, kind in {**columns, **left}.items():
            if (table, column) in renamed:
                continue
            phi = protection.phi_class(table, column)
            its = known.get(table, {})
            was = its.get(column) or its.get(column.removesuffix(FORMER)) or (None if phi in PHI else undeclared.phi_class(table, column))
            if was != phi:
                found.append(Change(table, "class", column, phi, tuple(protection.reclassified(table, column, kind))))
    return found


def _known(session: Session, changes: Sequence[Change]) -> tuple[Classes, set[tuple[Table, str]]]:
    """Return the class that each column's policy is of once `changes` are applied, and the columns that they call otherwise."""
    known: Classes = {}
    for schema, name, what, column, detail, new in session.execute(_RECORDED):
        its = known.setdefault((schema, name), {})
        if what == "rename":
            _rename(its, column, new)
        else:
            its.update({column: detail} if column else json.loads(detail))
    renamed: set[tuple[Table, str]] = set()
    for change in changes:
        its = known.setdefault(change.table, {})
        its.update(change.made)
        if change.rename:
            _rename(its, change.rename.old, change.rename.new)
            renamed |= {(change.table, change.rename.old + suffix) for suffix in ("", VARIANT)}
    return known, renamed


def _rename(its: dict[str, str], old: str, new: str) -> None:
    """Take classes along: to the new name, unless a load has made a column of that name, and to the one that is left beside it then."""
    for before, under in ((old + VARIANT, new + VARIANT), (old, new)):
        if before in its:
            phi = its.pop(before)
            its.setdefault(under, phi)
            its[before + FORMER] = phi
