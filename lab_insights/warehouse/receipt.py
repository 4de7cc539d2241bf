"""What loading one batch did, as it is returned and as it is written into the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse import ledger


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


def receipt_of(
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
    """Return the receipt of a batch."""
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


def ledger_row(receipt: LoadReceipt, manifest: Manifest, run_id: str) -> tuple[str | int | None, ...]:
    """Return the values of `sql.LEDGER_COLUMNS`."""
    checksum = None if manifest.checksum is None else str(manifest.checksum)
    counts = (receipt.staged, receipt.inserted, receipt.updated, receipt.tombstoned)
    return (*ledger.entry(manifest), manifest.kind, *counts, checksum, run_id)
