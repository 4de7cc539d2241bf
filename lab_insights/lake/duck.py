"""This process's DuckDB databases, in memory: one for what is small, one for what is large."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# Rows up to which data is small, where nothing else tells.
FEW = 100_000


def cursor(*, large: bool) -> duckdb.DuckDBPyConnection:
    """Return a cursor, whose registered inputs and temporary tables are its own; whoever asks closes it.

    What is small is worked on by one thread: sharing it with another took a third of a verification's CPU time.
    """
    return _database(2 if large else 1).cursor()


@functools.cache
def _database(threads: int) -> duckdb.DuckDBPyConnection:
    # Opening a database costs 14 ms, a cursor 0.4 ms.
    import duckdb

    return duckdb.connect(config={"threads": threads, "preserve_insertion_order": False})
