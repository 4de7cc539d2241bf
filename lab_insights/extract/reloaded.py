"""Rows that a day which is read again would lose: it held them, and the source no longer shows them in the day's window.

A row leaves its window by a later change, which a later batch holds, or by a delete, which no batch of a cursor's table tells. Dropped with the batch that
is superseded, a deleted row would be nowhere in the lake, and no search for deletes could ever find it gone. So it is kept as it was last known, unless
the day already knew that it is gone: by a tombstone, or by a newer snapshot that lacks it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lab_insights.errors import LandingMismatch
from lab_insights.extract.deletes import Kept
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.committed import since_snapshot
from lab_insights.lake.layout import Partition
from lab_insights.lake.live import newest_first, told, version_sql, workspace
from lab_insights.lake.manifest import Manifest, SourceProof
from lab_insights.lake.state import Head
from lab_insights.lake.tables import TableState, relation
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def keep(lake: Lake, head: Head, asked: Partition, run_id: str) -> tuple[list[Manifest], Head]:
    """Commit the rows whose keys only a day's superseded batches have beside the batch that `head` has pending, whatever day is `asked` for.

    Return that batch (none: nothing is missing) and the new head, which has nothing pending. A run that dies before it gets here leaves the rest to
    the next load of the table, whatever that one is asked for: the source is not needed. Superseded batches are asked too, from the day's newest snapshot
    before that batch on. A part that can not be read is passed over: it is what a reload is for.
    """
    made = lake.storage.manifest("raw", str(head.pending))
    if made is None:
        raise LandingMismatch(
            f"The committed manifest {head.pending} is gone from the lake.",
            remedy="restore the object's last version.",
            **asked.where,
        )
    partition = made.partition
    history = lake.state.history("raw", partition.tenant, partition.table, partition.day, partition.day)
    counted = since_snapshot([each for each in history if each.manifest != made.object_key])
    found = (lake.storage.manifest("raw", each.manifest) for each in counted)
    older = [manifest for manifest in found if manifest and manifest.rows]
    rows = _missing(lake, older, made) if made.key else None
    if rows is None or not rows.num_rows:
        return [], lake.state.settle(head, partition)
    _log.info("kept %d rows of %s that its window no longer shows", rows.num_rows, partition, extra=made.labels)
    told = f"{rows.num_rows} rows that were superseded, and whose keys the source no longer shows in this window"
    kept = Draft(
        partition,
        "delta",
        key=made.key,
        cursor=made.cursor,
        load=made.load,
        engine="arrow",
        reason=told,
        limits=made.limits,
        run_id=run_id,
    )
    manifest, head = commit(lake, head, kept, Kept(rows, Facts(SourceProof(rows=rows.num_rows, how=told), {"quarantined": 0})))
    return [manifest], head


def _missing(lake: Lake, older: list[Manifest], made: Manifest) -> pa.Table | None:
    """Return the newest version of each key that `older` batches have and `made` has not, but of those that are gone by it."""
    import duckdb
    import pyarrow as pa

    schema = TableState((*older, made)).schema
    key = ", ".join(quoted(name, "duckdb") for name in made.key)
    order = newest_first(version_sql(schema, made.cursor, "__at"), "__gone", "__b")
    found = []
    with workspace() as connection:
        connection.register("__made", relation(lake.storage, [made], schema))
        for manifest in older:
            try:
                connection.register("__older", relation(lake.storage, [manifest], schema))
                missing = f"SELECT *, {told(manifest)} FROM __older ANTI JOIN __made USING ({key})"
                found.append(connection.execute(missing).to_arrow_table())
            except (LandingMismatch, OSError, pa.ArrowException, duckdb.Error) as error:
                _log.warning("%s: a superseded batch can not be read (%s)", made.partition, type(error).__name__, extra=made.labels)
        if not found:
            return None
        connection.register("__found", pa.concat_tables(found))
        once = f"SELECT * FROM __found QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {order}) = 1"
        live = f"SELECT * EXCLUDE (__at, __b, __gone) FROM ({once}) WHERE __gone IS NULL"
        return connection.execute(live).to_arrow_table().cast(schema)
