"""Publishing data that did not come from an expression of ours: a notebook's frame becomes a batch like any other."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

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

    Raises `UnsupportedLoad` when `key` is not unique and whole: the warehouse keeps one row a key, and the others would vanish there; and for columns
    that are `reserved`: a key of them would tell no rows apart.
    """
    partition = Partition("transformed", tenant, table, day)
    _keyed(partition, data, key)
    head = settled_head(lake, partition)
    draft = Draft(partition, kind="delta", supersedes=True, key=key, engine="published", run_id=run_id)
    return derive(lake, head, draft, _published(data.schema), {"rows": data, "run": run_row(tenant, day, head)})


def reserved(names: Iterable[str]) -> list[str]:
    """Return those of `names` that every row is given here, each once; in any case, since DuckDB takes `AS_OF` for `as_of`."""
    return [name for name in dict.fromkeys(names) if name.lower() in META_COLUMNS]


def _keyed(partition: Partition, data: pa.Table, key: tuple[str, ...]) -> None:
    if ours := reserved([*key, *data.column_names]):
        raise UnsupportedLoad(
            f"The columns {', '.join(ours)} of the data or of its key are columns that every row is given here.",
            remedy="give them other names, or leave them out.",
            **partition.where,
        )
    if key and set(key) <= set(data.column_names):
        columns = data.select(list(key))
        if not any(columns[name].null_count for name in key) and columns.group_by(list(key)).aggregate([]).num_rows == data.num_rows:
            return
    raise UnsupportedLoad(
        f"The key {', '.join(key) or '()'} is not in every row of the data, or not in one row only.",
        remedy="name columns that are never null and together tell every row from the others.",
        **partition.where,
    )


@functools.lru_cache(maxsize=256)
def _published(schema: pa.Schema) -> Query:
    import ibis

    rows = ibis.table(ibis.Schema.from_pyarrow(schema), name="rows")
    run = ibis.table({"tenant_id": "string", "as_of": "date", "batch_id": "string"}, name="run")
    whole = rows.cross_join(run)
    hashed = joined([whole[name] for name in rows.columns]).hexdigest("md5")
    return Query(whole.mutate(record_hash=hashed, is_deleted=ibis.literal(False)).select([*rows.columns, *META_COLUMNS]))
