"""Columns that a cursor can not bring: they are new, came back, or changed places, and rows that did not change since have values in them all the same.

`ADD COLUMN … DEFAULT 'x'` gives every row a value and moves no cursor. So the bookmark says, beside the instant up to which rows were read, which columns were
read of every row (`lake.state.Head.columns`); a table that has others is read whole by its next load, which moves both in one transaction. Nothing else
marks such a table: a load that dies has not moved the bookmark, and a column that is dropped again is no longer asked for.
"""

from __future__ import annotations

from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.projection import landed
from lab_insights.lake.state import Head


def names_of(table: SourceTable) -> tuple[str, ...]:
    """Return the table's columns by their names in the lake; none for DynamoDB, where an item that gets an attribute is an item that changed."""
    return () if table.engine == "dynamodb" else tuple(landed(table))


def unread(table: SourceTable, head: Head) -> tuple[str, ...]:
    """Return the columns that were not read of every row: those that the bookmark lacks, and those that stand in another order than they did.

    Columns change places when one is made anew after it was dropped, or when two swap their names.
    """
    if head.columns is None or head.position is None:
        return ()
    now = names_of(table)
    kept = [name for name in head.columns if name in now]
    there = [name for name in now if name in head.columns]
    moved = {name for name, was in zip(there, kept, strict=True) if name != was}
    return tuple(name for name in now if name not in head.columns or name in moved)


def reason(names: tuple[str, ...]) -> str:
    """Return why a table is read whole, as a part of a batch's reason; nothing where all columns were read."""
    return f"; whole, since rows that did not change have values in columns that came: {', '.join(names)}" if names else ""
