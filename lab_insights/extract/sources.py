"""All sources of a deployment for the length of one step: each tenant's catalog and each source's ceiling are found once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from lab_insights.aws import Aws
from lab_insights.config import Config, Override
from lab_insights.errors import LabInsightsError, SourceError
from lab_insights.extract import databases, kindness, land, live
from lab_insights.extract.ahead import ahead
from lab_insights.extract.catalog import Catalog, SourceTable, crawl
from lab_insights.extract.nulls import null_share
from lab_insights.extract.plan import Declared, EngineName, Known, Machine, Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.processing import Attempt, Disqualified, Late, Measured, Processing
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant


class Sources:
    """The configured sources; `declared` is what contracts know of source tables, by lake id.

    `spark` starts what plans may ask for; where `remote` is given it loads what is planned for Spark elsewhere.
    What becomes of sources and tables is kept as processing status, but not for somebody who only looks (`kept` is false).
    """

    def __init__(
        self,
        config: Config,
        aws: Aws,
        lake: Lake,
        declared: Mapping[str, Declared],
        spark: land.Spark | None = None,
        *,
        kept: bool = True,
        remote: Callable[[SourceTable, land.Request], None] | None = None,
    ) -> None:
        self._kept, self._remote = kept, remote
        self._config, self._aws, self._lake, self._declared, self._spark = config, aws, lake, declared, spark
        self._catalogs: dict[tuple[str, str], Catalog] = {}
        self._ceilings: dict[str, Ceiling] = {}
        self._before: dict[str, dict[str, Attempt]] = {}
        self._cursors: dict[str, tuple[list[Disqualified], list[Late]]] = {}
        self._warnings: dict[tuple[str, str], str] = {}

    def catalog(self, name: str, tenant: Tenant) -> Catalog:
        """Return what a tenant has in a source, crawled once by this object: a later step crawls anew."""
        if (name, tenant.id) not in self._catalogs:
            with self._attempted(tenant.id, name) as attempt:
                found = self._catalogs[name, tenant.id] = crawl(name, self._config.sources[name], tenant, self._aws)
                attempt.update(tables=len(found.tables))
            for identifier, error in found.broken.items():
                with suppress(SourceError), self._attempted(tenant.id, identifier):
                    raise error
        return self._catalogs[name, tenant.id]

    def ceiling(self, name: str) -> Ceiling:
        """Return the instant up to which a source is safe to read, found once by this object."""
        if name not in self._ceilings:
            source = self._config.sources[name]
            with databases.reaching(name, databases.url(source, self._aws)) if source.url else nullcontext():
                self._ceilings[name] = land.safe_ceiling(self._lake, source, self._aws)
        return self._ceilings[name]

    def names(self) -> list[str]:
        """Return the names of the sources, in configured order."""
        return list(self._config.sources)

    def table(self, tenant: Tenant, identifier: str) -> SourceTable:
        """Return a table of a tenant by its lake id; raise `SourceError` when the source does not have it."""
        name = identifier.partition(".")[0]
        catalog = self.catalog(name, tenant)
        found = catalog.table(identifier)
        if found is not None:
            return found
        if identifier in catalog.broken:
            raise catalog.broken[identifier]
        with self._attempted(tenant.id, identifier):
            raise SourceError(
                f"Source {name} has no such table for this tenant.",
                remedy="create it, correct the mapping, or name it in the source's `exclude` where no tenant has it.",
                tenant=tenant.id,
                table=identifier,
            )

    def undeclared(self, tenant: Tenant) -> list[SourceTable]:
        """Return the tenant's tables that no contract describes, over all sources."""
        return [table for name in self.names() for table in self.catalog(name, tenant).tables if table.table_id not in self._declared]

    def broken(self, tenant: Tenant) -> list[SourceError]:
        """Return why tables that no contract describes can not even be inspected, over all sources."""
        found = (self.catalog(name, tenant).broken for name in self.names())
        return [error for each in found for identifier, error in each.items() if identifier not in self._declared]

    def warnings(self) -> list[str]:
        """Return what a person should know of the ceilings that were found, and of the tables that were loaded."""
        return [f"Source {name}: {ceiling.warning}" for name, ceiling in self._ceilings.items() if ceiling.warning] + [
            *self._warnings.values()
        ]

    def warning(self, tenant: TenantId, identifier: str) -> str | None:
        """Return what a person should know of a table that was loaded, or None."""
        return self._warnings.get((tenant, identifier))

    def discriminator(self, tenant: Tenant, identifier: str) -> tuple[str, str] | None:
        """Return the column and the value by which a tenant's rows of a table are told from others', without asking the source; None where none are others'."""
        name = identifier.partition(".")[0]
        return databases.place(name, self._config.sources[name], tenant).discriminator

    def plan(self, table: SourceTable, nulls: Mapping[str, float] | None = None, engine: EngineName | None = None) -> Plan:
        """Return how a table is loaded, from its catalog, what is declared, and what earlier loads told of it; a given `engine` wins over all."""
        source = self._config.sources[table.source]
        override: Override | None = source.overrides.get(table.name)
        if engine and source.engine != "dynamodb":
            override = (override or Override()).model_copy(update={"engine": engine})
        last = self._last(table.tenant).get(table.table_id)
        if table.tenant not in self._cursors:
            processing = self._processing(table.tenant)
            self._cursors[table.tenant] = processing.disqualified(table.tenant), processing.late(table.tenant)
        disqualified, late = self._cursors[table.tenant]
        known = Known(
            last.whole if last else None,
            last.changes if last else None,
            {proof.cursor: proof for proof in disqualified if proof.table == table.table_id},
            nulls or {},
            {each.cursor: each for each in late if each.table == table.table_id},
        )
        cluster = not self._config.spark.master.startswith("local")
        return plan(table, self._declared.get(table.table_id), override, known, Machine(_cores(), source.limits.connections, cluster))

    def null_share(self, table: SourceTable) -> dict[str, float]:
        """Return the share of nulls of the table's candidate cursors, which costs a count at the source."""
        return null_share(table, self._config.sources[table.source], self._aws)

    def look(self, table: SourceTable) -> live.Compared | live.Counted:
        """Compare what the lake holds of a table with the source as it is now: `live.look`."""
        return live.look(self._lake.for_tenant(table.tenant), self._config.sources[table.source], self._aws, self.plan(table))

    def landed(self, table: SourceTable) -> bool:
        """Whether a table was ever landed, so that its next load reads its changes."""
        return self._lake.state.newest_day("raw", table.tenant, table.table_id) is not None

    def closed(self, tenant: Tenant, identifier: str, request: land.Request) -> list[Manifest]:
        """Return the live manifests of a table's day where the source is asked for nothing, since the day is closed and stands as it is; none otherwise."""
        return land.closed(self._lake.for_tenant(tenant.id), tenant.id, identifier, request)

    def closed_undeclared(self, tenant: Tenant, request: land.Request) -> dict[str, list[Manifest]]:
        """Return those of every table of a day that no contract describes, as far as the lake knows of them; nothing where one of them is still open."""
        known = self._lake.for_tenant(tenant.id).state.tables("raw", tenant.id, request.day, request.day)
        its = [table for table in known if table not in self._declared and table.partition(".")[0] in self._config.sources]
        found = {table: self.closed(tenant, table, request) for table in its}
        return found if all(found.values()) else {}

    def load(self, table: SourceTable, request: land.Request) -> list[Manifest]:
        """Bring a table's day up to date and return the day's live manifests; what becomes of it is kept as processing status."""
        if self._remote and self.plan(table, engine=request.engine).engine == "spark":
            # Whoever does it keeps the status too; what it committed is told by the lake.
            self._remote(table, request)
            return partition_manifests(self._lake.for_tenant(table.tenant), Partition("raw", table.tenant, table.table_id, request.day))
        source, at = self._config.sources[table.source], self._lake.clock.now()
        with self._attempted(table.tenant, table.table_id, request.run_id, str(request.day)) as attempt:
            top = self.ceiling(table.source)
            attempt.update(ceiling=top.how, lagging=top.lagged)
            warn = functools.partial(self._warn, table)
            its = self.plan(table, engine=request.engine)
            there = land.load(self._lake.for_tenant(table.tenant), source, self._aws, its, request, top, self._spark, warn)
            # What a search for deletes found has no window, and tells nothing of the next load.
            made = [manifest for manifest in there if manifest.created_at >= at and manifest.window]
            attempt.update(load=there[-1].load if there else "", rows=sum(manifest.rows for manifest in there), **measured(made))
            if its.cursor and (request.mode == "deletes" or any(manifest.kind == "snapshot" for manifest in made)):
                with kindness.connections(table.source, source.limits, 1):
                    attempt.update(ahead=(rows := ahead(table, its.cursor, source, self._aws, top.instant)))
                if rows:
                    warn(f"{table.tenant} {table.table_id}: {rows:,} rows have a `{its.cursor}` of more than a day ahead, {_UNREACHED}")
        return there

    def _warn(self, table: SourceTable, text: str) -> None:
        before = self.warning(table.tenant, table.table_id)
        self._warnings[table.tenant, table.table_id] = f"{before} {text}" if before else text

    def _processing(self, tenant: TenantId) -> Processing:
        state = self._lake.for_tenant(tenant).state
        return Processing(state.aws, state.prefix)

    def _last(self, tenant: TenantId) -> dict[str, Attempt]:
        if tenant not in self._before:
            self._before[tenant] = self._processing(tenant).latest(tenant)
        return self._before[tenant]

    @contextmanager
    def _attempted(self, tenant: TenantId, what: str, run_id: str = "", day: str = "") -> Iterator[dict[str, Any]]:
        """Keep what becomes of the context's body, with what the body adds to the dictionary that it is given."""
        told: dict[str, Any] = {"what": what, "at": self._lake.clock.now(), "outcome": "ok", "run_id": run_id, "day": day}
        if not self._kept:
            yield told
            return
        last = self._last(tenant)
        try:
            yield told
        except Exception as error:
            # Of an error that is not ours only the kind: its text may quote a row.
            reason = str(error) if isinstance(error, LabInsightsError) else type(error).__name__
            # The error itself is what counts when the status can not be written either.
            with suppress(Exception):
                last[what] = self._processing(tenant).record(
                    tenant, Attempt(**told | {"outcome": "failed", "reason": reason}), last.get(what)
                )
            raise
        last[what] = self._processing(tenant).record(tenant, Attempt(**told), last.get(what))


_UNREACHED = "and no window reaches them. Remedy: mend the values at the source, or declare `load: full` for this table."


def measured(made: Sequence[Manifest]) -> dict[str, Measured]:
    """Return the receipts of the newest snapshot (`whole`) and delta (`changes`) among the batches that a load made."""
    found = {}
    for manifest in made:
        found["whole" if manifest.kind == "snapshot" else "changes"] = Measured(
            rows=manifest.rows,
            bytes=sum(part.bytes for part in manifest.parts),
            seconds=manifest.seconds,
            engine=manifest.engine,
            ranges=manifest.ranges,
        )
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
