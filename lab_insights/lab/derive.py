"""Deriving a batch: run an expression over committed batches and commit what comes out, once.

A derived partition is a pure function of its input manifests and of the code version; when both are those of the partition that lies there, nothing
is computed and nothing is written.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT
from lab_insights.lab.engine import Divided, Duck, Query
from lab_insights.lab.spark_engine import Spark
from lab_insights.lake import parts
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import Head, Intent
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import SMALL, partition_manifests, relation

if TYPE_CHECKING:
    import pyarrow as pa

    from lab_insights.lab.engine import Piece

    Inputs = Mapping[str, pa.RecordBatchReader | pa.Table | Divided]


Opened = Callable[["Inputs"], Duck | Spark]
"""How an engine is opened over inputs."""
# The one column that depends on the attempt and not on the inputs.
_ATTEMPT = ("batch_id",)


@dataclass(frozen=True)
class RawRows:
    """How many raw rows went into a curated batch, and how many of them have no whole key; `more` counts what the rows were made of."""

    rows: int
    excluded: int
    more: Mapping[str, int] = field(default_factory=dict)


@dataclass
class DerivedRows:
    """The result of an expression, as the lake's commit wants it."""

    engine: Duck
    raw: RawRows | None = None

    def __post_init__(self) -> None:
        self.schema = self.engine.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.engine.batches()

    def facts(self) -> Facts:
        """Return the checksum, and for curated batches how many of the raw rows were kept, superseded and excluded."""
        return _accounted(self.engine.rows(), self.engine.checksum(_ATTEMPT), self.raw)


@dataclass
class LandedRows:
    """The result of an expression on Spark, landed by its tasks."""

    engine: Spark
    raw: RawRows | None = None
    _facts: Facts = field(default_factory=Facts, init=False)

    def land(self, storage: Storage, intent: Intent) -> parts.Landed:
        """Land every task's rows."""
        landed, checksum = self.engine.land(storage, intent, _ATTEMPT)
        self._facts = _accounted(sum(part.rows for part in landed.parts), checksum, self.raw)
        return landed

    def facts(self) -> Facts:
        """Return the same as of `DerivedRows`."""
        return self._facts


def _accounted(kept: int, checksum: int, raw: RawRows | None) -> Facts:
    counts = {"kept": kept}
    if raw:
        counts |= {"superseded": raw.rows - raw.excluded - kept, "excluded": raw.excluded, **raw.more}
    return Facts(counts=counts, checksum=checksum)


def unchanged(lake: Lake, head: Head, draft: Draft) -> Manifest | None:
    """Return the live batch of the draft's partition when it was made from the same inputs by the same code."""
    if head.version == 0:
        return None
    there = partition_manifests(lake, draft.partition)
    last = there[-1] if there else None
    return last if last and last.inputs == draft.inputs and last.code_version == draft.code_version else None


def derive(
    lake: Lake, head: Head, draft: Draft, query: Query, inputs: Inputs, raw: RawRows | None = None, opened: Opened = Duck
) -> Manifest:
    """Run `query` over `inputs` and commit the result as the partition's batch, which says which engine made it."""
    with opened(inputs) as engine:
        engine.run(query)
        rows = DerivedRows(engine, raw) if isinstance(engine, Duck) else LandedRows(engine, raw)
        return commit(lake, head, dataclasses.replace(draft, engine=draft.engine or engine.name), rows)[0]


@dataclass(frozen=True)
class RawBatches:
    """Raw batches as an input: a stream for one reader, or part by part for many."""

    storage: Storage
    batches: tuple[Manifest, ...]
    columns: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows: the columns asked for, and those of their batches."""
        return _with_batch(self.columns)

    @property
    def large(self) -> bool:
        """Whether the parts are too large to be read whole."""
        return sum(part.bytes for manifest in self.batches for part in manifest.parts) > SMALL

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as one stream."""
        return raw_reader(self.storage, self.batches, self.columns)

    def pieces(self) -> list[Piece]:
        """Return a stream for each part."""
        alone = [manifest.model_copy(update={"parts": (part,)}) for manifest in self.batches for part in manifest.parts]
        return [functools.partial(_streamed, dataclasses.replace(self, batches=(each,))) for each in alone]


def _streamed(batches: RawBatches) -> Iterator[pa.RecordBatch]:
    yield from batches.reader()


def _with_batch(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([*schema, (BATCH, pa.string()), (INGESTED, pa.timestamp("us")), (TENANT, pa.string()), (GONE, pa.timestamp("us"))])


def raw_reader(storage: Storage, batches: Sequence[Manifest], schema: pa.Schema) -> pa.RecordBatchReader:
    """Return the rows of raw batches as one stream of `schema`, each with the batch that it came with; columns that a batch lacks are null."""
    import pyarrow as pa

    whole = _with_batch(schema)

    def stream() -> Iterator[pa.RecordBatch]:
        for manifest in batches:
            ingested, gone = (
                pa.scalar(at.replace(tzinfo=None) if at else None, pa.timestamp("us")) for at in (manifest.created_at, manifest.gone_at)
            )
            for batch in relation(storage, [manifest], schema).to_batches():
                constants = [
                    pa.repeat(each, batch.num_rows)
                    for each in (pa.scalar(manifest.batch_id), ingested, pa.scalar(str(manifest.tenant)), gone)
                ]
                yield pa.RecordBatch.from_arrays([*batch.columns, *constants], schema=whole)

    return pa.RecordBatchReader.from_batches(whole, stream())


def without_key(storage: Storage, batches: Sequence[Manifest], key: Sequence[str]) -> int:
    """Return how many rows of raw batches lack a part of their key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lacking = 0
    for manifest in batches:
        schema = pa.schema([field for field in manifest.schema_() if field.name in key])
        if len(schema) < len(key):
            lacking += manifest.rows
        elif key and manifest.rows:
            rows = relation(storage, [manifest], schema)
            null = functools.reduce(operator.or_, (pc.field(name).is_null() for name in key))
            lacking += rows.filter(null).num_rows if isinstance(rows, pa.Table) else rows.count_rows(filter=null)
    return lacking
