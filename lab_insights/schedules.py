"""Schedules: those of data request raw only, since curation and the rest follow from the S3 events of what raw committed; others keep and check."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from lab_insights.errors import LabInsightsError
from lab_insights.jobs import CHECK, RAW, keep_lake, reconcile
from lab_insights.partitions import TENANTS
from lab_insights.resources.lake import LakeResource
from lab_insights.sensors.ranges import Grid
from lab_insights.tenants.registry import Tenant

# Tenants of one run that a schedule requests.
MOST_TENANTS = 50


@dg.schedule(
    job=RAW,
    cron_schedule="15 0 * * *",
    execution_timezone="UTC",
    description="Every tenant's day that has just ended, a quarter of an hour after midnight UTC. Off until you turn it on: it reads the sources.",
)
def daily(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> dg.SkipReason | list[dg.RunRequest]:
    """Request raw for yesterday, all tenants but those that are suspended."""
    yesterday = (context.scheduled_execution_time - timedelta(days=1)).date()
    return _requests(context, lake.registry().all(), yesterday, f"daily {yesterday}")


@dg.schedule(
    job=RAW,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    description="Today's open day of the tenants whose tier is `frequent`, every quarter of an hour. Off until you turn it on: it reads the sources.",
)
def frequent(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> dg.SkipReason | list[dg.RunRequest]:
    """Request raw for today, near-real-time tenants."""
    now, tenants = context.scheduled_execution_time, [tenant for tenant in lake.registry().all() if tenant.tier == "frequent"]
    return _requests(context, tenants, now.date(), f"frequent {now:%Y-%m-%dT%H:%M}", " of tier `frequent`")


@dg.schedule(
    job_name="find_deletes",
    cron_schedule="0 2 * * 0",
    execution_timezone="UTC",
    description="Looks once a week, on Sunday, for rows that the sources no longer have or changed unseen. "
    "Off until you turn it on: it reads the sources, every table that has a cursor by its checksums.",
)
def finding_deletes(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> dg.SkipReason | list[dg.RunRequest]:
    """Request the search for today, all tenants but those that are suspended: what is gone now can not be told of a past day."""
    today = context.scheduled_execution_time.date()
    return _requests(context, lake.registry().all(), today, f"finding deletes {today}", job_name="find_deletes")


keeping = dg.ScheduleDefinition(
    name="keeping",
    job=keep_lake,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    description="Compacts and sweeps the lake of every tenant and prunes old runs, in the quiet hours of Sunday. Off until you turn it on: it deletes.",
)

checking = dg.ScheduleDefinition(
    name="checking",
    job=CHECK,
    cron_schedule="5,20,35,50 * * * *",
    execution_timezone="UTC",
    description="Looks four times an hour whether a tenant is late, and whether a partition was left failed. On by default: it changes nothing.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
reconciling = dg.ScheduleDefinition(
    name="reconciling",
    job=reconcile,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    description="Compares every client database with the lake, once a day: after the daily loads, before most deliver-by times. "
    "Off until you turn it on: it keeps a warehouse busy.",
)


def _requests(
    context: dg.ScheduleEvaluationContext, tenants: Sequence[Tenant], day: date, cause: str, which: str = "", job_name: str = RAW.name
) -> dg.SkipReason | list[dg.RunRequest]:
    """Request a day of those tenants that are not suspended and have a partition, or say why nobody is; `which` tenants were meant."""
    repository = context.repository_def
    if repository is None:
        raise LabInsightsError("The schedule was evaluated outside its code location.", remedy="load lab_insights.definitions.")
    order = tuple(context.instance.get_dynamic_partitions(str(TENANTS.name)))
    grid = Grid(context.instance, repository, job_name, order)
    awake = [tenant.id for tenant in tenants if not tenant.suspended]
    chosen = [tenant for tenant in awake if tenant in order]
    if not chosen:
        if not tenants:
            return dg.SkipReason(f"No tenant{which} is registered.")
        if not awake:
            return dg.SkipReason(f"Every tenant{which} is suspended ({len(tenants)}).")
        return dg.SkipReason(f"No tenant{which} has a partition yet: the sensor `tenant_registry` adds them ({len(awake)}).")
    # A run holds back the later layers of all its tenants until the slowest is done, so no run has too many.
    stretches = [piece for stretch in grid.stretches((day, tenant) for tenant in chosen) for piece in stretch.pieces(MOST_TENANTS)]
    # Each stretch has its own run key: Dagster launches one run for a key, and the other stretches would never be loaded.
    # A run over a range does not get the config that its job presets, which is all that tells these jobs apart.
    preset = repository.get_job(job_name).partitioned_config
    configs = [preset.get_run_config_for_partition_key(each.keys[0]) if preset else None for each in stretches]
    return [grid.run_request(each, [f"{cause} {key}" for key in each.keys], its) for each, its in zip(stretches, configs, strict=True)]
