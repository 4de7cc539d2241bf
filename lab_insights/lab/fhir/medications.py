"""Medications of a FHIR document: prescriptions and dispenses, their drug by code or by reference."""

from __future__ import annotations

from lab_insights.lab.fhir import values
from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.values import concept, first, instant, text
from lab_insights.lab.records import Row


def prescribed(document: Document, resource: Resource, links: Row, provider: str | None) -> Row:
    """Return the record of a MedicationRequest. `links` are its id and key, what it says of its order, and the patient."""
    dosage, dispense = first(resource.get("dosageInstruction")), resource.get("dispenseRequest") or {}
    valid = dispense.get("validityPeriod") or {}
    dose = values.number(document, first(dosage.get("doseAndRate")).get("doseQuantity"))
    route = concept(dosage.get("route"))
    return (
        *links, *_drug(document, resource),
        text(resource.get("status")), *dose, route[1] or route[0], _often(document, dosage.get("timing") or {}),
        text(dosage.get("text")) or text(dosage.get("patientInstruction")), *values.number(document, dispense.get("quantity")),
        document.number(dispense.get("numberOfRepeatsAllowed")), provider, instant(resource.get("authoredOn")), instant(valid.get("start")),
        instant(valid.get("end")),
    )  # fmt: skip


def dispensed(document: Document, resource: Resource, links: Row) -> Row:
    """Return the record of a MedicationDispense. `links` are its id and key, what it says of its prescription, a reference to that, and the patient."""
    return (
        *links, *_drug(document, resource), text(first(resource.get("identifier")).get("value")),
        text(resource.get("status")), *values.number(document, resource.get("quantity")), values.number(document, resource.get("daysSupply"))[0],
        None, text(first(resource.get("dosageInstruction")).get("text")), instant(resource.get("whenHandedOver") or resource.get("whenPrepared")),
    )  # fmt: skip


def _drug(document: Document, resource: Resource) -> tuple[str | None, str | None, str | None]:
    found = document.found(resource.get("medicationReference"), resource) or {}
    return concept(resource.get("medicationCodeableConcept") or found.get("code"))


def _often(document: Document, timing: Resource) -> str | None:
    repeat = timing.get("repeat") or {}
    if told := concept(timing.get("code"))[1]:
        return told
    if "frequency" not in repeat:
        return None
    return (
        f"{document.number(repeat['frequency'])} per {document.number(repeat.get('period')) or ''} {repeat.get('periodUnit') or ''}".strip()
    )
