"""Back-fill: a column that was added after batches with it were loaded gets their values, and no other column is touched.

A row gets its value when the warehouse holds exactly the version that the lake's batch has: newer rows have theirs from their own batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse import sql, stages
from lab_insights.warehouse.catalog import Catalog, Columns, Table
from lab_insights.warehouse.changes import Change
from lab_insights.warehouse.ledger import Entry, entry
from lab_insights.warehouse.names import relation
from lab_insights.warehouse.schema_sync import located
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Shape, shape

_LOADED = "SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID, LOADED_AT FROM OPS.LEDGER"
# A rename has filled its column by itself.
_ADDED = """
SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(RENAMED_TO, COLUMN_NAME), MAX(CASE WHEN WHAT = 'new column' THEN CHANGED_AT END),
MAX(CASE WHEN WHAT <> 'new column' THEN CHANGED_AT END) FROM OPS.SCHEMA_CHANGES
WHERE WHAT IN ('new column', 'back-fill', 'rename') GROUP BY 1, 2, 3"""


def plan(
    session: Session, batches: Sequence[Manifest], catalog: Catalog, after: Mapping[Table, Columns], added: Sequence[Change]
) -> list[Change]:
    """Return the back-fills of columns that are being `added`, and of those that were and whose back-fill never ended.

    `batches` are the states of the tables; `after` their columns once all other changes are applied.
    """
    loaded: dict[Entry, datetime] = {
        (str(layer), str(name), str(day), str(batch)): at for layer, name, day, batch, at in session.execute(_LOADED)
    }
    since: dict[tuple[Table, str], datetime | None] = {
        ((schema, name), column): at for schema, name, column, at, filled in session.execute(_ADDED) if at and (not filled or filled < at)
    }
    since |= {(change.table, change.column): None for change in added if change.what == "new column"}
    found = []
    for (table, column), at in since.items():
        its = [batch for batch in batches if located(batch.layer, batch.table) == table and batch.parts]
        its = [batch for batch in its if (when := loaded.get(entry(batch))) and (at is None or when < at)]
        shapes = [shape(batch, catalog.renames.get(table, ())) for batch in its]
        with_it = [(batch, each) for batch, each in zip(its, shapes, strict=True) if column in each.targets]
        if with_it and column in after.get(table, {}):
            found.append(_change(table, column, with_it, after[table]))
    return found


def _change(table: Table, column: str, batches: Sequence[tuple[Manifest, Shape]], columns: Columns) -> Change:
    stage = stages.name()
    statements, counted = [stages.create(stage)], list[tuple[str, int]]()
    for number, (manifest, its) in enumerate(batches):
        staged = relation(stage, f"S{number}")
        statements.append(sql.create_stage_table(staged, its))
        statements += sql.copies(staged, its.layer, [part.key for part in manifest.parts])
        counted.append((sql.count(staged), manifest.rows))
        statements += [counted[-1][0], sql.fill(relation(*table), column, columns, staged, its)]
    what = f"of rows of {len(batches)} batch{'es' if len(batches) > 1 else ''} that were loaded without it"
    return Change(table, "back-fill", column, what, tuple(statements), finally_=stages.drop(stage), counted=tuple(counted))
