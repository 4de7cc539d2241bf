"""What runs in Spark's workers: a data source whose partitions are key ranges, and whose writer lands each of them.

A task reads its range by the same reader as the Arrow engine and writes its parts to the lake itself, verified like any other's; the driver is told what
the parts are, and never sees a row. Between reader and writer each batch is one binary value, an Arrow IPC stream: Spark has no unsigned integers, and
wants its columns declared before the first row is seen, while a `__text` column appears only with the first value that needs it.

Names of parts carry the task's attempt. What an attempt that failed, was killed or came second has written is in no commit message, so no manifest ever
names it; what can be removed at once is (`abort`, and the failing task itself), the rest is swept. The workers need this package, as the driver has it.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from lab_insights.errors import LabInsightsError, LandingMismatch, SourceError
from lab_insights.extract.read import SourceRows
from lab_insights.extract.resume import Finished
from lab_insights.lake import parts
from lab_insights.lake.commit import Facts
from lab_insights.lake.layout import batch_id
from lab_insights.lake.manifest import decode_schema, encode_schema
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.datasource import DataSource

FORMAT = "lab_insights_projection"
# The request holds the source's password: Spark redacts options whose name says `secret` wherever it shows any.
REQUEST = "secret_request"
# A row is a batch of rows, or, as the last one of a partition, what the reader knows of all of them.
ENVELOPE = "batch BINARY, facts STRING"


@dataclass(frozen=True)
class Order:
    """What a job's writer is told: where the attempt's parts go, how their columns are called, and the object that says what was written."""

    storage: Storage
    intent: Intent
    arrow_schema: str
    tasks: int
    told: str

    @property
    def prefix(self) -> str:
        """What the keys of all parts of the attempt begin with."""
        return f"{self.intent.partition.directory}/{batch_id(self.intent.batch, self.intent.attempt)}-"

    def tell(self, bodies: Sequence[str]) -> None:
        """Write down what all tasks of a job landed, each range once; raise `LandingMismatch` when it is not so."""
        done = [Finished.model_validate_json(body) for body in bodies]
        if sorted(each.number for each in done) != [*range(self.tasks)]:
            raise LandingMismatch(
                f"{len(done)} tasks were committed and {self.tasks} were to be.",
                remedy="materialize the partition again; nothing was committed.",
                tenant=self.intent.partition.tenant,
                table=self.intent.partition.table,
            )
        body = TypeAdapter(list[Finished]).dump_json(done)
        self.storage.put_new(self.intent.partition.layer, self.told, body)

    def discard(self, bodies: Sequence[str]) -> None:
        """Remove the parts of tasks whose job is not to be committed."""
        for body in bodies:
            for part in Finished.model_validate_json(body).parts:
                self.storage.delete(self.intent.partition.layer, part.key)

    def sweep(self, reader: str = "", kept: frozenset[str] = frozenset()) -> None:
        """Remove the parts of this attempt, or of one reader of it, that are not to be kept."""
        layer = self.intent.partition.layer
        for each in [*self.storage.stored(layer, f"{self.prefix}{reader}")]:
            if each.key.endswith(".parquet") and each.key not in kept:
                self.storage.delete(layer, each.key)


def packed(what: Any) -> str:
    """Return anything as the text of an option."""
    return base64.b64encode(pickle.dumps(what)).decode()


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301 (pickled by the driver of this session)


def data_source() -> type[DataSource]:  # noqa: C901 (classes of a library that is imported here)
    """Return the data source's class, which Spark sends to its workers by value."""
    from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, DataSourceReader, InputPartition, WriterCommitMessage

    class RangesReader(DataSourceReader):
        def __init__(self, request: str) -> None:
            self._request = request

        def partitions(self) -> list[InputPartition]:
            return [InputPartition(number) for number in range(len(_unpacked(self._request)))]

        def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
            return enveloped(_unpacked(self._request)[partition.value])

    class Landed(WriterCommitMessage):
        def __init__(self, body: str) -> None:
            self.body = body

    class PartsWriter(DataSourceArrowWriter):
        def __init__(self, request: str) -> None:
            self._request = request

        def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
            return Landed(landed(_unpacked(self._request), iterator))

        def commit(self, messages: list[WriterCommitMessage | None]) -> None:
            _unpacked(self._request).tell([each.body for each in messages if isinstance(each, Landed)])

        def abort(self, messages: list[WriterCommitMessage | None]) -> None:
            _unpacked(self._request).discard([each.body for each in messages if isinstance(each, Landed)])

    class Projection(DataSource):
        @classmethod
        def name(cls) -> str:
            return FORMAT

        def reader(self, schema: Any) -> DataSourceReader:  # noqa: ARG002
            return RangesReader(self.options[REQUEST])

        def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:  # noqa: ARG002
            return PartsWriter(self.options[REQUEST])

    return Projection


def enveloped(rows: SourceRows) -> Iterator[pa.RecordBatch]:
    """Yield each batch of `rows` as one binary value, and at the end their facts; raise errors of ours alone, since Spark logs what a task raises."""
    import pyarrow as pa

    schema = pa.schema([("batch", pa.binary()), ("facts", pa.string())])
    try:
        for batch in rows:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.RecordBatch.from_pylist([{"batch": sink.getvalue().to_pybytes()}], schema)
        yield pa.RecordBatch.from_pylist([{"facts": TypeAdapter(Facts).dump_json(rows.facts()).decode()}], schema)
    except LabInsightsError:
        raise
    except Exception as error:  # noqa: BLE001 (a driver's own text may quote a row, and would be in every log of the cluster)
        raise SourceError(
            f"Reading broke off in a Spark task ({type(error).__name__}).",
            remedy="look at the source's own log for this statement; then materialize again.",
            tenant=rows.table.tenant,
            table=rows.table.table_id,
        ) from None


@dataclass
class Unwrapped:
    """The batches inside envelopes; at the end `facts` says what their reader knew, and `read` how many rows came."""

    envelopes: Iterator[pa.RecordBatch]
    schema: pa.Schema
    facts: Facts | None = None
    read: int = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for envelope in self.envelopes:
            for inner, facts in zip(*envelope.columns, strict=True):
                if facts.is_valid:
                    self.facts = TypeAdapter(Facts).validate_json(facts.as_py())
                    continue
                for batch in pa.ipc.open_stream(inner.as_buffer()):
                    self.read += batch.num_rows
                    yield batch


def landed(order: Order, envelopes: Iterator[pa.RecordBatch]) -> str:
    """Land the range of this task, and return what it was; raise errors of ours alone, and leave nothing of a range that failed."""
    from pyspark import TaskContext

    context = TaskContext.get()
    number, attempt = (context.partitionId(), context.taskAttemptId()) if context else (0, 0)
    reader = f"{number:03d}t{attempt}"
    rows = Unwrapped(envelopes, decode_schema(order.arrow_schema))
    try:
        done = parts.land(order.storage, order.intent, rows, reader=reader)
        if rows.facts is None or rows.facts.proof is None or rows.facts.proof.rows != rows.read:
            raise LandingMismatch(
                f"{rows.read} rows arrived in a Spark task, which are not all that its reader read.",
                remedy="materialize the partition again; nothing was committed.",
                tenant=order.intent.partition.tenant,
                table=order.intent.partition.table,
            )
    except BaseException:
        order.sweep(f"{reader}-")
        raise
    told = Finished(
        number=number, source="", parts=done.parts, arrow_schema=encode_schema(done.schema), total=f"{done.total:x}", facts=rows.facts
    )
    return told.model_dump_json()
