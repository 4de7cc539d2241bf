"""Rebuilding a table from the lake's state, beside the one that is read, and exchanging both with `SWAP WITH`: the only use of it.

For a table that somebody wrote to, which no load would mend. The new table is made by the DDL that every table is made by, in its own schema, so that policies
and future grants are on it before it has a row. An exchange commits by itself, and would lose what was loaded since the state was read: so it happens while a
second session holds the table's head, which every load has to move first. A death anywhere leaves the old table or the new one.
"""

from __future__ import annotations

from collections.abc import Callable

from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import state
from lab_insights.names import TenantId
from lab_insights.warehouse import ddl, fence, ledger, sql, stages
from lab_insights.warehouse.catalog import Catalog, read_catalog
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import relation
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.schema_sync import located
from lab_insights.warehouse.session import LockConflict, Session
from lab_insights.warehouse.shape import shape
from lab_insights.warehouse.sync import sync

# The table that takes the other's place, and then the one whose place was taken; no table of the lake is called so.
NEW = ":REBUILT"
ATTEMPTS = 5


def rebuild(
    session: Session,
    holder: Session,
    lake: Lake,
    tenant: TenantId,
    layer: Layer,
    table: str,
    run_id: str,
    told: Callable[[int, int], None] = lambda _batches, _rows: None,
) -> int:
    """Replace a table by what the lake says of it, and return how many rows were copied. `holder` is a second session of the same account.

    `told` hears of each batch: how many there are, and the rows of this one.

    Raises `WarehouseError` when there is no such table on both sides or a part of the lake was changed, and `LockConflict` when loads came between every time.
    """
    sync(session, lake, tenant, run_id)
    use(holder, tenant)
    for attempt in range(1, ATTEMPTS + 1):
        # before the state: a load that is committed between the two moves the head, and this attempt fails
        version = ledger.version(session, (layer, table))
        batches = state(lake, layer, tenant, table).manifests
        catalog = read_catalog(session, [located(layer, table)])
        if version is None or not batches or not catalog.columns:
            raise WarehouseError(
                "There is nothing to rebuild: the table was never loaded.",
                remedy="materialize snowflake for its days; `lab-insights verify` shows which tables there are.",
                tenant=tenant,
                table=table,
            )
        copied = _fill(session, batches, catalog, Protection(tenant, lake.storage.phi), told)
        try:
            _exchange(session, holder, located(layer, table), (layer, table), version, fence.name(run_id, tenant, layer, table))
        except LockConflict:
            if attempt == ATTEMPTS:
                raise
        else:
            session.execute(f"DROP TABLE IF EXISTS {_new(located(layer, table))}")
            return copied
    raise AssertionError("the last attempt returns or raises")


def _fill(
    session: Session, batches: tuple[Manifest, ...], catalog: Catalog, protection: Protection, told: Callable[[int, int], None]
) -> int:
    """Make the new table and merge the state's batches into it, as loads do."""
    [(of, columns)] = catalog.columns.items()
    copied = 0
    session.execute(f"DROP TABLE IF EXISTS {_new(of)}")
    *policies, create = ddl.create_table(*of, columns, protection)
    for statement in (*policies, create.replace(relation(*of), _new(of), 1)):  # under the name by which its columns are classified
        session.execute(statement)
    for mark in ddl.as_text(of[0], of[1] + NEW, columns, shape(batches[-1], catalog.renames.get(of, ()))):
        session.execute(mark)
    with stages.opened(session) as stage:
        for number, manifest in enumerate(batches):
            if not manifest.parts:
                continue
            its, staged = shape(manifest, catalog.renames.get(of, ())), relation(stage, f"S{number}")
            session.execute(sql.create_stage_table(staged, its))
            copied += stages.copy(session, staged, manifest)
            session.execute(sql.merge(_new(of), columns, staged, its, snapshot_at=None, superseded_by=None))
            told(len(batches), manifest.rows)
    return copied


def _exchange(session: Session, holder: Session, of: tuple[str, str], series: ledger.Series, version: int, called: str) -> None:
    """Swap the two tables unless a load came since `version` was the head's; none can come while `holder` has moved the head and not committed."""
    with holder.transaction(called):
        if not int(holder.execute(sql.MOVE_HEAD, *series, version)[0][0]):
            raise LockConflict("A load came between.", remedy="rebuild the table again.", table=series[1])
        session.execute(f"ALTER TABLE {relation(*of)} SWAP WITH {_new(of)}")


def _new(of: tuple[str, str]) -> str:
    return relation(of[0], of[1] + NEW)
