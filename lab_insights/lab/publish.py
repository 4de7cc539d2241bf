"""Publishing data that did not come from an expression of ours: a notebook's frame becomes a batch like any other."""

from __future__ import annotations

import functools
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from lab_insights.errors import UnsupportedLoad
from lab_insights.lab.derive import derive
from lab_insights.lab.engine import Query
from lab_insights.lab.pipeline import run_row
from lab_insights.lab.texts import joined
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lake.commit import Draft, Lake, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from lab_insights.names import TenantId


def publish(lake: Lake, tenant: TenantId, table: str, day: date, data: pa.Table, *, key: tuple[str, ...], run_id: str) -> Manifest:
    """Commit `data` as the transformed batch of a table's day, replacing the day's older ones.

    Raises `UnsupportedLoad` for data that is `unfit`.
    """
    partition = Partition("transformed", tenant, table, day)
    if wrong := unfit(data, key):
        raise UnsupportedLoad(f"The data {wrong.what}.", remedy=f"{wrong.remedy}.", **partition.where)
    head = settled_head(lake, partition)
    draft = Draft(partition, kind="delta", supersedes=True, key=key, engine="published", run_id=run_id)
    return derive(lake, head, draft, _published(data.schema), {"rows": data, "run": run_row(tenant, day, head)})


class Wrong(NamedTuple):
    """What is wrong with data, and what a person can do."""

    what: str
    remedy: str


def unfit(data: pa.Table, key: tuple[str, ...]) -> Wrong | None:
    """Return why data can not be published under a key, or None: the warehouse keeps one row a key, and the others would vanish there."""
    # in any case, since DuckDB takes `AS_OF` for `as_of`
    if ours := [name for name in dict.fromkeys([*key, *data.column_names]) if name.lower() in META_COLUMNS]:
        return Wrong(f"or its key has columns that every row is given here: {', '.join(ours)}", "give them other names, or leave them out")
    if missing := [name for name in key if name not in data.column_names]:
        return Wrong(f"is without its key columns {', '.join(missing)}", "return them, or name others as key")
    columns = data.select(list(key))
    if (
        not key
        or any(column.null_count for column in columns.columns)
        or columns.group_by(list(key)).aggregate([]).num_rows != data.num_rows
    ):
        return Wrong(
            f"has rows that its key ({', '.join(key)}) does not tell apart",
            "name columns that are never null and together tell every row from the others",
        )
    return None


@functools.lru_cache(maxsize=256)
def _published(schema: pa.Schema) -> Query:
    import ibis

    rows = ibis.table(ibis.Schema.from_pyarrow(schema), name="rows")
    run = ibis.table({"tenant_id": "string", "as_of": "date", "batch_id": "string"}, name="run")
    whole = rows.cross_join(run)
    hashed = joined([whole[name] for name in rows.columns]).hexdigest("md5")
    return Query(whole.mutate(record_hash=hashed, is_deleted=ibis.literal(False)).select([*rows.columns, *META_COLUMNS]))
