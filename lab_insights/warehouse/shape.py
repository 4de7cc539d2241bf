"""What a batch looks like in the warehouse: target columns, types, key and version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lab_insights.errors import WarehouseError
from lab_insights.lake.checksum import Dialect
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse.names import VARIANT, column_names
from lab_insights.warehouse.types import TEXT, ColumnType, converted, from_arrow, widest

# The columns that order the versions of a row, oldest first.
VERSION: dict[Layer, tuple[str, str]] = {
    "curated": ("SOURCE_UPDATED_AT", "BATCH_ID"),
    "transformed": ("AS_OF", "BATCH_ID"),
}


@dataclass(frozen=True)
class Rename:
    """A column that the source renamed: in batches before `before` (an `ordinal`), what is called `old` is `new`."""

    old: str
    new: str
    before: str


@dataclass(frozen=True)
class Shape:
    """One batch's columns: `names` maps the lake's spelling to the warehouse's, `columns` the latter to types.

    `key` are warehouse names. `also` maps a renamed column to the one that holds its older values, where the batch of the day has both.
    `schema` is the one that the rows go to where it is not the layer's.
    """

    layer: Layer
    table: str
    names: dict[str, str]
    columns: dict[str, ColumnType]
    key: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)
    schema: str = ""
    as_text: frozenset[str] = frozenset()
    """Columns that are the source's own text, since no type holds what theirs does."""

    @property
    def targets(self) -> dict[str, ColumnType]:
        """The columns that a table needs to hold this batch."""
        older = set(self.also.values())
        return {name: kind for name, kind in self.columns.items() if name not in older}

    @property
    def version(self) -> tuple[str, str]:
        """The two columns that order versions."""
        return VERSION[self.layer]

    @property
    def spelling(self) -> dict[str, str]:
        """The lake's spelling of each warehouse column."""
        return {name: held for held, name in self.names.items()}


def shape(manifest: Manifest, renames: Sequence[Rename] = ()) -> Shape:
    """Return the shape of a curated or transformed batch, its columns called as they are since `renames` of its table.

    Raise `WarehouseError` when it has no key, version or tombstone mark.
    """
    schema = manifest.schema_()
    names, also = _since(column_names(schema.names), [rename for rename in renames if ordinal(manifest) < rename.before])
    columns = {names[field.name]: from_arrow(field.type) for field in schema}
    key = tuple(names.get(name, name.upper()) for name in manifest.key)
    missing = {*key, *VERSION.get(manifest.layer, ()), "IS_DELETED"} - set(columns)
    if not key or missing or manifest.layer not in VERSION:
        raise WarehouseError(
            f"A batch of {manifest.layer} can not be merged: it lacks {', '.join(sorted(missing)) or 'a key'}.",
            remedy="materialize the partition again; such batches carry a key, a version and is_deleted.",
            **manifest.partition.where,
        )
    as_text = frozenset(name for held, name in names.items() if manifest.fidelity.get(held) == "text" and columns[name] == TEXT)
    return Shape(manifest.layer, manifest.table, names, columns, key, also, as_text=as_text)


def _since(names: dict[str, str], renames: Sequence[Rename]) -> tuple[dict[str, str], dict[str, str]]:
    also: dict[str, str] = {}
    for rename in renames:
        if rename.old not in names.values():
            continue
        if rename.new in names.values():
            also[rename.new] = rename.old
        else:
            names = {held: rename.new if name == rename.old else name for held, name in names.items()}
    return names, also


def ordinal(manifest: Manifest) -> str:
    """Return what orders curated batches of a table by when the source was read: day order is another where past days are read again."""
    return max(inputs(manifest), default=f"{manifest.day}#{manifest.batch_id}")


def inputs(manifest: Manifest) -> list[str]:
    """Return the names of the batches that a batch was made of: a curated row says from which of them it came."""
    return [key.rsplit("/", 1)[-1].partition(".")[0] for key in manifest.inputs]


def filled(name: str, columns: Mapping[str, ColumnType], its: Shape, value: Callable[[str], str], dialect: Dialect) -> str | None:
    """Return the SQL of what a batch's row has for the column `name` of a table of `columns`, None when that is null for every row.

    `value` gives the SQL of a column of the batch. Values that the column's type can not hold go to its variant, as text.
    """
    base = name.removesuffix(VARIANT)
    found = []
    for source in filter(None, (base, its.also.get(base))):
        held = its.columns.get(source)
        if held is None:
            continue
        if base not in columns:  # a variant whose column goes by another name
            return None
        if base + VARIANT in columns and (widest(columns[base], held) == columns[base]) != (name == base):
            continue
        found.append(converted(value(source), held, columns[name], dialect))
    return f"COALESCE({', '.join(found)})" if len(found) > 1 else found[0] if found else None


def instant(manifest: Manifest) -> str:
    """Return a snapshot's instant as text: rows absent from it and not newer are tombstones of it."""
    if manifest.layer == "transformed":
        return str(manifest.day)
    at: datetime = manifest.window.high if manifest.window else manifest.created_at
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
