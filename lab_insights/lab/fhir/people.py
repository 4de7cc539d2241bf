"""Patients of a FHIR R4 document: Patient, and whom its links merge into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab_insights.lab.fhir import values
from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.values import concept, first, text
from lab_insights.lab.records import Row
from lab_insights.lab.stamps import iso_date


def patient(resource: Resource, link: tuple[Any, ...], into: tuple[Any, ...]) -> Row:
    """Return the record of a Patient: `link` is its own number, authority and no reference, `into` those of the patient that replaced it."""
    mrn, authority, _ = link
    birth = resource.get("birthDate")
    return (
        text(resource.get("id")), mrn, authority, _told(resource.get("identifier")), *values.name(resource.get("name")),
        iso_date(birth) if isinstance(birth, str) else None, text(resource.get("gender")),
        text(first(resource.get("address")).get("postalCode")), values.phone(resource.get("telecom")), into[0] or into[2], into[1], None,
    )  # fmt: skip


def replaced(resource: Resource) -> Iterator[Resource]:
    """Yield the references to the patients that this one replaces."""
    yield from (link["other"] for link in resource.get("link") or () if link.get("type") == "replaces" and link.get("other"))


def merged(document: Document, resource: Resource, survivor: Row) -> Iterator[Row]:
    """Yield a record for each patient that is replaced by that of the record given, and that the document knows by its number alone.

    Both are one person: what is said of the survivor's birth, sex, address and telephone is said of the retired number, too, as in HL7 v2.
    """
    _, mrn, authority, *_ = survivor
    for other in replaced(resource):
        its = other.get("identifier") or {}
        if not document.found(other, resource) and (number := text(its.get("value"))):
            yield None, number, text(its.get("system")), None, None, None, *survivor[6:10], mrn, authority, None


def _told(identifiers: Any) -> str | None:
    import orjson

    every = [
        {"value": each.get("value"), "authority": each.get("system"), "type": concept(each.get("type"))[0]} for each in identifiers or ()
    ]
    return orjson.dumps(every).decode() if every else None
