"""The third link: a tenant's database equals the lake, as far as it was loaded; what is not there yet is pending."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lab_insights.errors import LabInsightsError
from lab_insights.findings import Finding, Status
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights.verify.reading import Reading
from lab_insights.warehouse import ledger, reconcile
from lab_insights.warehouse.provision import LAYERS, use
from lab_insights.warehouse.session import Session

LOAD = "materialize snowflake for this day; it loads what is missing"
MEND = "mend the lake first, then verify again"
EVERY = "every table"
REBUILD = "look at who wrote to the table, then `lab-insights schema rebuild LAYER.TABLE --tenant TENANT`"


@dataclass(frozen=True)
class _Table:
    """One table: its live batches in the lake, and those that the ledger lacks."""

    layer: Layer
    name: str
    batches: list[Manifest]
    absent: list[Manifest]
    newest: str

    @property
    def label(self) -> str:
        return f"{self.layer}/{self.name}"

    @property
    def disturbed(self) -> bool:
        """Whether a missing batch lies among loaded ones, so that the two sides can not be equal yet."""
        return any(str(batch.day) <= self.newest for batch in self.absent)


def verify_warehouse(
    session_factory: Callable[[], Session],
    lake: Reading,
    tenant: TenantId,
    names: Collection[tuple[Layer, str]],
    broken: Collection[Partition],
    days: Collection[date] | None,
) -> list[Finding]:
    """Return one finding for each day of the tables `names`, and for what differs on no day; tables `broken` in the lake prove nothing."""
    wrong = {(each.layer, each.table) for each in broken if each.tenant == tenant}
    compared = [each for each in names if each not in wrong]
    labels = [f"{layer}/{name}" for layer, name in names if (layer, name) in wrong]
    found = [_finding(tenant, label, None, "not proven", "its batches in the lake are broken", MEND) for label in labels]
    if not compared:
        return found
    hidden = {(layer, tenant, name) for layer in LAYERS for name in lake.state.tables(layer, tenant) if (layer, name) not in compared}
    try:
        with session_factory() as session:
            tables = _tables(session, lake, tenant, compared)
            differences = reconcile.reconcile(session, lake.without(hidden), tenant)
    except LabInsightsError as error:
        return [*found, _finding(tenant, EVERY, None, "broken", error.message, error.remedy)]
    except OSError as error:
        return [*found, _finding(tenant, EVERY, None, "broken", f"the lake can not be read ({type(error).__name__})", MEND)]
    for table in tables:
        found += _of_table(tenant, table, [each for each in differences if each.table == table.label and not each.ok])
    return [finding for finding in found if days is None or finding.day is None or finding.day in days]


def _tables(session: Session, lake: Reading, tenant: TenantId, names: Collection[tuple[Layer, str]]) -> list[_Table]:
    use(session, tenant)
    batches = {(layer, name): manifests(lake, layer, tenant, name) for layer, name in names}
    held = ledger.read(session, [batch for each in batches.values() for batch in each])
    newest: dict[ledger.Series, str] = {}
    for layer, name, day, _ in held.entries:
        newest[layer, name] = max(day, newest.get((layer, name), ""))
    found = []
    for (layer, name), each in batches.items():
        absent = [batch for batch in each if not held.holds(batch)]
        found.append(_Table(layer, name, each, absent, newest.get((layer, name), "")))
    return found


def _of_table(tenant: TenantId, table: _Table, differences: list[reconcile.Finding]) -> list[Finding]:
    absent = {batch.day for batch in table.absent}
    told: dict[date | None, list[str]] = {}
    for each in differences:
        if each.day not in absent:
            told.setdefault(each.day, []).append(each.message)
    found = []
    for day in sorted({batch.day for batch in table.batches}):
        batches = [batch for batch in table.batches if batch.day == day]
        loaded = [batch for batch in batches if batch not in table.absent]
        judged = _judged(table, day, absent, told)
        found.append(_finding(tenant, table.label, day, *judged, rows=sum(batch.rows for batch in loaded), batches=len(loaded)))
    if None in told:
        found.append(_finding(tenant, table.label, None, *_differing(table, told[None])))
    return found


def _judged(table: _Table, day: date, absent: Collection[date], told: Mapping[date | None, list[str]]) -> tuple[Status, str, str]:
    if day in absent:
        rows = sum(batch.rows for batch in table.absent if batch.day == day)
        return "pending", f"{rows} rows of this day are not in the warehouse yet", LOAD
    if day in told:
        return _differing(table, told[day])
    if told:
        return "not proven", "the table differs from the lake; no difference that was named is of this day", REBUILD
    return "ok", "the table equals the lake", ""


def _differing(table: _Table, messages: Sequence[str]) -> tuple[Status, str, str]:
    if table.disturbed:
        return "not proven", f"an older or replaced day is not loaded yet: {'; '.join(messages)}", LOAD
    return "broken", "; ".join(messages), REBUILD


def _finding(
    tenant: TenantId, table: str, day: date | None, status: Status, message: str, remedy: str, *, rows: int = 0, batches: int = 0
) -> Finding:
    return Finding("lake → warehouse", tenant, "snowflake", table, day, status, message, remedy, rows, batches)
