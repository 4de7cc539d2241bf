"""The sensors that tell what is worth waking somebody: one follows runs that fail, one looks at the verdicts that stand and at the dead letters.

What is told, to whom and how often is decided in `lab_insights.alerts`; these two only find the facts. The cursor of the first moves when all was told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from lab_insights.alerts import EVERYBODY, Alerts, Fact, Kind, failed_tenants
from lab_insights.assets.tenant_days import FAILED
from lab_insights.checks.verdicts import (
    COST_AS_USUAL,
    FRESH,
    NO_CROSS_TENANT_ROW,
    RECONCILED,
    SCHEMA_UNCHANGED,
    UNIQUE_GRAIN,
    Judgement,
    Verdicts,
)
from lab_insights.errors import LabInsightsError
from lab_insights.lake.deadletters import dead_letters
from lab_insights.lake.events import QueueName
from lab_insights.partitions import RANGE_END, RANGE_START
from lab_insights.resources.lake import LakeResource

_QUEUES: tuple[QueueName, ...] = ("curation", "transformation")
_OF_CHECK: dict[str, Kind] = {
    FRESH: "late_tenant",
    RECONCILED: "reconciliation",
    SCHEMA_UNCHANGED: "schema_change",
    COST_AS_USUAL: "cost",
    UNIQUE_GRAIN: "data_checks",
    NO_CROSS_TENANT_ROW: "data_checks",
}
# Dagster's own tags, which it exports no names for.
_PARTITION, _WILL_RETRY = "dagster/partition", "dagster/will_retry"
# Dagster writes when a run ended a moment after it, and SQLite to the second; what was told is not told again.
OVERLAP = timedelta(minutes=5)


def alert_sensors() -> list[dg.SensorDefinition]:
    """Return both sensors."""
    return [_failed_runs(), _conditions()]


def open_alerts(lake: LakeResource) -> Alerts:
    """Return the alerts of the configuration."""
    config = lake.config()
    return Alerts(lake.aws(), config.lake.prefix, config.alerts)


def _failed_runs() -> dg.SensorDefinition:
    # Dagster's own sensor of failed runs moves on when its tick fails, and looks at no run of the command line: a run would be told by nobody.
    @dg.sensor(
        name="alert_failed_runs",
        description="Tells the alarm topic of each failed run once, with the tenants that failed and their reasons.",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def evaluate(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        told, looked, since = 0, 0, datetime.fromisoformat(context.cursor) if context.cursor else datetime.now(UTC) - OVERLAP
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since - OVERLAP)
        for record in context.instance.get_run_records(failed, order_by="update_timestamp", ascending=True):
            run, since = record.dagster_run, max(since, record.update_timestamp)
            if run.tags.get(_WILL_RETRY) != "true":
                told += len(open_alerts(lake).publish("failed_partition", run_facts(context.instance, run), run_id=run.run_id))
                looked += 1
        return dg.SensorResult(cursor=since.isoformat(), skip_reason=f"Told: {told} new failures; {looked} runs failed lately.")

    return evaluate


def run_facts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Fact]:
    """Return a fact for each tenant that failed in a run; the same tenant, days and first reason again, as in the next attempt, is the same fact."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    texts = []
    for event in events:
        named = event.step_failure_data.user_failure_data
        if named and FAILED in named.metadata:
            texts.append(str(named.metadata[FAILED].value))
    failed, ends = failed_tenants(texts), _ends(run)
    if not failed:
        steps = ", ".join(sorted({str(event.step_key) for event in events})) or "no step"
        # Of an error that is not ours only the step is told, since its text may quote a row.
        what = f"{run.job_name}{_span(ends)}: {steps} failed"
        return [Fact(EVERYBODY, what, what)]
    days = _span([end.partition("|")[0] for end in ends])
    return [Fact(tenant, f"{run.job_name}{days}: {reason}", f"{days}{reason}") for tenant, reason in failed.items()]


def _ends(run: dg.DagsterRun) -> list[str]:
    """Return the first and the last partition of a run, which may be one; none for a run without any."""
    only = run.tags.get(_PARTITION, "")
    return [end for end in (run.tags.get(RANGE_START) or only, run.tags.get(RANGE_END) or only) if "|" in end]


def _span(ends: list[str]) -> str:
    return f" {' to '.join(dict.fromkeys(ends))}" if ends else ""


def _conditions() -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_conditions",
        description="Tells the alarm topic of late tenants, dead letters, unusual cost, and checks that fail: each once a day while it lasts.",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def evaluate(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SkipReason:
        alerts, told, failed = open_alerts(lake), dict[str, int](), list[str]()
        for kind, find in _CONDITIONS.items():
            try:
                told[kind] = len(alerts.publish(kind, find(kind, lake)))
            except Exception as error:  # noqa: BLE001 - a queue or warehouse that does not answer must not silence the other alerts
                shown = error if isinstance(error, LabInsightsError) else type(error).__name__
                context.log.warning(f"{kind} could not be looked at: {shown}")
                failed.append(kind)
        if failed:
            raise LabInsightsError(
                f"{len(failed)} kinds of alerts could not be looked at: {', '.join(failed)}.", remedy="look at the warnings of this tick."
            )
        return dg.SkipReason("Told: " + (", ".join(f"{count} {kind}" for kind, count in told.items() if count) or "nothing new") + ".")

    return evaluate


def _check_facts(kind: Kind, lake: LakeResource) -> list[Fact]:
    verdicts = Verdicts(lake.aws(), lake.prefix)
    standing = [each for check, of in _OF_CHECK.items() if of == kind for each in verdicts.standing(check)]
    return [Fact(each.of.tenant, f"{each.of.asset} {str(each).partition(' ')[2]}", _identity(each), each.of.asset) for each in standing]


def _identity(each: Judgement) -> str:
    """What makes a failure the same as the one before: how late a tenant is, and how many rows differ, changes all the time; what fails does not.

    What changed in a schema is the same fact as the crawl's, which it tells in these words.
    """
    if each.of.check == SCHEMA_UNCHANGED:
        day = f"on {each.numbers['day']} "
        return f"{each.of.tenant} {each.of.table}: {each.message.removeprefix(day)}"
    return f"{each.of.key['sk']['S']} {each.numbers['day'] if each.of.check in {FRESH, COST_AS_USUAL} else ''}"


def _dead(_: Kind, lake: LakeResource) -> list[Fact]:
    found = [letter for name in _QUEUES for letter in dead_letters(lake.aws(), lake.prefix, name)]
    return [
        Fact(
            letter.manifest.partition.tenant if letter.manifest else "no tenant",
            f"{letter.queue}: {letter.manifest.partition if letter.manifest else 'a message that names no manifest'}: {letter.reason}",
            letter.id,
        )
        for letter in found
    ]


_CONDITIONS: dict[Kind, Callable[[Kind, LakeResource], list[Fact]]] = {
    "reconciliation": _check_facts,
    "data_checks": _check_facts,
    "schema_change": _check_facts,
    "dead_letters": _dead,
    "late_tenant": _check_facts,
    "cost": _check_facts,
}
