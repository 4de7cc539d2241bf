"""What fakesnow 0.12.1 gets wrong, put right in place; each mend says what was seen without it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import duckdb
import fakesnow.arrow
import pyarrow as pa
import pyarrow.compute as pc
from fakesnow import copy_into, info_schema, transforms
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

_UTC_OFFSET = 1440  # minutes, with 1440 added: how Snowflake writes a zone


def mend() -> None:
    """Apply every mend to the imported fakesnow."""
    fakesnow.arrow.timestamp_to_sf_struct = timestamps
    FakeSnowflakeCursor.execute = _with_sql_errors(FakeSnowflakeCursor.execute)
    transforms.numeric_agg_implicit_cast = _exact_sums(transforms.numeric_agg_implicit_cast)
    info_schema.insert_text_lengths_sql = _escaped(_not_in_a_merge(info_schema.insert_text_lengths_sql))
    info_schema.insert_table_comment_sql = _not_in_a_merge(info_schema.insert_table_comment_sql)
    copy_into._get_table_columns = _exact_columns
    DuckDB.Generator.TRANSFORMS[exp.MD5NumberLower64] = lambda self, e: _half_of_md5(self.sql(e, "this"), 17)
    DuckDB.Generator.TRANSFORMS[exp.MD5NumberUpper64] = lambda self, e: _half_of_md5(self.sql(e, "this"), 1)


def timestamps(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return Snowflake's struct of a timestamp column of any unit, with its nulls, which were read as 1970-01-01."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    micros = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    whole = pc.floor_temporal(micros, unit="second").cast(pa.int64())
    nanos = pc.multiply(pc.subtract(micros.cast(pa.int64()), whole), 1000).cast(pa.int32())
    parts = {"epoch": pc.divide(whole, 1_000_000), "fraction": nanos}
    if column.type.tz:
        parts["timezone"] = pa.array([_UTC_OFFSET] * len(column), pa.int32())
    fields = [pa.field(name, part.type, nullable=False) for name, part in parts.items()]
    return pa.StructArray.from_arrays([part.fill_null(0) for part in parts.values()], fields=fields, mask=pc.is_null(column))


def _with_sql_errors(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Any error is a SQL error: as HTTP 500 the connector repeats the statement for minutes."""

    def wrapped(self: Any, command: str, *args: Any, **options: Any) -> Any:
        try:
            return execute(self, command, *args, **options)
        except Error:
            raise
        except (duckdb.TransactionException, duckdb.ConstraintException) as error:
            if isinstance(error, duckdb.ConstraintException) and "Duplicate key" not in str(error):
                raise ProgrammingError(msg=str(error), errno=100072, sqlstate="22000") from error
            # where Snowflake waits for the lock, and gives up with this number; a key is double where two sessions note
            # the same new table
            raise ProgrammingError(msg=str(error), errno=625, sqlstate="57014") from error
        except Exception as error:
            traceback.print_exc()
            raise ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=603, sqlstate="XX000") from error

    return wrapped


def _exact_sums(implicit_cast: Callable[..., Any]) -> Callable[..., Any]:
    """`SUM` of a NUMBER stays exact: it was cast to DOUBLE in case it was text."""

    def numeric_agg_implicit_cast(expression: Any) -> Any:
        return expression if isinstance(expression, exp.Sum) else implicit_cast(expression)

    return numeric_agg_implicit_cast


def _not_in_a_merge(insert: Callable[..., str]) -> Callable[..., str]:
    """A MERGE in a transaction failed: notes on its helper table went to a second database, which DuckDB refuses."""

    def wrapped(catalog: str, schema: str, table: str, noted: Any) -> str:
        return "SELECT 1" if table.lower() == "merge_candidates" else insert(catalog, schema, table, noted)

    return wrapped


def _escaped(insert: Callable[..., str]) -> Callable[..., str]:
    """A column that is called `it's` failed the CREATE TABLE: its name went into a text literal as it is."""

    def wrapped(catalog: str, schema: str, table: str, noted: Any) -> str:
        return insert(catalog, schema, table.replace("'", "''"), [(name.replace("'", "''"), length) for name, length in noted])

    return wrapped


def _exact_columns(table: exp.Table, duck: duckdb.DuckDBPyConnection, database: str | None, schema: str | None) -> list[str]:
    """`MATCH_BY_COLUMN_NAME = CASE_SENSITIVE` compares exactly: the table's columns were taken as upper case."""
    return [name for name, _ in copy_into._describe_table(table, duck, database, schema)]


def _half_of_md5(argument: str, start: int) -> str:
    return f"CAST(CAST('0x' || SUBSTR(MD5({argument}), {start}, 16) AS UBIGINT) AS DECIMAL(20, 0))"
