"""Reading: one SQL statement, streamed as Arrow batches in bounded memory, that also carries the source's own count of what it read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_insights.config import Limits
from lab_insights.errors import ConfigError, SourceError, SourceUnavailable
from lab_insights.extract import databases
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.kindness import Stopwatch, session_settings
from lab_insights.extract.projection import TEXT_SUFFIX, Shipped, cast, landing_names, ship
from lab_insights.extract.proof import Proof, Tally, nothing, told, untold
from lab_insights.extract.ranges import Within
from lab_insights.lake.commit import Facts
from lab_insights.lake.manifest import SourceProof, Window

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


def select(
    table: SourceTable,
    cursor: str | None = None,
    window: Window | None = None,
    within: Within | None = None,
    proof: Proof = "sums",
) -> tuple[sa.CompoundSelect[Any], tuple[Shipped, ...]]:
    """Return the statement that reads a table's rows of one tenant (and of `window`, by `cursor`, and of one key range), and how its columns travel.

    One more row comes, of nulls but for its last column: what the source itself says of the rows that satisfy the same condition, from the same statement and
    so from the same snapshot.
    """
    import sqlalchemy as sa

    rows, counted = relation_of(table, "t"), relation_of(table, "u")
    named = landing_names([column.name for column in table.columns])
    shipped = tuple(
        dataclasses.replace(ship(column, table.engine, rows.c[column.name]), name=name)
        for column, name in zip(table.columns, named, strict=True)
    )
    sent = [column.expression.label(f"c{position}") for position, column in enumerate(shipped)]
    data = sa.select(*sent, untold(table.engine).label("proof")).where(*conditions(table, rows, cursor, window, within))
    said = (
        sa.select(*(nothing(column, table.engine) for column in shipped), told(table, counted, shipped, proof))
        .select_from(counted)
        .where(*conditions(table, counted, cursor, window, within))
    )
    statement = sa.union_all(data, said)
    return statement, shipped


def relation_of(table: SourceTable, alias: str) -> Any:
    """Return the table as SQLAlchemy's statements name it, with every column."""
    import sqlalchemy as sa

    columns: list[sa.ColumnClause[Any]] = [sa.column(sa.quoted_name(column.name, quote=True)) for column in table.columns]
    named = sa.table(sa.quoted_name(table.physical, quote=True), *columns, schema=sa.quoted_name(table.placement.schema, quote=True))
    return named.alias(alias)


def conditions(
    table: SourceTable, relation: Any, cursor: str | None = None, window: Window | None = None, within: Within | None = None
) -> list[sa.ColumnElement[bool]]:
    """Return what a row of `relation` satisfies when it is one of the tenant's, in the window and in the key range."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    found = [within.condition(table, relation)] if within else []
    if table.placement.discriminator:
        name, value = table.placement.discriminator
        column = table.column(name)
        numeric = column is not None and column.type.startswith(("tinyint", "smallint", "mediumint", "int", "bigint", "numeric", "decimal"))
        if numeric and not value.isdecimal():
            raise ConfigError(
                f"The discriminator {name} is numeric, and this tenant's value for it is no number.",
                remedy="correct the tenant's key in the registry, or `value` in the source's `tenancy`.",
                tenant=table.tenant,
                table=table.table_id,
            )
        found.append(relation.c[name] == (int(value) if numeric else value))
        if table.engine == "mysql" and not numeric:
            # Its collations take `abc`, `ABC` and `äbc ` for equal; the plain comparison above is the one that an index serves.
            found.append(sa.cast(relation.c[name], mysql.BINARY) == sa.literal(value, sa.String()))
    if cursor is not None and window is not None:
        if window.low is not None:
            found.append(relation.c[cursor] > stamp(window.low))
        found.append(relation.c[cursor] <= stamp(window.high))
    return found


def stamp(instant: datetime) -> sa.ColumnElement[Any]:
    """Return an instant as statements compare cursors with it."""
    import sqlalchemy as sa

    return sa.literal(instant.replace(tzinfo=None), sa.DateTime())


def rendered(statement: sa.SelectBase, target: sa.URL) -> str:
    """Return `statement` as text for readers that take no parameters; values are rendered by SQLAlchemy's own literal rules."""
    # A named paramstyle, since the drivers' own double every `%` of a name or value.
    dialect = target.get_dialect()(paramstyle="named")  # type: ignore[call-arg]
    # Before it has seen the server it takes both for MySQL in this, and would double the backslashes of PostgreSQL's values.
    dialect._backslash_escapes = target.drivername.startswith("mysql")  # type: ignore[attr-defined]  # noqa: SLF001
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@dataclass
class SourceRows:
    """The rows of one statement against one relational source, as the lake's commit wants them.

    `within` takes one key range of them; `session` are statements that the reader's connection begins with, to join a snapshot of several readers.
    """

    table: SourceTable
    target: sa.URL
    limits: Limits
    cursor: str | None = None
    window: Window | None = None
    within: Within | None = None
    session: tuple[str, ...] = ()
    _said: str | None = None
    _kept: int = 0
    _seconds: float | None = None
    _stream: Iterator[pa.RecordBatch] | None = None
    _fidelity: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import pyarrow as pa

        self._statement, self._shipped = select(self.table, self.cursor, self.window, self.within, self.limits.proof)
        self._tally = Tally(self.table, self._shipped, self.limits.proof)
        self.schema: pa.Schema = pa.schema([pa.field(column.name, column.arrow) for column in self._shipped])
        self._fidelity = {column.name: column.fidelity for column in self._shipped}

    def start(self) -> None:
        """Send the statement now, in place of when the first batch is asked for: on return the reader has its snapshot."""
        stream = _mysql_batches if self.table.engine == "mysql" else _postgresql_batches
        with telling(self.table):
            self._stream = stream(rendered(self._statement, self.target), self.target, self.table, self.limits, self.session)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        if self._stream is None:
            self.start()
        stream, self._stream = self._stream, None
        beside: dict[str, None] = {}
        watch = Stopwatch(self.table, self.limits)
        with telling(self.table):
            for batch in stream or ():
                watch.check()
                if (rows := self._heard(batch)).num_rows == 0:
                    continue
                landed = cast(rows, self._shipped)
                self._tally.add(landed)
                beside |= dict.fromkeys(name for name in landed.schema.names if name not in self.schema.names)
                # Once a value was kept beside its column, every later batch has that column too, so that parts do not alternate.
                for name in beside:
                    if name not in landed.schema.names:
                        landed = landed.append_column(name, pa.nulls(landed.num_rows, pa.string()))
                self._kept += sum(landed.num_rows - landed.column(name).null_count for name in beside)
                yield landed.select([*self.schema.names, *beside])
        self._seconds = watch.seconds
        for name in beside:
            its = name.removesuffix(TEXT_SUFFIX)
            self._fidelity[its] = f"{self._fidelity[its]}, or text in {name}"

    def _heard(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of a batch without the one in which the source says what it sent."""
        said = batch.column(batch.num_columns - 1)
        if said.null_count == batch.num_rows:
            return batch
        self._said = said.drop_null()[0].as_py()
        return batch.filter(said.is_null())

    def facts(self) -> Facts:
        """Return the source's proof and the fidelity of each column; raise `LandingMismatch` when other rows came than the source itself told of."""
        how = self._tally.check(self._said)
        proof = SourceProof(rows=self._tally.rows, how=how)
        return Facts(proof, counted(self._kept), dict(self._fidelity), longest_statement=self._seconds)


def counted(kept_as_text: int) -> dict[str, int]:
    """Return the counts of a raw batch: no row is left out, since a value that its column does not hold is kept as text beside it."""
    return {"quarantined": 0, "kept_as_text": kept_as_text}


def fetch(text: str, target: sa.URL, table: SourceTable, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield what a statement of ours about `table` gives, within the source's limits; raise `SourceError` when it breaks off."""
    with telling(table):
        yield from (_mysql_batches if table.engine == "mysql" else _postgresql_batches)(text, target, table, limits)


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
    except BaseException as error:
        # connectorx lets some server errors through as a panic of its Rust code, which is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise _broken(error, table) from None


def _mysql_batches(
    text: str, target: sa.URL, table: SourceTable, limits: Limits, session: tuple[str, ...] = ()
) -> Iterator[pa.RecordBatch]:
    import connectorx

    with databases.reaching(table.source, target, table.tenant, table.table_id), databases.engine(target).connect() as connection:
        mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    settings = ["SET time_zone='+00:00'", *session_settings("mariadb" if mariadb else "mysql", limits), *session]
    # connectorx refuses options that it does not know, and speaks utf8mb4 anyway.
    address = target.difference_update_query(["charset"]).set(drivername="mysql", database=table.placement.schema)
    shown = address.render_as_string(hide_password=False)
    # It connects and runs `settings` before it returns, so a session of ours has joined its snapshot by then.
    return iter(connectorx.read_sql(shown, text, return_type="arrow_stream", batch_size=limits.batch_rows, pre_execution_query=settings))


def _postgresql_batches(
    text: str, target: sa.URL, _: SourceTable, limits: Limits, session: tuple[str, ...] = ()
) -> Iterator[pa.RecordBatch]:
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


def _postgresql_connection(address: str) -> Connection:
    from adbc_driver_manager import AdbcConnection
    from adbc_driver_manager.dbapi import Connection

    database = _postgresql_types(address)
    return Connection(database, AdbcConnection(database._db))  # noqa: SLF001 (as `Connection.adbc_clone` does, which would need a connection kept open)


@functools.lru_cache(maxsize=16)
def _postgresql_types(address: str) -> _SharedDatabase:
    """Return what ADBC knows of a server and reads anew for each `dbapi.connect`: 70 of the 74 ms that a small table took. No connection is kept."""
    import adbc_driver_postgresql
    from adbc_driver_manager.dbapi import _SharedDatabase

    return _SharedDatabase(adbc_driver_postgresql.connect(address))


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
    elif "timeout" in detail or "max_statement_time" in detail or "maximum statement execution time" in detail:
        message, remedy = "The source cut the statement off at its time limit.", "raise `limits.statement_timeout`, or index the cursor."
    else:
        kind = SourceUnavailable if any(said in detail for said in _BROKEN_OFF) else SourceError
        message, remedy = (
            f"Reading broke off ({type(error).__name__}).",
            "look at the source's own log for this statement; then materialize again.",
        )
    return kind(message, remedy=remedy, tenant=table.tenant, table=table.table_id)
