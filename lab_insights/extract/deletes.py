"""Rows that the source no longer has, and rows that changed unseen: found by comparing source and lake, landed as batches of the day.

The ranges that differ are read again, with the projection of any load, and each row in them is one of:

- *gone*: the lake has it, the source does not. It becomes a tombstone, as of the ceiling below which no transaction could still commit it back.
- *unmoved*: it changed and its cursor did not. It is landed as a change, and the cursor is disqualified.
- *missed*: its cursor is within what was read, and the lake never saw this version. It is landed as a change, and how late it came is kept (`extract.late`).
- newer than what was read: the next window brings it.
- older than what the lake knows of it: the source was restored, and only a snapshot would win over that, so nothing is landed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract import compare, cursor_proof, kindness, late
from lab_insights.extract.plan import Plan
from lab_insights.extract.unread import unread
from lab_insights.extract.window import GRACE, Ceiling, end_of, midnight
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest, SourceProof
from lab_insights.lake.state import Head

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass
class Kept:
    """Rows that are in memory already, as the lake's commit wants them."""

    rows: pa.Table
    known: Facts

    def __post_init__(self) -> None:
        self.schema: pa.Schema = self.rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self.rows.to_batches()

    def facts(self) -> Facts:
        """Return what is known of the rows."""
        return self.known


def land(
    lake: Lake, source: Source, aws: Aws, plan: Plan, day: date, head: Head, top: Ceiling, run_id: str, warn: Callable[[str], None]
) -> list[Manifest]:
    """Compare source and lake of a table up to its bookmark, and return the batches of `day` that what was found became; none when they agree.

    Raises `UnsupportedLoad` for a day that is past, before all columns are read of every row, and where the table needs a full load, or that would cost less.
    """
    table, partition = plan.table, Partition("raw", plan.table.tenant, plan.table.table_id, day)
    kindness.admit(table, source.limits, lake.clock.now())
    if not midnight(day) < top.instant <= end_of(day) + GRACE:
        raise UnsupportedLoad(
            "What is gone today can not be told of a past day.",
            remedy="look for deletes in today's partition.",
            **partition.where,
        )
    if head.position is None:
        return []
    if came := unread(table, head):
        raise UnsupportedLoad(
            f"Columns came that are not read of every row yet, so rows can not be compared: {', '.join(came)}.",
            remedy="look for deletes once the source's ceiling has passed what was read: the load before it then reads the table whole.",
            **partition.where,
        )
    with kindness.connections(table.source, source.limits, 1):
        found = compare.find(lake, source, aws, plan, head.position)
    # as text: what ships logs elsewhere may look at a record's arguments, and `found` holds rows
    _log.info("%s %s: %s", table.tenant, table.table_id, str(found))
    draft = Draft(
        partition=partition,
        kind="delta",
        key=plan.key,
        cursor=plan.cursor,
        load="deletes",
        engine="arrow",
        reason=f"{found}; {top.how}",
        limits=kindness.receipt(source.limits, table.engine),
        run_id=run_id,
    )
    if found.unmoved:
        # Before anything is landed: what the lake has by then would look as if it had never differed.
        proof = cursor_proof.disqualify(lake, table.tenant, table.table_id, str(plan.cursor), found.unmoved, "a comparison of key ranges")
        warn(f"{table.tenant} {table.table_id}: {proof}. {cursor_proof.REMEDY}")
    if found.missed:
        known = late.keep(lake, table.tenant, table.table_id, str(plan.cursor), found.missed, plan.late, "a comparison of key ranges")
        warn(f"{table.tenant} {table.table_id}: {known}. {late.REMEDY}")
    made = []
    gone_at = min(top.instant, end_of(day))
    for rows, its, how in (
        (found.changed, draft, "rows of key ranges that differ"),
        (found.gone, dataclasses.replace(draft, gone_at=gone_at), "keys that the source no longer had in ranges that differ"),
    ):
        if rows.num_rows:
            facts = Facts(SourceProof(rows=rows.num_rows, how=how), {"quarantined": 0})
            manifest, head = commit(lake, head, its, Kept(rows, facts))
            made.append(manifest)
    return made
