"""An order-free fingerprint of rows in flight, to compare with the rows read back, and with those of the snapshot before.

DuckDB's `hash` is fast but not promised to be stable between its releases, so what is kept of a fingerprint names the release (`digest`), and is equal to
one of the same release only. What two systems can compare is `lake.checksum`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_local = threading.local()


def _connection() -> duckdb.DuckDBPyConnection:
    import duckdb

    if not hasattr(_local, "connection"):
        _local.connection = duckdb.connect(config={"threads": 1})
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


def fingerprint(batch: pa.RecordBatch, base: Sequence[str]) -> int:
    """Return the sum of the hashes of the rows of `batch`; sums of batches add up, in whatever order and cut the rows come.

    Columns that are not in `base` came up on the way: a row without a value there is the row that it would be without the column.
    """
    import pyarrow as pa

    whole = [name for name in base if name in batch.schema.names]
    late = sorted(set(batch.schema.names) - set(base))
    columns = [_bits(batch.column(name)) for name in (*whole, *late)]
    row = f"hash({', '.join(f'c{position}' for position in range(len(whole)))})" if whole else "0::UBIGINT"
    for position, name in enumerate(late, len(whole)):
        text = name.replace("'", "''")
        row = f"xor({row}, CASE WHEN c{position} IS NULL THEN 0::UBIGINT ELSE hash('{text}', c{position}) END)"
    connection = _connection()
    # names of ours: DuckDB takes `Note` and `note` for one column
    connection.register("batch", pa.Table.from_arrays(columns, [f"c{position}" for position in range(len(columns))]))
    try:
        found = connection.execute(f"SELECT sum(hash({row})::HUGEINT) FROM batch").fetchone()
    finally:
        connection.unregister("batch")
    return int(found[0] or 0) if found else 0


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
