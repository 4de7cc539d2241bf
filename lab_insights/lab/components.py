"""Packed values: a result whose one text holds the values of several components, as one row for each component of its test's list.

The list is `test_component` as of the day, in its sequence. A value of another number of parts stays whole in the first place, without a component, and is
counted as `unmatched`. Every place that the list ever had is told anew when the result, its test or the list changes: what is no longer there is a tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_insights.lab import normalise
from lab_insights.lab.transform import Field, Inputs, Wide

if TYPE_CHECKING:
    import ibis.expr.types as ir

KEY = ("result_id", "sequence")
_BY = ","
# Free text has commas of its own.
_TEXTS = ("TX", "FT")


def _places(inputs: Inputs) -> ir.Table:
    """Every place of each test's list: that of its components in force, in their sequence, then as many as there were ever more."""
    import ibis

    every = inputs.newest("test_component")
    order = [ibis.asc(every.is_deleted), ibis.asc(every["sequence"]), ibis.asc(every.component_code)]
    placed = every.mutate(place=ibis.row_number().over(ibis.window(group_by="test_code", order_by=order)) + 1)
    of_test = ibis.window(group_by="test_code")
    return placed.select(
        of_test=placed.test_code,
        place=placed.place,
        component=placed.is_deleted.ifelse(ibis.null("string"), placed.component_code),
        name=placed.name,
        its_loinc=placed.loinc,
        its_unit=placed.unit_ucum,
        low=placed.range_low,
        high=placed.range_high,
        listed=(~placed.is_deleted).ifelse(1, 0).sum().over(of_test),
    )


def _build(inputs: Inputs) -> ir.Table:
    import ibis

    results, items, places = inputs.newest("result"), inputs.live("order_item"), _places(inputs)
    versions = inputs.versions("result")
    ever = versions.filter(versions.value_raw.contains(_BY)).select(packed_id=versions.result_id).distinct()
    of_item = items.select(of_item=items.order_item_id, test_code=items.test_code)
    placed = results.semi_join(ever, results.result_id == ever.packed_id)
    placed = placed.inner_join(of_item, placed.order_item_id == of_item.of_item)
    own = places.filter(places.component.notnull()).select(own_test=places.of_test, own_code=places.component)
    placed = placed.left_join(own, [placed.test_code == own.own_test, placed.component_code == own.own_code])
    rows = placed.inner_join(places, placed.test_code == places.of_test)
    rows = rows.filter(
        rows.result_id.isin(inputs.touched("result", "result_id"))
        | rows.order_item_id.isin(inputs.touched("order_item", "order_item_id"))
        | rows.test_code.isin(inputs.touched("test_component", "test_code"))
    )
    # A result of one of the test's own components is a value of its own, whatever it holds.
    text = rows.value_raw
    packed = text.contains(_BY) & rows.own_code.isnull() & ~rows.value_type.isin(_TEXTS).fill_null(False)
    parts = text.split(_BY)
    fits = packed & (parts.length() == rows.listed)
    value = fits.ifelse(parts[rows.place - 1].strip(), text)

    def of_component(value: ir.Value) -> ir.Value:
        return fits.ifelse(value, ibis.null(value.type()))

    here = packed.fill_null(False) & ibis.ifelse(fits, rows.component.notnull(), rows.place == 1)
    return rows.select(
        result_id=rows.result_id,
        sequence=rows.place,
        lab_order_id=rows.lab_order_id,
        order_item_id=rows.order_item_id,
        patient_id=rows.patient_id,
        test_code=rows.test_code,
        component_code=of_component(rows.component),
        name=of_component(rows.name),
        loinc=of_component(rows.its_loinc),
        value_raw=value,
        value_num=normalise.parse("quantity", normalise.text("quantity", value)),
        unit_ucum=of_component(rows.its_unit),
        range_low=of_component(rows.low),
        range_high=of_component(rows.high),
        status_norm=rows.status_norm,
        verified_at=rows.verified_at,
        is_deleted=rows.is_deleted | ~here,
    )


RESULT_COMPONENT_LONG = Wide(
    "result_component_long",
    "laboratory",
    "One component of a result that holds several in one value, split by its test's list in `test_component`.",
    KEY,
    ("result", "order_item", "test_component"),
    (
        Field("result_id", "string", "Result that holds the value."),
        Field("sequence", "int64", "Place of the component in its test's list, from 1."),
        Field("lab_order_id", "string", "Order that the result belongs to."),
        Field("order_item_id", "string", "Ordered test that the result answers."),
        Field("patient_id", "string", "Patient the specimen was taken from, as reported."),
        Field("test_code", "string", "Orderable whose list it is."),
        Field("component_code", "string", "Local code of the analyte; null where the value has another number of parts than the list."),
        Field("name", "string", "Name of the analyte."),
        Field("loinc", "string", "LOINC code of the analyte."),
        Field("value_raw", "string", "Its part of the value; the whole value where the parts are not as many as the list's."),
        Field("value_num", "decimal(38,9)", "The part as a number, where it is one; of a comparison its bound."),
        Field("unit_ucum", "string", "Unit of the analyte by the catalogue, in UCUM."),
        Field("range_low", "decimal(38,9)", "Lower end of its reference range."),
        Field("range_high", "decimal(38,9)", "Upper end of its reference range."),
        Field("status_norm", "string", "Status of the result."),
        Field("verified_at", "timestamp", "When the value was verified, UTC."),
    ),
    _build,
    counted=(("unmatched", "component_code IS NULL AND NOT is_deleted"),),
)
