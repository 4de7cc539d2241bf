"""User-defined fields: each value under the name and in the type that the customer's definition gave it, whichever column it lies in.

A value is of the definition that was in force for its slot when its record was written last. Where that one is there still, and of the same type, it was at
most renamed, and the value goes by its newest name; else the slot was used again, and the value keeps the name that it was written under. A column that
no definition names goes by its own name and type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab import normalise
from lab_insights.lab.columns import read_as
from lab_insights.lab.texts import joined
from lab_insights.lab.transform import Field, Inputs, Wide

if TYPE_CHECKING:
    import ibis.expr.types as ir

KEY = ("record_type", "record_id", "slot")
_NUMBERS = r"^(decimal|float|u?int)"
_OFFSET = r"^\s*(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)\s*(Z|([+-])(\d\d)(?::?(\d\d))?)?\s*$"
_YES, _NO = ("1", "true", "t", "yes", "y", "on", "checked"), ("0", "false", "f", "no", "n", "off", "")


def _build(inputs: Inputs) -> ir.Table:
    import ibis

    values = inputs.newest("udf_value", "source_updated_at")
    values = values.mutate(told_at=values.updated_at.coalesce(values.source_updated_at), of=joined([values[name] for name in KEY]))
    versions = inputs.versions("udf_value")
    held = versions.filter(versions.value_raw.notnull()).select(*KEY).distinct()
    # A slot that never held anything is nobody's field.
    rows = _defined(inputs, values.semi_join(held, list(KEY)))
    changed, redefined = inputs.day("udf_value"), inputs.changed("udf_definition")
    written = changed.select(of=joined([changed[name] for name in KEY]))
    slots = redefined.select(slot_of=joined([redefined.record_type, redefined.slot]))
    rows = rows.filter(rows.of.isin(written.of) | joined([rows.record_type, rows.slot]).isin(slots.slot_of))
    kind = rows.value_type
    plain = ibis.cases(
        (kind.re_search(_NUMBERS), "numeric"),
        (kind.startswith("timestamp"), "datetime"),
        (kind == "date", "date"),
        (kind == "boolean", "checkbox"),
        else_="text",
    )
    rows = rows.mutate(
        udf_type=rows.udf_type.coalesce(plain), label=rows.label.coalesce(rows.slot), is_current=rows.is_current.fill_null(True)
    )
    return _typed(rows)


def _defined(inputs: Inputs, values: ir.Table) -> ir.Table:
    """Each value with its definition: identifier, name, type, and whether that one is in force."""
    import ibis

    told = inputs.newest("udf_definition")
    began = told.filter(told.removed_at.isnull())
    began = began.select(
        udf_definition_id="udf_definition_id", on_type="record_type", on_slot="slot", then="label", udf_type="udf_type", begins="updated_at"
    )
    rows = values.left_join(began, [values.record_type == began.on_type, values.slot == began.on_slot])
    # The newest that was there when the value was written; else the first, whose day nobody knows.
    before = (rows.begins <= rows.told_at).fill_null(False)
    seconds = rows.begins.epoch_seconds().fill_null(0)
    order = [ibis.desc(before), before.ifelse(-seconds, seconds), ibis.asc("udf_definition_id"), ibis.asc("then")]
    ranked = rows.mutate(place=ibis.row_number().over(ibis.window(group_by=list(KEY), order_by=order)))
    chosen = ranked.filter(ranked.place == 0).drop("place", "on_type", "on_slot", "begins")
    gone = told.group_by("udf_definition_id").agg(since=told.removed_at.max(), last=told.updated_at.max())
    living = gone.filter(gone.since.isnull() | (gone.since < gone.last)).select(lives="udf_definition_id")
    newest = began.mutate(
        rank=ibis.row_number().over(ibis.window(group_by="udf_definition_id", order_by=[ibis.desc("begins"), ibis.asc("then")]))
    )
    newest = newest.filter(newest["rank"] == 0).select(its="udf_definition_id", now="then", type_now="udf_type")
    found = chosen.left_join(newest, chosen.udf_definition_id == newest.its).left_join(living, chosen.udf_definition_id == living.lives)
    current = found.lives.notnull() & (found.type_now == found.udf_type)
    return found.mutate(is_current=found.its.notnull().ifelse(current, ibis.null("boolean")), label=current.ifelse(found.now, found.then))


def _typed(rows: ir.Table) -> ir.Table:
    import ibis

    text, kind = rows.value_raw, rows.udf_type
    plain = text.strip()
    number = normalise.parse("number", normalise.text("number", text))
    share = normalise.parse("share", normalise.text("share", text))
    said = plain.lower()
    flag = said.isin(_YES).ifelse(True, said.isin(_NO).ifelse(False, ibis.null("boolean")))
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    listed = ibis.literal('["') + quoted.replace("^", '","') + '"]'
    return rows.mutate(
        value_text=text,
        value_num=kind.cases(("numeric", number), ("percentage", share), else_=ibis.null("decimal(38, 9)")),
        value_date=(kind == "date").ifelse(read_as(text.left(10), ibis.dtype("date")), ibis.null("date")),
        value_at=(kind == "datetime").ifelse(instant_with_offset(text), ibis.null("timestamp(6)")),
        value_flag=(kind == "checkbox").ifelse(flag, ibis.null("boolean")),
        value_list=(kind == "multi-picklist").ifelse(listed, ibis.null("string")),
    )


def instant_with_offset(text: ir.StringValue) -> ir.TimestampValue:
    """Return an instant that is written with its offset in UTC; without one as it stands, and null what is none."""
    import ibis

    def part(group: int) -> ir.StringValue:
        return text.re_extract(_OFFSET, group).nullif("")

    shown = read_as(part(1), ibis.dtype("timestamp(6)"))
    minutes = part(4).try_cast("int64") * 60 + part(5).try_cast("int64").fill_null(0)
    ahead = (part(3) == "-").ifelse(-minutes, minutes).fill_null(0)
    return text.re_search(_OFFSET).ifelse(shown - ahead.as_interval("m"), ibis.null("timestamp(6)"))


UDF_VALUE_LONG = Wide(
    "udf_value_long",
    "crm",
    "One value of one user-defined field of one record, named and typed by its definition: slot columns, side tables and value tables alike.",
    KEY,
    ("udf_value", "udf_definition"),
    (
        Field("record_type", "string", "Kind of record that has the field: account, contact, task …"),
        Field("record_id", "string", "Identifier of that record."),
        Field("slot", "string", "Column that holds the value."),
        Field("udf_definition_id", "string", "Definition that the value was written under; null where none names its column."),
        Field(
            "label", "string", "What the customer calls the field: the newest name, or that of when the slot was used for something else."
        ),
        Field("udf_type", "string", "Type by that definition, else by the column."),
        Field(
            "is_current", "bool", "Whether that definition is in force; false where the slot was given up, or is used for something else."
        ),
        Field("value_text", "string", "The value as text."),
        Field("value_num", "decimal(38,9)", "Of a numeric field the number; of a percentage its share of one: 0.10 and 50 are both legal."),
        Field("value_date", "date", "The day of a date."),
        Field("value_at", "timestamp", "The instant of a datetime, UTC."),
        Field("value_flag", "bool", "Whether a checkbox is checked."),
        Field("value_list", "json", "What was chosen of a multi-picklist, as a JSON array."),
    ),
    _build,
)
