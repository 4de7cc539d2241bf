"""The Snowflake layer: each tenant's curated and transformed tables in its own database, merged by version."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from lab_insights.assets.checks import Checks, Events, check_specs
from lab_insights.assets.curated import curated_key
from lab_insights.assets.receipts import Receipt
from lab_insights.assets.specs import (
    BACKFILL,
    MANY_TABLES,
    OWNERS,
    PLATFORM,
    USER_DEFINED,
    contract_columns,
    meta_columns,
    spec,
    wide_columns,
)
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.assets.transformed import transformed_key
from lab_insights.checks import loads
from lab_insights.checks.verdicts import RECONCILED, Judgement
from lab_insights.config import Config
from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import META
from lab_insights.lab.declared import served, served_wide
from lab_insights.lab.pipeline import landed
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse.load import load
from lab_insights.warehouse.receipt import LoadReceipt

KINDS = {"snowflake", "table"}


def snowflake_key(table: str) -> dg.AssetKey:
    """Return the key of a table in the tenants' databases."""
    return dg.AssetKey(["snowflake", table])


def asset_of(layer: str, table: str) -> str:
    """Return the name of the asset that a table of a layer is loaded by."""
    modelled = table in contracts() if layer == "curated" else any(table == wide.table for wide in WIDE_TABLES)
    return snowflake_key(table if modelled else USER_DEFINED).to_user_string()


def build(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return one step for the modelled tables and one for the user-defined ones."""
    return [*([_modelled(config, grid)] if served(config.sources) else []), _user_defined(grid)]


def _modelled(config: Config, grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    tables: dict[dg.AssetKey, tuple[Layer, str]] = {}
    specs = []
    for contract in served(config.sources).values():
        tables[snowflake_key(contract.table)] = ("curated", contract.table)
        specs.append(
            _spec(contract.table, "CURATED", curated_key(contract.table), contract.description, contract.domain, contract_columns(contract))
        )
    for wide in served_wide(config.sources):
        tables[snowflake_key(wide.table)] = ("transformed", wide.table)
        specs.append(_spec(wide.table, "TRANSFORMED", transformed_key(wide.table), wide.description, wide.domain, wide_columns(wide)))

    @dg.multi_asset(
        name="snowflake_modelled",
        specs=specs,
        check_specs=check_specs(tables, RECONCILED),
        can_subset=True,
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="snowflake",
    )
    def merge(context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"curated", "transformed"})
        suspect = checks.standing(RECONCILED)

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            batches = [(key, manifest) for key in keys for manifest in landed(own, Partition(tables[key][0], tenant, tables[key][1], day))]
            with warehouse.session(context.run.run_id) as session:
                loaded = load(session, own.storage, tenant, [manifest for _, manifest in batches], run_id=context.run.run_id)
                checks.note(loads.by_ledger(session, asset_of, [manifest for _, manifest in batches]))
            # Only comparing every row shows that a table which once differed was mended.
            if again := _named(suspect, tenant, keys):
                checks.note(loads.by_every_row(own, tenant, lambda: warehouse.session(context.run.run_id), asset_of, again))
            for key in keys:
                yield key, load_receipt([receipt for (of, _), receipt in zip(batches, loaded, strict=True) if of == key])

        yield from run_tenant_days(context, work, checks)

    return merge


def _spec(table: str, schema: str, dep: dg.AssetKey, description: str, domain: str, columns: Sequence[dg.TableColumn]) -> dg.AssetSpec:
    return spec(
        snowflake_key(table).path,
        deps=[dep],
        description=f"{description} In each tenant's own database; tombstones stay, `{table.upper()}_LIVE` hides them.",
        kinds=KINDS,
        owner=OWNERS.get(domain, PLATFORM),
        domain=domain,
        columns=columns,
        table_name=f"LAB_INSIGHTS_<TENANT>.{schema}.{table.upper()}",
        uri=f"snowflake://LAB_INSIGHTS_<TENANT>/{schema}/{table.upper()}",
    ).with_io_manager_key("snowflake_io")


def _user_defined(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    only = spec(
        snowflake_key(USER_DEFINED).path,
        deps=[curated_key(USER_DEFINED), transformed_key(USER_DEFINED)],
        description="Every table that no contract describes, and the long form of user-defined ones, in each tenant's own database.",
        kinds=KINDS,
        columns=meta_columns(name for name in META if name in META_COLUMNS),
        constraint=MANY_TABLES,
        uri="snowflake://LAB_INSIGHTS_<TENANT>/",
    ).with_io_manager_key("snowflake_io")
    wide = {table.table for table in WIDE_TABLES}

    @dg.multi_asset(
        name="snowflake_user_defined",
        specs=[only],
        check_specs=check_specs([only.key], RECONCILED),
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="user_defined",
    )
    def merge(context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"curated", "transformed"})
        suspect = checks.standing(RECONCILED)

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            batches: list[Manifest] = []
            layers: tuple[tuple[Layer, set[str]], ...] = (("curated", set(contracts())), ("transformed", wide))
            for layer, modelled in layers:
                for table in own.state.tables(layer, tenant, day, day):
                    if table not in modelled:
                        batches += landed(own, Partition(layer, tenant, table, day))
            with warehouse.session(context.run.run_id) as session:
                loaded = load(session, own.storage, tenant, batches, run_id=context.run.run_id)
                checks.note(loads.by_ledger(session, asset_of, batches))
            if again := _named(suspect, tenant, keys):
                checks.note(loads.by_every_row(own, tenant, lambda: warehouse.session(context.run.run_id), asset_of, again))
            yield from ((key, load_receipt(loaded)) for key in keys)

        yield from run_tenant_days(context, work, checks)

    return merge


def _named(suspect: Sequence[Judgement], tenant: TenantId, keys: Sequence[dg.AssetKey]) -> set[str]:
    """Return the lake's tables of a tenant, of these assets, that differed when they were last looked at."""
    names = {key.to_user_string() for key in keys}
    return {each.of.table.partition("/")[2] for each in suspect if each.of.tenant == tenant and each.of.asset in names}


def load_receipt(loaded: Sequence[LoadReceipt]) -> Receipt:
    """Return the receipt of the batches of one partition: what was staged, inserted, updated and tombstoned, and how many were there already."""
    rows = sum(receipt.staged for receipt in loaded)
    return Receipt(
        rows,
        {
            "dagster/partition_row_count": rows,
            "inserted": sum(receipt.inserted for receipt in loaded),
            "updated": sum(receipt.updated for receipt in loaded),
            "tombstoned": sum(receipt.tombstoned for receipt in loaded),
            "batches": len(loaded),
            "already_loaded": sum(receipt.skipped for receipt in loaded),
            "statements": sum(receipt.statements for receipt in loaded),
            "seconds": round(sum(receipt.seconds for receipt in loaded), 3),
        },
    )
