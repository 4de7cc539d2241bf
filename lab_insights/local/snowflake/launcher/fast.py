"""The two statements that a load consists of, without fakesnow's detours: here they took most of a demo's minutes.

A MERGE was five statements over a helper table, each rewritten seventy times (170 ms); DuckDB has MERGE itself (16 ms).
A COPY opened every object twice and read it in small pieces through Python (180 ms); now it is fetched once and read as
a local file (25 ms).
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import fakesnow.cursor
import sqlglot
from fakesnow import copy_into
from snowflake.connector.errors import ProgrammingError

from .alike import alike

_copy = threading.local()


def merged(sql: str, connection: Any) -> str | None:
    """Carry out a MERGE without placeholders and return the query of its counts; None for any other statement."""
    if not re.match(r"MERGE\s", sql, re.IGNORECASE) or "?" in sql:
        return None
    common, own = alike(sql)
    plain = own(_in_duckdb(common))
    try:
        actions = connection._duck_conn.execute(f"{plain} RETURNING merge_action").fetchall()
    except duckdb.TransactionException as error:
        raise ProgrammingError(msg=str(error), errno=625, sqlstate="57014") from error
    except duckdb.Error as error:
        raise ProgrammingError(msg=str(error), errno=603, sqlstate="XX000") from error
    counts = Counter(action for (action,) in actions)
    done = [(name, counts[action]) for name, action in (("inserted", "INSERT"), ("updated", "UPDATE"), ("deleted", "DELETE"))]
    shown = [f'{count} AS "number of rows {name}"' for name, count in done if re.search(rf"\bTHEN\s+{name[:6]}", sql, re.IGNORECASE)]
    return f"SELECT {', '.join(shown)}"


@lru_cache(128)
def _in_duckdb(merge: str) -> str:
    return sqlglot.transpile(merge, read="snowflake", write="duckdb")[0]


def fetch_once(fetch: Callable[[str, str], None]) -> None:
    """Make every COPY of parquet read local files, each brought by one `fetch(url, path)`."""
    original, read = copy_into.copy_into, copy_into.ReadParquet.read_expression

    def copying(*args: Any, **options: Any) -> str:
        with tempfile.TemporaryDirectory(prefix="lab-insights-copy-") as directory, ExitStack() as stack:
            _copy.directory, _copy.files = Path(directory), {}
            stack.callback(lambda: setattr(_copy, "files", None))
            return str(original(*args, **options))

    def reading(self: Any, url: str) -> Any:
        files = getattr(_copy, "files", None)
        if files is None or not url.startswith("s3://"):
            return read(self, url)
        if url not in files:
            files[url] = str(_copy.directory / f"{len(files)}.parquet")
            fetch(url, files[url])
        return read(self, files[url])

    fakesnow.cursor.copy_into = copying
    copy_into.ReadParquet.read_expression = reading
