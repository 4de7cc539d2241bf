"""FHIR documents of other releases, told apart and not read, and documents that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab_insights_tests.lab.fhir.documents import OBSERVATION, PATIENT, REQUEST, bundle
from lab_insights_tests.lab.reading import read_one, reasons

OLD: dict[str, tuple[dict[str, Any], str]] = {
    "DiagnosticOrder": ({"resourceType": "DiagnosticOrder"}, "DSTU2"),
    "MedicationOrder": ({"resourceType": "MedicationOrder"}, "DSTU2"),
    "ProcedureRequest": ({"resourceType": "ProcedureRequest"}, "STU3"),
    "category object": (OBSERVATION | {"category": {"coding": [{"code": "laboratory"}]}}, "DSTU2"),
    "family list": (PATIENT | {"name": [{"family": ["Doe"]}]}, "DSTU2"),
    "context": (OBSERVATION | {"context": {"reference": "Encounter/1"}}, "STU3"),
    "agent": ({"resourceType": "MedicationRequest", "requester": {"agent": {"reference": "Practitioner/1"}}}, "STU3"),
    "profile": (OBSERVATION | {"meta": {"profile": ["http://hl7.org/fhir/STU3/StructureDefinition/Observation"]}}, "STU3"),
    "profile version": (OBSERVATION | {"meta": {"profile": ["http://x.org/p|3.0.1"]}}, "STU3"),
    "medication": ({"resourceType": "MedicationRequest", "medication": {"concept": {}}}, "R5"),
}


@pytest.mark.parametrize("name", OLD)
def test_another_release_is_told_and_nothing_of_its_document_is_read(name: str) -> None:
    resource, release = OLD[name]
    for body in (json.dumps(resource), bundle(PATIENT, {"id": "x", **resource})):
        [reason] = reasons(body)
        assert reason.startswith(f"FHIR {release}, not R4")
        assert read_one(body).rows["patient"] == []
        assert read_one(body).rows["reject"][0][-2] == release


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "no FHIR resource"),
        ('{"a": 1}', "no FHIR resource"),
        ('{"resourceType": "Bundle", "entry": [{"resource": 7}]}', "an entry of the Bundle"),
        ('{"resourceType": "Bundle", "entry": [7]}', "an entry of the Bundle"),
        ('{"resourceType": "Patient", "identifier": 7}', "another form than its standard says"),
        ('{"resourceType": "Observation", "category": [7]}', "another form than its standard says"),
    ],
)
def test_what_is_no_fhir_is_rejected_with_its_reason(body: str, reason: str) -> None:
    [found] = reasons(body)
    assert reason in found


@pytest.mark.parametrize("wrong", [7, 1.5, True, {"a": 1}, ["a"], None, ""])
def test_an_element_of_another_type_ends_nothing_and_enters_no_text_column(wrong: Any) -> None:
    odd = OBSERVATION | {"id": wrong, "valueString": wrong, "status": wrong, "issued": wrong, "note": [{"text": wrong}]}
    found = read_one(json.dumps(odd))
    assert found.parsed + found.rejected == 1
    assert [batch.num_rows for _, batch in found.drain()] == [1], "what was read is of its columns' types"


def test_a_bundle_of_deletions_and_answers_says_nothing() -> None:
    body = '{"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}}, {"response": {"status": "200"}}]}'
    found = read_one(body)
    assert (found.parsed, found.rejected, found.rows["patient"]) == (1, 0, [])


def test_of_a_document_that_is_rejected_half_way_nothing_is_kept() -> None:
    found = read_one(bundle(PATIENT, REQUEST, OBSERVATION | {"category": [7]}))
    assert (found.parsed, found.rejected) == (0, 1)
    assert {kind for kind, its in found.rows.items() if its} == {"reject"}
