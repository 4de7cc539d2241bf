"""What runs leave in the audit log: a record for each tenant of a step, and for each operation. A tenant whose record can not be written has failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Protocol, TypeVar

import dagster as dg

from lab_insights.errors import told
from lab_insights.governance.audit import Action, Event, Log
from lab_insights.governance.audit.log import person
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource

# The tags that say what asked for a run, as Dagster writes them.
_CAUSES = {"dagster/schedule_name": "schedule", "dagster/sensor_name": "sensor", "dagster/backfill": "backfill"}


class Outcome(Protocol):
    """What a step did for a tenant."""

    tenant: TenantId
    error: str | None

    @property
    def rows(self) -> int:
        """How many rows the receipts have."""
        ...


_Outcome = TypeVar("_Outcome", bound=Outcome)
_Item = tuple[TenantId, list[date]]


def recorded(context: dg.AssetExecutionContext, work: Callable[[_Item], _Outcome]) -> Callable[[_Item], _Outcome]:
    """Return `work` with a record of what it did for the tenant."""
    lake: LakeResource = context.resources.lake
    log, step = Log(lake.open().storage), context.op_execution_context.op.name
    actor, run_id = asked_by(context.run), context.run.run_id

    def done(item: _Item) -> _Outcome:
        (tenant, days), outcome = item, work(item)
        try:
            log.append(
                Event(
                    action="materialize",
                    outcome="failed" if outcome.error else "done",
                    actor=actor,
                    subject=step,
                    days=span(days),
                    run_id=run_id,
                    counts={"days": len(days), "rows": outcome.rows},
                ),
                tenant,
            )
        except Exception as error:  # noqa: BLE001 (one tenant's record must not take along what was done for the others)
            outcome.error = outcome.error or f"{span(days)}: no record of it in the audit log: {told(error)}"
        return outcome

    return done


def note(
    context: dg.OpExecutionContext,
    lake: LakeResource,
    action: Action,
    counts: Mapping[str, int],
    *,
    tenant: TenantId | None = None,
    subject: str = "",
    failed: bool = False,
) -> None:
    """Record what an operation did for a tenant, or for the whole deployment."""
    event = Event(
        action=action,
        outcome="failed" if failed else "done",
        actor=asked_by(context.run),
        subject=subject or context.op.name,
        run_id=context.run_id,
        counts=dict(counts),
    )
    Log(lake.open().storage).append(event, tenant)


def asked_by(run: dg.DagsterRun) -> str:
    """Return the schedule, sensor or backfill that asked for a run, else whose process runs it."""
    for tag, what in _CAUSES.items():
        if named := run.tags.get(tag):
            return f"{what}:{named}"
    return person()


def span(days: list[date]) -> str:
    """Return days as a record has them."""
    return f"{min(days)}..{max(days)}" if len(days) > 1 else str(days[0])
