"""An order number is its authority's: those of two never meet, and the request and its answer are of one order whoever sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.telling import HEAD, linked, made, message, order, oru, patient, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import fresh_tenant


def told(lake: Lake, *bodies: str) -> tuple[Lab, dict[str, str]]:
    """The lake, and the patient of each order that messages tell."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(1, "snapshot", patient=[patient("p1", "MA")], lab_order=[order("o1", "p1", "1001", "F1")])
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)), kind="snapshot")
    rows = [row for row in lab.rows(made(lab, 1, "lab_order")) if row["source_system"] == "messages"]
    return lab, {row["lab_order_id"]: row["patient_id"] for row in rows}


def results(lab: Lab) -> dict[Any, Any]:
    return {(row["patient_id"], row["value_raw"]): row["lab_order_id"] for row in lab.rows(made(lab, 1, "result"))}


def orm(mrn: str, placer: str, sender: str = "EMR|CLINIC") -> str:
    return HEAD.format(kind="ORM^O01", mrn=mrn).replace("APP|LAB", sender) + f"ORC|NW|{placer}\rOBR|1|{placer}||BMP"


@pytest.mark.parametrize("authority", ["^CLINIC_{}", "^^1.2.{}^ISO", ""], ids=["namespace", "universal id", "none: the patient's"])
def test_one_number_of_two_placers_is_two_orders(lake: Lake, authority: str) -> None:
    bodies = [
        oru(f"M{which}", "1001" + authority.format(which), "", value).replace("APP|LAB", f"CLINIC_{which}|{which}")
        for which, value in (("A", "4.0"), ("B", "9.9"))
    ]
    lab, orders = told(lake, *bodies)
    assert sorted(orders.values()) == ["messages:H^MA", "messages:H^MB"]
    found = results(lab)
    assert found.keys() == {("messages:H^MA", "4.0"), ("messages:H^MB", "9.9")}
    assert {
        row["lab_order_id"] for table in ("result", "result_version", "order_item") for row in lab.rows(made(lab, 1, table))
    } == orders.keys()


def test_one_number_of_two_placers_of_one_patient_is_two_orders(lake: Lake) -> None:
    _, orders = told(lake, orm("MA", "1001^A"), orm("MA", "1001^B"))
    assert len(orders) == 2


@pytest.mark.parametrize("placer", ["1001^CLINIC", "1001"])
def test_the_request_of_a_clinic_and_the_answer_of_the_laboratory_are_one_order_that_is_linked(lake: Lake, placer: str) -> None:
    lab, orders = told(lake, orm("MA", placer), oru("MA", placer, "F1^LAB", "4.0"), orm("MA", "1002"))
    assert len(orders) == 2
    links = linked(lab, 1, "order_detail", "lab_order_id", "linked_order_id")
    [answered] = results(lab).values()
    assert {key: links[key] for key in orders} == {answered: "o1", "messages:placer^^2aae95f2207f^1002": None}


def test_a_number_of_the_laboratory_is_no_placers_and_no_other_laboratorys(lake: Lake) -> None:
    _, orders = told(lake, orm("MA", "1001"), *(oru("MA", "", filler, "4.0") for filler in ("1001", "1001^A", "1001^B", "1001^B")))
    assert orders.keys() == {
        "messages:placer^^af67a4e2a42d^1001", "messages:filler^^1001", "messages:filler^A^1001", "messages:filler^B^1001",
    }  # fmt: skip


def bundle(mrn: str, system: str | None, value: str) -> str:
    number = {"value": "1001", "type": {"coding": [{"code": "PLAC"}]}} | ({"system": system} if system else {})
    person = {"identifier": {"value": mrn, "system": "urn:mrn"}}
    request = {
        "resourceType": "ServiceRequest",
        "id": "s",
        "identifier": [number],
        "code": {"coding": [{"code": "BMP"}]},
        "subject": person,
    }
    tube = {"resourceType": "Specimen", "id": "t", "identifier": [{"value": "T"}]}
    its = {"basedOn": [{"reference": "ServiceRequest/s"}], "specimen": {"reference": "Specimen/t"}, "subject": person}
    result = {"resourceType": "Observation", "id": "o", "code": {"coding": [{"code": "K"}]}, "valueString": value, **its}
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in (request, tube, result)]})


def test_a_number_of_a_document_is_its_systems_else_the_patients_whichever_standard_tells_it(lake: Lake) -> None:
    lab, orders = told(lake, bundle("MA", "urn:a", "4"), bundle("MB", "urn:b", "5"), bundle("MC", None, "6"), orm("MC", "1001"))
    assert orders.keys() == {"messages:placer^urn:a^1001", "messages:placer^urn:b^1001", "messages:placer^^274e6fa4d22f^1001"}
    assert set(results(lab).values()) == {row["lab_order_id"] for row in lab.rows(made(lab, 1, "specimen"))} == orders.keys()
    authorities = {row["placer_authority"] for row in lab.rows(made(lab, 1, "message_result"))}
    assert authorities == {"urn:a", "urn:b", None}


def test_a_laboratorys_number_of_a_document_is_its_systems(lake: Lake) -> None:
    its = {"resourceType": "Observation", "id": "o", "code": {"coding": [{"code": "K"}]}, "valueString": "4"}
    numbers = [{"value": "F1", "system": system} for system in ("urn:a", "urn:b")]
    lab, _ = told(lake, *(json.dumps({**its, "basedOn": [{"identifier": number}]}) for number in numbers))
    assert {row["lab_order_id"] for row in lab.rows(made(lab, 1, "result"))} == {"messages:filler^urn:a^F1", "messages:filler^urn:b^F1"}


def test_no_identifier_of_an_order_or_a_result_shows_a_medical_record_number(lake: Lake) -> None:
    its = {"resourceType": "Observation", "id": "o", "code": {"coding": [{"code": "K"}]}, "valueString": "4"}
    lab, _ = told(lake, oru("MA", "1001", "", "4.0"), json.dumps({**its, "subject": {"identifier": {"value": "MA"}}}))
    rows = [row for row in lab.rows(made(lab, 1, "result")) if row["source_system"] == "messages"]
    assert len(rows) == 2
    assert not any("MA" in str(row[name]) for row in rows for name in ("result_id", "order_item_id", "lab_order_id"))
