"""Source tables as external assets: where lineage begins. Nothing here is materialized by us."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from lab_insights.assets.specs import MANY_TABLES, OWNERS, PLATFORM, USER_DEFINED, source_columns, spec
from lab_insights.config import Config
from lab_insights.governance.history import Change
from lab_insights.lab.declared import has, read_by


def source_key(source: str, table: str) -> dg.AssetKey:
    """Return the key of a source table."""
    return dg.AssetKey(["sources", source, table])


def build(config: Config) -> list[dg.AssetSpec]:
    """Return a spec for each source table that a contract reads, and one for the rest of each source."""
    modelled = [
        spec(
            source_key(mapping.source.name, mapping.source.table).path,
            description=f"{mapping.source.table} at the source {mapping.source.name}. Curated as `{contract.table}`: {contract.description}",
            kinds={config.sources[mapping.source.name].engine},
            owner=OWNERS.get(contract.domain, PLATFORM),
            domain=contract.domain,
            columns=source_columns(readers),
            table_name=f"{mapping.source.name}.{mapping.source.table}",
            uri=f"{config.sources[mapping.source.name].engine}://{mapping.source.name}/{mapping.source.table}",
        )
        for readers in read_by().values()
        for contract, mapping in readers[:1]
        if has(config.sources, mapping)
    ]
    rest = [
        spec(
            source_key(name, USER_DEFINED).path,
            description=f"Every other table of the source {name}, user-defined ones included: crawled, and loaded as it is found.",
            kinds={source.engine},
            constraint=MANY_TABLES,
            uri=f"{source.engine}://{name}/",
        )
        for name, source in config.sources.items()
    ]
    return [*modelled, *rest]


def observed(change: Change, unread: Sequence[str]) -> dg.AssetObservation:
    """Return what the source's asset is told of a schema change, and which dropped columns a contract reads: names of columns, and never a value."""
    source, _, table = change.table.partition(".")
    readers = read_by().get(change.table)
    lists = {"added": change.added, "dropped": change.dropped, "changed": change.changed, "dropped_but_read_by_a_contract": unread}
    metadata = {name: ", ".join(columns) for name, columns in lists.items() if columns}
    return dg.AssetObservation(
        source_key(source, readers[0][1].source.table if readers else USER_DEFINED),
        description=f"Schema change: {change}",
        metadata={"tenant": change.tenant, "table": table, "version": change.version, **metadata},
    )
