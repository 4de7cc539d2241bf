"""Asset checks: what the steps judge of the tenants they work on, and what is judged of all tenants together.

Dagster 1.13.27 has partitioned checks as a preview only, and one evaluation of an unpartitioned check speaks for the whole asset. So a step judges
its own tenants, settles the verdicts (`checks.verdicts`), and evaluates the check by all that stand: it fails while it fails for any tenant, and
names each with its numbers. Nothing is `blocking`: a step asks the gate before it reads a tenant's day, and refuses that tenant alone.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from lab_insights.assets.receipts import Receipts
from lab_insights.checks.verdicts import (
    COST_AS_USUAL,
    GATES,
    NO_CROSS_TENANT_ROW,
    NO_ORPHANS,
    RECONCILED,
    SCHEMA_UNCHANGED,
    UNIQUE_GRAIN,
    Gate,
    Judgement,
    Verdicts,
)
from lab_insights.lake.commit import Lake

Events = dg.Output[Receipts] | dg.AssetCheckResult
# Failures that the metadata of one evaluation names.
NAMED = 50
_DESCRIPTIONS = {
    RECONCILED: "Each tenant's database holds what the lake holds: by the ledger after each load, by every row in the job `reconcile`.",
    UNIQUE_GRAIN: "The key tells the rows of each tenant apart: of the day in the lake, of the whole table in its reports.",
    NO_CROSS_TENANT_ROW: "Every row of a tenant's day is marked as that tenant's.",
    NO_ORPHANS: "Every order's patient and account, and every result's order, are in the tenant's database.",
    SCHEMA_UNCHANGED: "The newest day has the columns and types of the day before it.",
}
_WARNS = {SCHEMA_UNCHANGED, NO_ORPHANS, COST_AS_USUAL}


def check_specs(keys: Iterable[dg.AssetKey], *names: str) -> list[dg.AssetCheckSpec]:
    """Return the named checks of each asset."""
    return [dg.AssetCheckSpec(name, asset=key, description=_DESCRIPTIONS[name]) for key in keys for name in names]


class Checks:
    """The judgements of one step: gathered while its tenants are worked on, one evaluation of each check at its end."""

    def __init__(self, lake: Lake, *, behind: Collection[str] = (), gates: Collection[str] = GATES) -> None:
        self._verdicts = Verdicts(lake.state.aws, lake.state.prefix)
        self._judged: list[Judgement] = []
        self._lock = threading.Lock()
        self.gate = Gate.of(self._verdicts, behind, gates) if behind else Gate(())

    def standing(self, check: str) -> list[Judgement]:
        """Return the verdicts of a check that stand now."""
        return self._verdicts.standing(check)

    def note(self, judgements: Iterable[Judgement]) -> None:
        """Keep judgements; several tenants are worked on at once."""
        with self._lock:
            self._judged += judgements

    def evaluations(self, selected: Collection[dg.AssetCheckKey]) -> Iterator[dict[str, Any]]:
        """Settle the verdicts, and yield each selected check that was judged, or that stands, as the arguments of its result."""
        standing = self._verdicts.settle(self._judged)
        judged = {(each.of.check, each.of.asset) for each in self._judged}
        others = [key for key in selected if (key.name, key.asset_key.to_user_string()) not in judged]
        for check in sorted({key.name for key in others}):
            standing += self._verdicts.standing(check, {key.asset_key.to_user_string() for key in others if key.name == check})
        for key in sorted(selected, key=lambda key: (key.asset_key.path, key.name)):
            asset = key.asset_key.to_user_string()
            failing = [each for each in standing if (each.of.check, each.of.asset) == (key.name, asset)]
            mine = [each for each in self._judged if (each.of.check, each.of.asset) == (key.name, asset)]
            yield evaluated(key, failing, mine)


def evaluated(key: dg.AssetCheckKey, failing: Sequence[Judgement], judged: Sequence[Judgement]) -> dict[str, Any]:
    """Return the arguments of a check's result: who fails by which numbers, of all tenants, and what was judged just now."""
    tenants = sorted({each.of.tenant for each in failing})
    sums: dict[str, int] = {}
    for each in judged:
        for name, number in each.numbers.items():
            if isinstance(number, int):
                sums[name] = sums.get(name, 0) + number
    metadata: dict[str, Any] = {"evaluated": len(judged), "failing": len(failing), **sums}
    if failing:
        metadata["failing_tenants"] = ", ".join(tenants)
        # The UI shows texts in place, and the two below behind a click.
        metadata["first_failure"] = str(failing[0])
        metadata["failures"] = dg.MetadataValue.md(_listed(failing))
        metadata["numbers"] = dg.MetadataValue.json([_plain(each) for each in failing[:NAMED]])
    return {
        "asset_key": key.asset_key,
        "check_name": key.name,
        "passed": not failing,
        "severity": dg.AssetCheckSeverity.WARN if key.name in _WARNS else dg.AssetCheckSeverity.ERROR,
        "metadata": metadata,
        "description": f"{len(failing)} failures of {len(tenants)} tenants: {', '.join(tenants)}" if failing else None,
    }


def _listed(failing: Sequence[Judgement]) -> str:
    lines = [f"- **{each.of.tenant}** {str(each).removeprefix(each.of.tenant).strip()}" for each in failing[:NAMED]]
    return "\n".join([*lines, *([f"- and {len(failing) - NAMED} more"] if len(failing) > NAMED else [])])


def _plain(each: Judgement) -> dict[str, Any]:
    return {"tenant": each.of.tenant, "table": each.of.table, "day": str(each.of.day or ""), **each.numbers}


def log_evaluations(context: dg.AssetExecutionContext | dg.OpExecutionContext, found: Iterable[dict[str, Any]]) -> None:
    """Write evaluations as events: what a step does that fails, and an operation that is no step of the assets."""
    for each in found:
        of = _newest(context.instance, each["asset_key"])
        context.log_event(dg.AssetCheckEvaluation(**each, target_materialization_data=of))  # type: ignore[arg-type] # its annotation leaves out what it takes


def _newest(instance: dg.DagsterInstance, asset: dg.AssetKey) -> AssetCheckEvaluationTargetMaterializationData | None:
    """Return the newest materialization as an evaluation names it.

    An evaluation that names none belongs to the newest by the clock of Dagster's storage. SQLite's ends at the second: what was judged within
    the second of its materialization would show as never evaluated.
    """
    for record in instance.fetch_materializations(asset, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)
    return None
