"""The safe projection: SQL generated from the catalog that no reader can alter a value of, and the exact cast that follows it.

connectorx and ADBC each alter some types (DECIMAL, zero dates, TIME over 24 h, `infinity`, jsonb `1.10`); those columns are shipped as the server's
own text and cast exactly in Arrow. A value that the column's type can not hold stays null there and is kept, as text, in a column `<name>__text` beside it;
so is that a value was too long to be sent.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from lab_insights.config import Engine
from lab_insights.extract.catalog import Column, SourceTable

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

TEXT_SUFFIX = "__text"
# What MySQL sends in the place of a text that is longer than it sends, of which its functions make null without an error.
_NOT_SENT = ("not sent: ", " bytes, as text more than max_allowed_packet")
Fidelity = Literal["exact", "widened", "text"]


@dataclass(frozen=True)
class Shipped:
    """How a column travels: the SQL expression, the Arrow type it lands as, and how faithful that is."""

    name: str
    expression: sa.ColumnElement[Any]
    arrow: pa.DataType
    fidelity: Fidelity
    parsed: bool = False
    """Shipped as text and cast to `arrow` here."""
    long: bool = False
    """Shipped as text that may be longer than the server sends."""


def landing_names(names: Sequence[str], spelled: Sequence[str] = ()) -> list[str]:
    """Return the names under which columns land: their own, with underscores after one that no later engine could tell from another.

    DuckDB, Snowflake and Glue take `Note` and `note` for one column, which PostgreSQL does not; and `x__text` is where misfits of `x` go. A name is
    that of the column that is `spelled` so (of two of these that are alike, the last), else of the one that comes first.
    """
    kept = {name.lower(): name for name in spelled}
    taken = {f"{name}{TEXT_SUFFIX}".lower() for name in names}
    landed = []
    for name in names:
        its = name
        while its.lower() in taken or kept.get(its.lower(), its) != its:
            its += "_"
        taken.add(its.lower())
        landed.append(its)
    return landed


def landed(table: SourceTable) -> list[str]:
    """Return the names under which a relational table's columns land, in order: its key, its cursor and what else is looked for by name keep theirs."""
    return landing_names([column.name for column in table.columns], (*table.spelled, *(table.placement.discriminator or ())[:1]))


def ship(column: Column, engine: Engine, source: sa.ColumnElement[Any]) -> Shipped:
    """Return how `column`, found under the expression `source`, is shipped from a relational source."""
    return (_mysql if engine == "mysql" else _postgresql)(column, source)


def _mysql(column: Column, source: sa.ColumnElement[Any]) -> Shipped:  # noqa: C901 (a table of types, read from top to bottom)
    import pyarrow as pa
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    text = sa.cast(source, mysql.CHAR)
    kind = column.type
    unsigned = "unsigned" in kind
    for name, signed_type, unsigned_type in (
        ("tinyint", pa.int8(), pa.uint8()),
        ("smallint", pa.int16(), pa.uint16()),
        ("mediumint", pa.int32(), pa.uint32()),
        ("bigint", pa.int64(), pa.uint64()),
        ("integer", pa.int32(), pa.uint32()),
        ("int", pa.int32(), pa.uint32()),
    ):
        if kind.startswith(name):
            return Shipped(column.name, source, unsigned_type if unsigned else signed_type, "exact")
    if kind.startswith("decimal"):
        return _decimal(column, text)
    if kind.startswith("float"):
        return Shipped(column.name, source, pa.float32(), "exact")
    if kind.startswith("double"):
        return Shipped(column.name, source, pa.float64(), "exact")
    if kind.startswith(("datetime", "timestamp")):
        return Shipped(column.name, text, pa.timestamp("us"), "exact", parsed=True)
    if kind == "date":
        return Shipped(column.name, text, pa.date32(), "exact", parsed=True)
    if kind.startswith(("year", "bit")):
        return Shipped(column.name, sa.cast(source, mysql.INTEGER(unsigned=True)), pa.int32() if kind[0] == "y" else pa.uint64(), "widened")
    if kind.startswith(("mediumtext", "longtext")):
        return Shipped(column.name, _sent(text, source), pa.string(), "exact", long=True)
    if kind.startswith(("char", "varchar", "tinytext", "text", "enum", "set")):
        return Shipped(column.name, text, pa.string(), "exact")
    if "blob" in kind or "binary" in kind:
        return Shipped(column.name, source, pa.binary(), "exact")
    if kind.startswith(("time", "uuid")):
        return Shipped(column.name, text, pa.string(), "text")
    return Shipped(column.name, _sent(text if kind == "json" else sa.func.hex(source), source), pa.string(), "text", long=True)


def _sent(text: sa.ColumnElement[Any], source: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the text that is sent of a value, or where that is null and the value is not, that it was not sent."""
    import sqlalchemy as sa

    before, after = (sa.literal(each, sa.String()) for each in _NOT_SENT)
    return sa.func.coalesce(text, sa.case((source.is_not(None), sa.func.concat(before, sa.func.length(source), after))))


def _postgresql(column: Column, source: sa.ColumnElement[Any]) -> Shipped:
    import pyarrow as pa
    import sqlalchemy as sa

    text = sa.cast(source, sa.Text)
    kind = column.type
    exact: dict[str, pa.DataType] = {
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "boolean": pa.bool_(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "bytea": pa.binary(),
        "text": pa.string(),
    }
    if kind in exact:
        return Shipped(column.name, source, exact[kind], "exact")
    if kind.endswith("]"):
        return Shipped(column.name, text, pa.string(), "text")
    if kind.startswith(("varchar", "char")):
        return Shipped(column.name, text, pa.string(), "exact")
    if kind.startswith("numeric("):
        return _decimal(column, text)
    if kind.startswith(("timestamp ", "timestamp(")):
        in_utc = sa.func.timezone("UTC", source) if "with time zone" in kind and "without" not in kind else source
        return Shipped(column.name, sa.cast(in_utc, sa.Text), pa.timestamp("us"), "exact", parsed=True)
    if kind == "date":
        return Shipped(column.name, text, pa.date32(), "exact", parsed=True)
    return Shipped(column.name, text, pa.string(), "text")


def _decimal(column: Column, text: sa.ColumnElement[Any]) -> Shipped:
    import pyarrow as pa

    precision, scale = column.reflected.precision or 10, column.reflected.scale or 0
    if precision > 38 or scale < 0 or scale > precision:
        return Shipped(column.name, text, pa.string(), "text")
    return Shipped(column.name, text, pa.decimal128(precision, scale), "exact", parsed=True)


def cast(batch: pa.RecordBatch, shipped: tuple[Shipped, ...]) -> pa.RecordBatch:
    """Return a batch as it came from the reader with every column in its landing type, in order, and `__text` columns where a value did not fit."""
    import pyarrow as pa

    names, arrays = [], []
    for position, column in enumerate(shipped):
        values = batch.column(position)
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        typed, misfits = parse(values.cast(pa.string()), column.arrow) if column.parsed else _typed(values, column.arrow)
        if column.long:
            typed, misfits = _not_sent(typed)
        names.append(column.name)
        arrays.append(typed)
        if misfits is not None:
            names.append(f"{column.name}{TEXT_SUFFIX}")
            arrays.append(misfits)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _not_sent(texts: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray | None]:
    """Return the texts that were sent, and what was said in the place of others. A text that only looks like it is kept all the same, beside its column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    said = pc.match_substring_regex(texts, f"^{_NOT_SENT[0]}[0-9]+{_NOT_SENT[1]}$")
    if not pc.any(said).as_py():
        return texts, None
    nothing = pa.scalar(None, pa.string())
    return pc.if_else(said, nothing, texts), pc.if_else(said, texts, nothing)


def _typed(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, pa.StringArray | None]:
    r"""Return what a reader typed as `kind`, and as text what that does not hold: a column was altered since the crawl, or its bytes are no text.

    Bytes that are not UTF-8 become hexadecimal, `\x…`: a PostgreSQL database of encoding SQL_ASCII checks nothing.
    """
    import pyarrow as pa

    try:
        typed = values if values.type.equals(kind) else values.cast(kind)
        typed.validate(full=True)
    except pa.ArrowInvalid:
        held = [_held(value, kind) for value in (values.cast(pa.binary()) if pa.types.is_string(kind) else values)]
        return pa.array([value for value, _ in held], kind), pa.array([misfit for _, misfit in held], pa.string())
    return typed, None


def _held(value: pa.Scalar, kind: pa.DataType) -> tuple[Any, str | None]:
    """Return one value as `kind` holds it, or its text."""
    import pyarrow as pa

    try:
        return value.cast(kind).as_py(), None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raw = value.as_py()
        return None, f"\\x{raw.hex()}" if isinstance(raw, bytes) else str(raw)


def parse(text: pa.StringArray, kind: pa.DataType) -> tuple[pa.Array, pa.StringArray | None]:
    """Return `text` as `kind`, exactly, and the texts that `kind` can not hold (null elsewhere), or None when every value fits."""
    import pyarrow as pa

    try:
        return text.cast(kind), None
    except pa.ArrowInvalid:
        pass
    exactly = _exact(kind)
    values = text.to_pylist()
    typed = [None if value is None else exactly(value) for value in values]
    misfits = [value if fitted is None else None for value, fitted in zip(values, typed, strict=True)]
    return pa.array(typed, kind), pa.array(misfits, pa.string())


def _exact(kind: pa.DataType) -> Callable[[str], Any]:
    """Return the function that reads one text as `kind`, or None where it does not fit."""
    import pyarrow as pa

    def read(value: str) -> Any:
        try:
            if pa.types.is_timestamp(kind):
                return datetime.fromisoformat(value)
            if pa.types.is_date(kind):
                return date.fromisoformat(value)
            number = decimal.Decimal(value)
            with decimal.localcontext(prec=80):
                fits = number.is_finite() and number == number.quantize(decimal.Decimal(1).scaleb(-kind.scale))
            return pa.scalar(number, kind).as_py() if fits else None
        except (ValueError, decimal.InvalidOperation, pa.ArrowInvalid):
            return None

    return read
