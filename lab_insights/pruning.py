"""Dagster's history is bounded by the window of days: a run that ended before it can have made none of the partitions that Dagster still shows."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from lab_insights.config import Config
from lab_insights.partitions import tenant_days
from lab_insights.resources.audit import note
from lab_insights.resources.contained import contained
from lab_insights.resources.lake import LakeResource

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_AT_ONCE = 500


class PruneConfig(dg.Config):
    """Whether anything is deleted."""

    dry_run: bool = Field(default=False, description="Delete nothing, and say how many runs would be.")


def window_start(config: Config) -> datetime:
    """Return the first instant of the first day that is a partition."""
    first = tenant_days(config).get_partitions_def_for_dimension("date").get_first_partition_key()
    return datetime.fromisoformat(str(first)).replace(tzinfo=UTC)


@dg.op(
    description="Deletes the runs, with their events, that ended before the first day of `partitions`: else the event log grows for ever.",
)
@contained
def prune_runs(context: dg.OpExecutionContext, config: PruneConfig, lake: LakeResource) -> None:
    """Prune; what was materialized, observed and checked since the window began keeps its runs."""
    instance, start = context.instance, window_start(lake.config())
    old = dg.RunsFilter(statuses=FINISHED, updated_before=start)
    found = instance.get_runs_count(old)
    while not config.dry_run and (runs := instance.get_runs(old, limit=_AT_ONCE)):
        for run in runs:
            instance.delete_run(run.run_id)
    context.add_output_metadata({"runs": found, "before": start.isoformat()})
    if not config.dry_run:
        note(context, lake, "runs.prune", {"runs": found})
