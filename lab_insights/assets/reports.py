"""The report layer: KPIs by event day in each tenant's REPORTS schema, computed by Snowflake over the whole client database."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from lab_insights.assets.checks import Checks, Events, check_specs
from lab_insights.assets.receipts import Receipt
from lab_insights.assets.snowflake import KINDS, snowflake_key
from lab_insights.assets.specs import BACKFILL, PLATFORM, spec
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.checks import grains, orphans
from lab_insights.checks.verdicts import NO_ORPHANS, RECONCILED, UNIQUE_GRAIN
from lab_insights.config import Config
from lab_insights.lab.declared import served, served_wide
from lab_insights.lab.kpis import Report
from lab_insights.lab.kpis.declared import computable, has_page, inputs
from lab_insights.lab.kpis.quality import QUALITY
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.report_page import LAYER, Pages, publish
from lab_insights.warehouse.reports import ReportReceipt, receipts, refresh, schema

PATH = {"tenant": "string", "date": "date"}
DAILY_PAGE = dg.AssetKey(["reports", "daily_page"])


def report_key(name: str) -> dg.AssetKey:
    """Return the key of a report table."""
    return dg.AssetKey(["reports", name])


def build(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the one step that refreshes the KPI tables of a tenant whose tables are there, and writes its page where all of the package's are."""
    there = served(config.sources).keys() | {wide.table for wide in served_wide(config.sources)}
    made = computable(there)
    if not made:
        return []
    keys = {report.name: report_key(report.name) for report in made}
    paged, quality = has_page(there), keys.get(QUALITY.name)
    specs = [
        spec(
            keys[report.name].path,
            deps=_deps(report, there),
            description=f"{report.description} Every event day that a load touches is recomputed, whichever partition asked for it. Source: {report.source}",
            kinds=KINDS,
            owner=PLATFORM,
            columns=[
                dg.TableColumn(
                    name,
                    column.type,
                    column.definition,
                    constraints=dg.TableColumnConstraints(nullable=name not in report.key),
                    tags={"phi": column.phi} if report.personal or column.phi != "none" else None,
                )
                for name, column in report.columns.items()
            ],
            table_name=f"LAB_INSIGHTS_<TENANT>.{schema(report.name)}.{report.name.upper()}",
            uri=f"snowflake://LAB_INSIGHTS_<TENANT>/{schema(report.name)}/{report.name.upper()}",
            code_version=report.version,
        ).with_io_manager_key("snowflake_io")
        for report in made
    ]
    if paged:
        specs.append(_page(config, keys.values()))

    @dg.multi_asset(
        name="reports",
        specs=specs,
        check_specs=[*check_specs(keys.values(), UNIQUE_GRAIN), *check_specs([quality] if quality else [], NO_ORPHANS)],
        partitions_def=grid,
        backfill_policy=BACKFILL,
        pool="snowflake",
    )
    def compute(context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource) -> Iterator[Events]:
        opened, registry = lake.open(), lake.registry()
        # A page of figures from a table that differs from the lake would be believed.
        checks = Checks(opened, behind={"snowflake"}, gates=(RECONCILED,))
        # The database of a tenant is the same for every day of the run.
        refreshed = set[TenantId]()

        def work(tenant: TenantId, day: date, _keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            checks.gate.pass_(tenant, day)
            known = registry.get(tenant)
            zone, told = known.zone, before_onboarding(known, day, opened.clock.now())
            with warehouse.session(context.run.run_id) as session:
                if tenant in refreshed:
                    found = receipts(session, tenant, day, made)
                else:
                    found = refresh(session, tenant, zone, day, made)
                    checks.note(grains.refreshed(tenant, found, lambda name: keys[name].to_user_string()))
                    if quality:
                        checks.note(orphans.unreferred(session, tenant, quality.to_user_string()))
                    refreshed.add(tenant)
                for each in found:
                    yield keys[each.table], _receipt(each, {"zone": zone, **told})
                if paged:
                    yield DAILY_PAGE, _page_receipt(publish(session, opened.for_tenant(tenant), tenant, zone, day), told)

        yield from run_tenant_days(context, work, checks)

    return [compute]


def _page(config: Config, kpis: Iterable[dg.AssetKey]) -> dg.AssetSpec:
    return spec(
        DAILY_PAGE.path,
        deps=list(kpis),
        description="The page that the laboratory's director reads: one HTML file a tenant-day with charts and tables, and a de-identified one to share.",
        kinds={"s3", "html"},
        owner=PLATFORM,
        columns=[dg.TableColumn(name, kind, f"The {name} that the page's path names.") for name, kind in PATH.items()],
        uri=f"s3://{config.lake.prefix}-{LAYER}/tenant=*/date=*/",
    ).with_io_manager_key("snowflake_io")


def _deps(report: Report, there: Collection[str]) -> list[dg.AssetKey]:
    """What a KPI table is computed from, of the tables that are there."""
    read = [inputs()[name] for name in report.inputs]
    tables = [each.table for each in read if each.table in there or not each.optional]
    return [*(snowflake_key(table) for table in tables), *(report_key(name) for name in report.after)]


def before_onboarding(tenant: Tenant, day: date, now: datetime) -> dict[str, str]:
    """Return what the partition of a day before a tenant's registration says of itself: its figures are of what is known now, not of what was then."""
    registered = tenant.registered_at
    # By the wall clock it may have been registered long after a simulated now: then that says nothing.
    if registered is None or registered > now or day >= registered.astimezone(ZoneInfo(tenant.zone)).date():
        return {}
    return {"before_onboarding": f"The tenant was registered on {registered:%Y-%m-%d}: this day is computed as known on {now:%Y-%m-%d}."}


def _receipt(made: ReportReceipt, told: Mapping[str, str]) -> Receipt:
    return Receipt(
        made.day_rows, {"dagster/partition_row_count": made.day_rows, "dagster/row_count": made.rows, "seconds": made.seconds, **told}
    )


def _page_receipt(pages: Pages, told: Mapping[str, str]) -> Receipt:
    """Both pages are links: a browser opens them from a local lake, and AWS' console shows the object of any other."""
    links = {"page": dg.MetadataValue.url(pages.url), "deidentified_page": dg.MetadataValue.url(pages.deidentified_url)}
    return Receipt(1, {"dagster/partition_row_count": 1, "dagster/uri": pages.uri, "bytes": pages.bytes, **links, **told})
