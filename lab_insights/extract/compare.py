"""Comparing source and lake of one table up to an instant: which rows are gone, and which changed unseen.

Ranges that differ (`bisect`) are read with the projection of any load, and their rows compared one by one, every column of them exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract import bisect, databases
from lab_insights.extract.bisect import Span, Spans
from lab_insights.extract.plan import Plan
from lab_insights.extract.read import SourceRows
from lab_insights.extract.sums import KNOWN, Columns, LakeSums, SourceSums, content_sql, know
from lab_insights.lake.commit import Lake
from lab_insights.lake.live import version_sql, workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import TableState, relation, state
from lab_insights.names import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

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

    def __str__(self) -> str:
        return (
            f"{self.ranges:,} key ranges differ, {self.read:,} rows read for {self.compared:,} compared: "
            f"{self.gone.num_rows:,} gone, {self.changed.num_rows:,} changed unseen ({self.unmoved:,} under an unmoved cursor)"
        )


def find(lake: Lake, source: Source, aws: Aws, plan: Plan, high: datetime) -> Found:
    """Compare the rows of source and lake that were last changed up to `high`. In memory are the rows that are read, and those to land.

    Raises `UnsupportedLoad` where so much differs that the whole table had better be loaded.
    """
    table, cursor, target = plan.table, str(plan.cursor), databases.url(source, aws)
    batches = state(lake, "raw", table.tenant, table.table_id).manifests
    rows = SourceRows(table, target, source.limits)
    schema = TableState(batches).schema
    columns = Columns(table, plan.key, schema)
    exact = [field.name for field in rows.schema if field.name in schema.names and schema.field(field.name).type.equals(field.type)]
    with workspace() as connection:
        know(connection, lake.storage, batches, columns, cursor, exact)
        compared = _count(connection, KNOWN)
        most = max(LEAST_ROWS, min(int(compared * SHARE), MOST_ROWS))
        spans = _differing(SourceSums(columns, target, source.limits, cursor, high), LakeSums(connection, columns.position, high), most)
        read = _table(dataclasses.replace(rows, within=Spans(columns.position, spans))) if spans else rows.schema.empty_table()
        numbers = _classify(connection, columns, cursor, content_sql(exact), read, spans, high)
        return Found(
            compared=compared,
            read=read.num_rows,
            ranges=len(spans),
            unmoved=_count(connection, "differs WHERE unmoved"),
            gone=_last_known(connection, lake, batches, columns),
            changed=read.take(numbers),
        )


def _differing(theirs: SourceSums, ours: LakeSums, most: int) -> tuple[Span, ...]:
    span = bisect.whole(ours.position, [*theirs.bounds(), *ours.bounds()])
    if span is None:
        return ()
    its = (dataclasses.replace(theirs, first=span[0]), dataclasses.replace(ours, first=span[0]))
    try:
        return tuple(bisect.differing(*its, span, most))
    except bisect.TooDifferentError:
        table = theirs.columns.table
        raise UnsupportedLoad(
            f"More than {most:,} rows lie in key ranges that differ between source and lake.",
            remedy="run `full_load` for this table: it costs less and ends in the same tombstones.",
            tenant=table.tenant,
            table=table.table_id,
        ) from None


def _table(rows: SourceRows) -> pa.Table:
    import pyarrow as pa

    batches = [pa.Table.from_batches([batch]) for batch in rows]
    rows.facts()
    return pa.concat_tables([rows.schema.empty_table(), *batches], promote_options="default")


def _classify(
    connection: duckdb.DuckDBPyConnection,
    columns: Columns,
    cursor: str,
    content: str,
    read: pa.Table,
    spans: Sequence[Span],
    high: datetime,
) -> pa.Array:
    """Make the tables `gone` (keys and batch of the lake's row) and `differs` (row numbers of `read`), and return the latter's numbers."""
    import pyarrow as pa

    keys = [f"k{position}" for position in range(len(columns.key))]
    its = ", ".join(f"{quoted(name, 'duckdb')} AS {key}" for name, key in zip(columns.key, keys, strict=True))
    using, first = f"USING ({', '.join(keys)})", keys[0]
    connection.register("__read", read.append_column("__n", pa.array(range(read.num_rows), pa.int64())))
    version = version_sql(read.schema, cursor, "NULL")
    connection.execute(f"CREATE TABLE there AS SELECT {its}, {version} AS v, {content} AS x, __n AS n FROM __read")
    connection.unregister("__read")
    at = [high.replace(tzinfo=None)]
    connection.execute(
        f"CREATE TABLE differs AS SELECT t.n, COALESCE(t.v = k.v, FALSE) AS unmoved FROM there t LEFT JOIN {KNOWN} k {using} "
        f"WHERE t.{first} IS NOT NULL AND t.v <= ? AND (k.b IS NULL OR t.v <> k.v OR t.x <> k.x)",
        at,
    )
    inside = " OR ".join(f"{columns.position.lake} BETWEEN {low} AND {upper}" for low, upper in spans) or "FALSE"
    connection.execute(
        f"CREATE TABLE gone AS SELECT {', '.join(keys)}, b FROM {KNOWN} ANTI JOIN there {using} WHERE v <= ? AND ({inside})", at
    )
    return connection.execute("SELECT n FROM differs ORDER BY n").to_arrow_table()["n"]


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
