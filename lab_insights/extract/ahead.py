"""Rows whose cursor lies far ahead (`infinity`, 9999-12-31): no window reaches them, so they are counted and told.

They are not landed for that: their version would win over every change that mends them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.extract import databases
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.read import conditions, relation_of, stamp
from lab_insights.extract.streams import fetch, rendered

# What a clock is wrong by, or a zone, is read when windows have come so far.
SOON = timedelta(days=1)


def ahead(table: SourceTable, cursor: str, source: Source, aws: Aws, now: datetime) -> int:
    """Return how many of a tenant's rows have a cursor of more than a day after `now`. Raises `SourceError`."""
    import sqlalchemy as sa

    target, relation = databases.url(source, aws), relation_of(table, "t")
    beyond = relation.c[cursor] > stamp(now + SOON)
    statement = sa.select(sa.func.count()).select_from(relation).where(*conditions(table, relation), beyond)
    [batch] = [batch for batch in fetch(rendered(statement, target), target, table, source.limits) if batch.num_rows]
    return int(batch.column(0)[0].as_py())
