"""Writing a batch's rows as parquet parts, each read back and compared with what was in flight; or none, where they lie there already.

A snapshot whose rows are those of the snapshot before it is given that one's parts. To know it, parts wait in local files until the rows are more than
the older snapshot's, or all there are; only then they are uploaded. Several readers in one process wait together. Parts that could not wait, of tasks on
other machines and of ranges that a killed load is to find again, are taken away when they turn out to be nothing new.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, Self, runtime_checkable

from lab_insights.errors import LandingMismatch
from lab_insights.lake.fingerprint import digest, fingerprint, fingerprint_of_file
from lab_insights.lake.layout import Partition, batch_id, part_key
from lab_insights.lake.manifest import Manifest, Part
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

# About 128 MB of zstd parquet at 16 columns: large enough for Snowflake's and Spark's scans, small enough to re-read in memory.
PART_ROWS = 2_000_000


class Batches(Protocol):
    """A stream of record batches. A batch whose schema differs starts a new part."""

    @property
    def schema(self) -> pa.Schema:
        """The schema that the stream begins with."""
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Landed:
    """The parts of a batch, the schema that covers all of them, and the sum of their rows' fingerprints, whatever their order and cut."""

    parts: tuple[Part, ...]
    schema: pa.Schema
    total: int

    @property
    def digest(self) -> str:
        """The rows' digest."""
        return digest(sum(part.rows for part in self.parts), self.total)


@runtime_checkable
class Landing(Protocol):
    """Rows that write their parts themselves: several readers side by side, or tasks on other machines."""

    def land(self, storage: Storage, intent: Intent, older: Manifest | None = None) -> Landed:
        """Write the parts of the attempt `intent`, under names that begin with its batch and attempt, or give those of an equal `older`."""
        ...


def land(storage: Storage, intent: Intent, rows: Batches, older: Manifest | None = None, reader: str = "") -> Landed:
    """Write the stream as parts of one schema each, unless its rows are those of `older`, whose parts are then given.

    Where an attempt has several readers, `reader` is in the names of the parts of one of them.
    Raises `LandingMismatch` when the lake gives back other bytes or rows than it was given.
    """
    candidate = Candidate(older) if older else None
    with Writing(storage, intent, rows, candidate, reader) as writing:
        writing.take()
        return (candidate and candidate.holding([writing])) or writing.land()


def unless_known(storage: Storage, landed: Landed, older: Manifest | None) -> Landed:
    """Return the parts of an equal `older` in place of those that were landed, which are taken away; else what was landed."""
    if older is None or landed.parts == older.parts or not _equals(storage, older, landed.digest, landed.schema):
        return landed
    for part in landed.parts:
        storage.delete(older.layer, part.key)
    return Landed(older.parts, older.schema_(), landed.total)


def _equals(storage: Storage, older: Manifest, told: str, schema: pa.Schema) -> bool:
    """Whether the older parts hold the rows of a digest, under these names and types, and lie there."""
    alike = older.digest == told and {(each.name, each.type) for each in older.schema_()} == {(each.name, each.type) for each in schema}
    return alike and all(storage.size(older.layer, part.key) == part.bytes for part in older.parts)


class Candidate:
    """The newest snapshot, whose rows those of an attempt may all be; every writer of the attempt counts in what it has."""

    def __init__(self, older: Manifest) -> None:
        self._older, self._rows, self._counting = older, 0, threading.Lock()

    def count(self, rows: int) -> None:
        """Count rows in."""
        with self._counting:
            self._rows += rows

    @property
    def possible(self) -> bool:
        """Whether there are no more rows than it has."""
        return self._rows <= self._older.rows

    def holding(self, every: Sequence[Writing]) -> Landed | None:
        """Return its parts, when the rows of all writers together are its rows."""
        import pyarrow as pa

        total, schema = sum(each.total for each in every), pa.unify_schemas([each.schema for each in every])
        if _equals(every[0].storage, self._older, digest(self._rows, total), schema):
            return Landed(self._older.parts, self._older.schema_(), total)
        return None


class Writing:
    """The parts of one reader of an attempt: landed, waiting as long as they may be those of the `candidate`, and the one that is open."""

    def __init__(self, storage: Storage, intent: Intent, rows: Batches, candidate: Candidate | None = None, reader: str = "") -> None:
        self.storage, self.schema, self.total = storage, rows.schema, 0
        self._intent, self._source, self._candidate = intent, rows, candidate
        self._name = f"{batch_id(intent.batch, intent.attempt)}{f'-{reader}' if reader else ''}"
        self._base = rows.schema.names
        self._parts: list[Part] = []
        self._waiting: list[_PartWriter] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._waiting:
            writer.close()

    def take(self) -> None:
        """Write all rows; every part is landed that is full and need not wait."""
        for batch in self._source:
            if batch.num_rows:
                self._write(batch)

    def land(self) -> Landed:
        """Land what is not yet, and return all."""
        self._candidate = None
        self._finish_open()
        return Landed(tuple(self._parts), self.schema, self.total)

    def _write(self, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        writer = self._waiting[-1] if self._waiting else None
        if writer is None or writer.rows >= PART_ROWS or not batch.schema.equals(writer.schema):
            self._finish_open()
            number = len(self._parts) + len(self._waiting)
            writer = _PartWriter(part_key(self._intent.partition, self._name, number), batch.schema, self._base)
            self._waiting.append(writer)
            self.schema = pa.unify_schemas([self.schema, batch.schema])
        self.total += writer.write(batch)
        if self._candidate:
            self._candidate.count(batch.num_rows)

    def _finish_open(self) -> None:
        """Finish the open part, and land all that need not wait."""
        if self._waiting:
            self._waiting[-1].finish()
        if self._candidate is None or not self._candidate.possible:
            self._parts += [writer.land(self.storage, self._intent.partition) for writer in self._waiting]
            self._waiting.clear()


class _PartWriter:
    """One parquet part: written to a local file, uploaded, read back and compared."""

    def __init__(self, key: str, schema: pa.Schema, base: list[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.key, self.schema, self.rows = key, schema, 0
        self._nulls: dict[str, int] = {}
        self._base, self._total = base, 0
        self._file = tempfile.NamedTemporaryFile(suffix=".parquet")  # noqa: SIM115 (closed by `land` or `close`)
        # Numbers and instants hardly repeat: dictionaries of them made parts twice as large and took twice as long.
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd", use_dictionary=texts, store_schema=True)

    def write(self, batch: pa.RecordBatch) -> int:
        """Write a batch and return its fingerprint."""
        self._parquet.write_batch(batch)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if column.null_count:
                self._nulls[name] = self._nulls.get(name, 0) + column.null_count
        found = fingerprint(batch, self._base)
        self._total += found
        self.rows += batch.num_rows
        return found

    def finish(self) -> None:
        """Write the footer."""
        self._parquet.close()

    def land(self, storage: Storage, partition: Partition) -> Part:
        """Upload the finished part and return it as the lake holds it."""
        size = self._file.seek(0, 2)
        told = _sha256(self._file)
        self._file.seek(0)
        storage.upload(partition.layer, self.key, self._file)
        self._file.close()
        self._file = tempfile.NamedTemporaryFile(suffix=".parquet")  # noqa: SIM115 (closed by `close`)
        storage.download(partition.layer, self.key, self._file)
        self._file.flush()
        # The bytes first: what is not even parquet any more must not fail as a reader's error.
        if _sha256(self._file) != told or not self._holds():
            raise LandingMismatch(
                f"The part {self.key} read back from the lake is not what was written.",
                remedy="materialize the partition again; if it recurs, look at the object store.",
                **partition.where,
            )
        self.close()
        return Part(key=self.key, rows=self.rows, bytes=size, sha256=told, nulls=self._nulls)

    def _holds(self) -> bool:
        """Whether the file holds the rows that were written. DuckDB takes a third of Arrow's time, and does not read every type as Arrow writes it."""
        import pyarrow.parquet as pq

        if fingerprint_of_file(self._file.name, self.schema, self._base) == (self.rows, self._total):
            return True
        landed = pq.ParquetFile(self._file)
        total = sum(fingerprint(batch, self._base) for batch in landed.iter_batches(use_threads=False))
        return bool(landed.metadata.num_rows == self.rows and total == self._total)

    def close(self) -> None:
        if not self._file.closed:
            self._parquet.close()  # else it would want to, when nobody holds it any more
        self._file.close()


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
