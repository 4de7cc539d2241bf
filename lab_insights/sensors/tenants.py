"""The sensor that keeps Dagster's tenant partitions equal to the registry.

It only adds: removing a partition key hides its history and shifts every range over it, so a tenant that left the registry is reported
and stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SensorResult, sensor

from lab_insights.names import tenant_id
from lab_insights.partitions import TENANTS, refuse_too_many
from lab_insights.resources.lake import LakeResource
from lab_insights.sensors.ranges import Grid, Job
from lab_insights.tenants.registry import MEND

# The UI shows why a tick skipped in one line.
_NAMED = 10


def tenants_sensor(job: Job) -> SensorDefinition:
    """Return the sensor that adds newly registered tenants, in the order of registration; `job` is any that has the tenant partitions."""

    @sensor(
        name="tenant_registry",
        description="Adds a tenant partition for every newly registered tenant, and reports those that left the registry.",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
    )
    def evaluate(context: SensorEvaluationContext, lake: LakeResource) -> SensorResult:
        # Dagster accepts any text as a dynamic key, `a|b` and `../evil` too: ids are checked here, whatever wrote them into the registry.
        listing = lake.registry().listing()
        for name, reason in listing.invalid.items():
            context.log.warning(
                f"The registry's item {name!r} is not valid and is left out: {reason}. Remedy: {MEND}", extra={"tenant": name}
            )
        registered = [tenant_id(tenant.id) for tenant in listing.tenants]
        grid = Grid.of(context, job)
        new = [tenant for tenant in registered if tenant not in grid.order]
        if new:
            refuse_too_many(lake.config(), len(grid.order) + len(new))
        gone = sorted(set(grid.order) - set(registered) - set(listing.invalid))
        report = f"{len(registered)} tenants." + (f" No longer registered: {_few(gone)}." if gone else "")
        report += f" Invalid, left out: {_few([repr(name) for name in listing.invalid])}." if listing.invalid else ""
        if not new:
            return SensorResult(skip_reason=report)
        context.log.info(f"{report} New: {', '.join(new)}.")
        return SensorResult(dynamic_partitions_requests=[TENANTS.build_add_request(new)])

    return evaluate


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
