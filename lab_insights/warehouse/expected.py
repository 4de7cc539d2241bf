"""What the lake says that a table of the warehouse must hold.

It is the table's state, reduced to the newest version per key, in the warehouse's names and types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab_insights.lake import duck
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import small
from lab_insights.names import quoted
from lab_insights.warehouse.shape import Rename, Shape, filled, instant, shape
from lab_insights.warehouse.types import ColumnType

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# The day whose batch brought the row, beside the columns of the table.
DAY = ":DAY"


@contextmanager
def expected(
    storage: Storage, batches: Sequence[Manifest], columns: Mapping[str, ColumnType], renames: Sequence[Rename] = ()
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a DuckDB connection whose table `expected` holds the newest version per key of `batches`, and `:DAY`.

    `batches` is a state: its snapshot first. `renames` are those of its table.
    """
    with duck.cursor(large=not small(batches)) as connection:
        selects = []
        for number, manifest in enumerate(manifest for manifest in batches if manifest.parts):
            its = shape(manifest, renames)
            connection.register(f"b{number}", _reader(storage, manifest, its))
            selected = ", ".join(f"{_value(name, columns, its)} AS {_quoted(name)}" for name in columns)
            selects.append(f"SELECT {selected}, DATE '{manifest.day}' AS {_quoted(DAY)} FROM b{number}")
        connection.execute(
            f"CREATE TEMP TABLE expected AS {_newest(selects, shape(batches[-1], renames)) if selects else _nothing(columns)}"
        )
        yield connection


def tombstones_after(batches: Sequence[Manifest]) -> str | None:
    """Return the instant of the snapshot that a state begins with, None without one.

    Older tombstones are the warehouse's alone: the lake's state does not know their keys.
    """
    return instant(batches[0]) if batches and batches[0].kind == "snapshot" else None


def _reader(storage: Storage, manifest: Manifest, its: Shape) -> pa.RecordBatchReader:
    import pyarrow.dataset as pads

    parts = storage.dataset(manifest.layer, [part.key for part in manifest.parts], manifest.schema_())
    # renamed by Arrow, where names are exact: DuckDB would take two that differ by case for one
    return parts.scanner(columns={wanted: pads.field(held) for held, wanted in its.names.items()}).to_reader()


def _value(name: str, columns: Mapping[str, ColumnType], its: Shape) -> str:
    return filled(name, columns, its, _quoted, "duckdb") or f"CAST(NULL AS {columns[name].duckdb})"


def _newest(selects: Sequence[str], its: Shape) -> str:
    order = [*its.version, *(["RECORD_HASH"] if "RECORD_HASH" in its.columns else [])]
    ordered = ", ".join(f"{_quoted(name)} DESC NULLS LAST" for name in order)
    keys = ", ".join(map(_quoted, its.key))
    every = " UNION ALL ".join(selects)
    return f"SELECT * FROM ({every}) QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {ordered}) = 1"


def _nothing(columns: Mapping[str, ColumnType]) -> str:
    listed = ", ".join(f"CAST(NULL AS {kind.duckdb}) AS {_quoted(name)}" for name, kind in columns.items())
    return f"SELECT {listed}, CAST(NULL AS DATE) AS {_quoted(DAY)} WHERE FALSE"


def _quoted(name: str) -> str:
    return quoted(name, "duckdb")
