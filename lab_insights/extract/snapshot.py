"""One snapshot for several readers of a table, each with a connection of its own.

Independent connections broke a sum invariant in 5 runs of 5. PostgreSQL exports a snapshot, which any connection joins for as long as the exporting
transaction is open. MySQL and MariaDB can not: there each reader opens a snapshot of its own while a read lock, which keeps writers out, makes them all
the same one. Readers may be processes on other machines, so they and the holder of the lock meet at user-level locks of the server:

- `start`: held until every reader is connected (`ready`), so that writers do not wait for connections to be made;
- `open`: held from the table lock's beginning to just before its end. A reader that does not find it held after it took its snapshot was too late, and fails;
- `in`: one for each reader, taken when its snapshot is. When all are held the table is unlocked, some milliseconds after it was locked;
- `go`: held until then, or a reader of few rows would be gone before it was seen.

Where that can not be had, `NoSnapshot` says why, and one reader reads all.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab_insights.errors import SourceError
from lab_insights.extract import kindness
from lab_insights.names import quoted

if TYPE_CHECKING:
    import sqlalchemy as sa

    from lab_insights.extract.catalog import SourceTable
    from lab_insights.extract.read import SourceRows

# Writers wait behind a lock that is waited for, so it is not waited for long.
LOCK_SECONDS = 1
# How long writers are kept out at most while readers take their snapshots: some milliseconds, unless a machine is busy. The server itself ends a holder that
# it hears nothing of for so long: a reader of this process that can not connect keeps all of Python waiting, for half a minute.
HELD_SECONDS = 5
# How long readers may take to connect, Spark's executors and workers to start included. Nobody is kept out meanwhile.
READY_SECONDS = 300.0
_POLL = 0.005


class NoSnapshot(Exception):
    """Several readers can not have one snapshot; the text says why, for a person."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that `readers` connections may join, and one connection of this process that has."""

    connection: sa.Connection
    sessions: tuple[tuple[str, ...], ...]
    """For each reader, the statements that its connection begins with."""
    locked: _Locked | None = None

    def scalars(self, statement: sa.Select[Any]) -> Sequence[Any]:
        """Return the one row of a statement, as of the snapshot."""
        return self.connection.execute(statement).one()

    def gather(self) -> None:
        """Let readers in that are connecting elsewhere, and return when all have joined; raise `NoSnapshot` when they do not."""
        if self.locked:
            self.locked.gather()

    def give_up(self) -> None:
        """Wait for readers no longer: there are none."""
        if self.locked:
            self.locked.given_up.set()

    def start(self, readers: Iterable[SourceRows]) -> None:
        """Start the readers of this process, after which writers of a locked table go on; raise `NoSnapshot` when not all could join."""
        import sqlalchemy as sa

        try:
            for reader in readers:
                reader.start()
            if self.locked:
                self.locked.release()
        except (SourceError, sa.exc.DBAPIError):
            # Whatever else it may be, one reader will say.
            raise NoSnapshot(f"not all of {len(self.sessions)} readers were there within {HELD_SECONDS} s") from None


@contextmanager
def shared(rows: SourceRows, readers: int, *, elsewhere: bool = False) -> Iterator[Snapshot]:
    """Open a snapshot of the table of `rows` for a number of readers, of this process or `elsewhere`; raise `NoSnapshot` where there can be none.

    Readers of this process are given to `start`; for those elsewhere, `gather` waits.
    """
    if rows.table.engine == "postgresql":
        yield from _exported(rows, readers)
    else:
        yield from _locked(rows, readers, elsewhere=elsewhere)


def _exported(rows: SourceRows, readers: int) -> Iterator[Snapshot]:
    import sqlalchemy as sa

    with kindness.session(rows.target, rows.limits, holding="REPEATABLE READ") as connection:
        try:
            name = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
        except sa.exc.DBAPIError:
            raise NoSnapshot("this server exports no snapshot") from None
        join = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", f"SET TRANSACTION SNAPSHOT '{name}'")
        yield Snapshot(connection, (join,) * readers)


def _locked(rows: SourceRows, readers: int, *, elsewhere: bool) -> Iterator[Snapshot]:
    import sqlalchemy as sa

    table = rows.table
    with (
        kindness.session(rows.target, rows.limits, holding="AUTOCOMMIT") as holder,
        kindness.session(rows.target, rows.limits, holding="AUTOCOMMIT") as witness,
    ):
        stored = sa.text("SELECT engine FROM information_schema.tables WHERE table_schema = :schema AND table_name = :name")
        kind = holder.scalar(stored, {"schema": table.placement.schema, "name": table.physical})
        if kind != "InnoDB":
            raise NoSnapshot(f"the storage engine {kind} has no snapshots")
        lock = _Locked(table, holder, witness, f"lab-insights-{uuid.uuid4().hex[:16]}", readers)
        if elsewhere:
            lock.hold_back()
        else:
            _make_room(rows, readers)
            lock.lock()
        yield Snapshot(witness, tuple(lock.session(reader) for reader in range(readers)), lock)


def _make_room(rows: SourceRows, readers: int) -> None:
    """Raise `NoSnapshot` unless as many connections can be had: behind a lock is no place to find that out."""
    import sqlalchemy as sa

    with ExitStack() as opened:
        try:
            for _ in range(readers):
                opened.enter_context(kindness.session(rows.target, rows.limits))
        except sa.exc.DBAPIError:
            raise NoSnapshot(f"this login can not have {readers} readers at once") from None


@dataclass
class _Locked:
    """The holder's side of a snapshot under a table lock."""

    table: SourceTable
    holder: sa.Connection
    witness: sa.Connection
    name: str
    readers: int
    given_up: threading.Event = field(default_factory=threading.Event)

    def session(self, reader: int) -> tuple[str, ...]:
        """Return what a reader's connection begins with. Only a statement that gives no rows is sure to fail in connectorx when it fails."""
        late = f"IF(IS_USED_LOCK('{self.name}-open') IS NULL, (SELECT 1 UNION SELECT 2), 0)"
        return (
            _ISOLATION,
            f"DO GET_LOCK('{self.name}-ready-{reader}', 0)",
            f"DO GET_LOCK('{self.name}-start', {READY_SECONDS:.0f})",
            f"DO RELEASE_LOCK('{self.name}-start')",
            _BEGIN,
            f"SET @lab_insights_late = {late}, @lab_insights_in = GET_LOCK('{self.name}-in-{reader}', 0)",
            f"DO GET_LOCK('{self.name}-go', {READY_SECONDS:.0f})",
            f"DO RELEASE_LOCK('{self.name}-go')",
        )

    def hold_back(self) -> None:
        self._take("start")
        self._take("go")

    def lock(self) -> None:
        """Lock the table against writers, and take the snapshot of this process."""
        import sqlalchemy as sa

        schema, physical = quoted(self.table.placement.schema, "mysql"), quoted(self.table.physical, "mysql")
        try:
            self.holder.exec_driver_sql(f"SET lock_wait_timeout = {LOCK_SECONDS}, wait_timeout = {HELD_SECONDS}")
            self.holder.exec_driver_sql(f"LOCK TABLES {schema}.{physical} READ".replace("%", "%%"))
        except sa.exc.DBAPIError as error:
            late = "timeout" in str(error.orig).lower()
            raise NoSnapshot(f"no lock within {LOCK_SECONDS} s" if late else "this login may not lock tables") from None
        self._take("open")
        self.witness.exec_driver_sql(_ISOLATION)
        self.witness.exec_driver_sql(_BEGIN)

    def gather(self) -> None:
        """Wait until every reader is connected, lock the table while all take their snapshots, and unlock it."""
        try:
            self._wait("ready", READY_SECONDS)
            self.lock()
            self._drop("start")
            self._wait("in", HELD_SECONDS)
        finally:
            self._drop("start")
            self.release()

    def release(self) -> None:
        """Unlock the table: readers that come from now on are too late, which they must find before any writer goes on."""
        self._drop("open")
        self.holder.exec_driver_sql("UNLOCK TABLES")
        self._drop("go")
        self.holder.close()

    def _take(self, what: str) -> None:
        if self.holder.exec_driver_sql(f"SELECT GET_LOCK('{self.name}-{what}', 0)").scalar() != 1:
            raise NoSnapshot("this server has no user-level locks")

    def _drop(self, what: str) -> None:
        self.holder.exec_driver_sql(f"DO RELEASE_LOCK('{self.name}-{what}')")

    def _wait(self, what: str, seconds: float) -> None:
        held = " AND ".join(f"IS_USED_LOCK('{self.name}-{what}-{reader}') IS NOT NULL" for reader in range(self.readers))
        deadline = time.monotonic() + seconds
        while not self.holder.exec_driver_sql(f"SELECT {held}").scalar():
            if time.monotonic() > deadline or self.given_up.is_set():
                raise NoSnapshot(f"not all of {self.readers} readers were there within {seconds:.0f} s")
            time.sleep(_POLL)


# A server may have another isolation level by default, under which the snapshot would be of each statement.
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
