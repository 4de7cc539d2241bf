"""Landing a tenant's table for a day: which windows are read, and one committed batch for each.

- An open day reads `(bookmark, min(ceiling, end of day)]`; a gap is split at midnights, each piece in its own day.
- A closed day reads nothing: what lies there stands. `reload` reads its window again as a batch that supersedes the day's older ones.
- A past day that has none reads its window by cursor, marked `reconstructed`: rows updated since then are missing from it.
- A table without a cursor is a snapshot, which belongs to the day in or within six hours after which it is taken.
- A DynamoDB table with a stream is scanned once, and then followed by its stream as a table with a cursor is, for as long as the stream goes back;
  one with an `export_bucket` is exported whole once, and then by what changed.
- A table with a column that was not read of every row yet (`extract.unread`) is a snapshot once more, whatever its cursor; a gap is read up to the day first.
- A forced full load is the whole table at once, and the bookmark moves to the ceiling below which nothing more can commit.
- A search for deletes brings the day up to date, then compares source and lake by key ranges; tables that are loaded whole need none.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.errors import ConfigError, UnsupportedLoad
from lab_insights.extract import cursor_proof, databases, deletes, dynamodb_export, dynamodb_stream, kindness, late, reloaded
from lab_insights.extract.plan import EngineName, Plan
from lab_insights.extract.unread import names_of, reason, unread
from lab_insights.extract.window import GRACE, Ceiling, ceiling, end_of, midnight, split
from lab_insights.lake.commit import Draft, Lake, LandingRows, Rows, commit, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest, Window
from lab_insights.lake.processing import Late
from lab_insights.lake.tables import partition_manifests, state
from lab_insights.names import TenantId

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lab_insights.extract.read import SourceRows

_log = logging.getLogger(__name__)
Spark = Callable[[], "SparkSession"]
Mode = Literal["auto", "full", "incremental", "deletes"]


@dataclass(frozen=True)
class Request:
    """What is asked of a table's day: `mode` forces a load, or looks for deletes after it; `reload` reads a closed day again; `engine` wins over the plan's."""

    day: date
    mode: Mode = "auto"
    reload: bool = False
    engine: EngineName | None = None
    dynamic: bool = False
    run_id: str = ""


@dataclass(frozen=True)
class Step:
    """One batch to read: its day, its window, and what it is."""

    day: date
    window: Window
    kind: Literal["snapshot", "delta"]
    by_cursor: bool
    supersedes: bool = False
    reconstructed: bool = False


def load(
    lake: Lake,
    source: Source,
    aws: Aws,
    plan: Plan,
    request: Request,
    top: Ceiling,
    spark: Spark | None = None,
    warn: Callable[[str], None] = _log.warning,
) -> list[Manifest]:
    """Bring the table's day up to date, reading no further than `top`, and return the live manifests of that day, those of this load included.

    `spark` is called for a session when the plan says Spark, `warn` with what a person should know though nothing failed.
    Raises `UnsupportedLoad` for what can not be done honestly, `OutsideHours`, `CommitConflict`, `SourceError` or `LandingMismatch`.
    """
    partition = Partition("raw", plan.table.tenant, plan.table.table_id, request.day)
    head = settled_head(lake, partition)
    if head.pending:
        _, head = reloaded.keep(lake, head, partition, request.run_id)
    plan = dataclasses.replace(plan, table=dynamodb_stream.spelled(lake, partition, head, plan.table))
    there = partition_manifests(lake, partition) if head.version else []
    known: dict[str, str] = {}
    if (plan.table.stream or plan.table.export_bucket) and plan.load == "incremental" and _open(request, head.position):
        known, why = dynamodb_stream.followed(lake, aws, plan.table, partition, head)
        taken = "exported whole" if plan.table.export_bucket else "scanned"
        plan = dataclasses.replace(plan, reason=f"{plan.reason}; {taken}, since {why}") if why else plan
    came = unread(plan.table, head) if plan.cursor else ()
    # Of a search for deletes below `top` counts all the same: what is gone does not come late.
    reached = top.instant - timedelta(seconds=plan.late.lag) if plan.late else top.instant
    todo = steps(plan, request, head.position, reached, there, streamed=bool(known), whole=bool(came))
    for step in todo:
        kindness.admit(plan.table, source.limits, lake.clock.now())
        closing = kindness.closing(source.limits, lake.clock.now())
        its = _worth_it(plan.reading(step.kind), source, aws, step)
        before = state(lake, "raw", partition.tenant, partition.table).manifests if step.kind == "snapshot" and head.version else ()
        draft = Draft(
            partition=dataclasses.replace(partition, day=step.day),
            kind=step.kind,
            supersedes=step.supersedes,
            key=plan.key,
            cursor=plan.cursor,
            columns=names_of(plan.table),
            window=step.window,
            reconstructed=step.reconstructed,
            load=(plan if step.kind == "delta" else dataclasses.replace(plan, load="full")).load_name(dynamic=request.dynamic),
            engine=its.engine,
            reason=f"{its.reason}{reason(came) if step.kind == 'snapshot' else ''}; {top.how}",
            predicted=its.seconds,
            limits=kindness.receipt(source.limits, plan.table.engine),
            run_id=request.run_id,
            # A whole table lacks nothing but what is gone; only a window that is read again does.
            pending=step.supersedes and step.by_cursor,
        )
        prove = functools.partial(_prove, lake, before, came, plan.late, warn)
        with kindness.connections(plan.table.source, source.limits, its.ranges):
            changes: dynamodb_stream.Changes | dynamodb_export.ExportedChanges | None = None
            if known:
                if plan.table.export_bucket:
                    changes = dynamodb_export.ExportedChanges(plan.table, aws, source.limits, known, step.window)
                else:
                    until = step.window.high if lake.clock.file is None else _simulated_end(step, todo)
                    changes = dynamodb_stream.Changes(plan.table, aws, known, until)
                known = changes.position
                if changes.gone:
                    tombstones = dataclasses.replace(draft, window=None, gone_at=lake.clock.now())
                    made, head = commit(lake, head, tombstones, changes.tombstones())
                    there = [*there, made] if made.day == request.day else there
            rows = changes.rows() if changes else _rows(its, source, aws, step, spark, closing)
            made, head = commit(lake, head, draft, rows, prove)
        if made.day == request.day:
            spared = [each for each in there if each.gone_at and made.kind == "delta"]
            there = [*(spared if made.supersedes else there), made]
            if head.pending:
                kept, head = reloaded.keep(lake, head, partition, request.run_id)
                there += kept
    if request.mode == "deletes" and plan.cursor is not None:
        return there + deletes.land(lake, source, aws, plan, request.day, head, top, request.run_id, warn)
    return there


def closed(lake: Lake, tenant: TenantId, table: str, request: Request) -> list[Manifest]:
    """Return the live manifests of a day of a table that is closed and stands as it is: no request for it asks the source for anything. None otherwise."""
    if request.reload or request.mode in {"full", "deletes"}:
        return []
    partition = Partition("raw", tenant, table, request.day)
    head = settled_head(lake, partition)
    if head.position is None or head.position < end_of(request.day):
        return []
    if head.pending:
        reloaded.keep(lake, head, partition, request.run_id)
    return partition_manifests(lake, partition)


def _prove(
    lake: Lake, before: Sequence[Manifest], came: Sequence[str], known: Late | None, warn: Callable[[str], None], made: Manifest
) -> None:
    proof, late_ = cursor_proof.prove(lake, before, made, came, known)
    if proof:
        warn(f"{made.tenant} {made.table}: {proof}. The table is loaded whole from now on. {cursor_proof.REMEDY}")
    if late_:
        warn(f"{made.tenant} {made.table}: {late_}. {late.REMEDY}")


def _open(request: Request, bookmark: datetime | None) -> bool:
    """Whether a request goes on from a bookmark, in place of taking the table or a closed day again."""
    return request.mode != "full" and not request.reload and bookmark is not None and bookmark < end_of(request.day)


def _simulated_end(step: Step, todo: Sequence[Step]) -> datetime | None:
    # A service knows nothing of simulated days: all that it tells belongs to the last of them.
    return None if step is todo[-1] else datetime.min.replace(tzinfo=UTC)


def steps(
    plan: Plan,
    request: Request,
    bookmark: datetime | None,
    top: datetime,
    there: Sequence[Manifest],
    *,
    streamed: bool = False,
    whole: bool = False,
) -> list[Step]:
    """Return what must be read for `request`, in order: nothing for a closed day that has its batches.

    `bookmark` is how far the table was read, `top` the ceiling, `there` the day's live batches; `streamed` says that a change stream tells, as a cursor
    would, what follows the bookmark; `whole` that what follows it is not enough. Pure, so that every case is a test.
    """
    day, end = request.day, end_of(request.day)
    table = plan.table
    if midnight(day) >= top:
        raise UnsupportedLoad(
            "This day has not begun, or an open transaction keeps all of it out of reach.",
            remedy="choose a day up to today; look for old transactions at the source.",
            tenant=table.tenant,
            table=table.table_id,
            partition=str(day),
        )
    closed = bookmark is not None and bookmark >= end
    in_reach = top <= end + GRACE
    if request.mode == "full" or (plan.cursor is None and not streamed):
        if closed and there and not request.reload and request.mode != "full":
            return []
        if not in_reach:
            if there and not request.reload and request.mode != "full":
                return []
            raise UnsupportedLoad(
                "A past day's snapshot can not be taken today.",
                remedy="materialize today's partition: it holds the whole table as it is now.",
                tenant=table.tenant,
                table=table.table_id,
                partition=str(day),
            )
        return [Step(day, Window(low=None, high=min(top, end)), "snapshot", by_cursor=False, supersedes=True)]
    if request.reload and closed:
        # What supersedes a snapshot must hold the days before it too, or the table's state would lose them.
        kind: Literal["snapshot", "delta"] = "snapshot" if any(manifest.kind == "snapshot" for manifest in there) else "delta"
        low = None if kind == "snapshot" else midnight(day)
        return [Step(day, Window(low=low, high=end), kind, by_cursor=True, supersedes=True)]
    if closed:
        return [] if there else [Step(day, Window(low=midnight(day), high=end), "delta", by_cursor=True, reconstructed=True)]
    high = min(top, end)
    if bookmark is None:
        return [Step(day, Window(low=None, high=high), "snapshot", by_cursor=True, reconstructed=not in_reach)]
    changes = [Step(piece, window, "delta", by_cursor=True) for piece, window in split(bookmark, high)]
    if whole and in_reach and bookmark <= high:
        before = [step for step in changes if step.day < day]
        return [*before, Step(day, Window(low=None, high=high), "snapshot", by_cursor=False, supersedes=True)]
    return changes


def safe_ceiling(lake: Lake, source: Source, aws: Aws) -> Ceiling:
    """Return the ceiling of a source; an older one is as safe, so one serves all tables that are read after it."""
    if source.export_bucket:
        return Ceiling(dynamodb_export.reachable(lake.clock.now()), "exports reach up to five minutes ago, in quarters of an hour")
    if source.engine == "dynamodb":
        return Ceiling(lake.clock.now(), "DynamoDB has no transactions that stay open")
    return ceiling(databases.url(source, aws), source.engine, source.limits, lake.clock)


def _worth_it(plan: Plan, source: Source, aws: Aws, step: Step) -> Plan:
    """Return how a step is read: a Spark job takes seconds to begin, or minutes on a cluster, so a window in which nothing changed is no job."""
    from lab_insights.extract.readers import any_of

    if plan.engine == "arrow" or step.kind == "snapshot" or any_of(_one_reader(plan, source, aws, step)):
        return plan
    return dataclasses.replace(plan, engine="arrow", ranges=1, reason=f"{plan.reason}; nothing changed, so no Spark job was started")


def _one_reader(plan: Plan, source: Source, aws: Aws, step: Step, closing: datetime | None = None) -> SourceRows:
    from lab_insights.extract.read import SourceRows

    cursor = plan.cursor if step.by_cursor else None
    return SourceRows(plan.table, databases.url(source, aws), source.limits, cursor, step.window, closing=closing)


def _rows(plan: Plan, source: Source, aws: Aws, step: Step, spark: Spark | None, closing: datetime | None) -> Rows | LandingRows:
    if source.engine == "dynamodb":
        from lab_insights.extract.dynamodb import ItemRows

        if source.export_bucket:
            return dynamodb_export.ExportedItems(plan.table, aws, limits=source.limits, at=step.window.high)
        return ItemRows(plan.table, aws, source.limits.connections)
    from lab_insights.extract.readers import RangedRows

    rows = _one_reader(plan, source, aws, step, closing)
    several = plan.ranges > 1 and step.kind == "snapshot"
    if plan.engine == "arrow":
        return RangedRows(rows, plan.key, plan.ranges) if several else rows
    if spark is None:
        raise ConfigError(
            "This table is planned with `engine: spark`, and nothing here starts Spark.",
            remedy="load it through Dagster, or plan it with `engine: arrow`.",
            tenant=plan.table.tenant,
            table=plan.table.table_id,
        )
    from lab_insights.extract.spark import SparkRows

    return SparkRows(rows, plan.key, plan.ranges if several else 1, spark)
