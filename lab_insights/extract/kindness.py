"""Kindness to the source: its limits, enforced where tables are read, and written into every receipt.

- `connections`: readers at once, over all tenants and tables of this process; a load waits for as many as it needs before it opens any. What is not
  counted: the crawl, the look for open transactions, and what holds a snapshot of several readers (two connections on MySQL, one on PostgreSQL).
- `statement_timeout`, `lock_timeout`: told to the server, which cuts off what passes them; by readers, and by what cuts, counts and sums for them.
- `transaction_timeout`: a read that holds its snapshot longer is given up here; where this process died meanwhile, MariaDB and PostgreSQL end the idle rest.
  What holds a snapshot for several readers is idle for as long as they read: those bound it.
- `hours`: outside them no rows are asked for, and the error says from when on; a read of rows that is still at work when they end is given up.

What is not bounded: several processes at once. Dagster's pools `source_<name>` and `user_defined` bound those, by four steps each in `dagster.yaml`; what
all these open is the most that a source ever sees. DynamoDB is asked by requests, each of its own: of the limits it has `connections` and `hours`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from lab_insights.config import Limits
from lab_insights.errors import LabInsightsError, SourceError
from lab_insights.extract import databases
from lab_insights.extract.catalog import SourceTable

if TYPE_CHECKING:
    import sqlalchemy as sa


Server = Literal["mariadb", "mysql", "postgresql"]


class OutsideHours(LabInsightsError):
    """A source that may not be read now; the remedy names the instant from which it may."""


def next_opening(limits: Limits, now: datetime) -> datetime | None:
    """Return the next instant at which the source may be read, in the zone of its hours, or None when that is now."""
    if limits.hours is None:
        return None
    start, end = (time_of_day.fromisoformat(each) for each in limits.hours.split("-"))
    here = now.astimezone(ZoneInfo(limits.zone))
    its = here.time()
    inside = start <= its < end if start < end else its >= start or its < end
    if inside:
        return None
    day = here.date() if its < start else here.date() + timedelta(days=1)
    return datetime.combine(day, start, ZoneInfo(limits.zone))


def admit(table: SourceTable, limits: Limits, now: datetime) -> None:
    """Raise `OutsideHours` when the table may not be read at `now`."""
    opening = next_opening(limits, now)
    if opening is not None:
        raise OutsideHours(
            f"Source {table.source} may be read from {limits.hours} ({limits.zone}), and it is {now:%Y-%m-%d %H:%M} UTC.",
            remedy=f"run it again from {opening:%Y-%m-%d %H:%M} ({limits.zone}) on, or change `sources.{table.source}.limits.hours`.",
            tenant=table.tenant,
            table=table.table_id,
        )


def closing(limits: Limits, now: datetime) -> datetime | None:
    """Return when the hours that `now` lies in end, by this machine's clock, which any process can look at; None when they never do.

    `now` may be simulated: what ends in an hour of it ends in an hour.
    """
    if limits.hours is None:
        return None
    end = time_of_day.fromisoformat(limits.hours.split("-")[1])
    here = now.astimezone(ZoneInfo(limits.zone))
    day = here.date() if here.time() < end else here.date() + timedelta(days=1)
    return datetime.now(UTC) + (datetime.combine(day, end, ZoneInfo(limits.zone)) - now)


def session_settings(server: Server, limits: Limits) -> list[str]:
    """Return the statements that hold a reader's session to the limits."""
    if server == "postgresql":
        return [
            f"SET statement_timeout = {limits.statement_timeout * 1000}",
            f"SET lock_timeout = {limits.lock_timeout * 1000}",
            f"SET idle_in_transaction_session_timeout = {limits.transaction_timeout * 1000}",
        ]
    # The server gives up on a client that takes nothing for a minute, which an upload of a large part can last.
    patience = [f"SET lock_wait_timeout={limits.lock_timeout}", f"SET net_write_timeout={limits.statement_timeout}"]
    if server == "mariadb":
        return [
            f"SET max_statement_time={limits.statement_timeout}",
            f"SET idle_transaction_timeout={limits.transaction_timeout}",
            *patience,
        ]
    return [f"SET max_execution_time={limits.statement_timeout * 1000}", *patience]


@contextmanager
def session(target: sa.URL, limits: Limits, *, holding: str | None = None) -> Iterator[sa.Connection]:
    """Open a connection for statements about a table that no reader sends, held to the limits as readers are; closing it ends all that it holds.

    One that is `holding` a snapshot, at that isolation level, may be idle in its transaction, whatever the source allows others.
    """
    import sqlalchemy as sa

    # The server's own cut comes first, and says what it is.
    connection = databases.engine(target, limits.statement_timeout + databases.PATIENCE).connect()
    try:
        if holding:
            connection.execution_options(isolation_level=holding)
        connection.detach()
        mysql: Server = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else "mysql"
        server: Server = "postgresql" if target.drivername.startswith("postgresql") else mysql
        idle = _UNBOUNDED[server] if holding else []
        for statement in (*session_settings(server, limits), *idle):
            connection.exec_driver_sql(statement)
        connection.commit()
        yield connection
    finally:
        # The server may have ended it.
        with suppress(sa.exc.DBAPIError):
            connection.close()


# `wait_timeout` is MySQL's of any idle session, here as long as it is where nobody changed it.
_UNBOUNDED: dict[Server, list[str]] = {
    "postgresql": ["SET idle_in_transaction_session_timeout = 0"],
    "mariadb": ["SET idle_transaction_timeout=0", "SET wait_timeout=28800"],
    "mysql": ["SET wait_timeout=28800"],
}


def receipt(limits: Limits, engine: str) -> dict[str, str | int]:
    """Return the limits that hold on an engine, as a manifest has them."""
    timeouts = set[str]() if engine == "dynamodb" else {"statement_timeout", "lock_timeout", "transaction_timeout"}
    told = limits.model_dump(include={"connections", "hours", *timeouts}, exclude_none=True)
    return told | ({"zone": limits.zone} if limits.hours else {})


@dataclass
class Stopwatch:
    """How long a read has held its snapshot open, and whether it may still go on; `check` after every batch."""

    table: SourceTable
    limits: Limits
    closing: datetime | None = None
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the read began."""
        return round(time.monotonic() - self._started, 3)

    def check(self) -> None:
        """Raise `SourceError` when the snapshot has been open for longer than the source allows, or its hours are over."""
        if self.closing is not None and datetime.now(UTC) >= self.closing:
            raise SourceError(
                f"The source may be read from {self.limits.hours} ({self.limits.zone}), and the read was given up when that ended.",
                remedy=f"start it earlier, widen `sources.{self.table.source}.limits.hours`, or read the table with more `ranges`.",
                tenant=self.table.tenant,
                table=self.table.table_id,
            )
        if self.seconds > self.limits.transaction_timeout:
            raise SourceError(
                f"The read held its snapshot open for more than {self.limits.transaction_timeout} s, and was given up.",
                remedy="raise `limits.transaction_timeout` of the source, or read the table with more `ranges`.",
                tenant=self.table.tenant,
                table=self.table.table_id,
            )


class _Gate:
    """So many connections of one source: all that a load needs are taken at once, or two loads could each hold half and wait for ever."""

    def __init__(self) -> None:
        self._changed, self._taken = threading.Condition(), 0

    @contextmanager
    def through(self, wanted: int, most: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + wanted <= most)
            self._taken += wanted
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()


_gates: dict[str, _Gate] = {}


@contextmanager
def connections(source: str, limits: Limits, wanted: int) -> Iterator[None]:
    """Wait until `wanted` more readers of the source are allowed, and count them while the context lasts."""
    # One step, in which no other thread can make a second gate of the source.
    with _gates.setdefault(source, _Gate()).through(min(wanted, limits.connections), limits.connections):
        yield
