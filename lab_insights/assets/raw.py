"""The raw layer: what the sources hold, landed exactly, a batch at a time.

Dagster reads the annotations of asset bodies when they are defined, so the modules that have any do without postponed annotations.
"""

import functools
from collections.abc import Callable, Iterator
from datetime import date

import dagster as dg

from lab_insights.assets.checks import Checks, Events, check_specs
from lab_insights.assets.loading import LoadConfig, TablesConfig, prepare
from lab_insights.assets.quarantine import one_by_one
from lab_insights.assets.receipts import Receipt, lake_receipt
from lab_insights.assets.sources import source_key
from lab_insights.assets.specs import BACKFILL, MANY_TABLES, OWNERS, PLATFORM, USER_DEFINED, source_columns, spec
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.checks import rows
from lab_insights.checks.verdicts import NO_CROSS_TENANT_ROW, SCHEMA_UNCHANGED
from lab_insights.config import Config
from lab_insights.errors import LabInsightsError, SourceUnavailable
from lab_insights.extract.land import Request
from lab_insights.extract.sources import Sources
from lab_insights.governance import glue
from lab_insights.lab.contracts import Contract
from lab_insights.lab.declared import has, read_by
from lab_insights.lab.mappings import Mapping
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.retries import persistently
from lab_insights.tenants.registry import Tenant

Readers = list[tuple[Contract, Mapping]]
"""What a raw table is read by."""
LAKE_KINDS = {"s3", "parquet"}
PATH_COLUMNS = {"tenant": "string", "table": "string", "date": "date"}


def raw_key(mapping: Mapping) -> dg.AssetKey:
    """Return the key of the raw asset that a mapping reads."""
    return dg.AssetKey(["raw", mapping.source.name, mapping.source.table])


def build(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return one step for each source's modelled tables, and one for all other tables."""
    by_source: dict[str, list[Readers]] = {}
    for readers in read_by().values():
        mapping = readers[0][1]
        if has(config.sources, mapping):
            by_source.setdefault(mapping.source.name, []).append(readers)
    return [*(_modelled(config, name, found, grid) for name, found in by_source.items()), _user_defined(config, grid)]


def _kinds(config: Config, tables: set[str]) -> set[str]:
    """Return the kinds of an asset of these tables; who reads a table of which nobody said so is decided by its plan, when it is loaded."""
    return LAKE_KINDS | ({"spark"} if tables & _on_spark(config) else set())


def _on_spark(config: Config) -> set[str]:
    """Return the tables of which the configuration says that Spark reads them."""
    return {
        f"{name}.{table}"
        for name, source in config.sources.items()
        for table, override in source.overrides.items()
        if override.engine == "spark"
    }


def _modelled(config: Config, source: str, found: list[Readers], grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    tables = {raw_key(mapping): mapping.raw for [(_, mapping), *_] in found}
    specs = [
        spec(
            raw_key(mapping).path,
            deps=[source_key(source, mapping.source.table)],
            description=f"{mapping.source.table} of {source}, landed exactly as the source holds it: values typed where exact, else kept as text.",
            kinds=_kinds(config, {mapping.raw}),
            owner=OWNERS.get(contract.domain, PLATFORM),
            domain=contract.domain,
            columns=source_columns(readers),
            table_name=f"{glue.database(config.lake.prefix, 'raw')}.{source}_{mapping.source.table}",
            uri=f"s3://{config.lake.prefix}-raw/tenant=*/table={mapping.raw}/",
        ).with_io_manager_key("lake_io")
        for readers in found
        for contract, mapping in readers[:1]
    ]

    @dg.multi_asset(
        name=f"raw_{source}",
        specs=specs,
        check_specs=check_specs(tables, SCHEMA_UNCHANGED, NO_CROSS_TENANT_ROW),
        can_subset=True,
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool=f"source_{source}",
    )
    def load(context: dg.AssetExecutionContext, config: LoadConfig, lake: LakeResource) -> Iterator[Events]:
        prepare(config, lake.config(), [source], lake)
        opened, registry, sources = lake.open(), lake.registry(), lake.sources()
        checks = Checks(opened)

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            own, known = opened.for_tenant(tenant), registry.get(tenant)
            for key in keys:
                request = Request(day, config.mode, config.reload, config.forced, dynamic=False, run_id=context.run.run_id)
                batches = sources.closed(known, tables[key], request) or sources.load(sources.table(known, tables[key]), request)
                checks.note(rows.landed(own, key.to_user_string(), batches, sources.discriminator(known, tables[key])))
                yield key, lake_receipt(own.storage, batches, sources.warning(tenant, tables[key]))

        yield from run_tenant_days(context, work, checks)
        for warning in sources.warnings():
            context.log.warning(warning)

    return load


def _user_defined(config: Config, grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    key = dg.AssetKey(["raw", USER_DEFINED])
    only = spec(
        key.path,
        deps=[source_key(name, USER_DEFINED) for name in config.sources],
        description="Every table that no contract describes, user-defined ones included: crawled, landed exactly, one batch a table.",
        kinds=_kinds(config, _on_spark(config) - read_by().keys()),
        owner=PLATFORM,
        columns=[dg.TableColumn(name, kind, f"The {name} that the row's path names.") for name, kind in PATH_COLUMNS.items()],
        constraint=MANY_TABLES,
        uri=f"s3://{config.lake.prefix}-raw/tenant=*/",
    ).with_io_manager_key("lake_io")

    @dg.multi_asset(
        name="raw_user_defined",
        specs=[only],
        check_specs=check_specs([key], SCHEMA_UNCHANGED, NO_CROSS_TENANT_ROW),
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="user_defined",
    )
    def load(context: dg.AssetExecutionContext, config: TablesConfig, lake: LakeResource) -> Iterator[Events]:
        prepare(config, lake.config(), lake.config().sources, lake)
        opened, registry, sources = lake.open(), lake.registry(), lake.sources()
        checks = Checks(opened)

        def work(tenant: TenantId, day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            own, known = opened.for_tenant(tenant), registry.get(tenant)
            request = Request(day, config.mode, config.reload, config.forced, dynamic=True, run_id=context.run.run_id)
            loads, broken = _undeclared(sources, known, request, context.log.warning)

            def make(table: str) -> Receipt:
                # By table, and not only by the tenant's day: one that somebody keeps locked must not fail the others.
                batches = persistently(loads[table], context.log.warning)
                checks.note(rows.landed(own, key.to_user_string(), batches, sources.discriminator(known, table)))
                return lake_receipt(own.storage, batches, sources.warning(tenant, table))

            chosen = [table for table in loads if not config.tables or table in config.tables]
            more = {"only": ", ".join(config.tables)} if config.tables else {}
            receipt = one_by_one(tenant, chosen, make, context.log.warning, broken, **more)
            yield from ((key, receipt) for key in keys)

        yield from run_tenant_days(context, work, checks)
        for warning in sources.warnings():
            context.log.warning(warning)

    return load


def _undeclared(
    sources: Sources, tenant: Tenant, request: Request, warn: Callable[[str], None]
) -> tuple[dict[str, Callable[[], list[Manifest]]], list[LabInsightsError]]:
    """Return what loads each table of a tenant that no contract describes, and why others can not even be inspected."""
    try:
        return {table.table_id: functools.partial(sources.load, table, request) for table in sources.undeclared(tenant)}, [
            *sources.broken(tenant)
        ]
    except SourceUnavailable as error:
        # Only the source knows of tables that came since; what is closed stands without it.
        standing = sources.closed_undeclared(tenant, request)
        if not standing:
            raise
        warn(f"{tenant.id} {request.day} is closed, and stands as it is: {error}")
        return {table: functools.partial(list, batches) for table, batches in standing.items()}, []
