"""The only code that writes rows to the warehouse: batches of the lake, merged by version, exactly once in effect.

For each batch: a stage table of this load alone, made before BEGIN; then one transaction of COPY of the files that the
manifest names (the rows are counted), MERGE of the newest version per key, tombstones where a snapshot lacks a key, both
once more for the de-identified form of a modelled table, and the ledger row. A batch that is in the ledger is skipped, a
batch that fails leaves no trace, and the order of days does not matter. What is not guaranteed: several batches are
several transactions, so that the good ones of a tenant-day stay when one fails; and a late row of an already loaded
later day that is older than a snapshot loaded afterwards is taken for deleted.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence

from lab_insights.errors import WarehouseError
from lab_insights.lake.layout import manifest_key
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import deidentified, fence, ledger, schema_sync, sql, stages
from lab_insights.warehouse.catalog import Columns, Table, read_catalog
from lab_insights.warehouse.changes import Change, apply
from lab_insights.warehouse.ledger import Head
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import STORE, relation
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.receipt import LoadReceipt, ledger_row, receipt_of
from lab_insights.warehouse.session import LockConflict, Session
from lab_insights.warehouse.shape import Rename, Shape, inputs, instant, shape

_LOG = logging.getLogger(__name__)
# A conflict is tried again this often, waiting up to 2^n × 50 ms: about half a minute where Snowflake itself would
# queue the statement.
ATTEMPTS = 10


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
    receipts = {ledger.entry(manifest): receipt_of(manifest, skipped=True) for manifest in manifests}
    todo = {ledger.entry(manifest): manifest for manifest in manifests if not known.holds(manifest)}
    # an empty snapshot is not here: it empties its table
    empty = [manifest for manifest in todo.values() if manifest.rows == 0 and manifest.kind == "delta"]
    if empty:
        binds = [value for manifest in empty for value in ledger_row(receipt_of(manifest), manifest, run_id)]
        session.execute(sql.ledger_insert(len(empty)), *binds)
        receipts |= {ledger.entry(manifest): receipt_of(manifest) for manifest in empty}
    full = sorted(
        (manifest for manifest in todo.values() if manifest not in empty),
        key=lambda manifest: (manifest.day, manifest.batch_id),
    )
    failures: list[WarehouseError] = []
    if full:
        load_ = _Load(session, storage, tenant, run_id)
        done, failures = load_.run(full, known)
        receipts |= done
    if failures:
        raise failures[0]
    return [receipts[ledger.entry(manifest)] for manifest in manifests]


def deidentify(session: Session, storage: Storage, tenant: TenantId, manifests: Sequence[Manifest], *, run_id: str) -> int:
    """Bring batches that are loaded, oldest first, into the de-identified form alone, where they are not or by other rules; return how many."""
    _, failures = _Load(session, storage, tenant, run_id, only_deidentified=True).run(manifests, ledger.read(session, manifests))
    if failures:
        raise failures[0]
    return len(manifests)


class _Load:
    """One load of several batches: it owns a schema for its stage tables, so that one DROP removes them all."""

    def __init__(self, session: Session, storage: Storage, tenant: TenantId, run_id: str, *, only_deidentified: bool = False) -> None:
        self._session, self._storage, self._run_id, self._only_deidentified = session, storage, run_id, only_deidentified
        self._protection = Protection(tenant, storage.phi)
        self._pseudonyms = deidentified.pseudonymiser(session, storage, tenant)
        self._schema = ""
        self._manifests: Sequence[Manifest] = ()
        self._columns: dict[Table, Columns] = {}
        self._renames: dict[Table, tuple[Rename, ...]] = {}

    def run(self, manifests: Sequence[Manifest], known: ledger.Ledger) -> tuple[dict[ledger.Entry, LoadReceipt], list[WarehouseError]]:
        receipts: dict[ledger.Entry, LoadReceipt] = {}
        failures: list[WarehouseError] = []
        self._manifests = manifests
        self._synced(manifests)
        if new := [of for of in dict.fromkeys(map(ledger.series, manifests)) if of not in known.heads]:
            ledger.add_heads(self._session, new)
            known.heads.update(dict.fromkeys(new, Head(0)))
        with stages.opened(self._session) as self._schema:
            if self._pseudonyms:
                self._pseudonyms.begin(self._schema, [(manifest, self._shape(manifest)) for manifest in manifests])
            for number, manifest in enumerate(manifests):
                if known.holds(manifest) and not self._only_deidentified:  # another session was first
                    receipts[ledger.entry(manifest)] = receipt_of(manifest, skipped=True)
                    continue
                try:
                    known, receipts[ledger.entry(manifest)] = self._batch(manifest, f"S{number}", known)
                except WarehouseError as error:
                    failures.append(_placed(error, manifest))
        return receipts, failures

    def _synced(self, manifests: Sequence[Manifest]) -> None:
        """Bring the tables into the shape that batches need, and note what they are like; raise what is still wrong when nobody else changes them."""
        located = [schema_sync.located(manifest.layer, manifest.table) for manifest in manifests]
        tables = [(schema, name) for own, name in located for schema in (own, STORE, deidentified.SCHEMA)]
        failed: list[Change] = []
        for attempt in range(ATTEMPTS):
            held = read_catalog(self._session, tables)
            shapes = [shape(manifest, held.renames.get(of, ())) for manifest, of in zip(manifests, located, strict=True)]
            shapes += [stored for its in shapes if (stored := self._stored(its))]
            changes = schema_sync.plan(shapes, held, self._protection)
            try:
                apply(self._session, changes, self._run_id)
            except WarehouseError as error:
                if attempt == ATTEMPTS - 1 or (changes == failed and not isinstance(error, LockConflict)):
                    raise
                failed = changes
                _wait(attempt)
                continue
            self._columns |= schema_sync.planned(held, shapes, self._protection)
            self._renames |= held.renames
            return

    def _batch(self, manifest: Manifest, name: str, known: ledger.Ledger) -> tuple[ledger.Ledger, LoadReceipt]:
        """Load one batch, trying again while another session is in the way.

        Return what is known of the ledger by then, and the receipt.
        """
        started, before = time.monotonic(), self._session.statements
        stage_table, its = relation(self._schema, name), self._shape(manifest)
        tables = [schema_sync.target(each) for each in (its, self._stored(its)) if each]
        self._session.execute(sql.create_stage_table(stage_table, its))
        called = fence.name(self._run_id, manifest.tenant, *ledger.series(manifest))
        for attempt in range(ATTEMPTS):
            head, columns = known.heads[ledger.series(manifest)], [self._columns[of] for of in tables]
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
                    if [self._columns[of] for of in tables] == columns:
                        raise
                _wait(attempt)
                # of all batches: what is read of a head tells only with what is read of the ledger beside it
                known = _joined(known, ledger.read(self._session, self._manifests))
                if known.holds(manifest) and not self._only_deidentified:
                    return known, receipt_of(manifest, skipped=True)
                continue
            known.heads[ledger.series(manifest)] = _moved(manifest, head)
            statements, seconds = self._session.statements - before, round(time.monotonic() - started, 3)
            _LOG.info("merged %s", manifest.partition, extra=manifest.labels | {"run": self._run_id, "seconds": seconds})
            return known, receipt_of(manifest, staged, inserted, updated, tombstoned, statements, seconds)
        raise AssertionError("the last attempt returns or raises")

    def _shape(self, manifest: Manifest) -> Shape:
        return shape(manifest, self._renames.get(schema_sync.located(manifest.layer, manifest.table), ()))

    def _stored(self, its: Shape) -> Shape | None:
        return deidentified.store_shape(its, self._storage.phi) if self._pseudonyms else None

    def _transaction(self, manifest: Manifest, stage_table: str, head: Head, called: str) -> tuple[int, int, int, int]:
        its = self._shape(manifest)
        stored = self._stored(its)
        with self._session.transaction(called):
            ledger.move_head(self._session, manifest, head)
            staged = stages.copy(self._session, stage_table, manifest)
            counts = (0, 0, 0) if self._only_deidentified else self._merged(manifest, head, its, stage_table)
            rows = [] if self._only_deidentified else [ledger_row(receipt_of(manifest, staged, *counts), manifest, self._run_id)]
            if stored and self._pseudonyms:
                made = self._merged(manifest, head, stored, self._pseudonyms.rows(its, stage_table, manifest.day.year))
                rows.append(deidentified.ledger_row(receipt_of(manifest, staged, *made), manifest, its, self._storage.phi, self._run_id))
            self._session.execute(sql.ledger_insert(len(rows)), *(value for row in rows for value in row))
        return (staged, *counts)

    def _merged(self, manifest: Manifest, head: Head, its: Shape, source: str) -> tuple[int, int, int]:
        """Merge rows of `source` and make tombstones of what a snapshot lacks; return how many were inserted, updated and tombstoned."""
        of = schema_sync.target(its)
        target, columns = relation(*of), self._columns[of]
        at = instant(manifest) if ledger.is_newest_snapshot(manifest, head) else None
        merge = sql.merge(target, columns, source, its, snapshot_at=at, superseded_by=ledger.superseding(manifest, head))
        inserted, updated = map(int, self._session.execute(merge)[0])
        if at is None:
            return inserted, updated, 0
        absent = sql.tombstone_absent(target, columns, source, its, at, self._replaced(manifest, head))
        return inserted, updated, int(self._session.execute(absent, manifest.batch_id)[0][0])

    def _replaced(self, manifest: Manifest, head: Head) -> set[str]:
        """Return the raw batches of the day's loaded snapshot that a snapshot no longer has.

        Both have one instant, the day's end, when they were taken after it: rows that the older one took may be newer than that. Batches of several raw
        tables may have one name, so theirs are not told apart.
        """
        if manifest.layer != "curated" or head.snapshot is None or head.snapshot[0] != str(manifest.day):
            return set()
        before = self._storage.manifest(manifest.layer, manifest_key(manifest.partition, head.snapshot[1]))
        if before is None or len({key.rpartition("/")[0] for key in (*before.inputs, *manifest.inputs)}) > 1:
            return set()
        return {*inputs(before)} - {*inputs(manifest)}


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (keeps two loaders apart, nothing secret)


def _moved(manifest: Manifest, head: Head) -> Head:
    if ledger.is_newest_snapshot(manifest, head):
        return Head(head.version + 1, (str(manifest.day), manifest.batch_id), instant(manifest))
    return Head(head.version + 1, head.snapshot, head.snapshot_at)


def _joined(known: ledger.Ledger, newer: ledger.Ledger) -> ledger.Ledger:
    return ledger.Ledger(known.heads | newer.heads, known.entries | newer.entries)


def _placed(error: WarehouseError, manifest: Manifest) -> WarehouseError:
    return type(error)(error.message, remedy=error.remedy, **manifest.partition.where)
