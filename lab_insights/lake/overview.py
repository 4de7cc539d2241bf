"""Where each source and table of a tenant stands: bookmarks and batches as they are committed, beside what became of the last attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.processing import Attempt, Disqualified, Late, Outcome, Processing
from lab_insights.names import TenantId


@dataclass(frozen=True)
class SourceStatus:
    """A source as a tenant sees it. `failed` counts its tables whose last attempt failed; `lagging` says that the declared lag is in use."""

    tenant: TenantId
    source: str
    outcome: Outcome | None
    last_run: datetime | None
    tables: int | None
    failed: int
    lagging: bool
    reason: str


@dataclass(frozen=True)
class TableStatus:
    """A table of a tenant. `rows` are those of `last_day`, which is `closed` once the bookmark (`position`) has reached its end.

    `ahead` counts rows whose cursor lies so far ahead that no window reaches them, `failures` failed attempts since the last good one, and `reason` is
    that of the last attempt when it failed.
    """

    tenant: TenantId
    table: str
    last_day: date | None
    position: datetime | None
    rows: int | None
    closed: bool | None
    outcome: Outcome | None
    last_run: datetime | None
    run_id: str
    load: str
    lagging: bool
    disqualified: tuple[str, ...]
    late: tuple[str, ...]
    ahead: int
    failures: int
    reason: str


def overview(lake: Lake, tenant: TenantId, sources: Iterable[str]) -> tuple[list[SourceStatus], list[TableStatus]]:
    """Return the status of the sources and of every table that was ever landed or tried, in order."""
    processing = Processing(lake.state.aws, lake.state.prefix)
    latest = processing.latest(tenant)
    cursors: list[Disqualified | Late] = [*processing.disqualified(tenant), *processing.late(tenant)]
    names = sorted({*lake.state.tables("raw", tenant), *(what for what in latest if "." in what)})
    tables = [_table(lake, tenant, name, latest.get(name), cursors) for name in names]
    return [_source(tenant, name, latest.get(name), tables) for name in sources], tables


def _table(lake: Lake, tenant: TenantId, name: str, last: Attempt | None, cursors: Sequence[Disqualified | Late]) -> TableStatus:
    day = lake.state.newest_day("raw", tenant, name)
    position = lake.state.head(Partition("raw", tenant, name, day)).position if day else None
    return TableStatus(
        tenant,
        name,
        day,
        position,
        sum(batch.rows for batch in lake.state.batches("raw", tenant, name, day, day)) if day else None,
        position >= datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) if day and position else None,
        last.outcome if last else None,
        last.at if last else None,
        last.run_id if last else "",
        last.load if last else "",
        last.lagging if last else False,
        tuple(str(each) for each in cursors if isinstance(each, Disqualified) and each.table == name),
        tuple(str(each) for each in cursors if isinstance(each, Late) and each.table == name),
        (last.ahead or 0) if last else 0,
        last.failures if last else 0,
        last.reason if last else "",
    )


def _source(tenant: TenantId, name: str, last: Attempt | None, tables: list[TableStatus]) -> SourceStatus:
    its = [table for table in tables if table.table.startswith(f"{name}.")]
    runs = [each for each in (last.at if last else None, *(table.last_run for table in its)) if each]
    return SourceStatus(
        tenant,
        name,
        last.outcome if last else None,
        max(runs, default=None),
        last.tables if last else None,
        sum(table.outcome == "failed" for table in its),
        any(table.lagging for table in its),
        last.reason if last else "",
    )
