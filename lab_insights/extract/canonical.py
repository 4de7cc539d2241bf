"""One canonical text of a row that the source computes in SQL and DuckDB over what was landed, so that the two sides compare digests, not rows.

The text of a value is the one that the source ships it as (`projection`), with its length before it, so that no two rows look alike. Floating point has no
text that two engines print alike: such columns are left out here, and compared exactly once the rows are read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_insights.config import Engine
from lab_insights.extract.catalog import Column
from lab_insights.extract.projection import TEXT_SUFFIX, Shipped
from lab_insights.lake.checksum import value_text
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

# Hexadecimal digits of an MD5 that make a number: 60 bits, which every side adds up without overflow.
DIGITS = 15


@dataclass(frozen=True)
class Canonical:
    """A column on both sides: `source` is the SQL of its text there, `lake` that of its text in DuckDB."""

    source: sa.ColumnElement[str]
    lake: str


def canonical(column: Column, shipped: Shipped, engine: Engine, schema: pa.Schema) -> Canonical | None:
    """Return a column's text on both sides, or None where it has none that they share; `schema` is that of the landed rows."""
    import pyarrow.types as pat

    if shipped.name not in schema.names or pat.is_floating(shipped.arrow):
        return None
    source = _source_text(shipped, engine)
    lake = _lake_text(quoted(shipped.name, "duckdb"), schema.field(shipped.name).type, column, engine)
    beside = f"{shipped.name}{TEXT_SUFFIX}"
    if beside in schema.names:
        lake = f"COALESCE({quoted(beside, 'duckdb')}, {lake})"
    return Canonical(source, lake)


def _source_text(shipped: Shipped, engine: Engine) -> sa.ColumnElement[str]:
    import pyarrow.types as pat
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    its, text = shipped.expression, mysql.CHAR() if engine == "mysql" else sa.Text()
    if shipped.parsed or pat.is_string(shipped.arrow):
        return its
    if pat.is_binary(shipped.arrow):
        return sa.func.hex(its) if engine == "mysql" else sa.func.upper(sa.func.encode(its, sa.literal("hex", sa.String())))
    # Adding nothing takes the zeros from MySQL's ZEROFILL columns.
    return sa.cast(its if pat.is_boolean(shipped.arrow) else its + sa.literal(0, sa.Integer()), text)


def _lake_text(name: str, kind: pa.DataType, column: Column, engine: Engine) -> str:
    import pyarrow.types as pat

    if pat.is_date(kind):
        return f"STRFTIME({name}, '%Y-%m-%d')"
    if pat.is_timestamp(kind):
        text = f"STRFTIME({name}, '%Y-%m-%d %H:%M:%S.%f')"
        if engine == "postgresql":
            return f"RTRIM(RTRIM({text}, '0'), '.')"
        digits = re.search(r"\((\d)\)", column.type)
        return f"LEFT({text}, {20 + int(digits[1]) if digits and digits[1] != '0' else 19})"
    return f"CAST({name} AS VARCHAR)" if pat.is_boolean(kind) else value_text(name, kind, "duckdb")


def source_digest(columns: Sequence[Canonical], engine: Engine) -> sa.ColumnElement[Any]:
    """Return the SQL of a row's digest at the source, a whole number below 2^60."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql

    def measured(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
        length = sa.cast(sa.func.char_length(text), mysql.CHAR() if engine == "mysql" else sa.Text())
        # Not PostgreSQL's CONCAT, which takes null for an empty text.
        parts = [length, sa.literal(":", sa.String()), text]
        whole = sa.func.concat(*parts) if engine == "mysql" else functools.reduce(lambda one, other: one.op("||")(other), parts)
        return sa.func.coalesce(whole, sa.literal("-", sa.String()))

    digest = sa.func.left(sa.func.md5(sa.func.concat(*(measured(column.source) for column in columns))), DIGITS)
    if engine == "mysql":
        return sa.cast(sa.func.conv(digest, 16, 10), mysql.INTEGER(unsigned=True))
    return sa.cast(sa.cast(sa.func.concat(sa.literal("x", sa.String()), digest), postgresql.BIT(4 * DIGITS)), sa.BigInteger())


def lake_digest(columns: Sequence[Canonical]) -> str:
    """Return the same of a landed row, in DuckDB's SQL."""
    texts = [f"COALESCE(CAST(LENGTH({column.lake}) AS VARCHAR) || ':' || {column.lake}, '-')" for column in columns]
    return f"CAST('0x' || LEFT(MD5({' || '.join(texts)}), {DIGITS}) AS BIGINT)"
