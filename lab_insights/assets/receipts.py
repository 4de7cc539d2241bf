"""Receipts: what a partition of an asset received, as the metadata that the UI shows. Counts, keys and reasons; never a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage


@dataclass(frozen=True)
class Receipt:
    """The metadata of one materialized partition; `rows` is how many rows it holds, `newest` its last batch where it is one table's."""

    rows: int
    metadata: Mapping[str, Any]
    newest: Manifest | None = None


LINES = 200
"""How many tables of a partition are told of one by one: a customer may have thousands, and every run writes them into the event log."""
_TOLD = ("load", "engine", "reason", "kept_as_text", "predicted_seconds", "seconds", "longest_statement")

Receipts = dict[str, Receipt]
"""Receipts of one asset by partition key: what asset bodies return, and what the IO managers accept as already committed."""


def lake_receipt(storage: Storage, manifests: Sequence[Manifest], warning: str | None = None) -> Receipt:
    """Return the receipt of the live batches of one lake partition; `warning` is what a person should know though nothing failed."""
    last = manifests[-1]
    rows = sum(manifest.rows for manifest in manifests)
    counts: dict[str, int] = {}
    for manifest in manifests:
        for name, count in manifest.counts.items():
            counts[name] = counts.get(name, 0) + count
    unlike = {name: how for name, how in last.fidelity.items() if how != "exact"}
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": rows,
        "dagster/uri": storage.uri(last.layer, last.partition.directory),
        "manifest": storage.uri(last.layer, last.object_key),
        "batches": len(manifests),
        "bytes": sum(part.bytes for manifest in manifests for part in manifest.parts),
        "seconds": round(sum(manifest.seconds for manifest in manifests), 3),
        "cpu_seconds": round(sum(manifest.cpu_seconds or 0 for manifest in manifests), 3),
        "kind": last.kind,
        "engine": last.engine,
        **counts,
    }
    if last.layer == "raw":
        metadata |= {
            "load": last.load,
            "reason": last.reason,
            "source_rows": sum(manifest.proof.rows for manifest in manifests if manifest.proof),
            "window_end": max((manifest.window.high.isoformat() for manifest in manifests if manifest.window), default=""),
            "reconstructed": any(manifest.reconstructed for manifest in manifests),
            "tombstones": sum(manifest.rows for manifest in manifests if manifest.gone_at),
            "predicted_seconds": round(sum(manifest.predicted or 0 for manifest in manifests), 3),
            "longest_statement": max(manifest.longest_statement or 0 for manifest in manifests),
            "limits": last.limits,
        }
        if warning:
            metadata["warning"] = warning
        if unlike:
            metadata["fidelity"] = unlike
    return Receipt(rows, metadata, last)


def preview(batch: Manifest) -> dg.MarkdownMetadataValue:
    """Return what a batch looks like without a single value: each column with its type and how much of it is filled."""
    nulls: dict[str, int] = {}
    for part in batch.parts:
        for name, count in part.nulls.items():
            nulls[name] = nulls.get(name, 0) + count
    lines = [f"{batch.tenant} {batch.day}: {batch.rows:,} rows, no value shown.", "", "| column | type | filled |", "|---|---|---|"]
    for field in batch.schema_():
        filled = f"{1 - nulls.get(field.name, 0) / batch.rows:.0%}" if batch.rows else ""
        lines.append(f"| {field.name.replace('|', chr(92) + '|')} | {field.type} | {filled} |")
    return dg.MetadataValue.md("\n".join(lines))


def total(receipts: Sequence[Receipt], **more: Any) -> Receipt:
    """Return one receipt for a partition that holds several tables: sums, and a line for each table that a source was read for."""
    rows = sum(receipt.rows for receipt in receipts)
    counted = dict.fromkeys(name for receipt in receipts if receipt.newest for name in receipt.newest.counts)
    summed = {
        name: sum(receipt.metadata.get(name, 0) for receipt in receipts)
        for name in ("bytes", "seconds", "cpu_seconds", "quarantined", *counted)
    }
    told: dict[str, Any] = {}
    loaded = {receipt.newest.table: receipt.metadata for receipt in receipts if receipt.newest and receipt.newest.layer == "raw"}
    if loaded:
        told["loads"] = dg.MetadataValue.table([_line(table, loaded[table]) for table in _first(loaded)])
        told["limits"] = {table.partition(".")[0]: metadata["limits"] for table, metadata in loaded.items()}
    if warned := {table: metadata["warning"] for table, metadata in loaded.items() if "warning" in metadata}:
        told["warnings"] = warned
    return Receipt(rows, {"dagster/partition_row_count": rows, "tables": len(receipts), **summed, **told, **more})


def _first(loaded: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The tables that have a line: those that kept something as text or warn of something, then the largest."""
    plain = {
        table: ("warning" not in its and not its.get("kept_as_text"), -its["dagster/partition_row_count"]) for table, its in loaded.items()
    }
    return sorted(loaded, key=lambda table: (plain[table], table))[:LINES]


def _line(table: str, metadata: Mapping[str, Any]) -> dg.TableRecord:
    unlike = "; ".join(f"{column}: {how}" for column, how in metadata.get("fidelity", {}).items())
    told = {name: metadata.get(name, 0) for name in _TOLD}
    return dg.TableRecord({"table": table, "rows": metadata["dagster/partition_row_count"], **told, "fidelity": unlike})
