"""Rows that a day which is read again would lose: it held them, and the source no longer shows them in the day's window.

A row leaves its window by a later change, which a later batch holds, or by a delete, which no batch of a cursor's table tells. Dropped with the batch that
is superseded, a deleted row would be nowhere in the lake, and no search for deletes could ever find it gone. So it is kept as it was last known.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from lab_insights.errors import LandingMismatch
from lab_insights.extract.deletes import Kept
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.live import workspace
from lab_insights.lake.manifest import Manifest, SourceProof
from lab_insights.lake.state import Head
from lab_insights.lake.tables import TableState, relation
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def keep(lake: Lake, head: Head, draft: Draft, made: Manifest) -> tuple[list[Manifest], Head]:
    """Commit the rows whose keys only the day's superseded batches have beside `made`, and return that batch (none: nothing is missing) and the new head.

    Batches that were superseded before are asked too, so that a run which dies before this commit is made good by the next reload. A part that can not be
    read is passed over: it is what a reload is for.
    """
    partition = made.partition
    history = lake.state.history("raw", partition.tenant, partition.table, partition.day, partition.day)
    found = (lake.storage.manifest("raw", each.manifest) for each in history if each.manifest != made.object_key)
    older = [manifest for manifest in found if manifest and manifest.rows and not manifest.gone_at]
    rows = _missing(lake, older, made) if made.key else None
    if rows is None or not rows.num_rows:
        return [], head
    _log.info("kept %d rows of %s that its window no longer shows", rows.num_rows, partition, extra=made.labels)
    told = f"{rows.num_rows} rows that were superseded, and whose keys the source no longer shows in this window"
    kept = dataclasses.replace(draft, kind="delta", supersedes=False, window=None, engine="arrow", reason=told)
    manifest, head = commit(lake, head, kept, Kept(rows, Facts(SourceProof(rows=rows.num_rows, how=told), {"quarantined": 0})))
    return [manifest], head


def _missing(lake: Lake, older: list[Manifest], made: Manifest) -> pa.Table | None:
    """Return the newest version of each key that `older` batches have and `made` has not."""
    import duckdb
    import pyarrow as pa

    schema = TableState((*older, made)).schema
    key = ", ".join(quoted(name, "duckdb") for name in made.key)
    newest = f"{quoted(made.cursor, 'duckdb')} DESC NULLS LAST" if made.cursor else key
    found = []
    with workspace() as connection:
        connection.register("__made", relation(lake.storage, [made], schema))
        for manifest in older:
            try:
                connection.register("__older", relation(lake.storage, [manifest], schema))
                rows = connection.execute(f"SELECT * FROM __older ANTI JOIN __made USING ({key})").to_arrow_table()
            except (LandingMismatch, OSError, pa.ArrowException, duckdb.Error) as error:
                _log.warning("%s: a superseded batch can not be read (%s)", made.partition, type(error).__name__, extra=made.labels)
                continue
            found.append(rows.cast(schema))
        if not found:
            return None
        connection.register("__found", pa.concat_tables(found))
        once = f"SELECT * FROM __found QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {newest}) = 1"
        return connection.execute(once).to_arrow_table().cast(schema)
