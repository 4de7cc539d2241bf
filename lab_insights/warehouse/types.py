"""The one table of types, Arrow → Snowflake, and how a column may widen without losing a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab_insights.lake.checksum import Dialect, value_text

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["NUMBER", "FLOAT", "VARCHAR", "BOOLEAN", "DATE", "TIME", "TIMESTAMP_NTZ", "BINARY"]
# What INFORMATION_SCHEMA calls them; text has several names there.
_CATALOG: dict[str, Kind] = {
    "NUMBER": "NUMBER",
    "FLOAT": "FLOAT",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP_NTZ": "TIMESTAMP_NTZ",
    "BINARY": "BINARY",
}
# NUMBER ends at 38 digits, 37 of them after the point.
DIGITS, SCALE = 38, 37
# Every whole number of up to 15 digits is a double.
DOUBLE_DIGITS = 15


@dataclass(frozen=True)
class ColumnType:
    """A Snowflake type; precision and scale are those of a NUMBER."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    @property
    def sql(self) -> str:
        """The type as it is declared; instants are naive, in UTC, with microseconds as in the lake."""
        if self.kind == "NUMBER":
            return f"NUMBER({self.precision},{self.scale})"
        return f"{self.kind}(6)" if self.kind in {"TIME", "TIMESTAMP_NTZ"} else self.kind

    @property
    def duckdb(self) -> str:
        """The DuckDB type with the same values."""
        names = {
            "NUMBER": f"DECIMAL({self.precision},{self.scale})",
            "FLOAT": "DOUBLE",
            "TIMESTAMP_NTZ": "TIMESTAMP",
            "BINARY": "BLOB",
        }
        return names.get(self.kind, self.kind)

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type with the same values."""
        import pyarrow as pa

        if self.kind == "NUMBER":
            return pa.decimal128(self.precision, self.scale)
        return {
            "FLOAT": pa.float64(),
            "VARCHAR": pa.string(),
            "BOOLEAN": pa.bool_(),
            "DATE": pa.date32(),
            "TIME": pa.time64("us"),
            "TIMESTAMP_NTZ": pa.timestamp("us"),
            "BINARY": pa.binary(),
        }[self.kind]


TEXT = ColumnType("VARCHAR")
# How an instant is written as text: in Snowflake, in DuckDB.
_FORMATS = {
    "DATE": ("YYYY-MM-DD", "%Y-%m-%d"),
    "TIME": ("HH24:MI:SS.FF6", "%H:%M:%S.%f"),
    "TIMESTAMP_NTZ": ("YYYY-MM-DD HH24:MI:SS.FF6", "%Y-%m-%d %H:%M:%S.%f"),
}
_INTEGERS = {"int8": 3, "int16": 5, "int32": 10, "int64": 19, "uint8": 3, "uint16": 5, "uint32": 10, "uint64": 20}


def from_arrow(kind: pa.DataType) -> ColumnType:
    """Return the Snowflake type of an Arrow type; what has no exact type of its own is text."""
    import pyarrow.types as pat

    if pat.is_dictionary(kind):
        return from_arrow(kind.value_type)
    if digits := _INTEGERS.get(str(kind)):
        return ColumnType("NUMBER", digits)
    if pat.is_decimal(kind) and kind.precision <= DIGITS and 0 <= kind.scale <= SCALE:
        return ColumnType("NUMBER", kind.precision, kind.scale)
    if pat.is_floating(kind):
        return ColumnType("FLOAT")
    if pat.is_boolean(kind):
        return ColumnType("BOOLEAN")
    if pat.is_date(kind):
        return ColumnType("DATE")
    if pat.is_time(kind):
        return ColumnType("TIME")
    if pat.is_timestamp(kind):
        return ColumnType("TIMESTAMP_NTZ")
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return ColumnType("BINARY")
    return TEXT


def from_catalog(data_type: str, precision: int | None, scale: int | None) -> ColumnType:
    """Return the type that INFORMATION_SCHEMA.COLUMNS describes; one that we never declare counts as text."""
    kind = _CATALOG.get(data_type, "VARCHAR")
    return ColumnType(kind, int(precision or DIGITS), int(scale or 0)) if kind == "NUMBER" else ColumnType(kind)


def widest(one: ColumnType, other: ColumnType) -> ColumnType:
    """Return the narrowest type that holds every value of both; text holds all of them."""
    if one == other:
        return one
    kinds = {one.kind, other.kind}
    if kinds == {"NUMBER"}:
        scale = max(one.scale, other.scale)
        precision = max(one.precision - one.scale, other.precision - other.scale) + scale
        return ColumnType("NUMBER", precision, scale) if precision <= DIGITS else TEXT
    if kinds == {"DATE", "TIMESTAMP_NTZ"}:
        return ColumnType("TIMESTAMP_NTZ")
    number = one if one.kind == "NUMBER" else other
    if kinds == {"NUMBER", "FLOAT"} and number.scale == 0 and number.precision <= DOUBLE_DIGITS:
        return ColumnType("FLOAT")
    return TEXT


def converted(value: str, held: ColumnType, wanted: ColumnType, dialect: Dialect) -> str:
    """Return the SQL that turns an expression of type `held` into the wider type `wanted`, alike in both dialects."""
    if held == wanted:
        return value
    if wanted.kind != "VARCHAR":
        return f"CAST({value} AS {wanted.sql if dialect == 'snowflake' else wanted.duckdb})"
    if held.kind == "BOOLEAN":
        return f"CASE WHEN {value} THEN 'true' WHEN NOT {value} THEN 'false' END"
    if held.kind in _FORMATS:
        snowflake, duckdb = _FORMATS[held.kind]
        if dialect == "snowflake":
            return f"TO_CHAR({value}, '{snowflake}')"
        # DuckDB formats no time without a day
        instant = f"DATE '1970-01-01' + {value}" if held.kind == "TIME" else value
        return f"STRFTIME({instant}, '{duckdb}')"
    return value_text(value, held.arrow, dialect)


def printed(value: str, held: ColumnType) -> str:
    """Return the SQL of what a reader is shown of an expression of type `held` as text: no checksum is made of it, so a FLOAT looks like a number."""
    return f"TO_CHAR({value})" if held.kind == "FLOAT" else converted(value, held, TEXT, "snowflake")
