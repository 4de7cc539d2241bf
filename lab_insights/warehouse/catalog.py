"""What a tenant's database holds, as its information schema and its own record of schema changes tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lab_insights.warehouse.names import LIVE, PASSING
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Rename
from lab_insights.warehouse.types import ColumnType, from_catalog

Table = tuple[str, str]
Columns = dict[str, ColumnType]

_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE
FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA IN ('CURATED', 'TRANSFORMED', 'PSEUDONYMOUS', 'DEIDENTIFIED')
AND TABLE_NAME IN ({tables}) ORDER BY ORDINAL_POSITION"""
_CHANGES = """
SELECT TABLE_SCHEMA, TABLE_NAME, WHAT, COLUMN_NAME, RENAMED_TO, BEFORE_BATCH FROM OPS.SCHEMA_CHANGES
WHERE WHAT IN ('new column', 'rename', 'deprecated', 'in use again') AND TABLE_NAME IN ({tables}) ORDER BY CHANGED_AT"""


@dataclass(frozen=True)
class Catalog:
    """Tables by schema and name, unquoted. `passing` are columns of a change that is not finished, or that a rename left behind.

    `views` are what the views without tombstones show, by their tables.
    """

    columns: dict[Table, Columns] = field(default_factory=dict)
    passing: dict[Table, Columns] = field(default_factory=dict)
    views: dict[Table, Columns] = field(default_factory=dict)
    renames: dict[Table, tuple[Rename, ...]] = field(default_factory=dict)
    deprecated: dict[Table, frozenset[str]] = field(default_factory=dict)
    called: dict[Table, tuple[Rename, ...]] = field(default_factory=dict)
    """`renames`, composed: what the columns of today were called before, where nothing else has that name by now."""


def read_catalog(session: Session, tables: Iterable[Table]) -> Catalog:
    """Return what the current database holds of `tables`, by two queries; tables that do not exist are left out."""
    wanted = sorted(set(tables))
    found = Catalog()
    if not wanted:
        return found
    views = {(schema, name + LIVE): (schema, name) for schema, name in wanted}
    names = [name for _, name in (*wanted, *views)]
    marks = ", ".join("?" * len(names))
    for schema, name, column, data_type, precision, scale in session.execute(_COLUMNS.format(tables=marks), *names):
        its = from_catalog(data_type, precision, scale)
        if (schema, name) in views:
            found.views.setdefault(views[schema, name], {})[column] = its
        elif (schema, name) in wanted:
            place = found.passing if column.endswith(PASSING) else found.columns
            place.setdefault((schema, name), {})[column] = its
    names = [name for _, name in wanted]
    for row in session.execute(_CHANGES.format(tables=", ".join("?" * len(names))), *names):
        _note(found, *row)
    return found


def _note(found: Catalog, schema: str, name: str, what: str, column: str, new: str, before: str) -> None:
    """Note a recorded change of a table that there is."""
    table = (schema, name)
    if table not in found.columns:
        return
    renames, called = found.renames.get(table, ()), found.called.get(table, ())
    # one that was cut off is recorded again, by a session that planned it earlier even after later ones
    if what == "rename" and (told := Rename(column, new, before)) not in renames:
        found.renames[table] = (*renames, told)
        found.called[table] = composed(called, told)
    elif what == "new column":
        found.called[table] = tuple(rename for rename in called if rename.old != column)
    elif what == "deprecated":
        found.deprecated[table] = found.deprecated.get(table, frozenset()) | {column}
    elif what == "in use again":
        found.deprecated[table] = found.deprecated.get(table, frozenset()) - {column}


def composed(called: Iterable[Rename], told: Rename) -> tuple[Rename, ...]:
    """Return what columns were called before once `told` came after `called`: their older names go along, and no other column had either of its two."""
    others = (rename for rename in called if rename.old not in {told.old, told.new})
    return (*(replace(rename, new=told.new) if rename.new == told.old else rename for rename in others), told)
