"""The live rows of a raw table as the lake knows them: the newest version of each key, tombstones taken away, in a DuckDB database that spills.

Memory is bounded by `MEMORY`, not by the table: what does not fit lies in a temporary directory. Rows without a whole key are versions of nothing,
and are left out, as curation leaves them out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import relation
from lab_insights.names import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "256MB"


@contextmanager
def workspace() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a DuckDB database of its own, which is gone afterwards."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="lab_insights_") as directory:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "threads": 2,
            "temp_directory": directory,
            "preserve_insertion_order": False,
        }
        connection = duckdb.connect(f"{directory}/work.duckdb", config=settings)
        # A join's bounds would be handed to Arrow, which takes no unsigned integer over 2^63.
        connection.execute("SET disabled_optimizers = 'join_filter_pushdown'")
        try:
            yield connection
        finally:
            connection.close()


def version_sql(schema: pa.Schema, cursor: str | None, otherwise: str) -> str:
    """Return the SQL of a row's version: its cursor where it has one that is an instant, else the SQL `otherwise`."""
    if cursor is None or cursor not in schema.names:
        return otherwise
    return f"COALESCE(TRY_CAST({quoted(cursor, 'duckdb')} AS TIMESTAMP), {otherwise})"


def told(manifest: Manifest) -> str:
    """Return the SQL of what a batch says of all its rows: `__at` and `__b`, its instant and name, and `__gone`, since when they are (null: they live)."""

    def instant(at: datetime | None) -> str:
        return f"TIMESTAMP '{at.replace(tzinfo=None).isoformat(sep=' ')}'" if at else "CAST(NULL AS TIMESTAMP)"

    return f"{instant(manifest.created_at)} AS __at, '{manifest.batch_id}' AS __b, {instant(manifest.gone_at)} AS __gone"


def newest_first(version: str, gone: str, batch: str) -> str:
    """Return the SQL of the order in which the first of a key's rows is the one that counts: a tombstone is as new as the instant that it tells."""
    return f"GREATEST({version}, COALESCE({gone}, {version})) DESC, {batch} DESC"


def newest(
    connection: duckdb.DuckDBPyConnection,
    storage: Storage,
    batches: Sequence[Manifest],
    schema: pa.Schema,
    *,
    name: str,
    key: Sequence[str],
    cursor: str | None,
    carried: Mapping[str, str],
) -> None:
    """Make the table `name` of the newest live row of each key: `k0`, `k1`, …, its version `v`, its batch `b`, and what `carried` says (name → SQL).

    `batches` are a state of the table, in order; `schema` covers them, and is what `carried` may name columns of.
    """
    keys = [f"{quoted(column, 'duckdb')} AS k{position}" for position, column in enumerate(key)]
    its = [
        *keys,
        f"{version_sql(schema, cursor, '__at')} AS v",
        "__b AS b",
        "__gone AS gone",
        *(f"{sql} AS {as_}" for as_, sql in carried.items()),
    ]
    whole = " AND ".join(f"{quoted(column, 'duckdb')} IS NOT NULL" for column in key)
    for number, manifest in enumerate(batches):
        connection.register("__rows", relation(storage, [manifest], schema))
        into = "INSERT INTO __versions" if number else "CREATE TABLE __versions AS"
        connection.execute(f"{into} SELECT {', '.join(its)} FROM (SELECT *, {told(manifest)} FROM __rows) WHERE {whole}")
        connection.unregister("__rows")
    by = ", ".join(f"k{position}" for position in range(len(key)))
    kept = ", ".join([by, "v", "b", *carried])
    ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {newest_first('v', 'gone', 'b')}) AS __rank FROM __versions"
    connection.execute(f"CREATE TABLE {name} AS SELECT {kept} FROM ({ranked}) WHERE __rank = 1 AND gone IS NULL")
    connection.execute("DROP TABLE __versions")
