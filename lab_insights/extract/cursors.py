"""Which column of a table is its cursor, and why none is: by what is declared, by what the catalog says of it, and by what comparisons found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.extract.catalog import Column, SourceTable

if TYPE_CHECKING:
    from lab_insights.extract.plan import Known

CURSOR_NAMES = ("updated_at", "modified_at", "last_updated", "last_modified", "date_modified", "changed_at")


def candidates(table: SourceTable) -> list[Column]:
    """Return the columns that could be the table's cursor by how they are declared or called, best first, whatever else speaks against them."""
    touched = [column for column in table.columns if column.touched]
    return touched + [column for name in CURSOR_NAMES if (column := table.column(name)) is not None and column not in touched]


def choose(table: SourceTable, known: Known, declared: tuple[str | None, ...], *, trusted: bool) -> tuple[str | None, str]:
    """Return the cursor, that of `declared` first, or None; and why. `trusted` uses one for all that is known against it."""
    for name in filter(None, declared):
        column = table.column(name)
        if column and (column.nullable or not is_instant(column)):
            # A row whose cursor is null is in no window, and a date or number says too little of when it was written.
            return None, f"{name} is declared and may be null or is no instant, so it is no cursor{_null_note(known, column)}"
        if (doubt := _doubt(table, known, column)) and not trusted:
            return None, doubt
        note = f", although {doubt}" if doubt else ""
        return name, f"cursor {name} is declared{_index_note(table, name)}{note}"
    found = candidates(table)
    usable = [column for column in found if is_instant(column) and not column.nullable]
    doubts = {column.name: _doubt(table, known, column) for column in usable}
    for column in usable:
        if (doubt := doubts[column.name]) is None or trusted:
            note = f", although {doubt}" if doubt else ""
            return column.name, f"cursor {column.name} {_moved_by(column)}{_index_note(table, column.name)}{note}"
    if usable:
        return None, str(doubts[usable[0].name])
    if found:
        return None, f"{found[0].name} may be null or is no instant, so it is no cursor{_null_note(known, found[0])}"
    return None, "no cursor column"


def _doubt(table: SourceTable, known: Known, column: Column | None) -> str | None:
    """Return why rows could be missed by a column's instants, for all that is seen: a person may know better, and say `load: incremental`."""
    if column is None:
        return None
    if proof := known.disqualified.get(column.name):
        return str(proof)
    if (column.touched or column.triggered) and not column.born:
        return (
            f"the server sets {column.name} when a row is updated and not when it is inserted, so it is no cursor: "
            "give it DEFAULT CURRENT_TIMESTAMP, or declare `load: incremental` where applications set it"
        )
    if table.zone and (column.type.startswith("datetime") or "without time zone" in column.type):
        # What is stamped west of UTC lies hours below every bookmark: no window would ever hold it.
        return (
            f"{column.name} has no zone and the server's is {table.zone}, so it is no cursor: "
            "declare one that has a zone, or `load: incremental` where applications write it in UTC"
        )
    return None


def _moved_by(column: Column) -> str:
    if column.touched:
        return "is moved by the server on every update"
    return "is named as one and set by a trigger" if column.triggered else "is only named as one, with no trigger seen that moves it"


def _index_note(table: SourceTable, name: str) -> str:
    return ", indexed" if name in table.indexed else ", not indexed (every window scans the table)"


def _null_note(known: Known, column: Column) -> str:
    share = known.null_share.get(column.name)
    return "" if share is None else f" ({share:.1%} of its values are null)"


def is_instant(column: Column) -> bool:
    """Whether a column says when to the second or finer."""
    return column.type.startswith(("datetime", "timestamp"))
