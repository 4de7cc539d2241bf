"""Comparing source and lake of one table up to an instant: which rows are gone, and which changed unseen.

Ranges that differ (`bisect`) are read with the projection of any load, and their rows compared one by one, every column of them exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract import bisect, databases, kindness
from lab_insights.extract.bisect import Span, Spans
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.late import Missed, measure
from lab_insights.extract.plan import Plan
from lab_insights.extract.read import SourceRows, stamp
from lab_insights.extract.sums import KNOWN, Columns, LakeSums, SourceSums, content_sql, know
from lab_insights.lake.commit import Lake
from lab_insights.lake.live import version_sql, workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import TableState, relation, state
from lab_insights.names import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import sqlalchemy as sa

_MISSED = "SELECT t.v FROM differs d JOIN there t USING (n) WHERE NOT d.unmoved"
# Once so much of a table differs, or so many rows, a full load costs less and ends in the same tombstones.
SHARE, MOST_ROWS, LEAST_ROWS = 0.25, 1_000_000, 20_000


@dataclass(frozen=True)
class Found:
    """What a comparison found: rows on the lake's side, rows that were read, and the rows to land."""

    compared: int
    read: int
    ranges: int
    unmoved: int
    gone: pa.Table
    changed: pa.Table
    missed: Missed | None = None
    """How late those of them came that are not under an unmoved cursor."""

    def __str__(self) -> str:
        return (
            f"{self.ranges:,} key ranges differ, {self.read:,} rows read for {self.compared:,} compared: "
            f"{self.gone.num_rows:,} gone, {self.changed.num_rows:,} changed unseen ({self.unmoved:,} under an unmoved cursor)"
        )


@dataclass(frozen=True)
class Sides:
    """Both sides of a comparison in one DuckDB database, for as long as it is open.

    Its tables: `KNOWN` of the lake's live rows; `there` of the source's rows in ranges that differ (keys, version `v`, content `x`, number `n` in `read`);
    `differs` of those that the lake holds otherwise (`n`; `missing`: not at all; `unmoved`: under the same cursor; `older`: of a version that the lake's
    wins over); `gone` of rows that only the lake has.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Columns
    batches: Sequence[Manifest]
    spans: tuple[Span, ...]
    read: pa.Table
    compared: int
    newer: int
    """Rows that the source last changed after the instant, where they were set aside for a `live` comparison."""
    whole: bool
    """Whether every range that differs was read."""

    def count(self, what: str) -> int:
        """Return how many rows a relation of the database has."""
        return _count(self.connection, what)


def find(lake: Lake, source: Source, aws: Aws, plan: Plan, high: datetime) -> Found:
    """Compare the rows of source and lake that were last changed up to `high`. In memory are the rows that are read, and those to land.

    Raises `UnsupportedLoad` where so much differs that the whole table had better be loaded, and where rows came back with an older cursor than the lake knows.
    """
    with sides(lake, source, aws, plan, high) as found:
        if older := found.count("differs WHERE older"):
            raise UnsupportedLoad(
                f"{older:,} rows came back with an older `{plan.cursor}` than the lake knows of them, as after a restore: what it knows would win over them.",
                remedy="run `full_load` for this table: a snapshot wins over all that is not newer than it.",
                tenant=plan.table.tenant,
                table=plan.table.table_id,
            )
        numbers = found.connection.execute("SELECT n FROM differs ORDER BY n").to_arrow_table()["n"]
        return Found(
            compared=found.compared,
            read=found.read.num_rows,
            ranges=len(found.spans),
            unmoved=found.count("differs WHERE unmoved"),
            gone=_last_known(found.connection, lake, found.batches, found.columns),
            changed=found.read.take(numbers),
            missed=measure(found.connection, _MISSED, found.batches, plan.late) if plan.cursor else None,
        )


@contextmanager
def sides(lake: Lake, source: Source, aws: Aws, plan: Plan, high: datetime, *, live: bool = False) -> Iterator[Sides]:
    """Compare the rows of source and lake that were last changed up to `high`; without a cursor all rows.

    `live` takes the keys of what the source changed since from the lake's side first, so that they make no range differ, and where too much differs
    reads as much as may be read; else that raises `UnsupportedLoad`.
    """
    table, cursor, target = plan.table, plan.cursor, databases.url(source, aws)
    batches = state(lake, "raw", table.tenant, table.table_id).manifests
    rows = SourceRows(table, target, source.limits, closing=kindness.closing(source.limits, lake.clock.now()))
    schema = TableState(batches).schema
    columns = Columns(table, plan.key, schema)
    exact = [field.name for field in rows.schema if field.name in schema.names and schema.field(field.name).type.equals(field.type)]
    with workspace() as connection:
        know(connection, lake.storage, batches, columns, cursor, exact)
        compared = _count(connection, KNOWN)
        newer = _set_aside(connection, rows, columns, cursor, high) if live and cursor else 0
        most = max(LEAST_ROWS, min(int(compared * SHARE), MOST_ROWS))
        theirs, ours = SourceSums(columns, target, source.limits, cursor, high), LakeSums(connection, columns.position, high)
        spans, whole = _differing(theirs, ours, most)
        if not whole and not live:
            raise UnsupportedLoad(
                f"More than {most:,} rows lie in key ranges that differ between source and lake.",
                remedy="run `full_load` for this table: it costs less and ends in the same tombstones.",
                tenant=table.tenant,
                table=table.table_id,
            )
        read = _table(dataclasses.replace(rows, within=Spans(columns.position, spans))) if spans else rows.schema.empty_table()
        _classify(connection, columns, cursor, content_sql(exact), read, spans, high)
        _outlived(connection, lake, batches, columns)
        yield Sides(connection, columns, batches, spans, read, compared, newer, whole)


def _differing(theirs: SourceSums, ours: LakeSums, most: int) -> tuple[tuple[Span, ...], bool]:
    """Return the spans to be read, and whether they are all: no more than hold `most` rows."""
    span = bisect.whole(ours.position, [*theirs.bounds(), *ours.bounds()])
    if span is None:
        return (), True
    its = (dataclasses.replace(theirs, first=span[0]), dataclasses.replace(ours, first=span[0]))
    found: list[Span] = []
    try:
        found.extend(bisect.differing(*its, span, most))
    except bisect.TooDifferentError:
        return tuple(found), False
    return tuple(found), True


@dataclass(frozen=True)
class _After:
    """Rows whose cursor is newer than an instant."""

    cursor: str
    instant: datetime

    def condition(self, table: SourceTable, relation: Any) -> sa.ColumnElement[bool]:  # noqa: ARG002 (as any condition on a table)
        newer: sa.ColumnElement[bool] = relation.c[self.cursor] > stamp(self.instant)
        return newer


def _set_aside(connection: duckdb.DuckDBPyConnection, rows: SourceRows, columns: Columns, cursor: str, high: datetime) -> int:
    """Take the keys that the source changed after `high` from the lake's side, and return how many there are."""
    import pyarrow as pa

    table, needed = rows.table, {*columns.key, cursor, *(rows.table.placement.discriminator or ())[:1]}
    narrow = dataclasses.replace(table, columns=tuple(column for column in table.columns if column.name in needed))
    newer = SourceRows(narrow, rows.target, rows.limits, within=_After(cursor, high), closing=rows.closing)
    its = ", ".join(f"{quoted(name, 'duckdb')} = k{position}" for position, name in enumerate(columns.key))
    for batch in newer:
        connection.register("__newer", pa.Table.from_batches([batch]))
        connection.execute(f"DELETE FROM {KNOWN} USING __newer WHERE {its.replace(', ', ' AND ')}")
        connection.unregister("__newer")
    proof = newer.facts().proof
    return proof.rows if proof else 0


def _table(rows: SourceRows) -> pa.Table:
    import pyarrow as pa

    batches = [pa.Table.from_batches([batch]) for batch in rows]
    rows.facts()
    return pa.concat_tables([rows.schema.empty_table(), *batches], promote_options="default")


def _classify(
    connection: duckdb.DuckDBPyConnection,
    columns: Columns,
    cursor: str | None,
    content: str,
    read: pa.Table,
    spans: Sequence[Span],
    high: datetime,
) -> None:
    """Make the tables `there`, `differs` and `gone`."""
    import pyarrow as pa

    keys = [f"k{position}" for position in range(len(columns.key))]
    its = ", ".join(f"{quoted(name, 'duckdb')} AS {key}" for name, key in zip(columns.key, keys, strict=True))
    using, first = f"USING ({', '.join(keys)})", keys[0]
    connection.register("__read", read.append_column("__n", pa.array(range(read.num_rows), pa.int64())))
    version = version_sql(read.schema, cursor, "CAST(NULL AS TIMESTAMP)")
    connection.execute(f"CREATE TABLE there AS SELECT {its}, {version} AS v, {content} AS x, __n AS n FROM __read")
    connection.unregister("__read")
    at, other = [high.replace(tzinfo=None)], "t.v <= ? AND (k.b IS NULL OR t.v <> k.v OR t.x <> k.x)"
    connection.execute(
        f"CREATE TABLE differs AS SELECT t.n, k.b IS NULL AS missing, COALESCE(t.v = k.v, FALSE) AS unmoved, COALESCE(t.v < k.v, FALSE) AS older "
        f"FROM there t LEFT JOIN {KNOWN} k {using} "
        f"WHERE t.{first} IS NOT NULL AND {other if cursor else '? IS NOT NULL AND (k.b IS NULL OR t.x <> k.x)'}",
        at,
    )
    inside = " OR ".join(f"{columns.position.lake} BETWEEN {low} AND {upper}" for low, upper in spans) or "FALSE"
    connection.execute(
        f"CREATE TABLE gone AS SELECT {', '.join(keys)}, b FROM {KNOWN} ANTI JOIN there {using} WHERE v <= ? AND ({inside})", at
    )


def _outlived(connection: duckdb.DuckDBPyConnection, lake: Lake, batches: Sequence[Manifest], columns: Columns) -> None:
    """Mark the missing rows in `differs` that are older than a tombstone of their key."""
    on = " AND ".join(f"r.{quoted(name, 'duckdb')} = t.k{position}" for position, name in enumerate(columns.key))
    for manifest in batches:
        if manifest.gone_at:
            connection.register("__rows", relation(lake.storage, [manifest], columns.schema))
            connection.execute(
                f"UPDATE differs SET older = TRUE WHERE missing AND n IN (SELECT t.n FROM there t JOIN __rows r ON {on} WHERE t.v < ?)",
                [manifest.gone_at.replace(tzinfo=None)],
            )
            connection.unregister("__rows")


def _last_known(connection: duckdb.DuckDBPyConnection, lake: Lake, batches: Sequence[Manifest], columns: Columns) -> pa.Table:
    """Return the rows that are gone, as the lake last knew them."""
    import pyarrow as pa

    on = " AND ".join(f"r.{quoted(name, 'duckdb')} = g.k{position}" for position, name in enumerate(columns.key))
    by = ", ".join(f"g.k{position}" for position in range(len(columns.key)))
    found = [columns.schema.empty_table()]
    for manifest in batches:
        connection.register("__rows", relation(lake.storage, [manifest], columns.schema))
        found.append(
            connection.execute(
                f"SELECT r.* FROM __rows r JOIN gone g ON {on} AND g.b = ? QUALIFY ROW_NUMBER() OVER (PARTITION BY {by}) = 1",
                [manifest.batch_id],
            )
            .to_arrow_table()
            .cast(columns.schema)
        )
        connection.unregister("__rows")
    return pa.concat_tables(found)


def _count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {what}").fetchone()
    return int(row[0]) if row else 0
