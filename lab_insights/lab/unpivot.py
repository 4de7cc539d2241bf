"""Columns to rows: a user-defined table of any width as one long table, in one pass."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lab_insights.lab.columns import read_as
from lab_insights.lab.curate import META
from lab_insights.lab.engine import Query
from lab_insights.lab.fields import instant_with_offset
from lab_insights.lab.texts import as_decimal, as_text, joined

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

CODE_VERSION = "2"
KEY = ("row_key", "column_name")
COLUMNS = {
    "row_key": ("string", "Key of the row, as one text."),
    "column_name": ("string", "Column of the user-defined table."),
    "value_type": ("string", "Type of the column as landed on that day."),
    "value_text": ("string", "Value as text, whatever its type."),
    "value_num": ("decimal(38,9)", "The value of a column of numbers."),
    "value_date": ("date", "The value of a column of dates."),
    "value_at": ("timestamp", "The value of a column of instants, UTC."),
    "value_flag": ("bool", "The value of a column of truth values."),
}
_NUMBERS = r"^(decimal|float|halffloat|double|u?int)"


@functools.lru_cache(maxsize=1024)
def unpivoted(schema: pa.Schema, key: tuple[str, ...]) -> Query:
    """Return one row per row and column of the relation `rows` of `schema`: grain `KEY`, values as text and in the type of their column."""
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
    with_run = _typed(long).cross_join(run)
    return Query(
        with_run.mutate(record_hash=joined([with_run.value_type, with_run.value_text]).hexdigest("md5")).select(
            [*COLUMNS, "tenant_id", "as_of", "batch_id", "record_hash", "is_deleted"]
        )
    )


def _typed(long: ir.Table) -> ir.Table:
    """Values in the type of their column: of the text, so that a table of a thousand columns needs each expression once."""
    import ibis

    kind, text = long.value_type, long.value_text
    return long.mutate(
        value_num=kind.re_search(_NUMBERS).ifelse(as_decimal(text, 38, 9), ibis.null("decimal(38, 9)")),
        value_date=kind.startswith("date").ifelse(read_as(text.left(10), ibis.dtype("date")), ibis.null("date")),
        value_at=kind.startswith("timestamp").ifelse(instant_with_offset(text), ibis.null("timestamp(6)")),
        value_flag=(kind == "bool").ifelse(text == "true", ibis.null("boolean")),
    )
