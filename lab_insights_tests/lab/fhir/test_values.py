"""Values of FHIR observations: of every type, and to the digit that was sent."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from lab_insights_tests.lab.fhir.documents import OBSERVATION, bundle, observed
from lab_insights_tests.lab.reading import rows, told

VALUES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "Quantity": ({"value": 4.25, "comparator": "<", "unit": "mmol/L"}, ("<4.25", "4.25", "<", None, None, None, None)),
    "CodeableConcept": ({"coding": [{"code": "POS", "display": "Positive"}]}, ("POS^Positive", None, None, None, None, "POS", "Positive")),
    "String": ("a text", ("a text", None, None, None, None, None, "a text")),
    "Boolean": (False, ("false", None, None, None, None, "false", "false")),
    "Integer": (7, ("7", "7", None, None, None, None, None)),
    "Range": ({"low": {"value": 1}, "high": {"value": 2.5}}, ("1-2.5", None, "-", "1", "2.5", None, None)),
    "Ratio": ({"numerator": {"value": 1}, "denominator": {"value": 40}}, ("1:40", None, ":", "1", "40", None, None)),
    "SampledData": ({"origin": {"value": 0}, "data": "1 2 3"}, ("1 2 3", None, None, None, None, None, "1 2 3")),
    "Time": ("10:15:00", ("10:15:00", None, None, None, None, None, "10:15:00")),
    "DateTime": ("2026-03-01", ("2026-03-01", None, None, None, None, None, "2026-03-01")),
    "Period": ({"start": "2026-03-01", "end": "2026-03-02"}, ("2026-03-01/2026-03-02", None, None, "2026-03-01", "2026-03-02", None, None)),
}


@pytest.mark.parametrize("kind", VALUES)
def test_every_type_of_value_is_read(kind: str) -> None:
    sent, expected = VALUES[kind]
    row = observed(**{f"value{kind}": sent})
    assert row["value_type"] == kind
    assert told(row, "value_raw", "value_number", "value_operator", "value_low", "value_high", "value_code", "value_text") == expected


RATIOS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = {
    "<1:8": ({"value": 1, "comparator": "<"}, {"value": 8}, ("<", "1", "8", None)),
    ">=1:8": ({"value": 1}, {"value": 8, "comparator": ">="}, (">=", "1", "8", None)),
    "30:<8": ({"value": 30}, {"value": 8, "comparator": "<"}, (None, None, None, "30:<8")),
    "<1:>8": ({"value": 1, "comparator": "<"}, {"value": 8, "comparator": ">"}, (None, None, None, "<1:>8")),
}


@pytest.mark.parametrize("raw", RATIOS)
def test_what_a_ratio_is_compared_with_is_part_of_it(raw: str) -> None:
    above, below, expected = RATIOS[raw]
    row = observed(valueRatio={"numerator": above, "denominator": below})
    assert row["value_raw"] == raw
    assert told(row, "value_operator", "value_low", "value_high", "value_text") == expected


@pytest.mark.parametrize("text", ["1.10", "0.1", "120.0", "-3.50", "1E-7", "12345678901234567890", "0.30000000000000000001"])
def test_a_number_keeps_the_digits_that_were_sent(text: str) -> None:
    body = json.dumps(OBSERVATION | {"valueQuantity": {"value": 8888}}).replace("8888", text)
    [row] = rows(body, "result")
    assert (row["value_raw"], row["value_number"]) == (text, text)


def test_one_number_written_in_two_ways_keeps_both() -> None:
    one, two = (OBSERVATION | {"id": f"o{n}", "valueQuantity": {"value": n * 1111}} for n in (1, 2))
    body = bundle(one, two).replace("1111", "1.1").replace("2222", "1.10")
    assert [row["value_raw"] for row in rows(body, "result")] == ["1.1", "1.10"]


def test_digits_within_a_text_are_not_taken_for_a_number() -> None:
    note = [{"text": '"value": 4.250, really'}]
    assert observed(valueQuantity={"value": 4.25}, note=note)["value_raw"] == "4.25"


def test_components_are_results_each() -> None:
    parts = [{"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}} for code, value in (("SYS", 120), ("DIA", 80))]
    first, second = rows(json.dumps(OBSERVATION | {"component": parts}), "result")
    assert told(first, "code", "sub_id", "panel_code", "value_raw", "status_raw") == ("SYS", "1", "K", "120", "final")
    assert second["code"] == "DIA"
    assert len(rows(json.dumps(OBSERVATION | {"component": parts, "valueString": "both"}), "result")) == 3


def test_a_result_carries_its_unit_range_flags_laboratory_and_notes() -> None:
    row = observed(
        valueQuantity={"value": 4, "unit": "mEq/L", "system": "http://unitsofmeasure.org", "code": "meq/L"},
        referenceRange=[{"low": {"value": 3.5}, "high": {"value": 5.1}}],
        interpretation=[{"coding": [{"code": "H"}]}, {"coding": [{"code": "A"}]}],
        performer=[{"display": "North"}],
        note=[{"text": "one"}, {"text": "two"}],
        effectiveDateTime="2026-03-01T09:00:00Z",
        issued="2026-03-01T11:00:00.5Z",
    )
    assert told(row, "unit_raw", "unit_ucum", "range_raw", "range_low", "range_high", "flag_raw", "performing_lab", "comment") == (
        "mEq/L", "meq/L", "3.5-5.1", "3.5", "5.1", "H~A", "North", "one\ntwo",
    )  # fmt: skip
    assert told(row, "observed_at", "reported_at") == (datetime(2026, 3, 1, 9), datetime(2026, 3, 1, 11, 0, 0, 500000))
    assert told(row, "code", "loinc") == ("K", "2823-3")
