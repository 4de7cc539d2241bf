"""Resources of FHIR R4 and bundles of them."""

from __future__ import annotations

import json
from typing import Any

from lab_insights_tests.lab.reading import rows

LOINC = "http://loinc.org"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"value": "77"}, {"system": "urn:h", "value": "12345", "type": {"coding": [{"code": "MR"}]}}],
    "name": [{"use": "nickname", "family": "D"}, {"use": "official", "family": "Doe", "given": ["Jane", "Q"]}],
    "gender": "female",
    "birthDate": "1980-05",
    "telecom": [{"system": "email", "value": "x"}, {"system": "phone", "value": "555"}],
    "address": [{"postalCode": "12345"}],
}
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "r1",
    "identifier": [{"value": "F1", "type": {"coding": [{"code": "FILL"}]}}, {"value": "P1", "type": {"coding": [{"code": "PLAC"}]}}],
    "requisition": {"value": "G1"},
    "status": "active",
    "intent": "order",
    "priority": "stat",
    "code": {"coding": [{"code": "BMP"}], "text": "Panel"},
    "authoredOn": "2026-03-01T10:00:00+02:00",
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "2823-3"}, {"code": "K"}]},
}


def bundle(*resources: dict[str, Any], urls: bool = True) -> str:
    entries = [{**({"fullUrl": f"urn:uuid:{each['id']}"} if urls else {}), "resource": each} for each in resources]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "timestamp": "2026-03-01T12:00:00Z", "entry": entries})


def observed(**more: Any) -> dict[str, Any]:
    [row] = rows(json.dumps(OBSERVATION | more), "result")
    return row
