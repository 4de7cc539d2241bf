"""Columns to rows: a user-defined table of any width as one long table, in one pass."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lab_insights.lab.curate import META
from lab_insights.lab.engine import Query
from lab_insights.lab.texts import as_text, joined

if TYPE_CHECKING:
    import pyarrow as pa

CODE_VERSION = "1"
KEY = ("row_key", "column_name")


@functools.lru_cache(maxsize=1024)
def unpivoted(schema: pa.Schema, key: tuple[str, ...]) -> Query:
    """Return one row per row and column of the relation `rows` of `schema`: grain `KEY`, values as text with their type beside them."""
    import ibis

    rows = ibis.table(ibis.Schema.from_pyarrow(schema), name="rows")
    run = ibis.table({"tenant_id": "string", "as_of": "date", "batch_id": "string"}, name="run")
    columns = [field for field in schema if field.name not in META and field.name not in key]
    named = [(field.name, str(field.type), as_text(rows[field.name])) for field in columns]
    if not named:  # nothing but a key: no rows, of the same columns
        rows, named = rows.limit(0), [("", "", ibis.null("string"))]
    cells = ibis.array([ibis.struct({"name": ibis.literal(name), "type": ibis.literal(kind), "value": text}) for name, kind, text in named])
    long = rows.select(row_key=joined([rows[name] for name in key]), is_deleted=rows.is_deleted, cell=cells.unnest())
    long = long.select(
        row_key=long.row_key,
        column_name=long.cell["name"],
        value_type=long.cell["type"],
        value_text=long.cell["value"],
        is_deleted=long.is_deleted,
    )
    with_run = long.cross_join(run)
    return Query(
        with_run.mutate(record_hash=joined([with_run.value_type, with_run.value_text]).hexdigest("md5")).select(
            [*KEY, "value_type", "value_text", "tenant_id", "as_of", "batch_id", "record_hash", "is_deleted"]
        )
    )
