"""A tenant's day through curation and transformation: which batches go in, and the one batch that comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab_insights.errors import LabInsightsError
from lab_insights.lab import curate, curation, transform, unpivot
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.declared import raw_tables
from lab_insights.lab.derive import derive, unchanged
from lab_insights.lab.engine import Duck
from lab_insights.lake.commit import Draft, Lake, settled_head
from lab_insights.lake.compact import compacted
from lab_insights.lake.layout import Layer, Partition, batch_id
from lab_insights.lake.manifest import Manifest, Window
from lab_insights.lake.state import Head
from lab_insights.lake.tables import TableState, joined, partition_manifests, relation
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

LONG_SUFFIX = "_long"


class MissingInput(LabInsightsError):
    """A derived partition was asked for before the partition that it is made from."""


def curate_table(lake: Lake, tenant: TenantId, raw_table: str, day: date, contract: Contract | None, run_id: str) -> Manifest:
    """Return the curated batch of a day, made now or found unchanged: of the contract's table, or of a raw table that none describes.

    Raises `MissingInput` when no raw table that feeds it was landed.
    """
    tables = raw_tables(contract) if contract else [raw_table]
    found = {name: partition_manifests(lake, Partition("raw", tenant, name, day)) for name in tables}
    if not any(found.values()):
        landed(lake, Partition("raw", tenant, tables[0], day))
    inputs = curation.inputs_of(raw_table, contract, found)
    every = list({manifest.object_key: manifest for each in inputs for manifest in each.every}.values())
    draft = Draft(
        partition=Partition("curated", tenant, contract.table if contract else raw_table, day),
        kind=curation.kind_of(lake, tenant, day, inputs),
        supersedes=True,
        key=inputs[0].curation.curated_key,
        window=_window(every),
        load=every[-1].load,
        inputs=tuple(manifest.object_key for manifest in every),
        code_version=curation.version_of(inputs),
        run_id=run_id,
        engine="duckdb",
    )
    head = settled_head(lake, draft.partition)
    if there := unchanged(lake, head, draft):
        return there
    query, relations = curation.query_of(lake.storage, inputs)
    gone, beside = (curation.gone_of(lake, tenant, day, inputs) if draft.kind == "delta" else None) or (None, {})
    given = {**relations, **beside} if gone or any(manifest.rows for manifest in every) else {}
    return derive(lake, head, draft, query, given, curation.accounts_of(lake.storage, inputs), gone)


def transform_wide(lake: Lake, tenant: TenantId, wide: transform.Wide, day: date, run_id: str) -> Manifest:
    """Return the batch of a wide table's day: the rows that the day's curated batches touch, as of the end of the day."""
    deltas = {name: landed(lake, Partition("curated", tenant, name, day)) for name in wide.inputs}
    draft = _derived(tenant, wide.table, day, wide.key, [m for name in wide.inputs for m in deltas[name]], wide_version(wide), run_id)
    head = settled_head(lake, draft.partition)
    if there := unchanged(lake, head, draft):
        return there
    inputs = {}
    if any(manifest.rows or manifest.kind == "snapshot" for each in deltas.values() for manifest in each):
        inputs = {"run": run_row(tenant, day, head), **wide_inputs(lake, tenant, wide, day, deltas)}
    return derive(lake, head, draft, transform.transformed(wide), inputs)


def wide_version(wide: transform.Wide) -> str:
    """Return what the rows of a wide table depend on besides their inputs."""
    return ".".join([transform.CODE_VERSION, *(contracts()[name].version for name in wide.inputs)])


def wide_inputs(
    lake: Lake,
    tenant: TenantId,
    wide: transform.Wide,
    day: date,
    deltas: Mapping[str, Sequence[Manifest]],
    state: Callable[[Lake, Layer, TenantId, str, date], TableState] = compacted,
) -> dict[str, Any]:
    """Return the relations that a wide table's day is computed from: the day's rows, and the `state` as of its end."""
    inputs: dict[str, Any] = {}
    for name in wide.inputs:
        schema = curate.contract_schema(contracts()[name])
        rows = relation(lake.storage, state(lake, "curated", tenant, name, day).manifests, schema)
        changed = relation(lake.storage, deltas[name], schema)
        if any(manifest.kind == "snapshot" for manifest in deltas[name]):
            before = relation(lake.storage, state(lake, "curated", tenant, name, day - timedelta(days=1)).manifests, schema)
            with Duck({"before": before, "now": changed}) as engine:
                engine.run(transform.displaced(name))
                displaced = engine.table()
            rows, changed = joined(rows, displaced), joined(changed, displaced)
        inputs[f"state_{name}"], inputs[f"delta_{name}"] = rows, changed
    return inputs


def unpivot_table(lake: Lake, tenant: TenantId, table: str, day: date, run_id: str) -> Manifest:
    """Return the long batch of a generically curated table's day: one row per row and column."""
    curated = landed(lake, Partition("curated", tenant, table, day))
    last = curated[-1]
    draft = _derived(tenant, f"{table}{LONG_SUFFIX}", day, unpivot.KEY, curated, unpivot.CODE_VERSION, run_id, last)
    head = settled_head(lake, draft.partition)
    if there := unchanged(lake, head, draft):
        return there
    schema = last.schema_()
    inputs = {"run": run_row(tenant, day, head), "rows": relation(lake.storage, (last,), schema)} if last.rows else {}
    return derive(lake, head, draft, unpivot.unpivoted(schema, last.key), inputs)


def _derived(
    tenant: TenantId,
    table: str,
    day: date,
    key: tuple[str, ...],
    inputs: list[Manifest],
    version: str,
    run_id: str,
    like: Manifest | None = None,
) -> Draft:
    return Draft(
        partition=Partition("transformed", tenant, table, day),
        kind=like.kind if like else "delta",
        supersedes=True,
        key=key,
        window=_window(inputs),
        inputs=tuple(manifest.object_key for manifest in inputs),
        code_version=version,
        run_id=run_id,
        engine="duckdb",
    )


def landed(lake: Lake, partition: Partition) -> list[Manifest]:
    """Return the live batches of a partition; raise `MissingInput` when it was never materialized."""
    found = partition_manifests(lake, partition)
    if not found:
        raise MissingInput(
            f"Its {partition.layer} partition was never materialized.",
            remedy=f"materialize {partition.layer} for this tenant and day first.",
            **partition.where,
        )
    return found


def _window(inputs: list[Manifest]) -> Window | None:
    highs: list[datetime] = [manifest.window.high for manifest in inputs if manifest.window]
    return Window(low=None, high=max(highs)) if highs else None


def run_row(tenant: TenantId, day: date, head: Head) -> pa.Table:
    """Return the one row that expressions take the tenant, the day and the coming batch from."""
    import pyarrow as pa

    attempt = head.intent.attempt + 1 if head.intent else 1
    schema = pa.schema([("tenant_id", pa.string()), ("as_of", pa.date32()), ("batch_id", pa.string())])
    return pa.Table.from_pylist([{"tenant_id": tenant, "as_of": day, "batch_id": batch_id(head.batch, attempt)}], schema)
