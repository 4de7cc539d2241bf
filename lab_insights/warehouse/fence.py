"""Fencing: the transaction that a dead loader left open is aborted with its session, so that the next loader need not wait for it.

Snowflake keeps the transaction of a client that died, and its locks, for minutes. Transactions of loads carry a name, of the run and of the table. One of the
same run on the same table is an earlier attempt: a run loads a table in one process, and whoever comes second has taken its place. One of another run is left
alone until it has held the table for longer than a loader waits for a lock. An aborted loader that lives after all can do nothing any more: its session is
gone, and what it had not committed with it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from lab_insights.names import TenantId
from lab_insights.warehouse.names import database
from lab_insights.warehouse.session import LOCK_TIMEOUT, Session

_PREFIX = "LAB_INSIGHTS_LOAD"
# Where `SHOW TRANSACTIONS`, which lists the user's own, has them.
_SESSION, _NAME, _STARTED = 2, 3, 4


def name(run_id: str, tenant: TenantId, layer: str, table: str) -> str:
    """Return what a load's transactions are called: an identifier that needs no quotes."""
    return "_".join((_PREFIX, _digest(database(tenant), layer, table), _digest(run_id)))


def abort_predecessors(session: Session, own: str, patience: timedelta = timedelta(seconds=LOCK_TIMEOUT)) -> list[int]:
    """Abort the sessions whose transactions are fenced by the load that is called `own`, which has none open itself; return their ids."""
    of_table = own.rpartition("_")[0]
    [(now,)] = session.execute("SELECT CURRENT_TIMESTAMP()")
    found = [row for row in session.execute("SHOW TRANSACTIONS") if str(row[_NAME]).rpartition("_")[0] == of_table]
    fenced = [int(row[_SESSION]) for row in found if row[_NAME] == own or _utc(now) - _utc(row[_STARTED]) > patience]
    for each in fenced:
        session.execute(f"SELECT SYSTEM$ABORT_SESSION({each})")  # it takes no bound value
    return fenced


def _utc(at: Any) -> datetime:
    instant: datetime = at
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16].upper()
