"""The SQL of an expression for Spark, with the meaning that it has on DuckDB.

Ibis' own translation differs where the engines do: Spark prints doubles otherwise, truncates where DuckDB rounds, reads other texts as dates, takes NaN for
null, splits by regular expressions and reads `v` for a vertical tab. What Spark can be told to do alike, it is told; a cast that only DuckDB does as DuckDB is
done by DuckDB, over Arrow batches in Spark's Python workers, which have this package.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.operations as ops
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.sql.compilers.pyspark import PySparkCompiler
    from pyspark.sql import SparkSession

# A compiler notes the conversions that it meets in one list.
_ONE_AT_A_TIME = threading.Lock()
_local = threading.local()


@dataclass(frozen=True)
class Conversion:
    """A cast that DuckDB does for Spark, to one of DuckDB's types; `tried` gives null for what it can not read."""

    to: str
    tried: bool

    @property
    def name(self) -> str:
        """The name of the function in Spark's SQL."""
        spelt = "".join(sign if sign.isalnum() else "_" for sign in self.to.lower()).strip("_")
        return f"lab_insights_{'try_' if self.tried else ''}{spelt}"

    def __call__(self, values: pa.Array) -> pa.Array:
        """Return the values, converted, in order."""
        import pyarrow as pa

        connection = _duckdb()
        connection.register("given", pa.table({"x": values}))
        try:
            cast = f"{'TRY_CAST' if self.tried else 'CAST'}(x AS {self.to})"
            return connection.execute(f"SELECT {cast} AS x FROM given").to_arrow_table()["x"].combine_chunks()
        finally:
            connection.unregister("given")

    def register(self, session: SparkSession) -> None:
        """Make the function known to a session."""
        import pyarrow as pa
        from pyspark.sql.pandas.functions import arrow_udf
        from pyspark.sql.pandas.types import from_arrow_type

        def converted(values: pa.Array) -> pa.Array:
            return self(values)

        # PySpark reads the hints as types, and here they are texts.
        converted.__annotations__ = {"values": pa.Array, "return": pa.Array}
        kind = self(pa.nulls(0, pa.string())).type
        session.udf.register(self.name, arrow_udf(converted, returnType=from_arrow_type(kind)))  # type: ignore[call-overload]


def _duckdb() -> Any:
    import duckdb

    if not hasattr(_local, "connection"):
        # One thread, so that rows stay in order.
        _local.connection = duckdb.connect(config={"threads": 1})
    return _local.connection


@dataclass(frozen=True)
class SparkSql:
    """A query in Spark's SQL, and the conversions that it calls."""

    text: str
    conversions: tuple[Conversion, ...]


def spark_sql(expression: ir.Table) -> SparkSql:
    """Return the SQL of an expression."""
    with _ONE_AT_A_TIME:
        compiler, wanted = _compiler()
        wanted.clear()
        query = compiler.to_sqlglot(expression.unbind())
        return SparkSql(query.sql(dialect=compiler.dialect, copy=False), tuple(dict.fromkeys(wanted)))


def _alike(given: dt.DataType, to: dt.DataType) -> bool:
    """Whether Spark's cast gives what DuckDB's does, for every value of the type."""
    if given.is_null():
        return True
    if to.is_string():
        # DuckDB writes DECIMAL(2,2) without the digit before the point.
        return bool(
            given.is_string()
            or given.is_boolean()
            or given.is_integer()
            or given.is_temporal()
            or (given.is_decimal() and given.precision > given.scale)
        )
    if given.is_boolean():
        return bool(to.is_boolean() or to.is_integer())
    if given.is_integer():
        return bool(to.is_numeric())
    if given.is_decimal():
        return bool(to.is_decimal())
    return bool((given.is_date() or given.is_timestamp()) and (to.is_date() or to.is_timestamp()))


@functools.cache
def _compiler() -> tuple[PySparkCompiler, list[Conversion]]:  # noqa: C901 (a class of a library that is imported here)
    """Return the compiler, and the list in which it notes the conversions that a query calls."""
    import sqlglot.expressions as sge
    from ibis.backends.sql.compilers.base import SQLGlotCompiler
    from ibis.backends.sql.compilers.pyspark import PySparkCompiler
    from ibis.backends.sql.datatypes import DuckDBType

    wanted: list[Conversion] = []

    class Compiler(PySparkCompiler):  # type: ignore[misc]
        __slots__ = ()

        # Its own ones take NaN for null.
        visit_Field = SQLGlotCompiler.visit_Field  # noqa: N815 (Ibis finds its visitors by name)
        visit_IsNull = SQLGlotCompiler.visit_IsNull  # noqa: N815 (Ibis finds its visitors by name)
        visit_NotNull = SQLGlotCompiler.visit_NotNull  # noqa: N815 (Ibis finds its visitors by name)

        def visit_Cast(self, op: ops.Cast, *, arg: Any, to: dt.DataType) -> Any:  # noqa: N802
            return super().visit_Cast(op, arg=arg, to=to) if _alike(op.arg.dtype, to) else self._converted(arg, to, tried=False)

        def visit_TryCast(self, op: ops.TryCast, *, arg: Any, to: dt.DataType) -> Any:  # noqa: N802
            if _alike(op.arg.dtype, to) or (to.is_decimal() and _is_plain_number(op.arg)):
                return super().visit_TryCast(op, arg=arg, to=to)
            return self._converted(arg, to, tried=True)

        def _converted(self, arg: Any, to: dt.DataType, *, tried: bool) -> Any:
            conversion = Conversion(DuckDBType.to_string(to), tried)
            wanted.append(conversion)
            return self.f.anon[conversion.name](arg)

        def visit_NonNullLiteral(self, op: ops.Literal, *, value: Any, dtype: dt.DataType) -> Any:  # noqa: N802
            if dtype.is_string() and any(sign < " " or sign in "\\'" for sign in value):
                return self.f.anon.decode(self.f.anon.unhex(value.encode().hex()), "UTF-8")
            if dtype.is_floating():
                return SQLGlotCompiler.visit_NonNullLiteral(self, op, value=value, dtype=dtype)
            return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

        def visit_Strip(self, op: ops.Strip, *, arg: Any) -> Any:  # noqa: ARG002, N802
            return self.f.anon.btrim(arg, self.f.anon.decode(self.f.anon.unhex(b" \t\n\r\v\f".hex()), "UTF-8"))

        def visit_StringSplit(self, op: ops.StringSplit, *, arg: Any, delimiter: Any) -> Any:  # noqa: ARG002, N802
            return self.f.anon.split(arg, self.f.concat(self._text("\\Q"), delimiter, self._text("\\E")))

        def visit_RegexSearch(self, op: ops.RegexSearch, *, arg: Any, pattern: Any) -> Any:  # noqa: N802
            # In Java `$` is also the place before a last line's end.
            text = op.pattern.value
            pattern = self._text(f"{text[:-1]}\\z") if text.endswith("$") and not text.endswith("\\$") else pattern
            return sge.RegexpLike(this=arg, expression=pattern)

        def _text(self, text: str) -> Any:
            return self.f.anon.decode(self.f.anon.unhex(text.encode().hex()), "UTF-8")

    return Compiler(), wanted


def _is_plain_number(value: Any) -> bool:
    """Whether a text is null unless a regular expression has shown it to be a number, which both engines then read alike."""
    import ibis.expr.operations as ops

    return isinstance(value, ops.IfElse) and isinstance(value.bool_expr, ops.RegexSearch)
