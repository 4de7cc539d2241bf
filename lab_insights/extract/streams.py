"""Streams: what a statement of ours gives, as Arrow batches from each engine's fastest driver, with its errors told as ours."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_insights.config import Limits
from lab_insights.errors import SourceError, SourceUnavailable
from lab_insights.extract import databases
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.kindness import session_settings

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa
    from adbc_driver_manager.dbapi import Connection, _SharedDatabase

# What ADBC gathers of a batch before it hands it over. With its own 16 MB, several of which are held at once, a second reader took 78 MB and not 45.
_BATCH_BYTES = 4 << 20
# Text comes as the database stores it otherwise; what has no encoding is sent as it is.
_POSTGRESQL_ENCODING = (
    "SELECT set_config('client_encoding', CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, false)"
)
# What the drivers say of a connection that was lost, which a moment later may be there again.
_BROKEN_OFF = (
    "lost connection",
    "gone away",
    "closed the connection",
    "connection refused",
    "broken pipe",
    "reset by peer",
    "too many conn",
)
# What servers say of a statement that passed a limit of its session.
_CUT_OFF = ("statement timeout", "lock timeout", "lock wait timeout", "max_statement_time", "maximum statement execution time")


def rendered(statement: sa.SelectBase, target: sa.URL) -> str:
    """Return `statement` as text for readers that take no parameters; values are rendered by SQLAlchemy's own literal rules."""
    # A named paramstyle, since the drivers' own double every `%` of a name or value.
    dialect = target.get_dialect()(paramstyle="named")  # type: ignore[call-arg]
    # Before it has seen the server it takes both for MySQL in this, and would double the backslashes of PostgreSQL's values.
    dialect._backslash_escapes = target.drivername.startswith("mysql")  # type: ignore[attr-defined]  # noqa: SLF001
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def fetch(text: str, target: sa.URL, table: SourceTable, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield what a statement of ours about `table` gives, within the source's limits; raise `SourceError` when it breaks off."""
    with telling(table):
        yield from opened(text, target, table, limits)


def opened(text: str, target: sa.URL, table: SourceTable, limits: Limits, session: tuple[str, ...] = ()) -> Iterator[pa.RecordBatch]:
    """Return the batches of a statement, from a connection of its own that begins with the statements of `session`; errors are the driver's."""
    return (_mysql_batches if table.engine == "mysql" else _postgresql_batches)(text, target, table, limits, session)


@contextmanager
def telling(table: SourceTable) -> Iterator[None]:
    """Turn a reader's errors into a `SourceError`."""
    import adbc_driver_manager
    import pyarrow as pa
    import sqlalchemy as sa

    try:
        yield
    except (RuntimeError, OSError, pa.ArrowException, adbc_driver_manager.Error, sa.exc.ProgrammingError) as error:
        raise _broken(error, table) from None
    except sa.exc.OperationalError as error:
        # What a server says that is not there, or broke off, is for `databases.reaching`.
        if not any(said in str(error.orig).lower() for said in _CUT_OFF):
            raise
        raise _broken(error.orig or error, table) from None
    except BaseException as error:
        # connectorx lets some server errors through as a panic of its Rust code, which is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise _broken(error, table) from None


def _mysql_batches(text: str, target: sa.URL, table: SourceTable, limits: Limits, session: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    import connectorx

    with databases.reaching(table.source, target, table.tenant, table.table_id), databases.engine(target).connect() as connection:
        mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    settings = ["SET time_zone='+00:00'", *session_settings("mariadb" if mariadb else "mysql", limits), *session]
    # connectorx refuses options that it does not know, and speaks utf8mb4 anyway.
    address = target.difference_update_query(["charset"]).set(drivername="mysql", database=table.placement.schema)
    shown = address.render_as_string(hide_password=False)
    # It connects and runs `settings` before it returns, so a session of ours has joined its snapshot by then.
    return iter(connectorx.read_sql(shown, text, return_type="arrow_stream", batch_size=limits.batch_rows, pre_execution_query=settings))


def _postgresql_batches(text: str, target: sa.URL, _: SourceTable, limits: Limits, session: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    with (
        _postgresql_connection(target.set(drivername="postgresql").render_as_string(hide_password=False)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_POSTGRESQL_ENCODING)
        # Whoever joins a snapshot does so before any query of its transaction.
        connection.commit()
        for setting in (
            "SET TIME ZONE 'UTC'",
            # A role or database may have styles of its own, and text that is cast here must be in one.
            "SET DateStyle = 'ISO, YMD'",
            "SET IntervalStyle = 'postgres'",
            f"SET application_name = '{databases.APPLICATION}'",
            *session_settings("postgresql", limits),
            *session,
        ):
            cursor.execute(setting)
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
        cursor.execute(text)
        yield from cursor.fetch_record_batch()


@contextmanager
def _postgresql_connection(address: str) -> Iterator[Connection]:
    from adbc_driver_manager import AdbcConnection
    from adbc_driver_manager.dbapi import Connection

    server = _postgresql_server(address)
    with server.counting:
        connection = Connection(server.database, AdbcConnection(server.database._db))  # noqa: SLF001 (as `Connection.adbc_clone` does, which would need a connection kept open)
    try:
        yield connection
    finally:
        with server.counting:
            connection.close()


@dataclass(frozen=True)
class _Server:
    """What ADBC knows of a server and reads anew for each `dbapi.connect`: 70 of the 74 ms that a small table took. No connection is kept.

    It counts its open connections without a lock, though outside Python's: once two readers connect or close at the same instant, in one of some
    10,000 connections, the count is wrong for good and closing fails ("Open connection count underflowed"). So they do it one after the other.
    """

    database: _SharedDatabase
    # A reader that is collected in the middle of another one's connecting closes in the same thread.
    counting: threading.RLock = field(default_factory=threading.RLock)


@functools.lru_cache(maxsize=16)
def _postgresql_server(address: str) -> _Server:
    import adbc_driver_postgresql
    from adbc_driver_manager.dbapi import _SharedDatabase

    return _Server(_SharedDatabase(adbc_driver_postgresql.connect(address)))


def _broken(error: BaseException, table: SourceTable) -> SourceError:
    """The reader's text may quote a row, so only what kind of fault it is goes on."""
    detail = str(error).lower()
    kind: type[SourceError] = SourceError
    if "doesn't exist" in detail or "does not exist" in detail or "unknown column" in detail:
        message, remedy = "The table or a column of it is gone since it was crawled.", "run `crawl` again, or exclude the table."
    elif "denied" in detail or "permission" in detail:
        message, remedy = "The source refused to read this table.", "grant SELECT on it to the login of the source."
    elif "subquery returns more than 1 row" in detail:
        # What `extract.snapshot` lets a reader say that found the table unlocked.
        kind = SourceUnavailable
        message, remedy = "A reader came too late to join the others' snapshot.", "materialize the partition again."
    elif "lock" in detail and "timeout" in detail:
        kind = SourceUnavailable
        message = "Somebody held a lock on this table for longer than the source's limit."
        remedy = "materialize again when the lock is gone, or raise `limits.lock_timeout`."
    elif "max_allowed_packet" in detail:
        message = "A row of this table is longer than the server's max_allowed_packet, more than which it does not send."
        remedy = "raise max_allowed_packet at the source, or exclude the table."
    elif "timeout" in detail or "max_statement_time" in detail or "maximum statement execution time" in detail:
        message, remedy = "The source cut the statement off at its time limit.", "raise `limits.statement_timeout`, or index the cursor."
    else:
        kind = SourceUnavailable if any(said in detail for said in _BROKEN_OFF) else SourceError
        message, remedy = (
            f"Reading broke off ({type(error).__name__}).",
            "look at the source's own log for this statement; then materialize again.",
        )
    return kind(message, remedy=remedy, tenant=table.tenant, table=table.table_id)
