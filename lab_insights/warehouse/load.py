"""The only code that writes rows to the warehouse: batches of the lake, merged by version, exactly once in effect.

For each batch: a stage table of this load alone, made before BEGIN; then one transaction of COPY of the files that the
manifest names (the rows are counted), MERGE of the newest version per key, tombstones where a snapshot lacks a key, and
the ledger row. A batch that is in the ledger is skipped, a batch that fails leaves no trace, and the order of days does
not matter. What is not guaranteed: several batches are several transactions, so that the good ones of a tenant-day stay
when one fails; and a late row of an already loaded later day that is older than a snapshot loaded afterwards is taken
for deleted.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lab_insights.errors import WarehouseError
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import fence, ledger, schema_sync, sql
from lab_insights.warehouse.catalog import Columns, Table, read_catalog
from lab_insights.warehouse.ledger import Head
from lab_insights.warehouse.names import identifier, relation, table
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import LockConflict, Session
from lab_insights.warehouse.shape import Rename, Shape, instant, shape

_LOG = logging.getLogger(__name__)
# A conflict is tried again this often, waiting up to 2^n × 50 ms: about half a minute where Snowflake itself would
# queue the statement.
ATTEMPTS = 10


@dataclass(frozen=True)
class LoadReceipt:
    """What loading one batch did. `skipped` means that the ledger held it already; `seconds` is wall time."""

    layer: Layer
    table: str
    day: date
    batch_id: str
    staged: int = 0
    inserted: int = 0
    updated: int = 0
    tombstoned: int = 0
    statements: int = 0
    seconds: float = 0.0
    skipped: bool = False


def load(session: Session, storage: Storage, tenant: TenantId, manifests: Sequence[Manifest], *, run_id: str) -> list[LoadReceipt]:
    """Bring curated and transformed batches of one tenant into its database; return a receipt each, in the order given.

    Raises `WarehouseError` naming tenant, table and day of the first batch that failed, after all others were loaded.
    """
    foreign = [manifest for manifest in manifests if manifest.tenant != tenant]
    if foreign:
        raise WarehouseError(
            "A batch of another tenant was given.",
            remedy="load each tenant's batches by themselves.",
            tenant=tenant,
            table=foreign[0].table,
        )
    use(session, tenant)
    known = ledger.read(session, manifests)
    receipts = {ledger.entry(manifest): _receipt(manifest, skipped=True) for manifest in manifests}
    todo = {ledger.entry(manifest): manifest for manifest in manifests if not known.holds(manifest)}
    # an empty snapshot is not here: it empties its table
    empty = [manifest for manifest in todo.values() if manifest.rows == 0 and manifest.kind == "delta"]
    if empty:
        binds = [value for manifest in empty for value in _ledger_row(_receipt(manifest), manifest, run_id)]
        session.execute(sql.ledger_insert(len(empty)), *binds)
        receipts |= {ledger.entry(manifest): _receipt(manifest) for manifest in empty}
    full = sorted(
        (manifest for manifest in todo.values() if manifest not in empty),
        key=lambda manifest: (manifest.day, manifest.batch_id),
    )
    failures: list[WarehouseError] = []
    if full:
        load_ = _Load(session, storage, run_id)
        done, failures = load_.run(full, known)
        receipts |= done
    if failures:
        raise failures[0]
    return [receipts[ledger.entry(manifest)] for manifest in manifests]


class _Load:
    """One load of several batches: it owns a schema for its stage tables, so that one DROP removes them all."""

    def __init__(self, session: Session, storage: Storage, run_id: str) -> None:
        self._session, self._storage, self._run_id = session, storage, run_id
        self._schema = f"STAGE_{uuid.uuid4().hex}"
        self._columns: dict[Table, Columns] = {}
        self._renames: dict[Table, tuple[Rename, ...]] = {}

    def run(self, manifests: Sequence[Manifest], known: ledger.Ledger) -> tuple[dict[ledger.Entry, LoadReceipt], list[WarehouseError]]:
        receipts: dict[ledger.Entry, LoadReceipt] = {}
        failures: list[WarehouseError] = []
        self._synced(manifests)
        for of in dict.fromkeys(map(ledger.series, manifests)):
            if of not in known.heads:
                ledger.add_head(self._session, of)
                known.heads[of] = Head(0)
        self._session.execute(f"CREATE TRANSIENT SCHEMA {identifier(self._schema)}")
        try:
            for number, manifest in enumerate(manifests):
                try:
                    known, receipts[ledger.entry(manifest)] = self._batch(manifest, f"S{number}", known)
                except WarehouseError as error:
                    failures.append(_placed(error, manifest))
        finally:
            self._session.execute(f"DROP SCHEMA IF EXISTS {identifier(self._schema)} CASCADE")
        return receipts, failures

    def _synced(self, manifests: Sequence[Manifest]) -> None:
        """Bring the tables into the shape that batches need, and note what they are like; raise what is still wrong when nobody else changes them."""
        tables = [schema_sync.located(manifest.layer, manifest.table) for manifest in manifests]
        failed: list[schema_sync.Change] = []
        for attempt in range(ATTEMPTS):
            held = read_catalog(self._session, tables)
            shapes = [shape(manifest, held.renames.get(of, ())) for manifest, of in zip(manifests, tables, strict=True)]
            changes = schema_sync.plan(shapes, held)
            try:
                schema_sync.apply(self._session, changes, self._run_id)
            except WarehouseError as error:
                if attempt == ATTEMPTS - 1 or (changes == failed and not isinstance(error, LockConflict)):
                    raise
                failed = changes
                _wait(attempt)
                continue
            self._columns |= schema_sync.planned(held, shapes)
            self._renames |= held.renames
            return

    def _batch(self, manifest: Manifest, name: str, known: ledger.Ledger) -> tuple[ledger.Ledger, LoadReceipt]:
        """Load one batch, trying again while another session is in the way.

        Return what is known of the ledger by then, and the receipt.
        """
        started, before = time.monotonic(), self._session.statements
        stage_table, of = relation(self._schema, name), schema_sync.located(manifest.layer, manifest.table)
        self._session.execute(sql.create_stage_table(stage_table, self._shape(manifest)))
        called = fence.name(self._run_id, manifest.tenant, *ledger.series(manifest))
        for attempt in range(ATTEMPTS):
            head, columns = known.heads[ledger.series(manifest)], self._columns[of]
            try:
                staged, inserted, updated, tombstoned = self._transaction(manifest, stage_table, head, called)
            except WarehouseError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                if isinstance(error, LockConflict):
                    fence.abort_predecessors(self._session, called)
                else:
                    # a table whose shape somebody changed meanwhile is loaded by its new one
                    self._synced([manifest])
                    if self._columns[of] == columns:
                        raise
                _wait(attempt)
                known = _joined(known, ledger.read(self._session, [manifest]))
                if known.holds(manifest):
                    return known, _receipt(manifest, skipped=True)
                continue
            known.heads[ledger.series(manifest)] = _moved(manifest, head)
            statements, seconds = self._session.statements - before, round(time.monotonic() - started, 3)
            _LOG.info("merged %s", manifest.partition, extra=manifest.labels | {"run": self._run_id, "seconds": seconds})
            return known, _receipt(manifest, staged, inserted, updated, tombstoned, statements, seconds)
        raise AssertionError("the last attempt returns or raises")

    def _shape(self, manifest: Manifest) -> Shape:
        return shape(manifest, self._renames.get(schema_sync.located(manifest.layer, manifest.table), ()))

    def _transaction(self, manifest: Manifest, stage_table: str, head: Head, called: str) -> tuple[int, int, int, int]:
        its, columns = self._shape(manifest), self._columns[schema_sync.located(manifest.layer, manifest.table)]
        target = table(its.layer, its.table)
        newest = ledger.is_newest_snapshot(manifest, head)
        with self._session.transaction(called):
            ledger.move_head(self._session, manifest, head)
            keys = [part.key for part in manifest.parts]
            staged = sum(int(row[3]) for copy in sql.copies(stage_table, its.layer, keys) for row in self._session.execute(copy))
            if staged != manifest.rows:
                raise WarehouseError(
                    f"{staged} rows were copied where the manifest says {manifest.rows}.",
                    remedy="run `lab-insights verify`: a part of the lake was changed after it was committed.",
                )
            at = instant(manifest) if newest else None
            merge = sql.merge(target, columns, stage_table, its, snapshot_at=at, superseded_by=ledger.superseding(manifest, head))
            inserted, updated = map(int, self._session.execute(merge)[0])
            tombstoned = 0
            if at:
                absent = sql.tombstone_absent(target, columns, stage_table, its, at)
                tombstoned = int(self._session.execute(absent, manifest.batch_id)[0][0])
            receipt = _receipt(manifest, staged, inserted, updated, tombstoned)
            self._session.execute(sql.ledger_insert(1), *_ledger_row(receipt, manifest, self._run_id))
        return staged, inserted, updated, tombstoned


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (keeps two loaders apart, nothing secret)


def _receipt(
    manifest: Manifest,
    staged: int = 0,
    inserted: int = 0,
    updated: int = 0,
    tombstoned: int = 0,
    statements: int = 0,
    seconds: float = 0.0,
    *,
    skipped: bool = False,
) -> LoadReceipt:
    return LoadReceipt(
        manifest.layer,
        manifest.table,
        manifest.day,
        manifest.batch_id,
        staged,
        inserted,
        updated,
        tombstoned,
        statements,
        seconds,
        skipped,
    )


def _ledger_row(receipt: LoadReceipt, manifest: Manifest, run_id: str) -> tuple[str | int | None, ...]:
    checksum = None if manifest.checksum is None else str(manifest.checksum)
    counts = (receipt.staged, receipt.inserted, receipt.updated, receipt.tombstoned)
    return (*ledger.entry(manifest), manifest.kind, *counts, checksum, run_id)


def _moved(manifest: Manifest, head: Head) -> Head:
    if ledger.is_newest_snapshot(manifest, head):
        return Head(head.version + 1, (str(manifest.day), manifest.batch_id), instant(manifest))
    return Head(head.version + 1, head.snapshot, head.snapshot_at)


def _joined(known: ledger.Ledger, newer: ledger.Ledger) -> ledger.Ledger:
    return ledger.Ledger(known.heads | newer.heads, known.entries | newer.entries)


def _placed(error: WarehouseError, manifest: Manifest) -> WarehouseError:
    return type(error)(error.message, remedy=error.remedy, **manifest.partition.where)
