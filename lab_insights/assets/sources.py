"""Source tables as external assets: where lineage begins. Nothing here is materialized by us."""

from __future__ import annotations

import dagster as dg

from lab_insights.assets.specs import MANY_TABLES, OWNERS, USER_DEFINED, source_columns, spec
from lab_insights.config import Config
from lab_insights.lab.contracts import contracts


def source_key(source: str, table: str) -> dg.AssetKey:
    """Return the key of a source table."""
    return dg.AssetKey(["sources", source, table])


def build(config: Config) -> list[dg.AssetSpec]:
    """Return a spec for each source table that a contract reads, and one for the rest of each source."""
    modelled = [
        spec(
            source_key(contract.source.name, contract.source.table).path,
            description=f"{contract.source.table} at the source {contract.source.name}. Curated as `{contract.table}`: {contract.description}",
            kinds={config.sources[contract.source.name].engine},
            owner=OWNERS[contract.domain],
            domain=contract.domain,
            columns=source_columns(contract),
            table_name=f"{contract.source.name}.{contract.source.table}",
            uri=f"{config.sources[contract.source.name].engine}://{contract.source.name}/{contract.source.table}",
        )
        for contract in contracts().values()
        if contract.source.name in config.sources and contract.source.whole
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
