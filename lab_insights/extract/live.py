"""Reading a source again to see whether the lake still holds what was read of it. Nothing is landed.

With a cursor the two sides are compared up to the bookmark, below which no transaction could commit any more when it was set: what the source changed
since, or no longer has, has *moved on*; a row whose cursor says that it was read, and which the lake lacks or holds otherwise, is *lost* or *altered*.
Without a cursor nothing tells when a row was changed, so a difference proves nothing. Without a key, and of DynamoDB, only counts are compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.extract import compare, databases, kindness
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.compare import Sides
from lab_insights.extract.dynamodb import unreadable
from lab_insights.extract.dynamodb_tenants import asked
from lab_insights.extract.plan import Plan
from lab_insights.extract.read import SourceRows, conditions, relation_of
from lab_insights.extract.streams import fetch, rendered
from lab_insights.extract.sums import KNOWN
from lab_insights.lake.checksum import row_text
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.live import newest, workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import TableState, state

if TYPE_CHECKING:
    import pyarrow as pa

# Keys that are named, by their hash.
NAMED = 5
EVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Compared:
    """What a comparison of rows found: how many the lake holds, and how many are otherwise at the source.

    `high` is the bookmark, None without a cursor; `keys` are keyed hashes of some that are lost or altered; `whole` says whether all that differs was read.
    """

    rows: int
    high: datetime | None
    newer: int
    gone: int
    lost: int
    altered: int
    keys: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class Counted:
    """How many rows the lake holds, and the source."""

    rows: int
    source: int


def look(lake: Lake, source: Source, aws: Aws, plan: Plan) -> Compared | Counted:
    """Compare what the lake holds of a table with the source, within the source's limits.

    Raises `OutsideHours`, `SourceError`, or `UnsupportedLoad` for a key that source and lake do not print alike.
    """
    table = plan.table
    kindness.admit(table, source.limits, lake.clock.now())
    # Before the batches are looked up: a load that commits meanwhile then only adds what is newer.
    bookmark = lake.state.head(Partition("raw", table.tenant, table.table_id, lake.clock.now().date())).position
    with kindness.connections(table.source, source.limits, 1):
        if source.engine == "dynamodb":
            return Counted(_live(lake, plan), _count_items(table, aws))
        if not plan.key:
            return Counted(_live(lake, plan), _count(SourceRows(table, databases.url(source, aws), source.limits)))
        high = bookmark if plan.cursor else None
        with compare.sides(lake, source, aws, plan, high or EVER, live=True) as found:
            return _compared(plan, found, high)


def _compared(plan: Plan, found: Sides, high: datetime | None) -> Compared:
    its = ", ".join(f"k{position}" for position in range(len(plan.key)))
    meanwhile = f"there t JOIN {KNOWN} USING ({its}) WHERE t.v > TIMESTAMP '{(high or EVER).replace(tzinfo=None).isoformat(sep=' ')}'"
    lost = found.count("differs WHERE missing")
    return Compared(
        rows=found.compared,
        high=high,
        newer=found.newer + found.count(meanwhile),
        gone=found.count("gone"),
        lost=lost,
        altered=found.count("differs") - lost,
        keys=_hashes(plan, found),
        whole=found.whole,
    )


def _hashes(plan: Plan, found: Sides) -> tuple[str, ...]:
    """Hash keys as the comparison with the warehouse does, by a secret of this answer alone."""
    key = [(f"k{position}", found.read.schema.field(name).type) for position, name in enumerate(plan.key)]
    rows = found.connection.execute(
        f"SELECT LEFT(MD5(? || {row_text(key, 'duckdb')}), 12) FROM there JOIN differs USING (n) ORDER BY 1 LIMIT {NAMED}",
        [secrets.token_hex(32)],
    ).fetchall()
    return tuple(str(hashed) for (hashed,) in rows)


def _live(lake: Lake, plan: Plan) -> int:
    """Return how many live rows the lake holds of a table."""
    batches: Sequence[Manifest] = state(lake, "raw", plan.table.tenant, plan.table.table_id).manifests
    if not plan.key:
        return sum(batch.rows for batch in batches)
    schema: pa.Schema = TableState(tuple(batches)).schema
    with workspace() as connection:
        newest(connection, lake.storage, batches, schema, name=KNOWN, key=plan.key, cursor=None, carried={})
        row = connection.execute(f"SELECT count(*) FROM {KNOWN}").fetchone()
    return int(row[0]) if row else 0


def _count(rows: SourceRows) -> int:
    import sqlalchemy as sa

    relation = relation_of(rows.table, "t")
    statement = sa.select(sa.func.count()).select_from(relation).where(*conditions(rows.table, relation))
    batches = fetch(rendered(statement, rows.target), rows.target, rows.table, rows.limits)
    return sum(int(batch.column(0)[0].as_py()) for batch in batches if batch.num_rows)


def _count_items(table: SourceTable, aws: Aws) -> int:
    """Return how many items of the tenant a table has: the service reads all of them for it, and sends none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        operation, request = asked(aws, table.physical, table.placement.discriminator)
        pages = aws.client("dynamodb").get_paginator(operation).paginate(**request, Select="COUNT")
        return sum(page["Count"] for page in pages)
    except (ClientError, BotoCoreError) as error:
        raise unreadable(error, table.source, table.physical, table.tenant, table.table_id) from None
