"""Which window of a table is safe to read: up to a ceiling below which no open transaction can still commit a row, split at midnights.

Reading up to the wall clock misses rows: a transaction stamps a row, a poll passes its stamp, and only then does it commit. Measured with 8
writers and 98 polls, strict `>` on the cursor missed 327 of 5,211 rows; reading up to the start of the oldest open transaction missed none.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from lab_insights.clock import Clock
from lab_insights.config import Engine, Limits
from lab_insights.extract.databases import APPLICATION, engine
from lab_insights.lake.manifest import Window

if TYPE_CHECKING:
    import sqlalchemy as sa

# A statement's NOW() is fixed a moment before its transaction shows in the server's lists.
MARGIN = timedelta(seconds=1)
# How long after a day's end a snapshot still counts as that day's.
GRACE = timedelta(hours=6)

# An open transaction holds every later window back; one that is older than this is told to people.
STALLED = timedelta(minutes=15)

# InnoDB's list is a copy that is renewed only when nobody read it for 0.1 s. It is newer than our look when our own transaction is in it with a
# statement of this look. A transaction that is just starting is listed for a moment without its start (0), or with that of the one before it.
_MYSQL_OLDEST = """
SELECT /* {mark} */ UTC_TIMESTAMP(6), MAX(IF(o.own OR o.trx_is_read_only, NULL, TIMESTAMPDIFF(MICROSECOND, o.trx_started, NOW(6)))),
  MAX(o.own AND LOCATE('{mark}', o.trx_query) > 0) AND NOT MAX(o.trx_started < '1970-01-03')
FROM (SELECT t.*, t.trx_mysql_thread_id = CONNECTION_ID() AS own FROM {listed} t) o
"""
_MYSQL_LISTED = "information_schema.innodb_trx"
# A statement has its NOW() from its start on, and is in InnoDB's list only once it has touched a row: it may have to wait for a table's lock until then.
# Read before that list, it misses none of those that are not in it yet. MySQL's TIME is in whole seconds, MariaDB, which alone
# reads `M!`, has milliseconds too; text that only looks like a write costs a delay.
_MYSQL_WRITING = """
SELECT UTC_TIMESTAMP(6), MAX(/*M! 0 * */ (TIME + 1) /*M! + TIME_MS / 1000 */) FROM information_schema.PROCESSLIST
WHERE ID <> CONNECTION_ID() AND INFO REGEXP '(^|[^[:alnum:]_`.])(insert|replace|update|delete|load|call|execute)[[:space:]/`]'
"""
_MYSQL_VARIABLES = """
SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only', 'wsrep_on', 'group_replication_single_primary_mode')
"""
# A replica may be written to (`read_only` is off by default), and shows by its threads that it follows another server. MariaDB's own are daemons; those of
# Group Replication are at work on its primary, too, whose `read_only` is believed. Without PROCESS nothing is seen here, nor in InnoDB's list.
_MYSQL_FOLLOWS = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'system user' AND COMMAND <> 'Daemon'"
_RENEWED_AFTER, _GIVE_UP_AFTER = 0.11, 10.0
# Prepared transactions last: one that is being prepared meanwhile is among the others or among these.
_POSTGRES_OLDEST = """
WITH others AS (
  SELECT xact_start, state FROM pg_stat_activity
  WHERE pid <> pg_backend_pid() AND application_name IS DISTINCT FROM :application AND backend_type IS DISTINCT FROM 'autovacuum worker')
SELECT clock_timestamp() AT TIME ZONE 'UTC', extract(epoch FROM clock_timestamp() - (SELECT min(xact_start) FROM others)) * 1e6,
  (SELECT bool_or(state = 'disabled') FROM others), extract(epoch FROM clock_timestamp() - (SELECT min(prepared) FROM pg_prepared_xacts)) * 1e6
"""
# A logical subscriber is no standby: it commits what was stamped when its publisher's transactions began.
_POSTGRES_FOLLOWS = """
SELECT pg_is_in_recovery() OR EXISTS (
  SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE s.subenabled AND d.datname = current_database())
"""
_POSTGRES_MAY_SEE = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'member')"


@dataclass(frozen=True)
class Ceiling:
    """The newest instant that is safe to read, and how it is known.

    Where not all open transactions can be seen the declared lag is kept back, and `remedy` says what would make that unnecessary; `open_for` is the age of
    the oldest open transaction.
    """

    instant: datetime
    how: str
    remedy: str = ""
    open_for: timedelta = timedelta()

    @property
    def lagged(self) -> bool:
        """Whether the declared lag is kept back."""
        return bool(self.remedy)

    @property
    def warning(self) -> str | None:
        """What a person should know of this ceiling, or None when all is well."""
        if self.lagged:
            return f"{self.how}. A transaction that stays open for longer loses its rows. Remedy: {self.remedy}."
        if self.open_for > STALLED:
            return f"a transaction has been open for {_rounded(self.open_for)}, and nothing newer is read. Remedy: end it at the source."
        return None


class _Unseen(NamedTuple):
    """Why not all open transactions can be seen, and what a person can do."""

    why: str
    remedy: str


class _UnseenError(Exception):
    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


@dataclass(frozen=True)
class _Oldest:
    """What the server says: its clock in UTC, and how long before that the oldest transaction began that may still commit (None: there is none)."""

    server: datetime
    age: timedelta | None
    looked: timedelta = timedelta()
    """How long before `server` the look began: what began since then may be missing from the list."""
    prepared: timedelta | None = None
    """How long before `server` the oldest transaction was prepared whose start is told nowhere (None: there is none)."""

    @property
    def back(self) -> timedelta:
        """How far the floor is behind the server's clock."""
        return max(self.age or timedelta(), self.looked)

    @property
    def floor(self) -> datetime:
        """The instant before which no transaction began that may still commit."""
        return self.server - self.back


def ceiling(target: sa.URL, kind: Engine, limits: Limits, clock: Clock) -> Ceiling:
    """Return min(now, transaction floor of the server); where open transactions can not be seen, the declared lag is kept instead.

    A simulated clock is taken for the server's: what has been open for a minute began a minute before simulated now.
    """
    now = clock.now()
    with engine(target).connect() as connection:
        try:
            if unseen := _UNSEEN[kind](connection):
                raise _UnseenError(*unseen)
            found = _mysql_oldest(connection) if kind == "mysql" else _postgresql_oldest(connection)
        except _UnseenError as error:
            return Ceiling(now - timedelta(seconds=limits.lag), f"{error}: {limits.lag} s are kept back", f"{error.remedy}, or {_RAISE}")
    floor = (found.floor if clock.file is None else now - found.back) - MARGIN
    if found.prepared is not None:
        # rows are stamped with the start of their transaction, which was before that
        kept = (found.server if clock.file is None else now) - found.prepared - timedelta(seconds=limits.lag)
        how = f"a transaction was prepared {_rounded(found.prepared)} ago and tells no start: {limits.lag} s before that are kept back"
        return Ceiling(min(now, floor, kept), how, f"commit it or roll it back, or {_RAISE}")
    if now <= floor:
        return Ceiling(now, "no open transaction is older than the clock")
    if found.age is None:
        return Ceiling(floor, "server time")
    stalled = f", which has been open for {_rounded(found.age)}" if found.age > STALLED else ""
    return Ceiling(floor, f"start of the oldest open transaction{stalled}", open_for=found.age)


def _rounded(age: timedelta) -> timedelta:
    return timedelta(seconds=round(age.total_seconds()))


_RAISE = "raise `limits.lag`"
_HIDDEN = "open transactions can not be seen with this login"
# A replica lists the transactions of its own readers, not those of the writers that it follows.
_FROM_A_REPLICA = _Unseen("open transactions can not be seen from a replica", "read the primary")
_OF_A_CLUSTER = _Unseen(
    "open transactions of the cluster's other nodes can not be seen", "let applications write to the one node that is read"
)


def _mysql_unseen(variables: Mapping[str, str], following: int = 0) -> _Unseen | None:
    """Return why the server's list lacks transactions that write, by its global variables and how many threads follow others; None when it lacks none."""
    if any(variables.get(name, "OFF") not in {"OFF", "0"} for name in ("read_only", "innodb_read_only")):
        return _FROM_A_REPLICA
    if variables.get("wsrep_on") == "ON" or variables.get("group_replication_single_primary_mode") == "OFF":
        return _OF_A_CLUSTER
    if following and "group_replication_single_primary_mode" not in variables:
        return _FROM_A_REPLICA
    return None


_UNSEEN: dict[Engine, Callable[[sa.Connection], _Unseen | None]] = {
    "mysql": lambda its: _mysql_unseen(
        dict(its.exec_driver_sql(_MYSQL_VARIABLES).tuples().all()), its.exec_driver_sql(_MYSQL_FOLLOWS).scalar_one()
    ),
    "postgresql": lambda its: _FROM_A_REPLICA if its.exec_driver_sql(_POSTGRES_FOLLOWS).scalar_one() else None,
}


def _postgresql_oldest(connection: sa.Connection) -> _Oldest:
    import sqlalchemy as sa

    if not connection.scalar(sa.text(_POSTGRES_MAY_SEE)):
        raise _UnseenError(_HIDDEN, "grant the login pg_read_all_stats")
    server, age, disabled, prepared = connection.execute(sa.text(_POSTGRES_OLDEST), {"application": APPLICATION}).one()
    if disabled:
        raise _UnseenError("open transactions of sessions with `track_activities` off can not be seen", "turn it on for all of them")
    ages = [None if each is None else timedelta(microseconds=float(each)) for each in (age, prepared)]
    return _Oldest(server.replace(tzinfo=UTC), ages[0], prepared=ages[1])


def _mysql_oldest(connection: sa.Connection, listed: str = _MYSQL_LISTED) -> _Oldest:
    """Look at the list until it is newer than the look. Every such look is true by itself, so of two that differ the later start holds."""
    import sqlalchemy as sa

    statement = _MYSQL_OLDEST.format(mark=(mark := uuid.uuid4().hex), listed=listed)
    # trx_started is in the server's own zone, so its age is taken in that zone too.
    connection.exec_driver_sql("SET time_zone = 'SYSTEM'")
    try:
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        began, writing = connection.exec_driver_sql(_MYSQL_WRITING).one()
        seen, pause = list[_Oldest](), _RENEWED_AFTER
        deadline = time.monotonic() + _GIVE_UP_AFTER
        while time.monotonic() < deadline:
            server, age, fresh = connection.exec_driver_sql(statement).one()
            if fresh:
                ages = [timedelta(microseconds=int(age))] if age is not None else []
                ages += [server - began + timedelta(seconds=float(writing))] if writing is not None else []
                seen.append(_Oldest(server.replace(tzinfo=UTC), max(ages, default=None), server - began))
                if seen[-1].age is None or seen[-1].age < STALLED or len(seen) > 1:
                    return max(seen, key=lambda each: each.floor)
            # Waiting at the server leaves our mark in any copy that others cause; readers that wait equally long would never see it renewed.
            pause += random.uniform(0, _RENEWED_AFTER)  # noqa: S311
            connection.exec_driver_sql(f"SELECT /* {mark} */ SLEEP({pause:.3f})").all()
    except sa.exc.DBAPIError as error:
        if "denied" not in str(error.orig).lower():
            raise
        raise _UnseenError(_HIDDEN, "grant the login PROCESS") from None
    finally:
        connection.exec_driver_sql("SET time_zone = '+00:00'")
    raise _UnseenError("open transactions can not be seen, since others read their list without a pause", "let them pause for 0.1 s")


def midnight(day: date) -> datetime:
    """Return the start of `day` in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """Return the end of `day` in UTC, which is its last instant's successor."""
    return midnight(day + timedelta(days=1))


def split(low: datetime, high: datetime) -> list[tuple[date, Window]]:
    """Cut `(low, high]` at midnights; a stamp exactly at midnight closes the day before, as the windows are closed above."""
    pieces = []
    while low < high:
        day = low.astimezone(UTC).date()
        end = min(high, end_of(day))
        pieces.append((day, Window(low=low, high=end)))
        low = end
    return pieces
