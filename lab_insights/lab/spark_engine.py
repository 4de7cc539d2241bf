"""The Spark engine: runs the same expressions as `Duck`, with the same rows, for what one machine can not do.

Inputs that are large are read by Spark's tasks, part by part, as manifests name them, and the result is landed by tasks too: the driver sees no row of them.
Types that Spark does not have travel as wider ones, and come back.
"""

from __future__ import annotations

import base64
import functools
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lab_insights.errors import LabInsightsError, LandingMismatch
from lab_insights.extract.resume import Finished
from lab_insights.extract.spark_tasks import Order, packed
from lab_insights.lab.engine import BATCH_ROWS, Divided, Query, Tally, database, tallied
from lab_insights.lab.spark_sql import Conversion
from lab_insights.lake import parts
from lab_insights.lake.checksum import checksum_sql
from lab_insights.lake.commit import Facts
from lab_insights.lake.manifest import decode_schema, encode_schema
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.datasource import DataSource, InputPartition

    from lab_insights.lab.engine import Piece

FORMAT = "lab_insights_parts"
REQUEST = "secret_request"
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
}
TEXT, TIME = Conversion("VARCHAR", tried=False), Conversion("TIME", tried=False)


class Spark:
    """A session of its own in which inputs are views under their names; the result is a frame that is computed when it is landed or read."""

    name = "spark"

    def __init__(self, inputs: Mapping[str, Any], session: SparkSession) -> None:
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

    def land(self, storage: Storage, intent: Intent, without: tuple[str, ...], tally: Tally) -> tuple[parts.Landed, Facts]:
        """Compute the result and let each task land what it computed; return the parts, the checksum over all columns but `without`, and the counts."""
        order = Order(storage, intent, encode_schema(self.schema), 0, "")
        try:
            rows = self.frame.mapInArrow(functools.partial(_land, packed(order), without, tally), "finished STRING").collect()
        except Exception as error:  # noqa: BLE001 (what comes through Spark is of many classes, and may quote a row)
            order.sweep()
            raise LandingMismatch(
                f"Spark broke off ({type(error).__name__}).",
                remedy="look at Spark's log of this run; the workers need this package, and a way to the lake.",
                **intent.partition.where,
            ) from None
        done = [Finished.model_validate_json(row.finished) for row in rows]
        # An attempt that was killed, or that another one of the same task overtook, could not remove what it had written.
        order.sweep(kept=frozenset(part.key for each in done for part in each.parts))
        landed = parts.Landed(tuple(part for each in done for part in each.parts), self.schema, sum(int(each.total, 16) for each in done))
        counts = {name: sum(each.facts.counts.get(name, 0) for each in done) for name in tally}
        return landed, Facts(counts=counts, checksum=sum(each.facts.checksum or 0 for each in done))

    def _frame(self, data: Any) -> DataFrame:
        import pyarrow as pa
        import pyarrow.dataset as pads

        if isinstance(data, pads.UnionDataset):
            return functools.reduce(lambda one, other: one.unionAll(other), map(self._frame, data.children))
        if isinstance(data, pads.InMemoryDataset):
            data = data.to_table()
        if isinstance(data, pads.Dataset):
            return self._scanned([functools.partial(_scan, each, data.schema) for each in data.get_fragments()], data.schema)
        if isinstance(data, Divided) and data.large:
            return self._scanned(data.pieces(), data.schema)
        if isinstance(data, Divided):
            data = data.reader()
        whole: pa.Table = data.read_all() if isinstance(data, pa.RecordBatchReader) else data
        batches = [carried(batch) for batch in whole.to_batches()]
        return self._session.createDataFrame(pa.Table.from_batches(batches, carried_schema(whole.schema)))

    def _scanned(self, pieces: Sequence[Piece], schema: pa.Schema) -> DataFrame:
        from pyspark.sql.pandas.types import from_arrow_schema

        self._session.dataSource.register(_data_source())
        kinds = from_arrow_schema(carried_schema(schema), prefer_timestamp_ntz=False)
        return self._session.read.format(FORMAT).schema(kinds).option(REQUEST, packed([*pieces])).load()


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


@functools.cache
def _data_source() -> type[DataSource]:
    from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

    class PartsReader(DataSourceReader):
        def __init__(self, request: str) -> None:
            self._request = request

        def partitions(self) -> list[InputPartition]:
            return [InputPartition(number) for number in range(len(_unpacked(self._request)))]

        def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
            return map(carried, _unpacked(self._request)[partition.value]())

    class Parts(DataSource):
        @classmethod
        def name(cls) -> str:
            return FORMAT

        def reader(self, schema: Any) -> DataSourceReader:  # noqa: ARG002
            return PartsReader(self.options[REQUEST])

    return Parts


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301 (pickled by the driver of this session)


def _scan(fragment: pads.Fragment, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    yield from fragment.to_batches(schema=schema, use_threads=False)


@dataclass
class _Typed:
    """The batches of a task in the declared types; afterwards `facts` has checksum and counts of them."""

    given: Iterator[pa.RecordBatch]
    schema: pa.Schema
    without: tuple[str, ...]
    tally: Tally
    facts: Facts = field(default_factory=lambda: Facts(checksum=0))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        columns = [(each.name, each.type) for each in self.schema if each.name not in self.without]
        statement = checksum_sql(columns, quoted("given", "duckdb"), "duckdb")
        total, counts = 0, Counter[str]()
        with database().cursor() as cursor:
            for each in self.given:
                batch = restored(each, self.schema)
                cursor.register("given", batch)
                total += int(cursor.execute(statement).fetchall()[0][1] or 0)
                counts.update(tallied(cursor, "given", self.tally))
                cursor.unregister("given")
                yield batch
        self.facts = Facts(counts=dict(counts), checksum=total)


def _land(packed_order: str, without: tuple[str, ...], tally: Tally, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Land what a task computed, and yield one row that says what it was; leave nothing of a task that failed, and raise errors of ours alone."""
    import pyarrow as pa
    from pyspark import TaskContext

    order: Order = _unpacked(packed_order)
    context = TaskContext.get()
    number, attempt = (context.partitionId(), context.taskAttemptId()) if context else (0, 0)
    reader = f"{number:03d}t{attempt}"
    rows = _Typed(batches, decode_schema(order.arrow_schema), without, tally)
    try:
        done = parts.land(order.storage, order.intent, rows, reader=reader)
    except BaseException as error:
        order.sweep(f"{reader}-")
        if isinstance(error, LabInsightsError) or not isinstance(error, Exception):
            raise
        raise LandingMismatch(
            f"Landing broke off in a Spark task ({type(error).__name__}).",
            remedy="look at the lake's own log; then materialize again.",
            **order.intent.partition.where,
        ) from None
    told = Finished(number=number, source="", parts=done.parts, arrow_schema=order.arrow_schema, total=f"{done.total:x}", facts=rows.facts)
    yield pa.RecordBatch.from_pydict({"finished": [told.model_dump_json()]})
