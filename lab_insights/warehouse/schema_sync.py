"""Schema sync, its plan: from the shapes of batches and the catalog to the least DDL. Nothing that holds a value is dropped; a second plan is empty.

- A table or column that is not there is made; a type that holds more takes the place of one that holds less.
- A type that can not hold what comes now stays as it is: such values go to a second column, as text, and the view shows both as one. Columns of the key
  and of versions become text themselves, since rows are found by them.
- A rename (`warehouse.renames`) goes on in the same column, under its new name; the view answers to both names.
- A column that the source has no longer stays, with a comment that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from lab_insights.errors import WarehouseError
from lab_insights.governance.classes import PhiClass
from lab_insights.lake.layout import Layer
from lab_insights.warehouse import ddl, deidentified
from lab_insights.warehouse.catalog import Catalog, Columns, Table, composed
from lab_insights.warehouse.changes import Change, What
from lab_insights.warehouse.masking import Protection
from lab_insights.warehouse.names import FORMER, LIVE, NARROW, RENAMED, STORE, VARIANT, WIDER, table_name
from lab_insights.warehouse.shape import Rename, Shape
from lab_insights.warehouse.types import TEXT, ColumnType, widest


def located(layer: Layer, table: str) -> Table:
    """Return schema and name of a lake table, unquoted."""
    return layer.upper(), table_name(table)


def target(shape: Shape) -> Table:
    """Return schema and name of the table that a batch's rows go to, unquoted."""
    return shape.schema or shape.layer.upper(), table_name(shape.table)


def plan(
    shapes: Sequence[Shape],
    catalog: Catalog,
    protection: Protection,
    *,
    renames: Mapping[Table, Sequence[Rename]] | None = None,
    newest: Mapping[Table, Shape] | None = None,
) -> list[Change]:
    """Return the changes that make every table hold every shape, oldest shape first.

    `renames` are those that are not recorded yet, and that `shapes` are told by. `newest` are the tables' newest shapes: columns that they lack are
    deprecated; without it nothing is. Raises `WarehouseError` for a key that can not be merged by.
    """
    changes: list[Change] = []
    for table, its in _by_table(shapes).items():
        if table not in catalog.columns and table not in catalog.passing:
            columns = merged({}, its)
            made = [*ddl.create_table(*table, columns, protection), *ddl.as_text(*table, columns, its[-1])]
            statements = (*made, _view(table, columns, its[-1], protection))
            changes.append(Change(table, "new table", "", f"{len(columns)} columns", statements, made=_classes(table, columns, protection)))
            continue
        changes += _Table(table, catalog, protection, (renames or {}).get(table, ())).changes(its, (newest or {}).get(table))
    return changes


def planned(
    catalog: Catalog, shapes: Sequence[Shape], protection: Protection, renames: Mapping[Table, Sequence[Rename]] | None = None
) -> dict[Table, Columns]:
    """Return the columns that loads write to once `plan`'s changes are applied."""
    after = dict(catalog.columns)
    for table, its in _by_table(shapes).items():
        there = table in catalog.columns or table in catalog.passing
        after[table] = _Table(table, catalog, protection, (renames or {}).get(table, ())).columns(its) if there else merged({}, its)
    return after


def _by_table(shapes: Sequence[Shape]) -> dict[Table, list[Shape]]:
    of: dict[Table, list[Shape]] = {}
    for shape in shapes:
        of.setdefault(target(shape), []).append(shape)
    return of


def merged(held: Mapping[str, object], shapes: Sequence[Shape]) -> Columns:
    """Return the columns of a table that holds `held` and every one of `shapes`."""
    columns: Columns = dict(held)  # type: ignore[arg-type]
    for shape in shapes:
        # rows are found by these: they can not be in one of two columns
        found_by = {*shape.key, *shape.version, "IS_DELETED"}
        for name, kind in shape.targets.items():
            before = columns.get(name, kind)
            wide = widest(before, kind)
            if wide == TEXT != before and name not in found_by:
                columns[name + VARIANT] = TEXT
                wide = before
            columns[name] = wide
    return columns


def _classes(table: Table, columns: Iterable[str], protection: Protection) -> tuple[tuple[str, PhiClass], ...]:
    return () if table[0] == STORE else tuple((column, protection.phi_class(table, column)) for column in columns)


def _view(table: Table, columns: Columns, its: Shape, protection: Protection, aliases: Sequence[tuple[str, str]] = ()) -> str:
    if table[0] == STORE:
        return deidentified.view(table[1], columns, its, protection.phi)
    return ddl.live_view(*table, table[1] + LIVE, columns, aliases)


class _Table:
    """The changes of one table that exists."""

    def __init__(self, table: Table, catalog: Catalog, protection: Protection, renames: Sequence[Rename]) -> None:
        self._protection = protection
        self._view = catalog.columns.get((deidentified.SCHEMA, table[1]), {}) if table[0] == STORE else catalog.views.get(table, {})
        self._table, self._renames, self._deprecated = table, renames, catalog.deprecated.get(table, frozenset())
        self._held = dict(catalog.columns.get(table, {}))
        self._passing = catalog.passing.get(table, {})
        self._called = catalog.called.get(table, ())
        self._changes: list[Change] = []

    def changes(self, shapes: Sequence[Shape], newest: Shape | None) -> list[Change]:
        self.columns(shapes)
        aliases = [(rename.old, rename.new) for rename in reduce(composed, self._renames, self._called)]
        if self._changes or self._shows_otherwise(shapes[-1], aliases):
            view = self._table[1] + LIVE
            self._add("view", "", view, [_view(self._table, self._held, shapes[-1], self._protection, aliases)])
        if newest:
            self._deprecate(newest)
        return self._changes

    def columns(self, shapes: Sequence[Shape]) -> Columns:
        """Note what makes the table hold `shapes`; return the columns that it has then."""
        self._finish_widenings(shapes)
        for rename in (*self._called, *self._renames):
            self._rename(rename)
        self._hold(shapes)
        return self._held

    def _shows_otherwise(self, its: Shape, aliases: Sequence[tuple[str, str]]) -> bool:
        """Whether the view has other columns than it is to have: a class was changed, or somebody died between a change of the table and its view."""
        if self._table[0] != STORE:
            return ddl.live_columns(self._held, aliases) != self._view
        shown = deidentified.shown(self._held, its, self._protection.phi)
        # the year of a birth is computed in the view, so its type is not the column's
        plain = {base: column for base, column in shown.items() if not column.endswith(":BIRTH YEAR")}
        return shown.keys() != self._view.keys() or any(self._view[base] != self._held[column] for base, column in plain.items())

    def _add(self, what: What, column: str, detail: str, statements: Sequence[str], rename: Rename | None = None, made: str = "") -> None:
        classes = _classes(self._table, [made], self._protection) if made else ()
        self._changes.append(Change(self._table, what, column, detail, tuple(statements), rename, made=classes))

    def _finish_widenings(self, shapes: Sequence[Shape]) -> None:
        for name, kind in self._passing.items():
            column = name.removesuffix(NARROW).removesuffix(WIDER)
            narrow, wider = self._passing.get(column + NARROW), self._passing.get(column + WIDER)
            if column in self._held or name.removeprefix(column) not in {NARROW, WIDER}:
                continue
            wanted = wider or merged({column: kind}, shapes)[column]
            self._held[column] = wanted
            statements = ddl.finish_widening(*self._table, column, narrow, wanted, self._protection)
            self._add("widening", column, f"to {wanted.sql}, which was cut off", statements)

    def _rename(self, rename: Rename) -> None:
        old, new = rename.old, rename.new
        older = self._passing.get(old + RENAMED) or self._held.get(old)
        if older and new in self._held:
            # first, since a value that the new column can not hold would be altered, or refused by this and every later load
            self._widen(new, widest(self._held[new], older))
        text = self._held.get(new) == TEXT
        # text holds what was beside it, too
        statements = self._moved(new + VARIANT, new) if text else []
        # the variant first: while the old column is there, a rename that is cut off is begun again
        statements += self._moved(old + VARIANT, new if text else new + VARIANT)
        cut_off = old + RENAMED in self._passing
        statements += self._moved(old, new)
        if statements:
            self._add("rename", old, f"to {new}{', which was cut off' if cut_off else ''}", statements, rename)

    def _moved(self, old: str, new: str) -> list[str]:
        """Return the statements that bring a renamed column, or a variant, under another name, where it is not yet."""
        former = old + FORMER
        while former in self._passing:  # left by an earlier rename of another column of this name
            former += FORMER
        if passing := self._passing.get(old + RENAMED):
            return ddl.finish_taking_over(*self._table, old, new, former, passing, self._held[new])
        if old not in self._held:
            return []
        kind = self._held.pop(old)
        if new in self._held:
            return ddl.take_over(*self._table, old, new, former, kind, self._held[new])
        self._held[new] = kind
        return [ddl.rename_column(*self._table, old, new)]

    def _widen(self, name: str, kind: ColumnType) -> None:
        before = self._held[name]
        if kind == before:
            return
        in_place = before.kind == kind.kind == "NUMBER" and before.scale == kind.scale
        statements = (
            [ddl.widen_in_place(*self._table, name, kind)]
            if in_place
            else ddl.widen_by_copy(*self._table, name, before, kind, self._protection)
        )
        self._add("widening", name, f"{before.sql} to {kind.sql}", statements)
        self._held[name] = kind

    def _hold(self, shapes: Sequence[Shape]) -> None:
        after = merged(self._held, shapes)
        for key in {name for shape in shapes for name in shape.key}:
            if key not in self._held or key + VARIANT in self._held:
                raise WarehouseError(
                    "The key of this table is another one than it was loaded by.",
                    remedy="run the job schema_sync, which recognises a renamed key once a full load has brought all rows under the new name.",
                    table=".".join(self._table),
                )
        for name, kind in after.items():
            before = self._held.get(name)
            if before is None:
                base = name.removesuffix(VARIANT)
                if base != name and base in after:
                    kinds = sorted(
                        {s.columns[base].sql for s in shapes if base in s.columns and widest(after[base], s.columns[base]) == TEXT}
                    )
                    detail = f"{after[base].sql} can not hold {', '.join(kinds)}: such values are text in {name}"
                    self._add("incompatible", base, detail, ddl.add_column(*self._table, name, kind, self._protection), made=name)
                else:
                    marks = next((mark for its in reversed(shapes) if (mark := ddl.as_text(*self._table, [name], its))), [])
                    added = [*ddl.add_column(*self._table, name, kind, self._protection), *marks]
                    self._add("new column", name, kind.sql, added, made=name)
            else:
                self._widen(name, kind)
        self._held = after

    def _deprecate(self, newest: Shape) -> None:
        for name in self._held:
            base = name.removesuffix(VARIANT)
            if base != name and base in self._held:
                continue
            gone = name not in newest.columns
            if gone and name not in self._deprecated:
                self._add(
                    "deprecated",
                    name,
                    "the source has it no longer",
                    [ddl.comment(*self._table, name, "Deprecated: the source has it no longer.")],
                )
            elif name in self._deprecated and not gone:
                mark = ddl.as_text(*self._table, [name], newest) or [ddl.comment(*self._table, name, "")]
                self._add("in use again", name, "the source has it again", mark)
