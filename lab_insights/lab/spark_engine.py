"""The second engine: runs the same expressions as `Duck` on Spark, with the same rows. Tests and the benchmark compare the two; deployments derive by DuckDB.

Types that Spark does not have travel as wider ones, and come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lab_insights.lab.engine import BATCH_ROWS, Query
from lab_insights.lab.spark_sql import Conversion

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
}
TEXT, TIME = Conversion("VARCHAR", tried=False), Conversion("TIME", tried=False)


class Spark:
    """A session of its own in which inputs, tables or parquet files, are views under their names; the result is a frame, computed when it is read."""

    def __init__(self, inputs: Mapping[str, pa.Table | Sequence[str]], session: SparkSession) -> None:
        self._session = session.newSession()
        for setting, value in _SETTINGS.items():
            self._session.conf.set(setting, value)
        self._names = tuple(inputs)
        for name, data in inputs.items():
            self._frame(data).createOrReplaceTempView(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in self._names:
            self._session.catalog.dropTempView(name)

    def run(self, query: Query) -> None:
        """Plan `query`; its rows are computed by what asks for them."""
        for conversion in query.spark.conversions:
            conversion.register(self._session)
        self.frame = self._session.sql(query.spark.text)
        self.schema = query.schema

    def table(self) -> pa.Table:
        """Return the result as a whole, in the declared types."""
        import pyarrow as pa

        given = self.frame.toArrow()
        return pa.Table.from_batches([restored(batch, self.schema) for batch in given.to_batches()], self.schema)

    def _frame(self, data: pa.Table | Sequence[str]) -> DataFrame:
        import pyarrow as pa

        if not isinstance(data, pa.Table):
            return self._session.read.parquet(*data)
        batches = [carried(batch) for batch in data.to_batches()]
        return self._session.createDataFrame(pa.Table.from_batches(batches, carried_schema(data.schema)))


def carried_schema(schema: pa.Schema) -> pa.Schema:
    """Return the types in which Spark carries those of a schema."""
    import pyarrow as pa

    return pa.schema([(each.name, _carried(each.type)) for each in schema])


def _carried(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa
    import pyarrow.types as pat

    if pat.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    if pat.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}[kind.bit_width]
    if pat.is_time(kind) or pat.is_large_string(kind) or pat.is_null(kind):
        return pa.string()
    return pa.binary() if pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind) else kind


def carried(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch in the types in which Spark carries it; times as DuckDB writes them."""
    import pyarrow as pa
    import pyarrow.types as pat

    wanted = carried_schema(batch.schema)
    columns = [
        TEXT(column) if pat.is_time(column.type) else column.cast(each.type) for column, each in zip(batch.columns, wanted, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def restored(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of Spark's in the types that the query declares."""
    import pyarrow as pa
    import pyarrow.types as pat

    columns = [
        (TIME(column) if pat.is_time(each.type) else column).cast(each.type) for column, each in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
