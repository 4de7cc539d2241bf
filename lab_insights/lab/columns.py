"""A contract's columns out of raw ones: renamed, cast, put into the contract's codes, parsed, or made into an identity."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lab_insights.lab import normalise, types
from lab_insights.lab.contracts import ContractColumn
from lab_insights.lab.instants import instant
from lab_insights.lab.texts import as_decimal, as_text, joined

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

# The column of a contract that keeps, by column, the texts that are no instants of the forms that a mapping gives.
UNREAD = "unread_times"
_MADE = "__made_"


def modelled(raw: ir.Table, columns: tuple[ContractColumn, ...], source: str) -> tuple[ir.Table, dict[str, ir.Value]]:
    """Return `raw` with a contract's columns beside its own, as rows of `source` are mapped into them, and these by name.

    The texts that parsers read come first, and columns that look at others a step after them: written as one step, each would hold the expressions of
    all that it looks at, and DuckDB took 2 s to plan an empty day of results; so it takes 0.05 s.
    """
    raw = raw.mutate(
        **{
            _text_of(column): normalise.text(column.parse, told)
            for column in columns
            if column.parse and (told := _told(raw, column.reads)) is not None
        }
    )
    left, made = list(columns), dict[str, str]()
    while left:
        ready = [column for column in left if made.keys() >= set(column.beside)]
        names = {column.name: f"{_MADE}{column.name}" for column in ready}
        values = {names[column.name]: column_of(raw, column, [raw[made[name]] for name in column.beside], source) for column in ready}
        raw = raw.mutate(**values)
        made |= names
        left = [column for column in left if column.name not in made]
    found = {column.name: raw[made[column.name]] for column in columns}
    return raw, {**found, UNREAD: _unread(raw, found, columns)} if UNREAD in found else found


def _unread(raw: ir.Table, made: dict[str, ir.Value], columns: tuple[ContractColumn, ...]) -> ir.StringValue:
    """Return the texts that are no instants as a JSON object, null where there are none."""
    import ibis

    texts = []
    for column in columns:
        if column.instant and (its := _told(raw, column.reads)) is not None:
            text = its.cast("string").strip()
            told = text.re_replace(r"[\x00-\x1f]", " ").replace("\\", "\\\\").replace('"', '\\"')
            wrong = made[column.name].isnull() & text.notnull() & (text != "")
            texts.append(wrong.ifelse(ibis.literal(f'"{column.name}":"') + told + '"', ibis.null("string")))
    if not texts:
        return ibis.null("string")
    listed = ibis.array(texts).filter(lambda text: text.notnull())
    return (listed.length() > 0).ifelse(ibis.literal("{") + listed.join(",") + "}", ibis.null("string"))


def _text_of(column: ContractColumn) -> str:
    return f"__text_{'unit_' if column.parse == 'ucum' else ''}{column.source}"


def column_of(raw: ir.Table, column: ContractColumn, beside: list[ir.Value], namespace: str) -> ir.Value:
    """Return a column of a contract as the rows of `raw` have it, null where their source has none of what it reads."""
    import ibis

    wanted = ibis.dtype(types.arrow(column.type)) if column.type != "timestamp" else ibis.dtype("timestamp(6)")
    if column.always is not None:
        return ibis.literal(column.always).cast(wanted)
    if column.id:
        return _identity(raw, column.id, namespace).cast(wanted)
    told = _told(raw, column.reads)
    if column.parse == "version":
        value = joined(beside).hexdigest("md5")
    elif column.parse and (told is not None or column.beside):
        # Where the source's column is missing, those beside it may say it all the same.
        value = normalise.parse(column.parse, ibis.null("string") if told is None else raw[_text_of(column)], beside, dict(column.values))
    elif told is None:
        return ibis.null(wanted)
    elif column.values:
        value = told.cast("string").cases(*column.values, else_=ibis.null("string"))
    elif column.instant and told.type().is_string():
        value = instant(told, column.instant)
    else:
        value = told
    if wanted.is_boolean() and value.type().is_string():
        value = flag(value)
    return value if value.type().copy(nullable=True) == wanted else read_as(value, wanted)


def read_as(value: ir.Value, wanted: dt.DataType) -> ir.Value:
    """Return a value in another type, null where it is none of it. `infinity` is an instant to DuckDB, and a year of five digits, and to nobody after it."""
    import ibis

    if value.type().is_string() and wanted.is_decimal():
        return as_decimal(value, wanted.precision, wanted.scale)
    read = value.try_cast(wanted)
    if value.type().is_string() and (wanted.is_timestamp() or wanted.is_date()):
        return value.re_search(r"^\s*[0-9]{4}-[^(]*$").ifelse(read, ibis.null(wanted))
    return read


def _told(raw: ir.Table, names: tuple[str, ...]) -> ir.Value | None:
    """Return the first of these source columns that is not empty, as it is where there is one name; None where the source has none of them."""
    import ibis

    there = [raw[name] for name in names if name in raw.columns]
    return ibis.coalesce(*(as_text(each).nullif("") for each in there)) if len(there) > 1 else next(iter(there), None)


def _identity(raw: ir.Table, parts: tuple[str, ...], namespace: str) -> ir.StringValue:
    """Return `<namespace>:<part>^<part>`, null where a part is missing that must not be."""
    import ibis

    texts = []
    for part in parts:
        there = _told(raw, tuple(part.rstrip("?").split("|")))
        text = ibis.null("string") if there is None else as_text(there).nullif("")
        texts.append(text.fill_null("") if part.endswith("?") else text)
    return functools.reduce(lambda left, right: left + "^" + right, texts[1:], ibis.literal(f"{namespace}:") + texts[0])


def flag(value: ir.StringValue) -> ir.BooleanValue:
    """Return whether a text says yes, null where it is null."""
    import ibis

    return value.lower().isin(["1", "true", "t", "y", "yes"]).ifelse(True, value.isnull().ifelse(ibis.null("boolean"), False))
