"""Order-free table checksums that DuckDB and Snowflake compute alike, from SQL that both can run.

Every value has one canonical text: instants and dates are counts since 1970-01-01 (no calendar formatting to disagree
about), decimals have their column's scale, doubles are their exact mantissa and exponent (no two engines print a double
alike), text is escaped so that no two rows look alike and null differs from empty. A row's number is made of 18
hexadecimal digits of the MD5 of its text with a–f read as 0–5: below 10^18, so it fits 60 bits, with 57 bits against an
accidental match. The table's checksum is the sum. Checked on DuckDB 1.5 and on the stand-in (DuckDB 2); on Snowflake by
the documented meaning of the functions used, not executed there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

Dialect = Literal["duckdb", "snowflake"]
Columns = Sequence[tuple[str, "pa.DataType"]]


def checksum_sql(columns: Columns, relation: str, dialect: Dialect, where: str | None = None) -> str:
    """Return the SQL of one row: the number of rows, and their checksum as text (null when there are none).

    `relation` is SQL (a quoted table, or a subquery in parentheses); rows count when `where` is true. The order of
    `columns` matters, that of rows does not.
    """
    digits = f"TRANSLATE(SUBSTR(MD5({row_text(columns, dialect)}), 1, 18), 'abcdef', '012345')"
    total = f"CAST(SUM(CAST({digits} AS {_integer(dialect)})) AS VARCHAR)"
    return f"SELECT COUNT(*) AS N, {total} AS CHECKSUM FROM {relation} AS R{_where(where)}"


def row_hash_sql(columns: Columns, key: Columns, relation: str, dialect: Dialect, where: str | None = None) -> str:
    """Return the SQL of a hash of the key and a hash of the row for each row.

    It has one placeholder: the secret that keys the hash of the key.
    """
    hashes = f"MD5(? || {row_text(key, dialect)}) AS K, MD5({row_text(columns, dialect)}) AS H"
    return f"SELECT {hashes} FROM {relation} AS R{_where(where)}"


def row_text(columns: Columns, dialect: Dialect) -> str:
    """Return the SQL of a row's canonical text; it is never null, and equal for equal rows only."""
    fields = []
    for name, kind in columns:
        text = value_text(quoted(name, dialect), kind, dialect)
        if _is_text(kind):
            text = f"REPLACE(REPLACE({text}, '~', '~0'), '|', '~1')"
        fields.append(f"COALESCE({text}, '~')")
    return f"CONCAT_WS('|', {', '.join(fields)})" if len(fields) > 1 else "".join(fields) or "''"


def value_text(value: str, kind: pa.DataType, dialect: Dialect) -> str:
    """Return the SQL of the canonical text of an expression of a type; null stays null."""
    import pyarrow.types as pat

    if pat.is_boolean(kind):
        return f"CASE WHEN {value} THEN '1' WHEN NOT {value} THEN '0' END"
    if pat.is_integer(kind):
        return f"CAST({value} AS VARCHAR)"
    if pat.is_decimal(kind):
        # a precision above the scale keeps the digit before the point: DuckDB writes DECIMAL(2,2) as `.50`
        return f"CAST(CAST({value} AS DECIMAL({max(kind.precision, kind.scale + 1)},{kind.scale})) AS VARCHAR)"
    if pat.is_floating(kind):
        return _double_text(f"CAST({value} AS DOUBLE)", dialect)
    if pat.is_date(kind):
        return f"CAST(DATEDIFF('day', CAST('1970-01-01' AS DATE), {value}) AS VARCHAR)"
    if pat.is_timestamp(kind):
        naive = "TIMESTAMP_NTZ" if dialect == "snowflake" else "TIMESTAMP"
        return f"CAST(DATEDIFF('microsecond', CAST('1970-01-01 00:00:00' AS {naive}), {value}) AS VARCHAR)"
    if pat.is_time(kind):
        return f"CAST(DATEDIFF('microsecond', CAST('00:00:00' AS TIME), CAST({value} AS TIME)) AS VARCHAR)"
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return f"HEX_ENCODE({value})" if dialect == "snowflake" else f"HEX({value})"
    return value if _is_text(kind) else f"CAST({value} AS VARCHAR)"


def _double_text(x: str, dialect: Dialect) -> str:
    """`<mantissa>p<exponent>` with 2^52 ≤ |mantissa| < 2^53. Scaling by powers of two is exact.

    The logarithm's last bit is corrected afterwards.
    """
    exponent = f"LEAST(GREATEST(FLOOR(LN(NULLIF(ABS({x}), 0)) / LN(2)), -1074), 1023)"
    scaled = f"({x} / POWER(2, {exponent}))"

    def form(bits: int) -> str:
        mantissa = f"CAST({scaled} * {2**bits} AS {_integer(dialect)})"
        return f"CAST({mantissa} AS VARCHAR) || 'p' || CAST(CAST({exponent} - {bits} AS {_integer(dialect)}) AS VARCHAR)"

    infinity, nan = "CAST('inf' AS DOUBLE)", "CAST('NaN' AS DOUBLE)"
    return (
        f"CASE WHEN {x} IS NULL THEN NULL WHEN {x} = 0 THEN '0' WHEN {x} = {nan} THEN 'nan' "
        f"WHEN {x} = {infinity} THEN 'inf' WHEN {x} = -{infinity} THEN '-inf' "
        f"WHEN ABS({scaled}) < 1 THEN {form(53)} WHEN ABS({scaled}) >= 2 THEN {form(51)} ELSE {form(52)} END"
    )


def _integer(dialect: Dialect) -> str:
    return "NUMBER(18,0)" if dialect == "snowflake" else "BIGINT"


def _where(where: str | None) -> str:
    return f" WHERE {where}" if where else ""


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_string(kind) or pat.is_large_string(kind))
