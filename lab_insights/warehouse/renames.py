"""Renames, recognised: a column that is gone and one that came are one column when position, type and values agree.

Values agree when rows that both sides have, by key, carry the same value in nine of ten cases, at least two of them different from each other. What can
not be told apart so is a column that is gone and a new one: nothing is lost by that, and a later batch may still prove the rename.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.warehouse.shape import Rename, ordinal, shape

if TYPE_CHECKING:
    import duckdb

    from lab_insights.warehouse.shape import Shape

ALIKE = 0.9
DISTINCT = 2


def recognised(storage: Storage, batches: Sequence[Manifest], known: Sequence[Rename] = ()) -> list[Rename]:
    """Return the renames of a curated table that its live batches show and that are not `known` yet."""
    if not batches or batches[0].layer != "curated":
        return []
    ordered = sorted(batches, key=ordinal)
    shapes = [shape(manifest, known) for manifest in ordered]
    newest, oldest = shapes[-1].columns, shapes[0].columns
    found: list[Rename] = []
    for old in [name for name in oldest if name not in newest]:
        for new in [name for name in newest if name not in oldest]:
            rename = _rename(storage, ordered, shapes, old, new)
            if rename and not any(rename.new == other.new for other in found):
                found.append(rename)
                break
    return found


def _rename(storage: Storage, batches: Sequence[Manifest], shapes: Sequence[Shape], old: str, new: str) -> Rename | None:
    """Return the rename of `old` to `new` when both sides have batches of their own, in this order, and agree."""
    with_old = [number for number, its in enumerate(shapes) if old in its.columns and new not in its.columns]
    with_new = [number for number, its in enumerate(shapes) if new in its.columns and old not in its.columns]
    if not with_old or not with_new or with_old[-1] > with_new[0]:
        return None
    before, after = shapes[with_old[-1]], shapes[with_new[0]]
    alike = before.columns[old] == after.columns[new] and [*before.columns].index(old) == [*after.columns].index(new)
    keys = [tuple(new if name == old else name for name in its.key) for its in (before, after)]
    if not alike or keys[0] != keys[1]:
        return None
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    try:
        _side(connection, storage, "old_side", [(batches[n], shapes[n]) for n in range(with_new[0]) if old in shapes[n].columns], old)
        _side(connection, storage, "new_side", [(batches[n], shapes[n]) for n in with_new], new, newest=False)
        rows = connection.execute(
            "SELECT COUNT(*), COUNT_IF(o.v IS NOT DISTINCT FROM n.v), COUNT(DISTINCT CASE WHEN o.v IS NOT DISTINCT FROM n.v THEN o.v END) "
            "FROM old_side AS o JOIN new_side AS n ON o.k = n.k"
        ).fetchone()
    finally:
        connection.close()
    both, same, distinct = rows or (0, 0, 0)
    agree = both > 0 and same >= ALIKE * both and distinct >= DISTINCT
    return Rename(old, new, ordinal(batches[with_new[0]])) if agree else None


def _side(
    connection: duckdb.DuckDBPyConnection,
    storage: Storage,
    name: str,
    batches: Sequence[tuple[Manifest, Shape]],
    column: str,
    *,
    newest: bool = True,
) -> None:
    """Make a table of `k`, the key as one text, and `v`, the column's value as text: of each key's newest version, or its oldest."""
    import pyarrow.dataset as pads

    connection.execute("CREATE TEMP TABLE seen (n BIGINT, version VARCHAR, k VARCHAR, v VARCHAR)")
    for number, (manifest, its) in enumerate(batches):
        if not manifest.parts:
            continue
        keys = [its.spelling[key] for key in its.key]
        wanted = {f"k{position}": pads.field(key) for position, key in enumerate(keys)}
        wanted |= {"version": pads.field(its.spelling[its.version[0]]), "v": pads.field(its.spelling[column])}
        parts = storage.dataset(manifest.layer, [part.key for part in manifest.parts], manifest.schema_())
        connection.register("batch", parts.scanner(columns=wanted).to_reader())
        key = " || '|' || ".join(f"COALESCE(LENGTH(k{n}::VARCHAR) || ':' || k{n}::VARCHAR, '-')" for n in range(len(keys)))
        connection.execute(f"INSERT INTO seen SELECT {number}, version::VARCHAR, {key}, v::VARCHAR FROM batch")
        connection.unregister("batch")
    order = "DESC" if newest else "ASC"
    connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT k, v FROM seen QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY version {order}, n {order}) = 1"
    )
    connection.execute("DROP TABLE seen")
