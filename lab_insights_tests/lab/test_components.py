"""Packed values of results, as one row for each component of their test's list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lab_insights.lab import pipeline
from lab_insights.lab.components import RESULT_COMPONENT_LONG
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import Lab, at
from lab_insights_tests.lake.world import day
from lab_insights_tests.local.laboratory.days import scene, state_after

LIST = ("SG", "PH", "PRO")
ITEMS = [{"id": "1", "lab_order_id": "1", "test_code": "UA"}, {"id": "2", "lab_order_id": "1", "test_code": "CBC"}]
INPUTS = ("result", "order_item", "test_component")


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def listed(*codes: str, test: str = "UA") -> list[dict[str, Any]]:
    return [
        {"test_code": test, "component_code": code, "sequence": str(10 * place), "name": f"<{code}>", "loinc": "2965-2", "unit": "mg/dl"}
        for place, code in enumerate(codes, 1)
    ]


def result(key: str, value: str | None, code: str | None = "UA", **more: str) -> dict[str, Any]:
    return {"id": key, "order_item_id": "1", "component_code": code, "value_raw": value, "value_type": "ST", **more}


def told(lab: Lab, number: int, **tables: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what the day re-emits."""
    lab.modelled(number, "snapshot" if number == 1 else "delta", **{name: tables.get(name, []) for name in INPUTS})
    return {(row["result_id"], row["sequence"]): row for row in lab.transform("result_component_long", number)}


def shown(rows: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {key: (row["component_code"], row["value_raw"]) for key, row in rows.items() if not row["is_deleted"]}


def test_parts_stand_under_the_components_of_the_list_and_what_does_not_match_is_counted(lab: Lab) -> None:
    results = [
        result("a", "1.012, 6.5 ,neg"),
        result("b", "1.012,6.5"),
        result("c", "7.0"),
        result("d", "cloudy, yellow, clear", value_type="TX"),
        result("e", "1,2,3", "PH"),  # a value of one component of the list
        result("f", "1,2", "OTHER", order_item_id="2"),  # of a test without a list
    ]
    rows = told(lab, 1, result=results, order_item=ITEMS, test_component=listed(*LIST))
    assert shown(rows) == {
        ("a", 1): ("SG", "1.012"),
        ("a", 2): ("PH", "6.5"),
        ("a", 3): ("PRO", "neg"),
        ("b", 1): (None, "1.012,6.5"),
    }
    assert [rows["a", place]["value_num"] for place in (1, 2, 3)] == [Decimal("1.012"), Decimal("6.5"), None]
    first = rows["a", 1]
    assert (first["name"], first["loinc"], first["unit_ucum"], first["test_code"]) == ("<SG>", "2965-2", "mg/dL", "UA")
    assert rows["b", 1]["name"] is None
    curated = pipeline.Curated(lab.lake, lab.tenant, day(1))
    assert pipeline.transform_wide(curated, RESULT_COMPONENT_LONG, "test").counts["unmatched"] == 1


def test_a_value_that_changes_takes_its_places_along(lab: Lab) -> None:
    told(lab, 1, result=[result("a", "1,2,3"), result("b", "4,5,6")], order_item=ITEMS, test_component=listed(*LIST))
    second = told(lab, 2, result=[result("a", "1,2"), result("b", "pending")])
    assert shown(second) == {("a", 1): (None, "1,2")}
    assert {key for key, row in second.items() if row["is_deleted"]} == {("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)}
    assert shown(told(lab, 3, result=[result("a", "7,8,9")])) == {("a", 1): ("SG", "7"), ("a", 2): ("PH", "8"), ("a", 3): ("PRO", "9")}


def test_a_list_that_changes_splits_what_was_there_anew(lab: Lab) -> None:
    results = [result("a", "1,2,3"), result("b", "4,5")]
    told(lab, 1, result=results, order_item=ITEMS, test_component=listed(*LIST))
    # The whole list again, without its last.
    lab.modelled(2, "snapshot", test_component=[{**row, "updated_at": at(2)} for row in listed("SG", "PH")])
    rows = {(row["result_id"], row["sequence"]): row for row in lab.transform("result_component_long", 2)}
    assert shown(rows) == {("a", 1): (None, "1,2,3"), ("b", 1): ("SG", "4"), ("b", 2): ("PH", "5")}
    assert {key for key, row in rows.items() if row["is_deleted"]} == {("a", 2), ("a", 3), ("b", 3)}


def test_the_packed_values_of_the_packages_own_laboratory_are_split_by_its_list(lab: Lab) -> None:
    held = {name: list(rows.values()) for name, rows in state_after(scene(), 3).items() if name in INPUTS}
    items = {row["id"] for row in held["order_item"] if row["test_code"] == "UA"}
    values = {str(row["id"]): row["value_raw"] for row in held["result"] if row["order_item_id"] in items and row["value_raw"]}
    parts = [row["component_code"] for row in sorted(held["test_component"], key=lambda row: row["sequence"]) if row["test_code"] == "UA"]
    expected = {}
    for key, value in values.items():
        split = value.split(",")
        fits = dict(enumerate(zip(parts, split, strict=True), 1)) if len(split) == len(parts) else {1: (None, value)}
        expected |= {(key, place): each for place, each in fits.items()}
    assert {each[0] for each in expected.values()} == {None, *parts}, "some do not match the list"
    rows = told(lab, 1, **{name: [_as_text(row) for row in rows] for name, rows in held.items()})
    assert shown(rows) == expected


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if value is None or name.endswith("_at") else str(value) for name, value in row.items()}
