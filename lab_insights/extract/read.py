"""Reading: one SQL statement, streamed as Arrow batches in bounded memory, that also carries the source's own count of what it read."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_insights.config import Limits
from lab_insights.errors import ConfigError
from lab_insights.extract import streams
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.kindness import Stopwatch
from lab_insights.extract.projection import TEXT_SUFFIX, Shipped, cast, landed, ship
from lab_insights.extract.proof import Proof, Tally, nothing, told, untold
from lab_insights.extract.ranges import Within
from lab_insights.lake.commit import Facts
from lab_insights.lake.manifest import SourceProof, Window

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa


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
    shipped = tuple(
        dataclasses.replace(ship(column, table.engine, rows.c[column.name]), name=name)
        for column, name in zip(table.columns, landed(table), strict=True)
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


@dataclass
class SourceRows:
    """The rows of one statement against one relational source, as the lake's commit wants them.

    `within` takes one key range of them; `session` are statements that the reader's connection begins with, to join a snapshot of several readers;
    `closing` is when the source's hours end.
    """

    table: SourceTable
    target: sa.URL
    limits: Limits
    cursor: str | None = None
    window: Window | None = None
    within: Within | None = None
    session: tuple[str, ...] = ()
    closing: datetime | None = None
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
        """Send the statement before the first batch is asked for: on return a reader of MySQL has its snapshot (one of PostgreSQL joins its by name)."""
        text = streams.rendered(self._statement, self.target)
        with streams.telling(self.table):
            self._stream = streams.opened(text, self.target, self.table, self.limits, self.session)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        if self._stream is None:
            self.start()
        stream, self._stream = self._stream, None
        beside: dict[str, None] = {}
        watch = Stopwatch(self.table, self.limits, self.closing)
        # A read that is given up ends its transaction at once, not when the last one has forgotten the error.
        ending = contextlib.closing(stream) if isinstance(stream, Generator) else contextlib.nullcontext()
        with streams.telling(self.table), ending:
            for batch in stream or ():
                watch.check()
                if (rows := self._heard(batch)).num_rows == 0:
                    continue
                typed = cast(rows, self._shipped)
                self._tally.add(typed)
                beside |= dict.fromkeys(name for name in typed.schema.names if name not in self.schema.names)
                # Once a value was kept beside its column, every later batch has that column too, so that parts do not alternate.
                for name in beside:
                    if name not in typed.schema.names:
                        typed = typed.append_column(name, pa.nulls(typed.num_rows, pa.string()))
                self._kept += sum(typed.num_rows - typed.column(name).null_count for name in beside)
                yield typed.select([*self.schema.names, *beside])
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
