"""Running a rectangle of tenants × days: tenant by tenant, days in order, each tenant failing alone, after a transient fault not at once.

Tried on Dagster 1.13.27: when every tenant is done, metadata is attached to each partition and one output is returned; when one failed, the done
partitions are logged as events from the body (an output beside them would double them, and no output at all would let the run succeed with
everything downstream skipped), and `Failure` names the tenants. The sensors then carry the healthy tenants on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from lab_insights import errors, retries
from lab_insights.assets.checks import Checks, Events, log_evaluations
from lab_insights.assets.receipts import Receipt, preview
from lab_insights.assets.specs import LINEAGE
from lab_insights.aws import refused
from lab_insights.names import TenantId
from lab_insights.partitions import partition_key, selected
from lab_insights.resources.audit import recorded

Work = Callable[[TenantId, date, list[dg.AssetKey]], Iterable[tuple[dg.AssetKey, Receipt]]]
# Tenants at once in one step: loads wait for sources and object stores most of the time.
TENANTS_AT_ONCE = 4
FAILED = "failed"
"""The metadata of a `Failure` in which each that failed stands with its reason: what a person reads, and the command line prints."""


@dataclass
class _Outcome:
    tenant: TenantId
    done: list[tuple[dg.AssetKey, str, Receipt]] = field(default_factory=list)
    error: str | None = None

    @property
    def rows(self) -> int:
        return sum(receipt.rows for _, _, receipt in self.done)


def run_tenant_days(context: dg.AssetExecutionContext, work: Work, checks: Checks | None = None) -> Iterator[Events]:
    """Run `work` for every tenant and day of the run and yield an output for each selected asset; raise `Failure` naming the tenants that failed.

    What `work` noted in `checks` is evaluated in either case.
    """
    grid, keys = selected(context.partition_keys), _in_order(context)
    tenant_of = functools.partial(_tenant_of, context, work, keys)
    with ThreadPoolExecutor(TENANTS_AT_ONCE, thread_name_prefix="tenant") as pool:
        outcomes = list(pool.map(recorded(context, tenant_of), grid.items()))
    evaluations = list(checks.evaluations(context.selected_asset_check_keys)) if checks else []
    lineage = _Lineage(context, [outcome for outcome in outcomes if outcome.done])
    failed = {outcome.tenant: outcome.error for outcome in outcomes if outcome.error}
    if failed:
        for outcome in outcomes:
            for asset_key, key, receipt in outcome.done:
                context.log_event(
                    dg.AssetMaterialization(asset_key, partition=key, metadata={**receipt.metadata, **lineage.of(asset_key, key)})
                )
        log_evaluations(context, evaluations)
        told = "\n".join(f"- **{tenant}** {error}" for tenant, error in failed.items())
        raise dg.Failure(
            f"{len(failed)} of {len(outcomes)} tenants failed: {', '.join(failed)}. The others are done.",
            metadata={FAILED: dg.MetadataValue.md(told)},
            allow_retries=False,
        )
    for asset_key in keys:
        receipts = {key: receipt for outcome in outcomes for done, key, receipt in outcome.done if done == asset_key}
        for number, (key, receipt) in enumerate(receipts.items(), 1):
            # One preview an asset and run: thousands of the same columns would only fill the event log.
            shown = {"preview": preview(receipt.newest)} if receipt.newest and number == len(receipts) else {}
            told_of = {**receipt.metadata, **shown, **lineage.of(asset_key, key)}
            context.add_asset_metadata(told_of, asset_key=asset_key, partition_key=key)
        yield dg.Output(receipts, output_name=asset_key.to_python_identifier())
    yield from (dg.AssetCheckResult(**each) for each in evaluations)


class _Lineage:
    """Column lineage goes with the last partition of each asset that a run makes: with each it would fill the event log.

    Dagster logs the partitions of an output as a set, in any order, so this need not be the newest event; the definition has it in any case.
    """

    def __init__(self, context: dg.AssetExecutionContext, done: Sequence[_Outcome]) -> None:
        self._known = {each.key: each.metadata[LINEAGE] for each in context.assets_def.specs if LINEAGE in each.metadata}
        whole = len(done) == len(selected(context.partition_keys)) and not any(outcome.error for outcome in done)
        self._last = {asset_key: key for outcome in done for asset_key, key, _ in outcome.done}
        if whole:
            self._last |= dict.fromkeys(self._known, context.partition_keys[-1])

    def of(self, asset_key: dg.AssetKey, key: str) -> dict[str, Any]:
        """Return the entry that goes with a partition, if one does."""
        return {LINEAGE: self._known[asset_key]} if asset_key in self._known and self._last.get(asset_key) == key else {}


def _tenant_of(context: dg.AssetExecutionContext, work: Work, keys: list[dg.AssetKey], item: tuple[TenantId, list[date]]) -> _Outcome:
    """Do the work of a tenant, day by day; a day that fails is its last."""
    tenant, days = item
    outcome = _Outcome(tenant)

    def attempt(day: date, before: int) -> None:
        del outcome.done[before:]
        for asset_key, receipt in work(tenant, day, keys):
            outcome.done.append((asset_key, partition_key(day, tenant), receipt))

    def warn(day: date, text: str) -> None:
        context.log.warning(f"{tenant} {day}: {text}", extra=_named(tenant, day))

    for day in days:
        try:
            retries.persistently(functools.partial(attempt, day, len(outcome.done)), functools.partial(warn, day))
        except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's day)
            outcome.error = f"{day}: {errors.told(refused(error, tenant) or error)}"
            context.log.error(f"{tenant} {outcome.error}", extra=_named(tenant, day))  # noqa: TRY400 (a traceback would quote the row that broke it)
            return outcome
        rows = sum(receipt.rows for _, done, receipt in outcome.done if done == partition_key(day, tenant))
        context.log.info(f"{tenant} {day}: {len(keys)} tables, {rows:,} rows", extra=_named(tenant, day) | {"rows": rows})
    return outcome


def _named(tenant: TenantId, day: date) -> dict[str, Any]:
    return {"tenant": tenant, "partition": str(day)}


def _in_order(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    """The selected assets; one that is made from another of the same step comes after it, as Dagster wants their outputs."""
    chosen = context.selected_asset_keys
    upstream = {each.key: {dep.asset_key for dep in each.deps} & chosen for each in context.assets_def.specs if each.key in chosen}
    return list(TopologicalSorter({key: sorted(upstream[key]) for key in sorted(upstream)}).static_order())
