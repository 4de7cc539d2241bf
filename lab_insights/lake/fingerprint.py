"""An order-free fingerprint of rows in flight, to compare with the rows read back, and with those of the snapshot before.

DuckDB's `hash` is fast but not promised to be stable between its releases, so what is kept of a fingerprint names the release (`digest`), and is equal to
one of the same release only. What two systems can compare is `lake.checksum`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab_insights.names import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_local = threading.local()


def _connection() -> duckdb.DuckDBPyConnection:
    import duckdb

    if not hasattr(_local, "connection"):
        _local.connection = duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


def fingerprint(batch: pa.RecordBatch, base: Sequence[str]) -> int:
    """Return the sum of the hashes of the rows of `batch`; sums of batches add up, in whatever order and cut the rows come.

    Columns that are not in `base` came up on the way: a row without a value there is the row that it would be without the column.
    """
    import pyarrow as pa

    names = batch.schema.names
    # names of ours: DuckDB takes `Note` and `note` for one column
    columns = {name: f"c{position}" for position, name in enumerate(names)}
    connection = _connection()
    connection.register("batch", pa.Table.from_arrays([_bits(batch.column(name)) for name in names], [*columns.values()]))
    try:
        found = connection.execute(f"SELECT sum({_row(columns, base)}::HUGEINT) FROM batch").fetchone()
    finally:
        connection.unregister("batch")
    return int(found[0] or 0) if found else 0


def fingerprint_of_file(path: str, schema: pa.Schema, base: Sequence[str]) -> tuple[int, int] | None:
    """Return the number of rows of a parquet file and the sum of their hashes, by DuckDB's own reader; None for what it does not read bit by bit."""
    import duckdb
    import pyarrow as pa

    columns = {name: quoted(name, "duckdb") for name in schema.names}
    if len({name.lower() for name in columns}) < len(schema) or any(pa.types.is_floating(kind) for kind in schema.types):
        return None
    try:
        found = _connection().execute(f"SELECT count(*), sum({_row(columns, base)}::HUGEINT) FROM read_parquet(?)", [path]).fetchone()
    except duckdb.Error:
        return None
    return (int(found[0]), int(found[1] or 0)) if found else None


def _row(columns: Mapping[str, str], base: Sequence[str]) -> str:
    """Return the SQL of a row's hash; `columns` is the SQL of each column."""
    whole = [columns[name] for name in base if name in columns]
    row = f"hash({', '.join(whole)})" if whole else "0::UBIGINT"
    for name in sorted(columns.keys() - set(base)):
        text = name.replace("'", "''")
        row = f"xor({row}, CASE WHEN {columns[name]} IS NULL THEN 0::UBIGINT ELSE hash('{text}', {columns[name]}) END)"
    return f"hash({row})"


def digest(rows: int, total: int) -> str:
    """Return a sum of fingerprints as text that is equal for equal rows, and only for sums of the same kind."""
    import duckdb

    return f"duckdb-{duckdb.__version__}:{rows}:{total:x}"


def _bits(column: pa.Array) -> pa.Array:
    """Floating-point numbers as their bits: DuckDB takes 0.0 and -0.0, and every NaN, for one value."""
    import pyarrow as pa

    if pa.types.is_float64(column.type):
        return column.view(pa.int64())
    return column.view(pa.int32()) if pa.types.is_float32(column.type) else column
