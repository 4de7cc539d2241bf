"""The commit protocol: the only code that writes data to the lake.

1. Intent in DynamoDB, with a fencing token and an attempt number that every object name carries.
2. Parts; each is read back and compared with what was in flight (landing verification). A snapshot equal to the newest one is given its parts.
3. Manifest by conditional put: readers follow manifests, never listings.
4. One DynamoDB transaction moves the bookmark and the status, conditioned on the head that was read and on the token.

A run that finds an intent adopts its finished manifest, or writes the same batch as the next attempt. What is not guaranteed: objects of abandoned
attempts stay until they are swept; no reader can see them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from lab_insights.clock import Clock
from lab_insights.errors import CommitConflict, LandingMismatch
from lab_insights.lake import parts
from lab_insights.lake.layout import Partition, batch_id, manifest_key
from lab_insights.lake.manifest import Kind, Manifest, SourceProof, Window, encode_schema
from lab_insights.lake.meter import PROCESS
from lab_insights.lake.state import Head, Intent, State
from lab_insights.lake.storage import ObjectExists, Storage
from lab_insights.names import TenantId

if TYPE_CHECKING:
    from lab_insights.lake.dataset import Dataset

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lake:
    """Storage, state and clock of one deployment: what every reader and writer of the lake is given."""

    storage: Storage
    state: State
    clock: Clock = field(default_factory=Clock)

    def for_tenant(self, tenant: TenantId) -> Lake:
        """Return the lake in a tenant's own session, which reaches what is the tenant's; this one where no role is configured."""
        aws = self.storage.aws.of(tenant)
        if aws == self.storage.aws:
            return self
        return replace(self, storage=replace(self.storage, aws=aws), state=replace(self.state, aws=aws))

    def dataset(self, tenant: TenantId, tables: Sequence[str], as_of: datetime) -> Dataset:
        """Return a tenant's curated or transformed tables as they were known at an instant: `lake.dataset.dataset`."""
        from lab_insights.lake.dataset import dataset

        return dataset(self, tenant, tables, as_of)


@dataclass(frozen=True)
class Facts:
    """What is known of the rows once they have been read."""

    proof: SourceProof | None = None
    counts: dict[str, int] = field(default_factory=dict)
    fidelity: dict[str, str] = field(default_factory=dict)
    checksum: int | None = None
    longest_statement: float | None = None
    ranges: int = 1
    note: str = ""
    """What a person should know of how it was read."""
    position: dict[str, str] = field(default_factory=dict)
    """Where the source's change stream goes on."""


class Rows(parts.Batches, Protocol):
    """A stream of record batches that can account for itself afterwards."""

    def facts(self) -> Facts:
        """Return what is known once the rows have been read."""
        ...


class LandingRows(parts.Landing, Protocol):
    """Rows that write their parts themselves, and can account for themselves afterwards."""

    def facts(self) -> Facts:
        """Return what is known once the rows have been read."""
        ...


@dataclass(frozen=True)
class Draft:
    """What a batch is, before its rows are read."""

    partition: Partition
    kind: Kind
    supersedes: bool = False
    key: tuple[str, ...] = ()
    cursor: str | None = None
    columns: tuple[str, ...] = ()
    window: Window | None = None
    reconstructed: bool = False
    gone_at: datetime | None = None
    load: str = ""
    engine: str = ""
    reason: str = ""
    predicted: float | None = None
    limits: Mapping[str, str | int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    code_version: str = ""
    run_id: str = ""
    pending: bool = False
    """Once it is committed something is left to be done, which the series' head remembers."""


def settled_head(lake: Lake, partition: Partition) -> Head:
    """Return the head of a series, after adopting the finished manifest of a run that died before its last step."""
    while True:
        head = lake.state.head(partition)
        if head.intent is None:
            return head
        intent = head.intent
        manifest = lake.storage.manifest(intent.partition.layer, manifest_key(intent.partition, batch_id(intent.batch, intent.attempt)))
        if manifest is None:
            return head
        try:
            return lake.state.commit(head, intent, manifest)
        except CommitConflict:
            # Others may adopt it too, and go on from there: what counts is the head as it is now.
            if lake.state.head(partition) == head:
                raise


def commit(
    lake: Lake, head: Head, draft: Draft, rows: Rows | LandingRows, witness: Callable[[Manifest], None] | None = None
) -> tuple[Manifest, Head]:
    """Write `rows` as the next batch of `draft.partition`; return its manifest and the series' new head.

    `witness` is shown the manifest once its parts lie in the lake and before anybody else can see it: what it keeps is not lost with a run that dies later.
    Raises `CommitConflict` when another run owns the series by now, and `LandingMismatch` when the lake gives back other rows than it was given.
    """
    started = time.monotonic()
    with PROCESS.metered() as share:
        intent = lake.state.begin(head, draft.partition, draft.window, pending=draft.pending)
        landed = _land(lake, head, draft, intent, rows)
        facts = rows.facts()
    manifest = Manifest(
        layer=draft.partition.layer,
        tenant=draft.partition.tenant,
        table=draft.partition.table,
        day=draft.partition.day,
        batch=intent.batch,
        attempt=intent.attempt,
        kind=draft.kind,
        supersedes=draft.supersedes,
        key=draft.key,
        cursor=draft.cursor,
        columns=draft.columns,
        parts=landed.parts,
        rows=sum(part.rows for part in landed.parts),
        checksum=facts.checksum,
        digest=landed.digest,
        arrow_schema=encode_schema(landed.schema),
        fidelity=facts.fidelity,
        counts=facts.counts,
        window=draft.window,
        position=facts.position,
        proof=facts.proof,
        reconstructed=draft.reconstructed,
        gone_at=draft.gone_at,
        load=draft.load,
        engine=draft.engine,
        reason="; ".join(filter(None, (draft.reason, facts.note))),
        ranges=facts.ranges,
        seconds=round(time.monotonic() - started, 3),
        cpu_seconds=round(share.seconds, 3),
        predicted=draft.predicted,
        longest_statement=facts.longest_statement,
        limits=dict(draft.limits),
        inputs=draft.inputs,
        code_version=draft.code_version,
        run_id=draft.run_id,
        created_at=lake.clock.now(),
    )
    if witness:
        witness(manifest)
    _put_manifest(lake, manifest)
    moved = lake.state.commit(head, intent, manifest)
    _LOG.info("committed %s", manifest.partition, extra=manifest.labels | {"seconds": manifest.seconds})
    return manifest, moved


def _land(lake: Lake, head: Head, draft: Draft, intent: Intent, rows: Rows | LandingRows) -> parts.Landed:
    older = _snapshot_before(lake, head, draft)
    if isinstance(rows, parts.Landing):
        return parts.unless_known(lake.storage, rows.land(lake.storage, intent, older), older)
    return parts.land(lake.storage, intent, rows, older)


def _snapshot_before(lake: Lake, head: Head, draft: Draft) -> Manifest | None:
    """Return the newest snapshot of a raw table that is to be taken anew. Rows of derived layers name their batch, so they are never the same."""
    of = draft.partition
    if of.layer != "raw" or draft.kind != "snapshot" or head.version == 0:
        return None
    every = lake.state.batches(of.layer, of.tenant, of.table)
    newest = next((batch for batch in reversed(every) if batch.kind == "snapshot"), None)
    return lake.storage.manifest(of.layer, newest.manifest) if newest else None


def _put_manifest(lake: Lake, manifest: Manifest) -> None:
    try:
        lake.storage.put_new(manifest.layer, manifest.object_key, manifest.model_dump_json().encode())
    except ObjectExists:
        # The attempt number is ours alone while we hold the token, so this is our own put, retried by the client after a lost answer.
        present = lake.storage.manifest(manifest.layer, manifest.object_key)
        if present != manifest:
            raise LandingMismatch(
                "A manifest of this batch already lies in the lake and says something else.",
                remedy="materialize the partition again: the next attempt takes a new name.",
                **manifest.partition.where,
            ) from None
