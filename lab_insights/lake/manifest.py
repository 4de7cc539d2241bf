"""What one committed batch holds: parts, counts, checksums, window, schema and the proof of where it came from. Immutable."""

from __future__ import annotations

import base64
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from lab_insights.lake.layout import Layer, Partition, batch_id, manifest_key
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["snapshot", "delta"]


class Model(BaseModel):
    """Immutable, and readable by a later release: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Part(Model):
    """One parquet object; `sha256` is of its bytes, `nulls` how many of each column that has any."""

    key: str
    rows: int
    bytes: int
    sha256: str
    nulls: dict[str, int] = {}


class Window(Model):
    """The half-open cursor window `(low, high]` that was read, in UTC; `low` is None for everything up to `high`."""

    low: datetime | None
    high: datetime


class SourceProof(Model):
    """What the source itself said, in the same statement that was read."""

    rows: int
    how: str


class Manifest(Model):
    """One batch of a partition. A `snapshot` is the whole table, a `delta` its changes; one that `supersedes` replaces its day's older batches.

    `checksum` is the order-free sum of row hashes of `lake.checksum`, the same that the warehouse computes (curated and transformed only).
    `digest` is equal for equal rows, whatever their order and parts (`lake.fingerprint`); such a snapshot names the parts of the one before it.
    `counts` accounts for every input row: raw has `quarantined`; curated and transformed have `kept`, `superseded` and `excluded`.
    A raw delta with `gone_at` holds tombstones: rows, as they were last known, that the source no longer had at that instant.
    `columns` are those that a relational source had when it was read, in its order, by their names in the lake.
    `ranges` says how many readers took it, each a range of keys of one snapshot.
    `cpu_seconds` is this batch's share of what its process used meanwhile (`lake.meter`), None where nobody measured it.
    `limits` are those of the source that the read kept to; `longest_statement` and `predicted` are seconds.
    """

    layer: Layer
    tenant: TenantId
    table: str
    day: date
    batch: int
    attempt: int
    kind: Kind
    supersedes: bool = False
    key: tuple[str, ...] = ()
    cursor: str | None = None
    columns: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    rows: int = 0
    checksum: int | None = None
    digest: str = ""
    arrow_schema: str
    fidelity: dict[str, str] = {}
    counts: dict[str, int] = {}
    window: Window | None = None
    position: dict[str, str] = {}
    """Where the source's change stream goes on after this batch (DynamoDB alone)."""
    proof: SourceProof | None = None
    reconstructed: bool = False
    gone_at: datetime | None = None
    load: str = ""
    engine: str = ""
    reason: str = ""
    ranges: int = 1
    seconds: float = 0.0
    cpu_seconds: float | None = None
    predicted: float | None = None
    longest_statement: float | None = None
    limits: dict[str, str | int] = {}
    inputs: tuple[str, ...] = ()
    code_version: str = ""
    run_id: str = ""
    created_at: datetime

    @property
    def partition(self) -> Partition:
        """The partition that this batch belongs to."""
        return Partition(self.layer, self.tenant, self.table, self.day)

    @property
    def batch_id(self) -> str:
        """The sortable name of the batch."""
        return batch_id(self.batch, self.attempt)

    @property
    def labels(self) -> dict[str, Any]:
        """What a log line about this batch names."""
        return {"run": self.run_id, "layer": self.layer, **self.partition.where, "batch": self.batch_id, "rows": self.rows}

    @property
    def object_key(self) -> str:
        """The manifest's own key in its layer's bucket."""
        return manifest_key(self.partition, self.batch_id)

    def schema_(self) -> pa.Schema:
        """Return the Arrow schema of the parts."""
        return decode_schema(self.arrow_schema)


def encode_schema(schema: pa.Schema) -> str:
    """Return an Arrow schema as text for a manifest."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """Return the Arrow schema that `encode_schema` wrote."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
