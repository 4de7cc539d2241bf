"""The record of what was delivered when, and the checks that are of all tenants together: `fresh`, `cost_as_usual` and `no_partition_left_failed`.

They sit on an asset of their own, which no job of the layers selects: a run over some tenants must not answer for all of them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import dagster as dg

from lab_insights.assets.checks import evaluated
from lab_insights.assets.specs import PLATFORM, spec
from lab_insights.assets.tenant_days import TENANTS_AT_ONCE
from lab_insights.checks import deadlines, delivery, spending
from lab_insights.checks.verdicts import COST_AS_USUAL, FRESH, NO_PARTITION_LEFT_FAILED, Judgement, Verdicts
from lab_insights.config import Config
from lab_insights.cost import costs
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights.partitions import TENANTS
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource

DELIVERIES = dg.AssetKey(["operations", "deliveries"])
# Partitions that failed longer ago are history: a backfill takes them up.
LOOK_BACK = timedelta(days=14)
COLUMNS = {
    "tenant": "The tenant.",
    "day": "The day that was delivered, UTC.",
    "due": "By when it was due: the tenant's deliver-by time, in its zone.",
    "at": "When its last table was loaded, UTC.",
}


def build(
    config: Config, last: Sequence[dg.AssetsDefinition], grid: dg.MultiPartitionsDefinition
) -> list[dg.AssetSpec | dg.AssetChecksDefinition]:
    """Return the asset and its checks; `last` are all steps of the layers, whose partitions must not be left failed."""
    table = f"{config.lake.prefix}-status"
    asset = spec(
        DELIVERIES.path,
        deps=[key for step in last for key in step.keys if key.path[0] == "snowflake"],
        description="When each tenant's day was complete in its own database, beside the time by which it was due. "
        "The job `check` writes it, four times an hour.",
        kinds={"dynamodb"},
        owner=PLATFORM,
        columns=[dg.TableColumn(name, "string", description) for name, description in COLUMNS.items()],
        table_name=table,
        uri=f"dynamodb://{table}/",
    )
    keys = sorted((key for step in last for key in step.keys), key=lambda key: key.to_user_string())

    @dg.multi_asset_check(
        name="check_deliveries",
        specs=[
            dg.AssetCheckSpec(
                FRESH,
                asset=DELIVERIES,
                description="Each tenant's newest due day is in its database: met, delivered late, or late; and when its next one is predicted.",
            ),
            dg.AssetCheckSpec(
                COST_AS_USUAL,
                asset=DELIVERIES,
                description=f"No tenant's newest delivered day cost more than {spending.TIMES:.0f} times what is usual, in bytes, CPU seconds or statements.",
            ),
            dg.AssetCheckSpec(
                NO_PARTITION_LEFT_FAILED,
                asset=DELIVERIES,
                description=f"No partition of any layer of the last {LOOK_BACK.days} days failed without having been materialized since.",
            ),
        ],
        can_subset=True,
        pool="snowflake",
    )
    def check_deliveries(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, warehouse: WarehouseResource
    ) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        if {FRESH, COST_AS_USUAL} & chosen:
            opened, settings = lake.open(), lake.config()
            verdicts, name = Verdicts(opened.state.aws, opened.state.prefix), DELIVERIES.to_user_string()
            looked = delivery.deliveries(
                opened,
                lake.registry().all(),
                settings.sources,
                lambda: warehouse.session(context.run.run_id),
                settings.partitions.start,
            )
            if FRESH in chosen:
                verdicts.settle(delivery.judged(looked, verdicts.standing(FRESH, {name}), name))
                yield _fresh(looked, deadlines.Deliveries(opened.state.aws, opened.state.prefix))
            if COST_AS_USUAL in chosen:
                judged = _costs(opened, context.instance, looked)
                verdicts.settle(judged)
                yield dg.AssetCheckResult(
                    **evaluated(dg.AssetCheckKey(DELIVERIES, COST_AS_USUAL), verdicts.standing(COST_AS_USUAL), judged)
                )
        if NO_PARTITION_LEFT_FAILED in chosen:
            yield _left_failed(context.instance, keys, grid, lake)

    return [asset, check_deliveries]


def _fresh(looked: Sequence[deadlines.Delivery], known: deadlines.Deliveries) -> dg.AssetCheckResult:
    found = deadlines.newest(looked)
    states = Counter(each.state for each in found)
    late = [each for each in found if each.state == "late"]
    months = {each.tenant: known.by_month(each.tenant, each.day) for each in found}
    shares = {each.tenant: months[each.tenant].get(f"{each.day:%Y-%m}", (0, 0)) for each in found}
    metadata: dict[str, Any] = {"met": states["met"], "delivered_late": states["delivered late"], "late": len(late)}
    metadata["predicted_late"] = sum(each.next is not None and each.next.late for each in found)
    if total := sum(days for _, days in shares.values()):
        metadata["share_met_this_month"] = round(sum(met for met, _ in shares.values()) / total, 4)
    if late:
        metadata["late_tenants"] = ", ".join(each.tenant for each in late)
    if older := [each for each in looked if each not in found and each.at is None]:
        metadata["older_days_missing"] = ", ".join(f"{each.tenant} {each.day}" for each in older)
    if found:
        # Those that need somebody first.
        order = sorted(found, key=lambda each: (each.state == "met", not (each.next and each.next.late), each.tenant))
        metadata["deadlines"] = dg.MetadataValue.md("\n".join([*_HEAD, *(_row(each, *shares[each.tenant]) for each in order)]))
        metadata["met_by_month"] = dg.MetadataValue.md(_by_month({each.tenant: months[each.tenant] for each in order}))
    return dg.AssetCheckResult(passed=not late, asset_key=DELIVERIES, check_name=FRESH, metadata=metadata)


def _by_month(months: dict[str, dict[str, tuple[int, int]]]) -> str:
    """Return a table of the share that was met: a row for each tenant, a column for each month, the newest first."""
    columns = sorted({month for its in months.values() for month in its}, reverse=True)
    rows = (
        f"| **{tenant}** | {' | '.join(_share(*its[month]) if month in its else '' for month in columns)} |"
        for tenant, its in months.items()
    )
    return "\n".join([f"| tenant | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}", *rows])


def _share(met: int, days: int) -> str:
    return f"{met / days:.0%} of {days}" if days else ""


def _costs(lake: Lake, instance: dg.DagsterInstance, found: Sequence[deadlines.Delivery]) -> list[Judgement]:
    """Judge each day that was delivered since the last look; the others have been, or are not whole yet."""
    known = spending.Spending(lake.state.aws, lake.state.prefix)

    def judge(each: deadlines.Delivery) -> Judgement | None:
        tenant = TenantId(each.tenant)
        if each.at is None or known.known(tenant, each.day):
            return None
        days = costs(lake, instance, [tenant], [each.day])
        if not days:
            return None
        bytes_, cpu_seconds, statements = (days[0].total(name) for name in ("bytes", "cpu_seconds", "statements"))
        spent = spending.Spent(int(bytes_), round(cpu_seconds, 3), int(statements))
        return known.judge(tenant, each.day, spent, DELIVERIES.to_user_string())

    with ThreadPoolExecutor(TENANTS_AT_ONCE, thread_name_prefix="cost") as pool:
        return [judged for judged in pool.map(judge, found) if judged]


_HEAD = ("| tenant | day | due (UTC) | state | delivered, or missing | next day | met this month |", "|---|---|---|---|---|---|---|")


def _row(each: deadlines.Delivery, met: int, days: int) -> str:
    there = f"{each.at:%Y-%m-%d %H:%M}" if each.at else f"{len(each.missing)} tables, such as {each.missing[0] if each.missing else 'none'}"
    next_ = each.next or "not known yet"
    return f"| **{each.tenant}** | {each.day} | {each.due:%Y-%m-%d %H:%M} | {each.state} | {there} | {next_} | {_share(met, days)} |"


def _left_failed(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey], grid: dg.MultiPartitionsDefinition, lake: LakeResource
) -> dg.AssetCheckResult:
    failed = left_failed(instance, keys, grid, lake)
    by_tenant: dict[str, list[tuple[str, str]]] = {}
    for asset, partition in failed:
        day, _, tenant = partition.partition("|")
        by_tenant.setdefault(tenant, []).append((asset, day))
    metadata: dict[str, Any] = {"failed_partitions": len(failed), "tenants": len(by_tenant)}
    if failed:
        metadata["failing_tenants"] = ", ".join(by_tenant)
        told = [
            f"- **{tenant}** {len(its)} partitions: {', '.join(sorted({asset for asset, _ in its})[:3])}…; "
            f"days {', '.join(sorted({day for _, day in its}))}"
            for tenant, its in by_tenant.items()
        ]
        metadata["failures"] = dg.MetadataValue.md("\n".join(told))
    return dg.AssetCheckResult(passed=not failed, asset_key=DELIVERIES, check_name=NO_PARTITION_LEFT_FAILED, metadata=metadata)


def left_failed(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey], grid: dg.MultiPartitionsDefinition, lake: LakeResource
) -> list[tuple[str, str]]:
    """Return (asset, partition) of what failed and was not materialized since, of the newest days and the tenants that are registered."""
    today = lake.open().clock.now().date()
    days = [str(today - timedelta(days=back)) for back in range(LOOK_BACK.days)]
    order = set(instance.get_dynamic_partitions(str(TENANTS.name)))
    tenants = [tenant.id for tenant in lake.registry().all() if tenant.id in order and not tenant.suspended]
    known = set(grid.get_partitions_def_for_dimension("date").get_partition_keys())
    wanted = [f"{day}|{tenant}" for day in sorted(known.intersection(days)) for tenant in tenants]
    found = []
    for key in keys:
        statuses = instance.get_status_by_partition(key, wanted, grid) or {}
        found += [(key.to_user_string(), name) for name, status in statuses.items() if status is not None and status.name == "FAILED"]
    return found
