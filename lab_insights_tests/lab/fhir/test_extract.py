"""FHIR R4 documents: their records, linked by references."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest

from lab_insights_tests.lab.fhir.documents import OBSERVATION, PATIENT, REQUEST, bundle, observed
from lab_insights_tests.lab.reading import read_one, rows, told


def test_a_patient_with_what_it_is_called_and_how_precise_its_birth_date_is() -> None:
    [row] = rows(json.dumps(PATIENT), "patient")
    assert told(row, "resource_id", "mrn", "authority", "family_name", "given_name", "sex_raw", "phone", "postal_code", "birth_date") == (
        "p1", "12345", "urn:h", "Doe", "Jane", "female", "555", "12345", date(1980, 5, 1),
    )  # fmt: skip
    assert json.loads(row["remarks"]) == {"coarse": ["birth_date"]}


def test_each_identifier_of_a_patient_is_a_record_of_its_own() -> None:
    found = rows(json.dumps(PATIENT | {"identifier": [*PATIENT["identifier"], {"system": "urn:x"}]}), "identifier")
    assert [told(row, "patient_mrn", "patient_authority", "identifier", "authority", "identifier_type") for row in found] == [
        ("12345", "urn:h", "77", None, "U"), ("12345", "urn:h", "12345", "urn:h", "MR"),
    ]  # fmt: skip


def test_a_replaced_patient_names_its_survivor() -> None:
    old = {
        **PATIENT,
        "id": "p0",
        "identifier": [{"value": "900"}],
        "link": [{"type": "replaced-by", "other": {"reference": "urn:uuid:p1"}}],
    }
    first, second = rows(bundle(old, PATIENT), "patient")
    assert told(first, "mrn", "merged_into_mrn", "merged_into_authority") == ("900", "12345", "urn:h")
    assert second["merged_into_mrn"] is None


def test_a_survivor_names_the_patients_that_it_replaces() -> None:
    survivor = PATIENT | {
        "link": [
            {"type": "replaces", "other": {"reference": "Patient/p0"}},
            {"type": "replaces", "other": {"identifier": {"system": "urn:h", "value": "901"}}},
            {"type": "replaces", "other": {"reference": "Patient/elsewhere"}},
            {"type": "seealso", "other": {"identifier": {"value": "902"}}},
        ]
    }
    old = PATIENT | {"id": "p0", "identifier": [{"value": "900"}], "name": [{"family": "Roe"}], "active": False}
    for order in ((survivor, old), (old, survivor)):
        found = {row["mrn"]: row for row in rows(bundle(*order), "patient")}
        assert {mrn: told(row, "merged_into_mrn", "merged_into_authority", "family_name") for mrn, row in found.items()} == {
            "12345": (None, None, "Doe"), "900": ("12345", "urn:h", "Roe"), "901": ("12345", "urn:h", None),
        }  # fmt: skip
        assert told(found["901"], "authority", "sex_raw", "postal_code", "phone") == ("urn:h", "female", "12345", "555")


@pytest.mark.parametrize(
    ("style", "urls"), [("urn:uuid:{}", True), ("{kind}/{}", True), ("{kind}/{}", False), ("{kind}/{}/_history/3", False)], ids=str
)
def test_references_of_every_form_lead_to_the_patient_the_order_and_the_specimen(style: str, urls: bool) -> None:
    def refer(kind: str, identifier: str) -> dict[str, str]:
        return {"reference": style.format(identifier, kind=kind)}

    tube = {
        "resourceType": "Specimen",
        "id": "s1",
        "identifier": [{"value": "S9"}],
        "subject": refer("Patient", "p1"),
        "request": [refer("ServiceRequest", "r1")],
    }
    found = OBSERVATION | {
        "subject": refer("Patient", "p1"),
        "basedOn": [refer("ServiceRequest", "r1")],
        "specimen": refer("Specimen", "s1"),
    }
    body = bundle(found, tube, REQUEST, PATIENT, urls=urls)
    [row] = rows(body, "result")
    assert told(row, "patient_mrn", "patient_authority", "patient_reference", "placer_number", "filler_number", "order_reference", "specimen_number") == (
        "12345", "urn:h", None, "P1", "F1", None, "S9",
    )  # fmt: skip
    [specimen] = rows(body, "specimen")
    assert told(specimen, "specimen_number", "placer_number", "patient_mrn") == ("S9", "P1", "12345")


def test_a_reference_that_leads_out_of_the_document_is_kept() -> None:
    row = observed(subject={"reference": "Patient/9"}, basedOn=[{"reference": "ServiceRequest/8"}])
    assert told(row, "patient_mrn", "patient_reference", "placer_number", "order_reference") == (
        None,
        "Patient/9",
        None,
        "ServiceRequest/8",
    )
    assert observed(subject={"identifier": {"value": "12345"}})["patient_mrn"] == "12345"


def test_contained_resources_are_found_by_their_own_resource_only() -> None:
    one = OBSERVATION | {"subject": {"reference": "#p"}, "contained": [{**PATIENT, "id": "p"}]}
    two = OBSERVATION | {
        "id": "o2",
        "subject": {"reference": "#p"},
        "contained": [{**PATIENT, "id": "p", "identifier": [{"value": "other"}]}],
    }
    assert [row["patient_mrn"] for row in rows(bundle(one, two), "result")] == ["12345", "other"]


def test_an_observation_that_names_no_order_is_of_the_report_that_lists_it() -> None:
    report = {
        "resourceType": "DiagnosticReport", "id": "d1", "status": "final", "code": {"coding": [{"code": "BMP"}]}, "conclusion": "fine",
        "basedOn": [{"reference": "ServiceRequest/r1"}], "result": [{"reference": "urn:uuid:o1"}], "issued": "2026-03-01T11:00:00Z",
    }  # fmt: skip
    body = bundle(OBSERVATION, report, REQUEST)
    [row] = rows(body, "result")
    assert told(row, "placer_number", "filler_number", "panel_code") == ("P1", "F1", "BMP")
    [its] = rows(body, "report")
    assert told(its, "placer_number", "code", "status_raw", "conclusion", "reported_at") == (
        "P1",
        "BMP",
        "final",
        "fine",
        datetime(2026, 3, 1, 11),
    )


def _panel(key: str, code: str, *members: str, **more: object) -> dict[str, object]:
    listed = {"hasMember": [{"reference": f"Observation/{each}"} for each in members]}
    return {"resourceType": "Observation", "id": key, "status": "final", "code": {"coding": [{"code": code}]}, **listed, **more}


def test_the_members_of_a_reports_panels_are_of_its_order_however_deep_they_lie() -> None:
    report = {
        "resourceType": "DiagnosticReport", "id": "d1", "status": "final", "code": {"coding": [{"code": "BMP"}]},
        "basedOn": [{"reference": "ServiceRequest/r1"}], "result": [{"reference": "urn:uuid:outer"}],
    }  # fmt: skip
    member = OBSERVATION | {"valueQuantity": {"value": 4}}
    body = bundle(member, _panel("inner", "LYTES", "o1"), _panel("outer", "PANEL", "inner"), report, REQUEST)
    [row] = rows(body, "result")
    assert told(row, "code", "placer_number", "filler_number", "panel_code") == ("K", "P1", "F1", "BMP")


def test_the_members_of_a_panel_without_a_report_are_of_its_order() -> None:
    based = [{"reference": "ServiceRequest/r1"}]
    [row] = rows(bundle(_panel("outer", "BMP", "o1", basedOn=based), OBSERVATION | {"valueString": "x"}, REQUEST), "result")
    assert told(row, "code", "placer_number", "panel_code") == ("K", "P1", "BMP")


def test_panels_that_hold_each_other_are_read_all_the_same() -> None:
    found = rows(bundle(_panel("a", "A", "b", valueString="x"), _panel("b", "B", "a", valueString="y")), "result")
    assert [told(row, "code", "panel_code") for row in found] == [("A", "B"), ("B", "A")]
    [own] = rows(bundle(_panel("a", "A", "a", valueString="x")), "result")
    assert told(own, "code", "panel_code") == ("A", None)


def test_an_order_with_its_numbers_by_type_or_by_place() -> None:
    [row] = rows(json.dumps(REQUEST), "order")
    assert told(row, "placer_number", "filler_number", "requisition", "priority_raw", "code", "name", "ordered_at", "control") == (
        "P1", "F1", "G1", "stat", "BMP", "Panel", datetime(2026, 3, 1, 8), "order",
    )  # fmt: skip
    [row] = rows(json.dumps(REQUEST | {"identifier": [{"value": "first"}, {"value": "second"}]}), "order")
    assert told(row, "placer_number", "filler_number") == ("first", "second")


def test_observations_of_other_categories_are_no_laboratory_results() -> None:
    vital = OBSERVATION | {"category": [{"coding": [{"code": "vital-signs"}]}]}
    assert read_one(json.dumps(vital)).rows["result"] == []
    assert observed(category=[{"coding": [{"code": "laboratory"}]}])["code"] == "K"


def test_prescriptions_and_dispenses_with_their_drug_by_code_or_by_reference() -> None:
    drug = {"resourceType": "Medication", "id": "m1", "code": {"coding": [{"code": "855332", "system": "rx", "display": "Warfarin"}]}}
    asked = {
        "resourceType": "MedicationRequest", "id": "q1", "identifier": [{"value": "RX1"}], "status": "active", "subject": {"reference": "Patient/p1"},
        "medicationReference": {"reference": "Medication/m1"}, "authoredOn": "2026-03-01T08:00:00Z",
        "requester": {"reference": "Practitioner/w1"},
        "dosageInstruction": [
            {
                "text": "daily",
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}],
            }
        ],
        "dispenseRequest": {"quantity": {"value": 30, "unit": "TAB"}, "numberOfRepeatsAllowed": 2},
    }  # fmt: skip
    given = {
        "resourceType": "MedicationDispense", "id": "g1", "status": "completed", "subject": {"reference": "Patient/p1"}, "daysSupply": {"value": 30},
        "medicationCodeableConcept": {"text": "Warfarin"}, "authorizingPrescription": [{"reference": "MedicationRequest/q1"}],
        "quantity": {"value": 30}, "whenHandedOver": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    who = {
        "resourceType": "Practitioner",
        "id": "w1",
        "identifier": [{"value": "x"}, {"system": "http://hl7.org/fhir/sid/us-npi", "value": "npi"}],
        "name": [{"family": "Who"}],
    }
    body = bundle(asked, given, drug, who, PATIENT)
    [order] = rows(body, "medication_order")
    assert told(order, "patient_mrn", "drug_code", "drug_name", "dose_number", "frequency", "instructions", "quantity_number", "refills", "provider_code") == (
        "12345", "855332", "Warfarin", "5", "1 per 1 d", "daily", "30", "2", "npi",
    )  # fmt: skip
    [dispense] = rows(body, "medication_dispense")
    assert told(dispense, "patient_mrn", "placer_number", "drug_name", "quantity_number", "days_supply", "dispensed_at") == (
        "12345", "RX1", "Warfarin", "30", "30", datetime(2026, 3, 1, 12),
    )  # fmt: skip
    [provider] = rows(body, "provider")
    assert told(provider, "resource_id", "provider_code", "family_name") == ("w1", "npi", "Who")


def test_organizations_are_told() -> None:
    its = {
        "resourceType": "Organization",
        "id": "h",
        "identifier": [{"value": "C1"}],
        "name": "Clinic",
        "partOf": {"reference": "Organization/up"},
        "address": [{"city": "Town"}],
    }
    [row] = rows(json.dumps(its), "organization")
    assert told(row, "organization_code", "name", "parent_reference", "city") == ("C1", "Clinic", "Organization/up", "Town")


def test_a_request_that_names_no_test_is_one_of_each_report_on_it() -> None:
    reports = [
        {
            "resourceType": "DiagnosticReport",
            "id": f"d{code}",
            "code": {"coding": [{"code": code}]},
            "basedOn": [{"reference": "ServiceRequest/r1"}],
        }
        for code in ("BMP", "CBC")
    ]
    bare = {name: value for name, value in REQUEST.items() if name != "code"}
    assert [told(row, "placer_number", "code") for row in rows(bundle(bare, *reports), "order")] == [("P1", "BMP"), ("P1", "CBC")]
    assert [row["code"] for row in rows(bundle(bare), "order")] == [None]
    assert [row["code"] for row in rows(bundle(REQUEST, *reports), "order")] == ["BMP"]


def test_a_specimen_that_names_no_order_is_of_that_of_its_observations() -> None:
    tube = {"resourceType": "Specimen", "id": "s1", "identifier": [{"value": "S9"}], "status": "unsatisfactory"}
    tube["condition"] = [{"coding": [{"code": "HEM", "display": "Hemolyzed"}]}]
    of = OBSERVATION | {"basedOn": [{"reference": "ServiceRequest/r1"}], "specimen": {"reference": "Specimen/s1"}}
    [row] = rows(bundle(tube, of, REQUEST), "specimen")
    assert told(row, "specimen_number", "placer_number", "filler_number", "state", "reject_reason") == (
        "S9",
        "P1",
        "F1",
        "rejected",
        "Hemolyzed",
    )
    [alone] = rows(bundle(tube | {"status": "available", "receivedTime": "2026-03-01T08:00:00Z"}), "specimen")
    assert told(alone, "placer_number", "state", "reject_reason", "condition") == (None, "received", None, "Hemolyzed")


def test_who_performs_tests_is_told_from_who_asks_for_them() -> None:
    def house(name: str) -> dict[str, object]:
        return {"resourceType": "Organization", "id": name, "identifier": [{"system": "urn:x", "value": name.upper()}], "name": name}

    role = {
        "resourceType": "PractitionerRole", "id": "w", "practitioner": {"reference": "Practitioner/who"},
        "organization": {"reference": "Organization/clinic"},
    }  # fmt: skip
    who = {"resourceType": "Practitioner", "id": "who", "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "77"}]}
    made = OBSERVATION | {"performer": [{"reference": "Organization/lab"}]}
    asked = REQUEST | {"requester": {"reference": "PractitionerRole/w"}}
    body = bundle(house("clinic"), house("lab"), role, who, made, asked)
    assert [told(row, "organization_code", "role") for row in rows(body, "organization")] == [("CLINIC", None), ("LAB", "performing")]
    [order] = rows(body, "order")
    assert told(order, "provider_code", "organization_code", "organization_authority") == ("77", "CLINIC", "urn:x")
    [provider] = rows(body, "provider")
    assert provider["npi"] == "77"
    [direct] = rows(bundle(house("clinic"), REQUEST | {"requester": {"reference": "Organization/clinic"}}), "order")
    assert told(direct, "provider_code", "organization_code") == (None, "CLINIC")


def test_a_visit_is_told_by_the_number_that_its_orders_name() -> None:
    visit = {
        "resourceType": "Encounter", "id": "e1", "identifier": [{"value": "V1"}], "class": {"code": "EMER"}, "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-03-01T08:00:00Z"},
    }  # fmt: skip
    body = bundle(visit, PATIENT, REQUEST | {"encounter": {"reference": "Encounter/e1"}})
    [row] = rows(body, "encounter")
    assert told(row, "visit_number", "patient_mrn", "class_raw", "admitted_at") == ("V1", "12345", "EMER", datetime(2026, 3, 1, 8))
    assert [each["visit_number"] for each in rows(body, "order")] == ["V1"]


def test_an_observation_of_a_variant_is_one_with_its_components() -> None:
    def said(code: str, **value: object) -> dict[str, object]:
        return {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, **value}

    gene = {"coding": [{"system": "http://www.genenames.org", "code": "HGNC:1100", "display": "BRCA1"}]}
    variant = {
        "resourceType": "Observation", "id": "v1", "status": "final", "basedOn": [{"reference": "ServiceRequest/r1"}],
        **said("69548-6", valueCodeableConcept={"text": "Present"}),
        "component": [said("48018-6", valueCodeableConcept=gene), said("48004-6", valueCodeableConcept={"text": "NM_007294.4:c.68_69del"})],
    }  # fmt: skip
    [row] = rows(bundle(variant, variant | {"id": "v2", "component": []}, REQUEST), "genomic")
    assert told(row, "sub_id", "filler_number", "gene_code", "gene", "dna_change", "assessment", "status_raw") == (
        "v1", "F1", "HGNC:1100", "BRCA1", "NM_007294.4:c.68_69del", "Present", "final",
    )  # fmt: skip
