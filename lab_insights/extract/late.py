"""Rows that came late: with a cursor within what had been read by then, so that no window ever held them.

An application stamps rows by a clock of its own, which is slow, or before its transaction begins. What whoever looks at whole tables finds of it (a full
load, a search for deletes) is measured against the windows that should have held the rows; from then on windows of the table end earlier by that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.processing import Late, Processing
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import duckdb

# What lies further back was imported or backdated: waiting for it would only hold everything else back.
MOST = timedelta(hours=1)
REMEDY = (
    "Remedy: keep the clocks of application hosts by NTP, or let the server set the cursor within the transaction; rows that are backdated on purpose are "
    "read by `find_deletes` and full loads alone, or by declaring `load: full`."
)


@dataclass(frozen=True)
class Missed:
    """How many rows came late, by how much at most, and by how much those at most for which a window can wait."""

    rows: int
    most: timedelta
    bearable: timedelta


def measure(connection: duckdb.DuckDBPyConnection, rows: str, batches: Sequence[Manifest], before: Late | None) -> Missed | None:
    """Return how late those of `rows` came (SQL of a relation with their version `v`) that windows of `batches` should have held; None when there is none.

    A window that already ended earlier because of what was known `before` counts to where it would have ended.
    """
    ends = [
        (each.window.high.replace(tzinfo=None), before.lag if before and each.created_at > before.at else 0)
        for each in batches
        if each.window
    ]
    connection.execute("CREATE TABLE ends (h TIMESTAMP, s INTEGER)")
    if ends:
        connection.executemany("INSERT INTO ends VALUES (?, ?)", ends)
    late = f"SELECT h - v + to_seconds(s) AS late FROM ({rows}) ASOF JOIN ends ON ends.h >= v"
    row = connection.execute(f"SELECT count(*), max(late), max(late) FILTER (late <= ?) FROM ({late})", [MOST]).fetchone()
    return Missed(row[0], row[1] or timedelta(), row[2] or timedelta()) if row and row[0] else None


def keep(lake: Lake, tenant: TenantId, table: str, cursor: str, missed: Missed, before: Late | None, how: str) -> Late:
    """Keep what was measured of a table's cursor, by its lake id: windows never end later again than they did `before`."""
    lag = math.ceil(missed.bearable.total_seconds()) + 1 if missed.bearable else 0
    found = Late(
        table, cursor, missed.rows, max(lag, before.lag if before else 0), math.ceil(missed.most.total_seconds()), lake.clock.now(), how
    )
    Processing(lake.state.aws, lake.state.prefix).came_late(tenant, found)
    return found
