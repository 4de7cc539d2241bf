"""The operations that are not assets: crawling the sources, bringing the client databases' schemas into line, and keeping the lake."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from datetime import timedelta

import dagster as dg
from pydantic import Field

from lab_insights.alerts import Alerts, Fact
from lab_insights.assets.checks import Checks, log_evaluations
from lab_insights.assets.snowflake import asset_of
from lab_insights.assets.sources import observed
from lab_insights.assets.tenant_days import FAILED
from lab_insights.aws import Aws
from lab_insights.checks import loads
from lab_insights.checks.verdicts import RECONCILED
from lab_insights.errors import told
from lab_insights.extract.catalog import SourceTable
from lab_insights.governance import glue, history, lake_formation, people
from lab_insights.lake.compact import Compacted, compact_all
from lab_insights.lake.sweep import Swept, sweep_all
from lab_insights.names import tenant_id
from lab_insights.resources.audit import note
from lab_insights.resources.contained import contained
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.retries import persistently
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import provision, sharing, sync

_UNTOLD = "places could not be told of schema changes; the warnings of this run say what changed"


class TenantsConfig(dg.Config):
    """Which tenants; none named means all of the registry."""

    tenants: list[str] = Field(default=[], description="Tenant ids; empty means every registered tenant.")


def _tenants(lake: LakeResource, config: TenantsConfig) -> list[Tenant]:
    registry = lake.registry()
    return [registry.get(name) for name in config.tenants] if config.tenants else registry.all()


@dg.op(description="Inspects every source of every tenant; writes the Glue Data Catalog and the schema history.")
@contained
def crawl_sources(context: dg.OpExecutionContext, config: TenantsConfig, lake: LakeResource) -> None:
    """Crawl; a tenant whose source can not be read does not stop the others, and fails the run at its end."""
    opened, aws, tenants = lake.open(), lake.aws(), _tenants(lake, config)
    crawled = _crawl(context, lake, tenants)
    untold = _tell(context, lake, crawled.later)
    registered = glue.register(aws, opened.storage, crawled.tables)
    partitions = glue.register_lake(opened, [tenant.id for tenant in tenants])
    account, prefix = people.account(aws), opened.storage.prefix
    governed, ungoverned = list[lake_formation.Applied](), dict[str, Exception]()
    for each in tenants:
        try:
            governed.append(lake_formation.govern(aws, prefix, account, each.id, open_=not each.suspended))
        except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
            ungoverned[each.id] = error
            context.log.error(f"The permissions of {each.id} are as they were: {told(error)}")  # noqa: TRY400 (no traceback: it may quote a row)
    counts = {"tables": len(crawled.tables), "glue_tables": registered, **crawled.counts}
    permissions = {"permissions": sum(each.in_force for each in governed), "permissions_changed": sum(each.changed for each in governed)}
    context.add_output_metadata({**counts, "glue_partitions": partitions, **permissions, **_enforced(aws)})
    note(context, lake, "crawl", counts, failed=bool(crawled.failed or ungoverned or untold))
    _raise("sources could not be crawled; the others are in the catalog", crawled.failed)
    _raise("tenants' permissions could not be brought into line; the others' are (docs/how-to/permissions.md)", ungoverned)
    _raise(_UNTOLD, untold)


@dg.op(
    description="Records what the sources look like, then brings each client database, its roles and its tables into line with the registry and the "
    "lake; drops nothing that holds a value."
)
@contained
def sync_schemas(context: dg.OpExecutionContext, config: TenantsConfig, lake: LakeResource, warehouse: WarehouseResource) -> None:
    """Crawl, plan and apply; a second run finds nothing to do, and a tenant that fails does not stop the others and fails the run at its end."""
    opened, tenants, done = lake.open(), _tenants(lake, config), 0
    failed: dict[str, Exception] = {}
    crawled = _crawl(context, lake, tenants)
    untold = _tell(context, lake, crawled.later)
    with warehouse.session(context.run_id) as session:
        for tenant in tenants:
            try:
                provision.provision(session, opened.storage, tenant.id, tenant.tier)
                changes = persistently(
                    functools.partial(sync.sync, session, opened.for_tenant(tenant.id), tenant.id, context.run_id), context.log.warning
                )
                sharing.apply(session, tenant)
            except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
                failed[tenant.id] = error
                continue
            for change in changes:
                context.log.info(f"{tenant.id} {change}")
            done += len(changes)
            note(context, lake, "schema.sync", {"changes": len(changes)}, tenant=tenant.id)
    context.add_output_metadata({"changes": done, **crawled.counts})
    _raise("client databases could not be brought into line; the others are", failed)
    _raise("sources could not be crawled; the client databases are in line with what was landed", crawled.failed)
    _raise(_UNTOLD, untold)


@dataclasses.dataclass
class _Crawled:
    """What the sources of some tenants look like, what changed there since the crawl before, and which could not be read."""

    tables: list[SourceTable] = dataclasses.field(default_factory=list)
    changes: list[history.Change] = dataclasses.field(default_factory=list)
    failed: dict[str, Exception] = dataclasses.field(default_factory=dict)

    @property
    def later(self) -> list[history.Change]:
        return [change for change in self.changes if change.version > 1]

    @property
    def counts(self) -> dict[str, int]:
        return {"first_seen": len(self.changes) - len(self.later), "schema_changes": len(self.later)}


def _crawl(context: dg.OpExecutionContext, lake: LakeResource, tenants: Sequence[Tenant]) -> _Crawled:
    """Inspect every source of tenants, and write a version of each schema that is another than before."""
    sources, opened, aws, crawled = lake.sources(), lake.open(), lake.aws(), _Crawled()
    for tenant in tenants:
        for name in sources.names():
            try:
                catalog = persistently(functools.partial(sources.catalog, name, tenant), context.log.warning)
            except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
                crawled.failed[f"{name} of {tenant.id}"] = error
                continue
            for left_out, reason in catalog.left_out.items():
                context.log.warning(f"{tenant.id} {name}.{left_out} is left out: it {reason}")
            crawled.tables += catalog.tables
            for table in catalog.tables:
                try:
                    change = history.record(aws, opened.storage.prefix, table, opened.clock.now(), context.run_id)
                except Exception as error:  # noqa: BLE001 (what was recorded before must be told: the next crawl does not see it)
                    crawled.failed[f"{table.table_id} of {tenant.id}"] = error
                else:
                    crawled.changes += [change] if change else []
    return crawled


def _tell(context: dg.OpExecutionContext, lake: LakeResource, changes: Sequence[history.Change]) -> dict[str, Exception]:
    """Tell of schema changes: by an alert, in the run's log, on the source's asset and in the tenant's audit log; return what went wrong with that.

    They are in the history by now, so the next crawl will not tell of them.
    """
    untold = dict[str, Exception]()
    facts = [Fact(change.tenant, str(change).partition(" ")[2], str(change)) for change in changes]
    try:
        Alerts(lake.aws(), lake.prefix, lake.config().alerts).publish("schema_change", facts, run_id=context.run_id)
    except Exception as error:  # noqa: BLE001 (what was crawled is in the catalog)
        untold["the alarm topic"] = error
    for change in changes:
        context.log.warning(f"Schema change: {change}")
        if unread := history.unread(change):
            context.log.error(
                f"{change.tenant} {change.table}: the contract reads {', '.join(unread)}, so what is curated from it is null."
            )
        context.log_event(observed(change, unread))
        lists = {"added": change.added, "dropped": change.dropped, "changed": change.changed}
        differing = {"version": change.version, **{name: len(columns) for name, columns in lists.items()}}
        try:
            note(context, lake, "schema.change", differing, tenant=tenant_id(change.tenant), subject=change.table)
        except Exception as error:  # noqa: BLE001 (the other changes are told all the same)
            untold[f"the audit log of {change.tenant}"] = error
    return untold


@dg.op(
    description="Compares every table of every tenant's database with the lake, row by row, and evaluates the check `reconciled` by what it finds."
)
@contained
def reconcile_warehouse(context: dg.OpExecutionContext, config: TenantsConfig, lake: LakeResource, warehouse: WarehouseResource) -> None:
    """Compare; a tenant whose database does not answer stops no other, and fails the run at its end: nothing is known of it then."""
    opened, failed = lake.open(), dict[str, Exception]()
    checks, assets = Checks(opened), set[str]()
    for tenant in _tenants(lake, config):
        try:
            found = loads.by_every_row(opened.for_tenant(tenant.id), tenant.id, lambda: warehouse.session(context.run_id), asset_of)
        except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
            failed[tenant.id] = error
            continue
        checks.note(found)
        assets |= {each.of.asset for each in found}
        context.log.info(f"{tenant.id}: {len(found)} tables compared, {sum(not each.passed for each in found)} differ")
    evaluations = list(checks.evaluations([dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), RECONCILED) for asset in assets]))
    log_evaluations(context, evaluations)
    context.add_output_metadata({"tables": len(evaluations), "failing": sum(not each["passed"] for each in evaluations)})
    _raise("tenants could not be compared; the others are", failed)


class KeepConfig(TenantsConfig):
    """What stays in the lake, and for how long."""

    grace_hours: int = Field(default=24, ge=1, description="How old an object must be that no manifest names before it is taken away.")
    keep_days: int = Field(default=30, ge=1, description="How long a batch stays that another one replaced.")
    dry_run: bool = Field(default=False, description="Take nothing away, and say what would be.")


@dg.op(
    description="Writes curated states anew that are made up of many small batches, so that deriving a day stays bounded work.",
    out=dg.Out(dg.Nothing),
)
@contained
def compact_states(context: dg.OpExecutionContext, config: TenantsConfig, lake: LakeResource) -> None:
    """Compact; a tenant that fails does not stop the others and fails the run at its end."""
    opened, receipts = lake.open(), list[Compacted]()
    failed: dict[str, Exception] = {}
    for tenant in _tenants(lake, config):
        try:
            receipts += compact_all(opened.for_tenant(tenant.id), tenant.id)
        except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
            failed[tenant.id] = error
    context.add_output_metadata({"tables": len(receipts), "receipts": _json(receipts)})
    note(context, lake, "lake.compact", {"tables": len(receipts)}, failed=bool(failed))
    _raise("tenants have states that could not be compacted; the others' are", failed)


@dg.op(
    description="Takes objects of abandoned attempts out of the lake, and batches that others replaced long ago.",
    ins={"after": dg.In(dg.Nothing)},
)
@contained
def sweep_lake(context: dg.OpExecutionContext, config: KeepConfig, lake: LakeResource) -> None:
    """Sweep; a tenant that fails does not stop the others and fails the run at its end."""
    opened, receipts = lake.open(), list[Swept]()
    grace, keep = timedelta(hours=config.grace_hours), timedelta(days=config.keep_days)
    failed: dict[str, Exception] = {}
    for tenant in _tenants(lake, config):
        try:
            receipts += sweep_all(opened.for_tenant(tenant.id), [tenant.id], grace=grace, keep=keep, dry_run=config.dry_run)
        except Exception as error:  # noqa: BLE001 (one tenant's fault must not stop another's)
            failed[tenant.id] = error
    totals = {
        name: sum(getattr(each, name) for each in receipts) for name in ("objects", "orphans", "bytes", "young", "unknown", "retired")
    }
    context.add_output_metadata({**totals, "receipts": _json(receipts)})
    if not config.dry_run:
        note(context, lake, "lake.sweep", totals, failed=bool(failed))
    _raise("tenants could not be swept; the others are", failed)


def _enforced(aws: Aws) -> dict[str, str]:
    return {"note": "permissions are recorded, not enforced, by the local stand-in"} if aws.endpoint_url else {}


def _json(receipts: Sequence[Compacted | Swept]) -> dg.MetadataValue:
    return dg.MetadataValue.json([dataclasses.asdict(each, dict_factory=_plain) for each in receipts])


def _plain(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {name: value if isinstance(value, int) else str(value) for name, value in fields}


def _raise(what: str, failed: Mapping[str, Exception]) -> None:
    """Raise `Failure` that names what failed, when anything did."""
    if failed:
        raise dg.Failure(
            f"{len(failed)} {what}: {', '.join(failed)}.",
            metadata={FAILED: dg.MetadataValue.md("\n".join(f"- **{name}** {told(error)}" for name, error in failed.items()))},
            allow_retries=False,
        )
