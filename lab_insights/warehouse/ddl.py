"""Pure builders of DDL. Names come in unquoted and leave quoted. A column's masking policy and tag are in the statement that makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import NARROW, RENAMED, VARIANT, WIDER, identifier, relation
from lab_insights.warehouse.shape import Shape
from lab_insights.warehouse.types import TEXT, ColumnType, converted, printed

# What a column says that is text for want of a type, as a number of more than 38 digits is.
AS_TEXT = "The text of the source: no type here holds all values of its own."


def create_table(schema: str, name: str, columns: Mapping[str, ColumnType], protection: Protection) -> list[str]:
    """Return the statements that make a table where there is none, with the policies of its columns and rows."""
    table = (schema, name)
    listed = ", ".join(f"{identifier(column)} {kind.sql}{protection.clause(table, column, kind)}" for column, kind in columns.items())
    create = f"CREATE TABLE IF NOT EXISTS {relation(schema, name)} ({listed}){protection.rows_clause(columns)}"
    return [*protection.missing(table, columns), create]


def add_column(schema: str, name: str, column: str, kind: ColumnType, protection: Protection) -> list[str]:
    """Return the statements that add a column; a second session doing the same does no harm."""
    table, its = (schema, name), f"{identifier(column)} {kind.sql}{protection.clause((schema, name), column, kind)}"
    return [*protection.missing(table, {column: kind}), f"ALTER TABLE {relation(schema, name)} ADD COLUMN IF NOT EXISTS {its}"]


def rename_column(schema: str, name: str, column: str, new: str) -> str:
    """Return the statement that calls a column otherwise."""
    return f"ALTER TABLE {relation(schema, name)} RENAME COLUMN {identifier(column)} TO {identifier(new)}"


def widen_in_place(schema: str, name: str, column: str, kind: ColumnType) -> str:
    """Return the statement that gives a NUMBER more digits, the only widening that Snowflake does by itself."""
    return f"ALTER TABLE {relation(schema, name)} ALTER COLUMN {identifier(column)} SET DATA TYPE {kind.sql}"


def widen_by_copy(schema: str, name: str, column: str, held: ColumnType, wanted: ColumnType, protection: Protection) -> list[str]:
    """Return the statements that replace a column by a wider one with the same values.

    The column is out of the way first: a load that is under way fails and is tried again, where it would have written to a column that is about to go.
    What is left after a death in between is finished by `finish_widening`.
    """
    return [rename_column(schema, name, column, column + NARROW), *finish_widening(schema, name, column, held, wanted, protection)]


def finish_widening(schema: str, name: str, column: str, held: ColumnType | None, wanted: ColumnType, protection: Protection) -> list[str]:
    """Return the statements after the first of `widen_by_copy`; `held` is None where the narrow column is gone already."""
    table, narrow, wider = relation(schema, name), column + NARROW, column + WIDER
    last = rename_column(schema, name, wider, column)
    if held is None:
        return [last]
    return [
        *add_column(schema, name, wider, wanted, protection),
        f"UPDATE {table} SET {identifier(wider)} = {converted(identifier(narrow), held, wanted, 'snowflake')}",
        f"ALTER TABLE {table} DROP COLUMN {identifier(narrow)}",
        last,
    ]


def take_over(schema: str, name: str, old: str, new: str, former: str, held: ColumnType, wanted: ColumnType) -> list[str]:
    """Return the statements that bring a renamed column's older values into the new one, which a load has made already and which holds all of them."""
    return [rename_column(schema, name, old, old + RENAMED), *finish_taking_over(schema, name, old, new, former, held, wanted)]


def finish_taking_over(schema: str, name: str, old: str, new: str, former: str, held: ColumnType, wanted: ColumnType) -> list[str]:
    """Return the statements after the first of `take_over`; what is left of the old column stays, as `former`."""
    source, target = identifier(old + RENAMED), identifier(new)
    value = converted(source, held, wanted, "snowflake")
    update = f"UPDATE {relation(schema, name)} SET {target} = {value} WHERE {target} IS NULL AND {source} IS NOT NULL"
    return [update, rename_column(schema, name, old + RENAMED, former)]


def as_text(schema: str, name: str, columns: Iterable[str], its: Shape) -> list[str]:
    """Return the statements that say so of those of `columns` that are the source's text."""
    return [comment(schema, name, column, AS_TEXT) for column in columns if column in its.as_text]


def comment(schema: str, name: str, column: str, text: str) -> str:
    """Return the statement that puts a sentence of ours on a column."""
    said = text.replace("\\", "\\\\").replace("'", "''")
    return f"COMMENT ON COLUMN {relation(schema, name)}.{identifier(column)} IS '{said}'"


def live_view(schema: str, name: str, view: str, columns: Mapping[str, ColumnType], aliases: Iterable[tuple[str, str]] = ()) -> str:
    """Return the statement that makes the view without tombstones: a column and its variant as one, and renamed columns by their old names too.

    It names its columns, since Snowflake freezes what `*` was. `aliases` are pairs of an old name and the column.
    """
    listed = ", ".join(
        value if (value := _value(column, columns)) == identifier(name) else f"{value} AS {identifier(name)}"
        for name, column in _shown(columns, aliases).items()
    )
    return f'CREATE OR REPLACE VIEW {relation(schema, view)} AS SELECT {listed} FROM {relation(schema, name)} WHERE NOT "IS_DELETED"'


def live_columns(columns: Mapping[str, ColumnType], aliases: Iterable[tuple[str, str]] = ()) -> dict[str, ColumnType]:
    """Return the columns that `live_view` shows, with their types."""
    return {name: TEXT if column + VARIANT in columns else columns[column] for name, column in _shown(columns, aliases).items()}


def _shown(columns: Mapping[str, ColumnType], aliases: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the table's column that each column of the view is."""
    shown = {column: column for column in columns if column.removesuffix(VARIANT) == column or column.removesuffix(VARIANT) not in columns}
    for old, new in aliases:
        if new in shown:
            shown.setdefault(old, shown[new])
    return shown


def _value(column: str, columns: Mapping[str, ColumnType]) -> str:
    if column + VARIANT not in columns:
        return identifier(column)
    return f"COALESCE({identifier(column + VARIANT)}, {printed(identifier(column), columns[column])})"
