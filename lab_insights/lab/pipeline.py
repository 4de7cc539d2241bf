"""A tenant's day through curation and transformation: which batches go in, and the one batch that comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    # a contract types its columns itself
    fidelity = {} if contract else {name: how for manifest in every for name, how in manifest.fidelity.items()}
    return derive(lake, head, draft, query, given, curation.accounts_of(lake.storage, inputs), gone, fidelity=fidelity)


@dataclass
class Curated:
    """The curated tables of a tenant's day, each looked up and read once, however many wide tables are made from it; `state` finds a table's state."""

    lake: Lake
    tenant: TenantId
    day: date
    state: Callable[[Lake, Layer, TenantId, str, date], TableState] = compacted
    _deltas: dict[str, list[Manifest]] = field(default_factory=dict)
    _relations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def deltas(self, name: str) -> list[Manifest]:
        """Return the day's batches of a table; raise `MissingInput` when there is none."""
        if name not in self._deltas:
            self._deltas[name] = landed(self.lake, Partition("curated", self.tenant, name, self.day))
        return self._deltas[name]

    def relations(self, name: str) -> dict[str, Any]:
        """Return what a wide table reads of a table: its state as of the day's end, and the day's rows."""
        if name not in self._relations:
            schema = curate.contract_schema(contracts()[name])
            rows, changed = self._state(name, self.day, schema), relation(self.lake.storage, self.deltas(name), schema)
            if any(manifest.kind == "snapshot" for manifest in self.deltas(name)):
                before = self._state(name, self.day - timedelta(days=1), schema)
                with Duck({"before": before, "now": changed}) as engine:
                    engine.run(transform.displaced(name))
                    displaced = engine.table()
                rows, changed = joined(rows, displaced), joined(changed, displaced)
            self._relations[name] = {f"state_{name}": rows, f"delta_{name}": changed}
        return self._relations[name]

    def _state(self, name: str, day: date, schema: pa.Schema) -> Any:
        return relation(self.lake.storage, self.state(self.lake, "curated", self.tenant, name, day).manifests, schema)


def transform_wide(curated: Curated, wide: transform.Wide, run_id: str) -> Manifest:
    """Return the batch of a wide table's day: the rows that the day's curated batches touch, as of the end of the day."""
    lake, tenant, day = curated.lake, curated.tenant, curated.day
    deltas = [manifest for name in wide.inputs for manifest in curated.deltas(name)]
    draft = _derived(tenant, wide.table, day, wide.key, deltas, wide_version(wide), run_id)
    head = settled_head(lake, draft.partition)
    if there := unchanged(lake, head, draft):
        return there
    inputs = {}
    if any(manifest.rows or manifest.kind == "snapshot" for manifest in deltas):
        inputs = {"run": run_row(tenant, day, head), **wide_inputs(curated, wide)}
    return derive(lake, head, draft, transform.transformed(wide), inputs, counted=wide.counted)


def wide_version(wide: transform.Wide) -> str:
    """Return what the rows of a wide table depend on besides their inputs."""
    return ".".join([transform.CODE_VERSION, *(contracts()[name].version for name in wide.inputs)])


def wide_inputs(curated: Curated, wide: transform.Wide) -> dict[str, Any]:
    """Return the relations that a wide table's day is computed from: the day's rows, and the state as of its end."""
    return {relation: rows for name in wide.inputs for relation, rows in curated.relations(name).items()}


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
