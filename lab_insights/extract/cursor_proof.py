"""The proof that a cursor can be trusted, or can not: a row that changed between two loads while its cursor stood still.

Whenever a whole table is landed, it is compared with what the lake held before. One such row disqualifies the cursor: an incremental load would never
have read the change. Columns that one side lacks, or has in another type, prove nothing and are left out,
as are those that came since (`extract.unread`). The same comparison finds rows that came late (`extract.late`).
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_insights.extract import late
from lab_insights.lake.commit import Lake
from lab_insights.lake.live import newest, workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.processing import Disqualified, Late, Processing
from lab_insights.lake.tables import TableState
from lab_insights.names import TenantId, quoted

REMEDY = (
    "Remedy: let the source move the column on every update (ON UPDATE CURRENT_TIMESTAMP, or a trigger) and declare another `cursor`, "
    "or declare `load: incremental` to use it all the same."
)


def prove(
    lake: Lake, before: Sequence[Manifest], snapshot: Manifest, but: Sequence[str] = (), known: Late | None = None
) -> tuple[Disqualified | None, Late | None]:
    """Compare a snapshot, `but` for some columns, with the state `before` it.

    Keep and return the proof against its cursor, and how late rows came by it where that is not `known` already; None when there is none.
    """
    if not before or not snapshot.key or snapshot.cursor is None:
        return None, None
    rows, missed = compared(lake, before, snapshot, but, known)
    its = lake, snapshot.tenant, snapshot.table, snapshot.cursor
    return disqualify(*its, rows, "a full load") if rows else None, late.keep(*its, missed, known, "a full load") if missed else None


def disqualify(lake: Lake, tenant: TenantId, table: str, cursor: str, rows: int, how: str) -> Disqualified:
    """Keep the proof against the cursor of a table, by its lake id."""
    found = Disqualified(table, cursor, rows, lake.clock.now(), how)
    Processing(lake.state.aws, lake.state.prefix).disqualify(tenant, found)
    return found


def compared(
    lake: Lake, before: Sequence[Manifest], snapshot: Manifest, but: Sequence[str], known: Late | None
) -> tuple[int, late.Missed | None]:
    """Return how many rows of a snapshot have the key and the cursor that they had `before`, and other content in other columns than `but`.

    Then how late rows came that are new, or newer than they were, by a cursor that had been read up to already.
    """
    if {part.sha256 for part in snapshot.parts} <= {part.sha256 for manifest in before for part in manifest.parts}:
        return 0, None
    then, now = TableState(tuple(before)).schema, snapshot.schema_()
    common = [field.name for field in now if field.name in then.names and then.field(field.name).type.equals(field.type)]
    common = [name for name in common if name not in but]
    if not {*snapshot.key, snapshot.cursor} <= {*common}:
        return 0, None
    # DuckDB's hash is not promised to be the same in its next release, and is not stored here.
    content = {"h": f"hash({', '.join(quoted(name, 'duckdb') for name in common)})"}
    with workspace() as connection:
        for name, batches, schema in (("was", before, then), ("is_", [snapshot], now)):
            newest(connection, lake.storage, batches, schema, name=name, key=snapshot.key, cursor=snapshot.cursor, carried=content)
        same = " AND ".join(f"was.k{position} = is_.k{position}" for position in range(len(snapshot.key)))
        row = connection.execute(f"SELECT count(*) FROM was JOIN is_ ON {same} WHERE was.v = is_.v AND was.h <> is_.h").fetchone()
        came = f"SELECT is_.v FROM is_ LEFT JOIN was ON {same} WHERE was.v IS NULL OR was.v < is_.v"
        return int(row[0]) if row else 0, late.measure(connection, came, before, known)
