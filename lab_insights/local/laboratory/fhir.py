"""FHIR R4 of an order's results: a Bundle of Patient, ServiceRequest, Specimen, Observations and report."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from lab_insights.local.laboratory.catalogue import Component
from lab_insights.local.laboratory.lis import specimen_number
from lab_insights.local.laboratory.orders import Item, Order, Result
from lab_insights.local.laboratory.values import Value

_NAMESPACE = uuid.UUID("6d1f3b1e-5f57-4b8e-9a63-0c5b2f7f6a10")
_GENDERS = {"F": "female", "M": "male"}
_UCUM = {"mg/dl": "mg/dL", "x10E3/uL": "10*3/uL", "titer": "{titer}", "uIU/mL": "u[IU]/mL", "mEq/L": "meq/L"}
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"


def result_bundle(order: Order, facility: str, at: datetime, corrected: bool) -> str:
    """Return a Bundle as JSON text, with every result of an order as known at `at`."""
    patient, request, tube = (f"{facility}/{kind}/{order.id}" for kind in ("patient", "request", "specimen"))
    placer, filler, _ = order.numbers
    entries = [
        _entry(patient, _patient(order, facility)),
        _entry(
            request,
            {
                "resourceType": "ServiceRequest",
                "identifier": [{"value": placer}, {"value": filler}],
                "status": "revoked" if order.reject_reason else "completed",
                "intent": "order",
                "priority": "stat" if order.priority == "S" else "routine",
                "subject": _reference(patient),
                "authoredOn": _time(order.happened(order.ordered)),
            },
        ),
        _entry(
            tube,
            {
                "resourceType": "Specimen",
                "identifier": [{"value": specimen_number(order)}],
                "status": "unsatisfactory" if order.reject_reason else "available",
                "subject": _reference(patient),
                "receivedTime": _time(order.happened(order.received)),
                "collection": {"collectedDateTime": _time(order.happened(order.collected))},
            },
        ),
    ]
    for item in order.items:
        names = [f"{facility}/observation/{result.id}" for result in item.results]
        for name, result in zip(names, item.results, strict=True):
            entries.append(_entry(name, _observation(order, item, result, corrected) | _links(patient, request, tube)))
        entries.append(_entry(f"{facility}/report/{item.id}", _report(order, item, at, corrected, patient, request, names)))
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": _time(at), "entry": entries}
    return json.dumps(bundle, ensure_ascii=False)


def _entry(name: str, resource: dict[str, Any]) -> dict[str, Any]:
    identifier = str(uuid.uuid5(_NAMESPACE, name))
    return {"fullUrl": f"urn:uuid:{identifier}", "resource": {**resource, "id": identifier}}


def _reference(name: str) -> dict[str, str]:
    return {"reference": f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}"}


def _links(patient: str, request: str, tube: str) -> dict[str, Any]:
    return {"subject": _reference(patient), "basedOn": [_reference(request)], "specimen": _reference(tube)}


def _time(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")


def _patient(order: Order, facility: str) -> dict[str, Any]:
    patient = order.patient
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"https://{facility}.example.org/mrn", "value": patient.mrn}],
        "name": [{"family": patient.family_name, "given": [patient.given_name]}],
        "gender": _GENDERS.get(patient.sex, "unknown"),
        "birthDate": patient.birth_date.isoformat(),
        "telecom": [{"system": "phone", "value": patient.phone}],
        "address": [{"postalCode": patient.postal_code}],
    }


def _observation(order: Order, item: Item, result: Result, corrected: bool) -> dict[str, Any]:
    value = (result.corrected if corrected else None) or result.value
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "corrected" if corrected and result.corrected else "final",
        "category": [_concept("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory", "Laboratory")],
        "code": _code(result.component),
        "effectiveDateTime": _time(order.happened(order.collected)),
    }
    if order.reject_reason:
        absent = _concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-performed", "Not Performed")
        return observation | {"status": "cancelled", "dataAbsentReason": absent}
    observation |= {"issued": _time(order.happened(item.verified)), **_value(result.component, value)}
    if value.flag:
        observation["interpretation"] = [_concept(_INTERPRETATION, value.flag, value.flag)]
    if result.component.range_raw:
        observation["referenceRange"] = [{"text": result.component.range_raw}]
    return observation


def _value(component: Component, value: Value) -> dict[str, Any]:
    comparator = value.raw[0] if value.raw[0] in "<>" else None
    if component.kind == "titre":
        left, _, right = value.raw.partition(":")
        return {"valueRatio": {"numerator": {"value": int(left)}, "denominator": {"value": int(right)}}}
    if value.type not in ("NM", "SN"):
        return {"valueString": value.raw}
    quantity: dict[str, Any] = {"value": float(value.raw.lstrip("<>"))}
    if comparator:
        quantity["comparator"] = comparator
    if component.unit:
        code = _UCUM.get(component.unit, component.unit)
        quantity |= {"unit": component.unit, "system": "http://unitsofmeasure.org", "code": code}
    return {"valueQuantity": quantity}


def _report(order: Order, item: Item, at: datetime, corrected: bool, patient: str, request: str, observations: list[str]) -> dict[str, Any]:
    status = "cancelled" if order.reject_reason else "corrected" if corrected and item is order.items[0] else "final"
    return {
        "resourceType": "DiagnosticReport",
        "status": status,
        "basedOn": [_reference(request)],
        "code": {"coding": [{"code": item.test.code, "display": item.test.name}], "text": item.test.name},
        "subject": _reference(patient),
        "issued": _time(order.happened(at)),
        "result": [_reference(name) for name in observations],
    }


def _code(component: Component) -> dict[str, Any]:
    coding = [{"system": "http://loinc.org", "code": component.loinc, "display": component.name}] if component.loinc else []
    return {"coding": [*coding, {"code": component.code, "display": component.name}], "text": component.name}


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}
