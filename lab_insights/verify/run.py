"""Running the three links over tenants, tables and days, several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date

from lab_insights.findings import Finding, Held
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.names import TenantId
from lab_insights.verify.derivations import Derivation, curations, transformations
from lab_insights.verify.derived import verify_derived
from lab_insights.verify.raw import verify_raw
from lab_insights.verify.reading import Reading
from lab_insights.verify.report import LAYERS, Report
from lab_insights.verify.warehouse import verify_warehouse
from lab_insights.warehouse import provision
from lab_insights.warehouse.session import Session

# Tables at once: the object store is waited for more than anything is computed.
AT_ONCE = 6
# Told which partitions of the lake are broken, as far as is known when it begins.
Job = Callable[[Collection[Partition]], list[Finding]]


def verify(
    lake: Lake,
    tenants: Sequence[TenantId],
    *,
    session_factory: Callable[[], Session] | None = None,
    tables: Collection[str] | None = None,
    days: Collection[date] | None = None,
    layers: Collection[Held] = LAYERS,
    live: Callable[[TenantId, str], list[Finding]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return what holds and what does not, for the chosen `tables` (lake table ids), `days` and `layers`; None is all of them.

    Snowflake is left out without a `session_factory`; `live`, such as `Live`, reads the source of each raw table again.
    `progress` is told how many steps are done, of how many. Findings are not raised.
    """
    started, reading = time.monotonic(), Reading.of(lake)
    try:
        work = [_Tenant(reading, tenant, tables, days, layers, session_factory, live) for tenant in tenants]
        findings = _run(work, progress)
    finally:
        reading.storage.forget()
    order = {tenant: place for place, tenant in enumerate(tenants)}
    findings.sort(key=lambda found: (order[found.tenant], LAYERS.index(found.layer), found.table, found.day or date.min))
    return Report(tuple(findings), round(time.monotonic() - started, 3))


@dataclass(frozen=True)
class _Tenant:
    """What is to be verified of one tenant."""

    lake: Reading
    tenant: TenantId
    tables: Collection[str] | None
    days: Collection[date] | None
    layers: Collection[Held]
    session_factory: Callable[[], Session] | None
    live: Callable[[TenantId, str], list[Finding]] | None

    def chosen(self, table: str) -> bool:
        return self.tables is None or table in self.tables

    def phases(self) -> list[list[Job]]:
        """Return the jobs of each layer: one for each table, and one for all of Snowflake."""
        lake, tenant, live = self.lake, self.tenant, self.live
        raw = [table for table in lake.state.tables("raw", tenant) if self.chosen(table)]
        jobs: dict[Held, list[Job]] = {
            "raw": [self._raw(table) for table in raw] + [self._live(live, table) for table in raw if live],
            "curated": [self._derived(of) for of in curations(lake, tenant) if self.chosen(of.table)],
            "transformed": [self._derived(of) for of in transformations(lake, tenant) if self.chosen(of.table)],
            "snowflake": [self._snowflake(self.session_factory)] if self.session_factory else [],
        }
        return [jobs[layer] if layer in self.layers else [] for layer in LAYERS]

    def _raw(self, table: str) -> Job:
        return lambda _: verify_raw(self.lake, self.tenant, table, self.days)

    def _live(self, live: Callable[[TenantId, str], list[Finding]], table: str) -> Job:
        return lambda _: live(self.tenant, table)

    def _derived(self, of: Derivation) -> Job:
        return lambda broken: verify_derived(self.lake, self.tenant, of, self.days, broken)

    def _snowflake(self, factory: Callable[[], Session]) -> Job:
        names = [(layer, name) for layer in provision.LAYERS for name in self.lake.state.tables(layer, self.tenant) if self.chosen(name)]
        return lambda broken: verify_warehouse(factory, self.lake, self.tenant, names, broken, self.days)


def _run(work: Sequence[_Tenant], progress: Callable[[int, int], None] | None) -> list[Finding]:
    """Run tenant by tenant and layer by layer; a tenant's Snowflake is waited for while the next tenant's lake is read."""
    findings: list[Finding] = []
    phases = [each.phases() for each in work]
    total, done = sum(len(jobs) for each in phases for jobs in each), 0

    def collect(futures: Iterable[Future[list[Finding]]]) -> None:
        nonlocal done
        for future in as_completed(futures):
            findings.extend(future.result())
            done += 1
            if progress:
                progress(done, total)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verify") as pool:
        waiting: list[Future[list[Finding]]] = []
        for *lake, snowflake in phases:
            for jobs in lake:
                broken = _partitions(findings)
                collect([pool.submit(job, broken) for job in jobs])
            broken = _partitions(findings)
            waiting += [pool.submit(job, broken) for job in snowflake]
        collect(waiting)
    return findings


def _partitions(findings: Sequence[Finding]) -> set[Partition]:
    """The partitions of the lake that are broken."""
    wrong = [found for found in findings if found.status == "broken"]
    return {Partition(found.layer, found.tenant, found.table, found.day) for found in wrong if found.layer != "snowflake" and found.day}
