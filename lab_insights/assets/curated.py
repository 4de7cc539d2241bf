"""The curated layer: typed, named by contract, the newest version of each key that changed on the day."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from lab_insights.assets.checks import Checks, Events, check_specs
from lab_insights.assets.quarantine import one_by_one
from lab_insights.assets.raw import LAKE_KINDS, raw_key
from lab_insights.assets.receipts import Receipt, lake_receipt
from lab_insights.assets.specs import BACKFILL, MANY_TABLES, OWNERS, PLATFORM, USER_DEFINED, contract_columns, meta_columns, spec
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.checks import rows
from lab_insights.checks.verdicts import GATES
from lab_insights.config import Config
from lab_insights.governance import glue
from lab_insights.lab import curation
from lab_insights.lab.contracts import Contract
from lab_insights.lab.curate import META
from lab_insights.lab.declared import by_raw_table, has, served
from lab_insights.lab.mappings import mappings
from lab_insights.lab.pipeline import curate_table
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource

KINDS = {*LAKE_KINDS, "duckdb"}


def curated_key(table: str) -> dg.AssetKey:
    """Return the key of a curated table."""
    return dg.AssetKey(["curated", table])


def build(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return one step for each domain's tables, and one for the tables that no contract describes."""
    by_domain: dict[str, list[Contract]] = {}
    for contract in served(config.sources).values():
        by_domain.setdefault(contract.domain, []).append(contract)
    return [*(_modelled(config, domain, found, grid) for domain, found in by_domain.items()), _user_defined(config, grid)]


def _modelled(config: Config, domain: str, found: list[Contract], grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    by_key = {curated_key(contract.table): contract for contract in found}
    specs = [
        spec(
            key.path,
            deps=dict.fromkeys(raw_key(mapping) for mapping in mappings()[contract.table] if has(config.sources, mapping)),
            description=contract.description,
            kinds=KINDS,
            owner=OWNERS.get(domain, PLATFORM),
            domain=domain,
            columns=contract_columns(contract),
            table_name=f"{glue.database(config.lake.prefix, 'curated')}.{contract.table}",
            uri=f"s3://{config.lake.prefix}-curated/tenant=*/table={contract.table}/",
            code_version=curation.version_of_day(contract, {each.raw for each in mappings()[contract.table] if has(config.sources, each)}),
        ).with_io_manager_key("lake_io")
        for key, contract in by_key.items()
    ]

    @dg.multi_asset(
        name=f"curated_{domain}",
        specs=specs,
        check_specs=check_specs(by_key, *GATES),
        can_subset=True,
        partitions_def=grid,
        backfill_policy=BACKFILL,
    )
    def curate(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"raw"})

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            for key in keys:
                contract = by_key[key]
                made = curate_table(own, tenant, contract.table, day, contract, context.run.run_id)
                checks.note(rows.derived(own, key.to_user_string(), made))
                yield key, lake_receipt(own.storage, [made])

        yield from run_tenant_days(context, work, checks)

    return curate


def _user_defined(config: Config, grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    only = spec(
        ["curated", USER_DEFINED],
        deps=[dg.AssetKey(["raw", USER_DEFINED])],
        description="Every table that no contract describes: typed as it was landed, the newest version of each key.",
        kinds=KINDS,
        columns=meta_columns(META),
        constraint=MANY_TABLES,
        uri=f"s3://{config.lake.prefix}-curated/tenant=*/",
        code_version=curation.version_of_day(None, {USER_DEFINED}),
    ).with_io_manager_key("lake_io")

    @dg.multi_asset(
        name="curated_user_defined",
        specs=[only],
        check_specs=check_specs([only.key], *GATES),
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="user_defined",
    )
    def curate(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"raw"})

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            tables = [table for table in own.state.tables("raw", tenant, day, day) if table not in by_raw_table()]

            def make(table: str) -> Receipt:
                made = curate_table(own, tenant, table, day, None, context.run.run_id)
                checks.note(rows.derived(own, only.key.to_user_string(), made))
                return lake_receipt(own.storage, [made])

            receipt = one_by_one(tenant, tables, make, context.log.warning)
            yield from ((key, receipt) for key in keys)

        yield from run_tenant_days(context, work, checks)

    return curate
