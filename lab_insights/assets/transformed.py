"""The transformed layer: wide rows as of the day, and user-defined tables turned from columns to rows."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from lab_insights.assets.checks import Checks, Events, check_specs
from lab_insights.assets.curated import KINDS, curated_key
from lab_insights.assets.quarantine import one_by_one
from lab_insights.assets.receipts import Receipt, lake_receipt
from lab_insights.assets.specs import BACKFILL, OWNERS, PLATFORM, USER_DEFINED, meta_columns, spec, wide_columns
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.checks import rows
from lab_insights.checks.verdicts import GATES
from lab_insights.config import Config
from lab_insights.governance import glue
from lab_insights.lab import unpivot
from lab_insights.lab.declared import is_user_defined, served_wide
from lab_insights.lab.pipeline import Curated, transform_wide, unpivot_table, wide_version
from lab_insights.lab.transform import META_COLUMNS, Wide
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource


def transformed_key(table: str) -> dg.AssetKey:
    """Return the key of a transformed table."""
    return dg.AssetKey(["transformed", table])


def build(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return one step for the wide tables and one for the long ones."""
    wide = served_wide(config.sources)
    return [*([_wide(config, wide, grid)] if wide else []), _user_defined(config, grid)]


def _wide(config: Config, found: Sequence[Wide], grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    by_key = {transformed_key(wide.table): wide for wide in found}
    specs = [
        spec(
            key.path,
            deps=[curated_key(name) for name in wide.inputs],
            description=f"{wide.description} Grain: {', '.join(wide.key)}. A day re-emits every row that its changes touch.",
            kinds=KINDS,
            owner=OWNERS.get(wide.domain, PLATFORM),
            domain=wide.domain,
            columns=wide_columns(wide),
            table_name=f"{glue.database(config.lake.prefix, 'transformed')}.{wide.table}",
            uri=f"s3://{config.lake.prefix}-transformed/tenant=*/table={wide.table}/",
            code_version=wide_version(wide),
        ).with_io_manager_key("lake_io")
        for key, wide in by_key.items()
    ]

    @dg.multi_asset(
        name="transformed_wide",
        specs=specs,
        check_specs=check_specs(by_key, *GATES),
        can_subset=True,
        partitions_def=grid,
        backfill_policy=BACKFILL,
    )
    def transform(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"curated"})

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            curated = Curated(own, tenant, day)
            for key in keys:
                made = transform_wide(curated, by_key[key], context.run.run_id)
                checks.note(rows.derived(own, key.to_user_string(), made))
                yield key, lake_receipt(own.storage, [made])

        yield from run_tenant_days(context, work, checks)

    return transform


def _user_defined(config: Config, grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    only = spec(
        ["transformed", USER_DEFINED],
        deps=[curated_key(USER_DEFINED)],
        description="User-defined tables and side tables, columns to rows: one row per row and column, values as text and in the type of their column.",
        kinds=KINDS,
        uri=f"s3://{config.lake.prefix}-transformed/tenant=*/",
        code_version=unpivot.CODE_VERSION,
        columns=[
            *(dg.TableColumn(name, kind, told) for name, (kind, told) in unpivot.COLUMNS.items()),
            *meta_columns(META_COLUMNS),
        ],
    ).with_io_manager_key("lake_io")

    @dg.multi_asset(
        name="transformed_user_defined",
        specs=[only],
        check_specs=check_specs([only.key], *GATES),
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="user_defined",
    )
    def transform(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Events]:
        opened = lake.open()
        checks = Checks(opened, behind={"curated"})

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            own = opened.for_tenant(tenant)
            tables = [table for table in own.state.tables("curated", tenant, day, day) if is_user_defined(table, config.sources)]

            def make(table: str) -> Receipt:
                made = unpivot_table(own, tenant, table, day, context.run.run_id)
                checks.note(rows.derived(own, only.key.to_user_string(), made))
                return lake_receipt(own.storage, [made])

            receipt = one_by_one(tenant, tables, make, context.log.warning)
            yield from ((key, receipt) for key in keys)

        yield from run_tenant_days(context, work, checks)

    return transform
