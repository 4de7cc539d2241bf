"""Asset specs: key, group, kinds, owner, description and column schema, made from contracts and wide tables."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from lab_insights.lab.contracts import Contract, ContractColumn
from lab_insights.lab.curate import META as CURATED_META
from lab_insights.lab.lineage import Origin, at_source, lineage
from lab_insights.lab.mappings import VALUE, Mapping
from lab_insights.lab.transform import META_COLUMNS as TRANSFORMED_META
from lab_insights.lab.transform import Wide

USER_DEFINED = "user_defined"
MANY_TABLES = "Many tables: these columns are those that every one has; the Glue Data Catalog, written by `crawl`, has each one's own."
OWNERS = {"crm": "team:client-services", "laboratory": "team:laboratory", "audit": "team:compliance", "messaging": "team:integration"}
PLATFORM = "team:data-platform"
# Rectangles are run as they are asked for; a run that failed for one tenant has materialized the others.
# What rows carry besides their business columns: type and description.
_META = {
    "tenant_id": ("string", "Tenant that the row belongs to."),
    "source_system": ("string", "Source that the row came from."),
    "connection_id": ("string", "Interface that the row's codes belong to."),
    "source_pk": ("string", "Key of the row at the source, as one text."),
    "source_updated_at": ("timestamp", "When the source changed the row, UTC; it orders versions."),
    "ingested_at": ("timestamp", "When the row was landed, UTC."),
    "as_of": ("date", "Day whose end the row is as of; it orders versions."),
    "batch_id": ("string", "Batch that the row lies in."),
    "record_hash": ("string", "Digest of the business columns."),
    "is_deleted": ("bool", "Whether the row is a tombstone."),
}
BACKFILL = dg.BackfillPolicy.single_run()
LINEAGE = "dagster/column_lineage"


def spec(
    key: Sequence[str],
    *,
    deps: Iterable[dg.AssetKey] = (),
    description: str,
    kinds: set[str],
    owner: str = PLATFORM,
    table_name: str | None = None,
    uri: str | None = None,
    columns: Sequence[dg.TableColumn] = (),
    constraint: str | None = None,
    domain: str | None = None,
    code_version: str | None = None,
) -> dg.AssetSpec:
    """Return a spec whose group is its layer, the first part of its key; `constraint` says what holds for the whole table."""
    metadata: dict[str, Any] = {}
    if columns or constraint:
        constraints = dg.TableConstraints(other=[constraint] if constraint else [])
        metadata["dagster/column_schema"] = dg.TableSchema(columns=list(columns), constraints=constraints)
    if table_name:
        metadata["dagster/table_name"] = table_name
    if uri:
        metadata["dagster/uri"] = uri
    if traced := lineage().get("/".join(key)):
        metadata |= _lineage("/".join(key), [column.name for column in columns if column.name in traced])
    return dg.AssetSpec(
        dg.AssetKey(list(key)),
        deps=list(deps),
        description=description,
        group_name=key[0],
        kinds=kinds,
        owners=[owner],
        metadata=metadata,
        tags={"domain": domain} if domain else None,
        code_version=code_version,
    )


def _lineage(asset: str, columns: Sequence[str]) -> dict[str, Any]:
    """Say where columns come from: for Dagster+, whose pages draw it, and as a table, since the open-source UI hides that entry."""
    traced = lineage()[asset]
    deps = {column: [dg.TableColumnDep(_key(of), name) for of, name in traced[column]] for column in columns}
    lines = [f"| `{column}` | {_linked(traced[column])} | {_linked(at_source(asset, column))} |" for column in columns]
    table = "\n".join(["| column | computed from | at the source |", "|---|---|---|", *lines])
    return {LINEAGE: dg.TableColumnLineage(deps), "column lineage": dg.MetadataValue.md(table)}


@functools.cache
def _key(path: str) -> dg.AssetKey:
    """One key for all the columns of a table: to make one for each is a tenth of a profile of loading the definitions."""
    return dg.AssetKey(path.split("/"))


def _linked(origins: Iterable[Origin]) -> str:
    return ", ".join(f"[{of}](/assets/{of}) `{name}`" for of, name in origins)


def meta_columns(names: Iterable[str], declared: Iterable[str] = ()) -> list[dg.TableColumn]:
    """Return the columns that rows carry besides those that are `declared`."""
    there = set(declared)
    return [dg.TableColumn(name, *_META[name]) for name in names if name not in there]


def contract_columns(contract: Contract) -> list[dg.TableColumn]:
    """Return the curated columns of a contract, each tagged with its PHI class, then what every row carries; key columns are not null."""
    declared = [
        dg.TableColumn(
            column.name,
            column.type,
            column.description,
            constraints=dg.TableColumnConstraints(nullable=column.name not in contract.key),
            tags={"phi": column.phi},
        )
        for column in contract.columns
    ]
    return [*declared, *meta_columns(CURATED_META, (column.name for column in contract.columns))]


def source_columns(readers: Sequence[tuple[Contract, Mapping]]) -> list[dg.TableColumn]:
    """Return the columns of a source table that are read, under their own names, with what they become first and their PHI class."""
    first: dict[str, ContractColumn] = {}
    for contract, mapping in readers:
        for column in mapping.read(contract):
            for name in column.reads:
                first.setdefault(name, column)
                if name == VALUE and mapping.slots:
                    first |= {pattern: first.get(pattern, column) for pattern in mapping.slots.columns}
    return [
        dg.TableColumn(name, "as in the source", f"Curated as `{column.name}`. {column.description}", tags={"phi": column.phi})
        for name, column in first.items()
        if not name.startswith("@")
    ]


def wide_columns(wide: Wide) -> list[dg.TableColumn]:
    """Return the columns of a wide table, then what every row carries; key columns are not null."""
    declared = [
        dg.TableColumn(
            field.name, field.type, field.description, constraints=dg.TableColumnConstraints(nullable=field.name not in wide.key)
        )
        for field in wide.fields
    ]
    return [*declared, *meta_columns(TRANSFORMED_META)]
