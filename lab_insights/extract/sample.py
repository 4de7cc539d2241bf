"""The rows of which a read proves the text as well: a sample that source and reader choose alike, and one hash of the text that they hold.

Rows are chosen by their key: whole numbers by their remainder, which costs about nothing, any other key by its MD5, and rows without a usable key by their
first text. The same rows are chosen at every read. Of a small table every row is. What is hashed is the text as it is sent, column by column.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lab_insights.config import Engine
from lab_insights.extract.canonical import DIGITS
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.projection import Shipped, ship

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import sqlalchemy as sa

# A prime, since identifiers that are given in steps of ten or of a power of two have all of its remainders.
EVERY = 61
# An MD5 below it chooses a row: 4 of 256 do.
_BELOW = "04"
# A table of no more bytes, some thousand rows, is hashed whole: a tenth of a second.
WHOLE_BYTES = 1 << 20
# PostgreSQL takes no more than a hundred arguments.
_ARGUMENTS = 50


@dataclass(frozen=True)
class Sample:
    """The columns, by the names that they land under, whose text is hashed, those that choose rows, and how they do."""

    texts: tuple[str, ...]
    by: tuple[str, ...]
    how: Literal["every", "remainder", "digest"]

    def __str__(self) -> str:
        return {"every": "every row", "remainder": f"one row in {EVERY}", "digest": "one row in 64"}[self.how]


def sample_of(table: SourceTable, shipped: Sequence[Shipped]) -> Sample | None:
    """Return the sample of a table, None where no column of it is text."""
    import pyarrow.types as pat

    texts = tuple(column.name for column in shipped if pat.is_string(column.arrow))
    if not texts:
        return None
    # A partitioned table of PostgreSQL has no bytes of its own.
    if table.bytes and table.bytes <= WHOLE_BYTES:
        return Sample(texts, (), "every")
    key = [its for column, its in zip(table.columns, shipped, strict=True) if column.name in table.key]
    usable = all(pat.is_integer(column.arrow) or pat.is_string(column.arrow) for column in key)
    if not key or not usable:
        return Sample(texts, texts[:1], "digest")
    numbers = all(pat.is_integer(column.arrow) for column in key)
    return Sample(texts, tuple(column.name for column in key), "remainder" if numbers else "digest")


def said(sample: Sample, table: SourceTable, relation: Any, shipped: Sequence[Shipped]) -> sa.ColumnElement[Any]:
    """Return the SQL of what is summed at the server: the number of a row's text, null where the row is not of the sample."""
    import sqlalchemy as sa

    engine = table.engine
    sent = {its.name: ship(column, engine, relation.c[column.name]).expression for column, its in zip(table.columns, shipped, strict=True)}
    fields = [sa.func.coalesce(_md5(sent[name], engine), _text("-")) for name in sample.texts]
    digits = sa.func.left(sa.func.md5(_concatenated(fields)), DIGITS)
    number = _number(digits, engine)
    if sample.how == "every":
        return number
    return sa.case((_chosen(sample, [sent[name] for name in sample.by], shipped, engine), number))


def _chosen(sample: Sample, by: Sequence[Any], shipped: Sequence[Shipped], engine: Engine) -> sa.ColumnElement[bool]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    every: Any = sa.literal_column(str(EVERY))
    if sample.how == "remainder":
        # MySQL adds nothing negative to what is unsigned.
        left: list[Any] = [sa.cast(sa.func.mod(its, every), mysql.INTEGER() if engine == "mysql" else sa.BigInteger()) for its in by]
        chosen: sa.ColumnElement[bool] = sa.func.mod(functools.reduce(lambda one, other: one + other, left), every) == sa.literal_column(
            "0"
        )
        return chosen
    kinds = {column.name: column.arrow for column in shipped}
    # Adding nothing takes the zeros from MySQL's ZEROFILL columns.
    nothing: Any = sa.literal_column("0")
    text = mysql.CHAR() if engine == "mysql" else sa.Text()
    parts = [its if kinds[name] == "string" else sa.cast(its + nothing, text) for name, its in zip(sample.by, by, strict=True)]
    below: sa.ColumnElement[bool] = _md5(parts[0] if len(parts) == 1 else _concatenated(parts), engine) < _text(_BELOW)
    return below


def _md5(text: Any, engine: Engine) -> Any:
    import sqlalchemy as sa

    if engine == "mysql":
        return sa.func.md5(text)
    # A database of another encoding would hash other bytes than arrive; one of none holds bytes that are no text, and sends them as they are.
    plain = sa.func.getdatabaseencoding().in_([_text("UTF8"), _text("SQL_ASCII")])
    return sa.case((plain, sa.func.md5(text)), else_=sa.func.md5(sa.func.convert_to(text, _text("UTF8"))))


def _text(value: str) -> sa.ColumnElement[str]:
    import sqlalchemy as sa

    return sa.literal(value, sa.String())


def _concatenated(parts: Sequence[Any]) -> Any:
    import sqlalchemy as sa

    while len(parts) > _ARGUMENTS:
        parts = [sa.func.concat(*parts[start : start + _ARGUMENTS]) for start in range(0, len(parts), _ARGUMENTS)]
    return sa.func.concat(*parts)


def _number(digits: Any, engine: Engine) -> sa.ColumnElement[Any]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql

    if engine == "mysql":
        return sa.cast(sa.func.conv(digits, 16, 10), mysql.INTEGER(unsigned=True))
    return sa.cast(sa.cast(sa.func.concat(_text("x"), digits), postgresql.BIT(4 * DIGITS)), sa.BigInteger())


def arrived(sample: Sample, batch: pa.RecordBatch) -> int:
    """Return the sum of the same numbers over a batch as it is landed."""
    chosen = batch if sample.how == "every" else batch.filter(_mask(sample, batch))
    rows = zip(*(map(_digest, chosen.column(name).to_pylist()) for name in sample.texts), strict=True)
    return sum(int(_hex("".join(row))[:DIGITS], 16) for row in rows)


def _digest(value: str | None) -> str:
    return "-" if value is None else _hex(value)


def _hex(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _mask(sample: Sample, batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    by = [batch.column(name) for name in sample.by]
    if sample.how == "remainder":
        return pc.equal(_remainder(functools.reduce(pc.add, map(_remainder, by))), 0)
    with _database().cursor() as connection:
        connection.register("chosen_by", pa.table(by, [f"c{position}" for position in range(len(by))]))
        its = ", ".join(f"CAST(c{position} AS VARCHAR)" for position in range(len(by)))
        joined = its if len(by) == 1 else f"CONCAT({its})"
        return connection.execute(f"SELECT MD5({joined}) < '{_BELOW}' FROM chosen_by").to_arrow_table().column(0).combine_chunks()


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    # One thread, so that the answers are in the order of the batch.
    return duckdb.connect(config={"threads": 1})


def _remainder(values: Any) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    every = pa.scalar(EVERY, values.type)
    return pc.subtract(values, pc.multiply(pc.divide(values, every), every)).cast(pa.int64())
