"""Columns whose class was declared, or taken back, after they were made: they get the policy and the tag of the class that they have now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab_insights.config import PhiSection
from lab_insights.warehouse.catalog import Columns, Table
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import STORE
from lab_insights.warehouse.schema_sync import Change
from lab_insights.warehouse.session import Session

_RECORDED = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DETAIL FROM OPS.SCHEMA_CHANGES WHERE WHAT = 'class' ORDER BY CHANGED_AT"


def plan(session: Session, after: Mapping[Table, Columns], protection: Protection) -> list[Change]:
    """Return a change for each column of `after` that has another class than it had when this was last looked at; a second plan is empty.

    A column is taken to have been made with the class that it has without any declaration.
    """
    recorded = {((schema, name), column): phi for schema, name, column, phi in session.execute(_RECORDED)}
    before = replace(protection, phi=PhiSection())
    found = []
    for table, columns in after.items():
        if table[0] in {STORE, "DEIDENTIFIED"}:
            continue
        for column, kind in columns.items():
            phi = protection.phi_class(table, column)
            if recorded.get((table, column), before.phi_class(table, column)) != phi:
                found.append(Change(table, "class", column, phi, tuple(protection.reclassified(table, column, kind))))
    return found
