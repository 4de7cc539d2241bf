"""The two sides of a comparison by key ranges: what a source's table holds, computed there in SQL, and what the lake knows of it, in DuckDB."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_insights.config import Limits
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract.bisect import Position, Span, Sum, position_of, within
from lab_insights.extract.canonical import Canonical, canonical, lake_digest, source_digest
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.projection import Shipped, landed, ship
from lab_insights.extract.read import conditions, relation_of
from lab_insights.extract.streams import fetch, rendered
from lab_insights.lake.live import newest
from lab_insights.lake.manifest import Manifest, Window
from lab_insights.lake.storage import Storage
from lab_insights.names import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import sqlalchemy as sa

KNOWN = "known"
"""The DuckDB table of the live rows of the lake: keys `k0`…, version `v`, batch `b`, digest `h`, exact content `x`, and `p` where keys are hashed."""


@dataclass(frozen=True)
class Columns:
    """What of a table is compared: the canonical texts of its columns, from a relation of the source and for landed rows of `schema`."""

    table: SourceTable
    key: tuple[str, ...]
    schema: pa.Schema

    def every(self, relation: Any) -> list[Canonical]:
        """Return the canonical texts of all columns that have one."""
        return [each for column in self.table.columns if (each := self._text(relation, column.name)) is not None]

    def of_key(self, relation: Any) -> list[Canonical]:
        """Return those of the key; raise `UnsupportedLoad` when it holds floating point."""
        texts = [self._text(relation, name) for name in self.key]
        if None in texts:
            raise UnsupportedLoad(
                "A column of this table's key has no text that source and lake print alike, so its ranges can not be compared.",
                remedy="find its deletes with a full load.",
                tenant=self.table.tenant,
                table=self.table.table_id,
            )
        return [text for text in texts if text is not None]

    def _text(self, relation: Any, name: str) -> Canonical | None:
        return canonical(self._column(name), self._shipped(relation, name), self.table.engine, self.schema)

    def _column(self, name: str) -> Any:
        return next(column for column in self.table.columns if column.name == name)

    def _shipped(self, relation: Any, name: str) -> Shipped:
        names = dict(zip((column.name for column in self.table.columns), landed(self.table), strict=True))
        return dataclasses.replace(ship(self._column(name), self.table.engine, relation.c[name]), name=names[name])

    @functools.cached_property
    def position(self) -> Position:
        """How the rows are ordered on both sides."""
        self.of_key(relation_of(self.table, "t"))
        return position_of(self.table, self.key, self.of_key)


@dataclass(frozen=True)
class SourceSums:
    """The sums of the rows of the source that were last changed up to `high` (without a cursor: of all), by the server itself."""

    columns: Columns
    target: sa.URL
    limits: Limits
    cursor: str | None
    high: datetime
    first: int = 0

    def bounds(self) -> list[int]:
        """Return the least and the greatest position, nothing when there is no row or positions are hashed."""
        import sqlalchemy as sa

        relation = relation_of(self.columns.table, "t")
        position = self.columns.position.source(relation)
        if self.columns.position.hashed:
            return []
        found = self._fetched(
            sa.select(_text(self, sa.func.min(position)), _text(self, sa.func.max(position))).where(*self._where(relation))
        )
        return [int(each) for row in found for each in row if each is not None]

    def __call__(self, spans: Sequence[Span], width: int) -> dict[int, Sum]:
        """Return what lies in the spans, by bucket."""
        import sqlalchemy as sa
        from sqlalchemy.dialects import mysql

        relation = relation_of(self.columns.table, "t")
        position = self.columns.position.source(relation)
        digest = source_digest(self.columns.every(relation), self.columns.table.engine)
        inside = [within(position, spans)] if spans else []
        rows = sa.select(position.label("p"), digest.label("h")).where(*self._where(relation), *inside).subquery("r")
        first: sa.ColumnElement[Any] = sa.literal_column(str(self.first))
        size: sa.ColumnElement[Any] = sa.literal_column(str(width))
        if self.columns.table.engine == "mysql":
            # Unsigned integers of 64 bits leave their range when something is taken from them.
            bucket: sa.ColumnElement[Any] = (sa.cast(rows.c.p, mysql.DECIMAL(30, 0)) - first).op("DIV", precedence=20)(size)
        else:
            bucket = sa.func.div(sa.cast(rows.c.p, sa.Numeric()) - first, size)
        statement = sa.select(*(_text(self, each) for each in (bucket, sa.func.count(), sa.func.sum(rows.c.h)))).group_by(bucket)
        return {int(number): Sum(int(count), int(digest)) for number, count, digest in self._fetched(statement)}

    def _where(self, relation: Any) -> list[sa.ColumnElement[bool]]:
        whole = [relation.c[name].is_not(None) for name in self.columns.key]
        return [*conditions(self.columns.table, relation, self.cursor, Window(low=None, high=self.high)), *whole]

    def _fetched(self, statement: sa.Select[Any]) -> list[tuple[Any, ...]]:
        found = []
        for batch in fetch(rendered(statement, self.target), self.target, self.columns.table, self.limits):
            found += list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        return found


def _text(sums: SourceSums, number: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    # As text, since no reader ships a DECIMAL of 65 digits.
    return sa.cast(number, mysql.CHAR() if sums.columns.table.engine == "mysql" else sa.Text())


@dataclass(frozen=True)
class LakeSums:
    """The sums of the live rows of the lake that were last changed up to `high`, from the table `KNOWN`."""

    connection: duckdb.DuckDBPyConnection
    position: Position
    high: datetime
    first: int = 0

    def bounds(self) -> list[int]:
        """Return the least and the greatest position, nothing when there is no row."""
        row = self.connection.execute(f"SELECT MIN({self.position.lake}), MAX({self.position.lake}) FROM {KNOWN}").fetchone()
        return [int(each) for each in row or () if each is not None]

    def __call__(self, spans: Sequence[Span], width: int) -> dict[int, Sum]:
        """Return what lies in the spans, by bucket."""
        inside = " OR ".join(f"{self.position.lake} BETWEEN {low} AND {high}" for low, high in spans) or "TRUE"
        rows = self.connection.execute(
            f"SELECT ({self.position.lake} - {self.first}) // {width} AS bucket, COUNT(*), SUM(h) FROM {KNOWN} WHERE v <= ? AND ({inside}) GROUP BY 1",
            [self.high.replace(tzinfo=None)],
        ).fetchall()
        return {int(bucket): Sum(int(count), int(digest)) for bucket, count, digest in rows}


def know(
    connection: duckdb.DuckDBPyConnection,
    storage: Storage,
    batches: Sequence[Manifest],
    columns: Columns,
    cursor: str | None,
    exact: Sequence[str],
) -> None:
    """Make the table `KNOWN` from a state of the lake; `exact` are the landed columns whose content `x` tells apart."""
    relation = relation_of(columns.table, "t")
    carried = {"h": lake_digest(columns.every(relation)), "x": content_sql(exact)}
    if columns.position.hashed:
        carried["p"] = lake_digest(columns.of_key(relation))
    newest(connection, storage, batches, columns.schema, name=KNOWN, key=columns.key, cursor=cursor, carried=carried)


def content_sql(names: Sequence[str]) -> str:
    """Return the SQL of what tells the content of two rows apart, for the length of one DuckDB session."""
    return f"hash({', '.join(quoted(name, 'duckdb') for name in names)})"
