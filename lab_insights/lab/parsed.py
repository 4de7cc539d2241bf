"""The parse step: the rows of a day's raw message batches as records, a stream for each kind, parsed once for all the tables that are made of them.

Records wait in unlinked files: a day of messages may be larger than memory, and what a killed process leaves must not lie about.
"""

from __future__ import annotations

import functools
import mmap
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from lab_insights.lab import records
from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT
from lab_insights.lab.derive import raw_reader
from lab_insights.lab.parsing import read
from lab_insights.lab.records import FIELDS, Kind, Records
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import TableState

if TYPE_CHECKING:
    import pyarrow as pa

# Columns of a message store: its key, the message, and when the row was written last.
ID, BODY, UPDATED = "id", "body", "updated_at"
_BESIDE = (BATCH, INGESTED, TENANT, GONE)
# Messages at a time: what is held of them in memory.
_AT_ONCE = 2_000
_REMEMBERED = 8


@dataclass
class Parsed:
    """The records of raw message batches, by kind. `messages` rows went in; of the messages in them some were `rejected`, the others `parsed`."""

    messages: int
    parsed: int
    rejected: int
    rows: dict[Kind, int]
    without_id: dict[Kind, int]
    _files: dict[Kind, IO[bytes]] = field(repr=False)

    def counts(self) -> dict[str, int]:
        """Return what a receipt says of the messages."""
        return {"messages": self.messages, "parsed": self.parsed, "rejected": self.rejected}

    def reader(self, kind: Kind) -> pa.RecordBatchReader:
        """Return the records of a kind as one stream of `schema(kind)`, each with the batch that its message came with."""
        import pyarrow as pa

        mapped = mmap.mmap(self._files[kind].fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_stream(pa.py_buffer(mapped))


def schema(kind: Kind) -> pa.Schema:
    """Return the schema of a kind's stream: the records', and the columns of their batches."""
    import pyarrow as pa

    stamp = pa.timestamp("us")
    return pa.schema([*records.schema(kind), (BATCH, pa.string()), (INGESTED, stamp), (TENANT, pa.string()), (GONE, stamp)])


def parsed(storage: Storage, batches: Sequence[Manifest]) -> Parsed:
    """Return the records of raw message batches; the same batches are parsed once, as long as few others were asked for since."""
    return _parsed(storage, _Batches(tuple(batch.object_key for batch in batches), tuple(batches)))


@dataclass(frozen=True)
class _Batches:
    """Committed batches, told apart by their keys."""

    keys: tuple[str, ...]
    batches: tuple[Manifest, ...] = field(compare=False)


@functools.lru_cache(_REMEMBERED)
def _parsed(storage: Storage, of: _Batches) -> Parsed:
    import pyarrow as pa

    files: dict[Kind, IO[bytes]] = {kind: tempfile.TemporaryFile() for kind in FIELDS}  # noqa: SIM115 (they live as long as what is returned)
    writers = {kind: pa.ipc.new_stream(pa.PythonFile(file, mode="w"), schema(kind)) for kind, file in files.items()}
    found = Records()
    made = Parsed(0, 0, 0, dict.fromkeys(FIELDS, 0), dict.fromkeys(FIELDS, 0), files)
    for chunk in _chunks(storage, of.batches):
        _read(found, chunk)
        made.messages += chunk.num_rows
        beside = [chunk.column(name)[0] for name in _BESIDE]
        for kind, rows in found.drain():
            constants = [pa.repeat(each, rows.num_rows) for each in beside]
            writers[kind].write_batch(pa.RecordBatch.from_arrays([*rows.columns, *constants], schema=schema(kind)))
            made.rows[kind] += rows.num_rows
            made.without_id[kind] += rows.column("message_id").null_count
    for kind, writer in writers.items():
        writer.close()
        files[kind].flush()
    made.parsed, made.rejected = found.parsed, found.rejected
    return made


def _chunks(storage: Storage, batches: Sequence[Manifest]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    there = TableState(tuple(batches)).schema
    kinds = {field.name: field.type for field in there}
    wanted = pa.schema([(name, kinds.get(name, pa.string())) for name in (ID, BODY, UPDATED)])
    for batch in raw_reader(storage, batches, wanted):
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield batch.slice(start, _AT_ONCE)


def _read(found: Records, chunk: pa.RecordBatch) -> None:
    import pyarrow as pa

    ids, bodies, stamps = (chunk.column(name) for name in (ID, BODY, UPDATED))
    # A cursor that no type holds is text: then the instant of landing is the version.
    updated = stamps.cast(pa.timestamp("us")).to_pylist() if pa.types.is_timestamp(stamps.type) else [None] * len(chunk)
    for key, body, at in zip(ids.to_pylist(), bodies.to_pylist(), updated, strict=True):
        read(found, None if key is None else str(key), at, body if isinstance(body, str | bytes | None) else str(body))
