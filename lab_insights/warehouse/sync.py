"""Brings one tenant's database into line with its lake: what is to be done (`pending`), and doing it (`sync`).

It may be cut off anywhere and be run again, beside loads: a load that meets a table under change fails its transaction and tries again.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_insights.governance.classes import modelled
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import since_snapshot
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights.warehouse import backfill, deidentified, load, reclassify, schema_sync, stages
from lab_insights.warehouse.catalog import Table, read_catalog
from lab_insights.warehouse.changes import Change, apply
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import STORE
from lab_insights.warehouse.provision import LAYERS, use
from lab_insights.warehouse.renames import recognised
from lab_insights.warehouse.schema_sync import located
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Rename, Shape, ordinal, shape


def pending(session: Session, lake: Lake, tenant: TenantId) -> list[Change]:
    """Return the changes that the tenant's database lacks, in order; raise `WarehouseError` when it is not provisioned."""
    use(session, tenant)
    states: dict[Table, Sequence[Manifest]] = {}
    seen: dict[Table, list[Manifest]] = {}
    for layer in LAYERS:
        for name in lake.state.tables(layer, tenant):
            every = manifests(lake, layer, tenant, name)
            snapshots = [number for number, batch in enumerate(every) if batch.kind == "snapshot"]
            states[located(layer, name)] = since_snapshot(every)
            # what a snapshot replaced still shows what its columns were called before
            seen[located(layer, name)] = every[snapshots[-2] :] if len(snapshots) > 1 else every
    catalog = read_catalog(session, [(schema, name) for own, name in states for schema in (own, STORE, deidentified.SCHEMA)])
    renames: dict[Table, list[Rename]] = {}
    shapes: list[Shape] = []
    newest: dict[Table, Shape] = {}
    for table, batches in states.items():
        known = catalog.renames.get(table, ())
        renames[table] = recognised(lake.storage, seen[table], known)
        its = {batch.object_key: shape(batch, (*known, *renames[table])) for batch in batches}
        shapes += its.values()
        if batches:
            newest[table] = its[max(batches, key=_age).object_key]
    phi = lake.storage.phi
    if phi.pseudonym_key:
        shapes += [stored for its in shapes if (stored := deidentified.store_shape(its, phi))]
    protection = Protection(tenant, phi)
    changes = schema_sync.plan(shapes, catalog, protection, renames=renames, newest=newest)
    after = schema_sync.planned(catalog, shapes, protection, renames)
    changes += backfill.plan(session, [batch for batches in states.values() for batch in batches], catalog, after, changes)
    return changes + reclassify.plan(session, catalog, after, changes, protection)


def sync(session: Session, lake: Lake, tenant: TenantId, run_id: str = "") -> list[Change]:
    """Apply what is pending and return it; then bring what is loaded into the de-identified form, where it is not or by other rules.

    Stage schemas of loads that died long ago are dropped.
    """
    changes = pending(session, lake, tenant)
    apply(session, changes, run_id)
    if lake.storage.phi.pseudonym_key:
        states = [(layer, name) for layer in LAYERS for name in lake.state.tables(layer, tenant) if modelled(layer, name)]
        batches = [batch for layer, name in states for batch in since_snapshot(manifests(lake, layer, tenant, name))]
        if todo := deidentified.missing(session, [(batch, shape(batch)) for batch in batches], lake.storage.phi):
            load.deidentify(session, lake.storage, tenant, todo, run_id=run_id)
    stages.sweep(session)
    return changes


def _age(manifest: Manifest) -> str:
    return ordinal(manifest) if manifest.layer == "curated" else manifest.created_at.isoformat()
