"""How much of a candidate cursor is null: what a person wants to know of a table that can not be loaded by its changes."""

from __future__ import annotations

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.extract import databases
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.cursors import candidates, is_instant
from lab_insights.extract.read import conditions, relation_of
from lab_insights.extract.streams import fetch, rendered

# Counting reads the whole table where no index serves it, which nobody who only asks for a plan should cause on a large one.
COUNTED_TO_ROWS = 2_000_000


def null_share(table: SourceTable, source: Source, aws: Aws) -> dict[str, float]:
    """Return the share of nulls of each candidate cursor that may be null, by name; of large tables nothing. Raises `SourceError`."""
    import sqlalchemy as sa

    names = [column.name for column in candidates(table) if column.nullable and is_instant(column)]
    if not names or table.engine == "dynamodb" or (table.rows or 0) > COUNTED_TO_ROWS:
        return {}
    target, relation = databases.url(source, aws), relation_of(table, "t")
    counts = [sa.func.count(), *(sa.func.count(relation.c[name]) for name in names)]
    statement = sa.select(*counts).select_from(relation).where(*conditions(table, relation))
    [batch] = [batch for batch in fetch(rendered(statement, target), target, table, source.limits) if batch.num_rows]
    rows, *there = (int(column[0].as_py()) for column in batch.columns)
    return {name: 1 - count / rows for name, count in zip(names, there, strict=True)} if rows else {}
