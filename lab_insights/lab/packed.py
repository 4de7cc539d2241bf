"""A row of a source that becomes several: of values packed in one column a row for each component, of slot columns a row for each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.extract.projection import TEXT_SUFFIX
from lab_insights.lab.mappings import COLUMN, COMPONENT, POSITION, TYPE, VALUE, Slots, Split
from lab_insights.lab.texts import as_text

if TYPE_CHECKING:
    import ibis.expr.types as ir

# Places that a row of another number of parts has no value for: what an earlier version said there is gone.
ABSENT = "__absent"


def unpacked(raw: ir.Table, split: Split) -> ir.Table:
    """Return a row for each component of a row's test, its parts in place of the packed columns.

    A row of another number of parts stands at the first place as it is, and is absent at the others. A row without a value is one of no value for each.
    """
    import ibis

    names, fits = _components(raw, split), matches(raw, split)
    known = ibis.coalesce(names.length(), 1)
    place = ibis.range(0, known.cast("int64")).unnest()
    rows = raw.mutate(**{POSITION: place, "__fits": fits, "__names": names})
    at, fitting = rows[POSITION], rows["__fits"]
    parts = {}
    for name in split.columns:
        text = rows[name].cast("string")
        listed = text.split(split.by)
        parts[name] = (fitting & (listed.length() == rows["__names"].length())).ifelse(listed[at].strip(), text)
    component = fitting.ifelse(rows["__names"][at], ibis.null("string"))
    absent = ~fitting & (at > 0)
    return rows.mutate(**parts, **{COMPONENT: component, ABSENT: absent, POSITION: at + 1}).drop("__fits", "__names")


def turned(raw: ir.Table, slots: Slots, key: tuple[str, ...]) -> ir.Table:
    """Return a row for each column of `slots` of each row; those without a value are absent. No column, no rows."""
    import ibis

    cells = []
    for name in slots.found(raw.columns, key):
        value = as_text(raw[name])
        if name + TEXT_SUFFIX in raw.columns:
            value = value.coalesce(as_text(raw[name + TEXT_SUFFIX]))
        cells.append(ibis.struct({"name": name, "type": str(raw[name].type()), "value": value}))
    if not cells:
        nothing = dict.fromkeys((COLUMN, TYPE), ibis.literal(""))
        return raw.limit(0).mutate(**nothing, **{VALUE: ibis.null("string"), ABSENT: ibis.literal(False)})
    rows = raw.mutate(__cell=ibis.array(cells).unnest())
    cell = rows["__cell"]
    return rows.mutate(**{COLUMN: cell["name"], TYPE: cell["type"], VALUE: cell["value"], ABSENT: cell["value"].isnull()}).drop("__cell")


def matches(raw: ir.Table, split: Split) -> ir.BooleanValue:
    """Return whether a row has as many parts as its test has components, or no value at all."""
    import ibis

    names, packed = _components(raw, split), raw[split.columns[0]].cast("string")
    return ibis.coalesce(packed.isnull() | (packed.split(split.by).length() == names.length()), False) & names.notnull()


def _components(raw: ir.Table, split: Split) -> ir.ArrayValue:
    import ibis

    lists = [(test, ibis.array(list(listed))) for test, listed in split.components]
    return raw[split.test].cast("string").cases(*lists, else_=ibis.null("array<string>"))
