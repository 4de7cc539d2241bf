"""The ledger of a tenant's database: which batches are in it, and each table's head, which puts its loads in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab_insights.errors import WarehouseError
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse import sql
from lab_insights.warehouse.session import LockConflict, Session
from lab_insights.warehouse.shape import instant

Series = tuple[str, str]
Entry = tuple[str, str, str, str]


@dataclass(frozen=True)
class Head:
    """Where a table stands: how often it was loaded, and day, batch and instant of its newest snapshot."""

    version: int
    snapshot: tuple[str, str] | None = None
    snapshot_at: str = ""


@dataclass(frozen=True)
class Ledger:
    """Heads and entries of the tables and days that were asked for."""

    heads: dict[Series, Head] = field(default_factory=dict)
    entries: frozenset[Entry] = frozenset()

    def holds(self, manifest: Manifest) -> bool:
        """Return whether this batch is in the warehouse."""
        return entry(manifest) in self.entries


def series(manifest: Manifest) -> Series:
    """Return the table of a batch."""
    return manifest.layer, manifest.table


def entry(manifest: Manifest) -> Entry:
    """Return what identifies a batch in the ledger."""
    return manifest.layer, manifest.table, str(manifest.day), manifest.batch_id


def read(session: Session, manifests: Sequence[Manifest]) -> Ledger:
    """Return what the current database knows of the tables of `manifests` on their days, by one query."""
    if not manifests:
        return Ledger()
    tables = sorted({manifest.table for manifest in manifests})
    days = [str(manifest.day) for manifest in manifests]
    query = sql.HEADS_AND_LEDGER.format(tables=", ".join("?" * len(tables)))
    heads: dict[Series, Head] = {}
    entries: set[Entry] = set()
    for layer, table, version, day, batch, at in session.execute(query, *tables, *tables, min(days), max(days)):
        if version is None:
            entries.add((layer, table, day, batch))
        else:
            heads[layer, table] = Head(int(version), (day, batch) if day else None, at or "")
    return Ledger(heads, frozenset(entries))


def version(session: Session, of: Series) -> int | None:
    """Return how often a table was loaded, None where it has no head."""
    rows = session.execute(sql.VERSION, *of)
    return int(rows[0][0]) if rows else None


def add_heads(session: Session, of: Sequence[Series]) -> None:
    """Make the heads of tables that have none."""
    insertion, named = sql.add_heads(len(of)), [name for each in of for name in each]
    try:
        session.execute(insertion, *named)
    except WarehouseError:
        # another session may have just made one; then the same statement finds it and adds the others
        session.execute(insertion, *named)


def move_head(session: Session, manifest: Manifest, head: Head) -> None:
    """Take the table for this transaction by moving its head.

    Raise `LockConflict` when another load moved it since it was read.
    """
    held = (*series(manifest), head.version)
    if is_newest_snapshot(manifest, head):
        moved = session.execute(sql.MOVE_HEAD_TO_SNAPSHOT, str(manifest.day), manifest.batch_id, instant(manifest), *held)
    else:
        moved = session.execute(sql.MOVE_HEAD, *held)
    if not int(moved[0][0]):
        raise LockConflict("Another session loaded the same table.", remedy="try again; this transaction was rolled back.")


def is_newest_snapshot(manifest: Manifest, head: Head) -> bool:
    """Return whether this batch is a snapshot that no loaded snapshot is newer than."""
    return manifest.kind == "snapshot" and (head.snapshot is None or head.snapshot <= (str(manifest.day), manifest.batch_id))


def superseding(manifest: Manifest, head: Head) -> tuple[str, str] | None:
    """Return instant and batch of the loaded snapshot that is newer than this batch, None when there is none."""
    if head.snapshot and (str(manifest.day), manifest.batch_id) < head.snapshot:
        return head.snapshot_at, head.snapshot[1]
    return None
