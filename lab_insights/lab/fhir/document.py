"""One FHIR document: parsed, its release made sure of, its resources listed and found again by their references."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab_insights.lab.records import Rejected

Resource = dict[str, Any]
# Resource types that one release has and R4 has not.
_TYPES = {
    "DiagnosticOrder": "DSTU2",
    "MedicationOrder": "DSTU2",
    "ReferralRequest": "STU3",
    "ProcedureRequest": "STU3",
    "DeviceUseRequest": "DSTU2",
    "NutritionOrderRequest": "DSTU2",
    "DeviceDispense": "R5",
    "GenomicStudy": "R5",
}
# Elements that R4 took away, renamed, or gave another shape.
_ELEMENTS: dict[str, dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "Observation": {
        "category": ("DSTU2", lambda value: isinstance(value, dict)),
        "comments": ("DSTU2", bool),
        "related": ("STU3", bool),
        "comment": ("STU3", lambda value: isinstance(value, str)),
        "context": ("STU3", bool),
        "triggeredBy": ("R5", bool),
    },
    "DiagnosticReport": {
        "category": ("DSTU2 or STU3", lambda value: isinstance(value, dict)),
        "codedDiagnosis": ("STU3", bool),
        "context": ("STU3", bool),
        "performer": ("STU3", lambda value: isinstance(value, list) and any("actor" in each for each in value if isinstance(each, dict))),
        "supportingInfo": ("R5", bool),
    },
    "Patient": {"animal": ("STU3", bool), "careProvider": ("DSTU2", bool)},
    "Specimen": {"treatment": ("STU3", bool)},
    "MedicationRequest": {
        "medication": ("R5", bool),
        "context": ("STU3", bool),
        "requester": ("STU3", lambda value: isinstance(value, dict) and "agent" in value),
    },
    "MedicationDispense": {"medication": ("R5", bool), "notDone": ("STU3", bool), "notDoneReasonCodeableConcept": ("STU3", bool)},
    "Bundle": {"issues": ("R5", bool)},
    "Practitioner": {"practitionerRole": ("DSTU2", bool)},
}
_PROFILE = re.compile(r"(?i)/(dstu2|stu3|r5)/|\|([1235]\.\d)")
_PROFILES = {"1": "DSTU2", "2": "STU3", "3": "STU3", "5": "R5"}
# Keys of JSON, never text: within a text the quotes are escaped.
_VALUE = re.compile(r'"value"\s*:\s*(-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+|\d{15,}))')


class Exact(float):
    """A number with the digits that were sent."""

    text: str

    @classmethod
    def of(cls, text: str) -> Exact:
        """Return the number that `text` writes."""
        found = cls(text)
        found.text = text
        return found


@dataclass(frozen=True)
class Document:
    """A document: its resources, each with the full URL that it has in its Bundle, and the digits of its numbers."""

    bundle: Resource
    entries: list[tuple[str | None, Resource]]
    by_url: dict[str, Resource]
    digits: dict[float, str]

    @property
    def sent(self) -> str | None:
        """The instant of the document."""
        if self.bundle:
            return self.bundle.get("timestamp")
        return (self.entries[0][1].get("meta") or {}).get("lastUpdated")

    def found(self, reference: Resource | None, within: Resource) -> Resource | None:
        """Return the resource that a Reference of `within` points at: one contained, or of the Bundle, by its full URL, or by type and id."""
        target = reference.get("reference") if reference else None
        if not isinstance(target, str):
            return None
        if target[:1] == "#":
            return next((inner for inner in within.get("contained") or () if inner.get("id") == target[1:]), None)
        return self.by_url.get(target.partition("/_history/")[0])

    def number(self, value: object) -> str | None:
        """Return a number with the digits that were sent: `1.10` is not `1.1`."""
        if isinstance(value, Exact):
            return value.text
        if isinstance(value, float):
            return self.digits.get(value) or repr(value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def parse(body: str) -> Document:
    """Return the document of a body. Raises `Rejected` for what is no JSON, no FHIR, or another release than R4."""
    import orjson

    try:
        root = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Rejected("the body is not JSON") from None
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise Rejected("the body is JSON and no FHIR resource: it has no resourceType")
    digits = _digits(body)
    if digits is None:
        root, digits = json.loads(body, parse_float=Exact.of), {}
    kind = root["resourceType"]
    if kind != "Bundle":
        entries: list[tuple[str | None, Resource]] = [(None, root)]
        _release(root, kind)
    else:
        _release(root, kind)
        entries = [_entry(entry) for entry in root.get("entry") or ()]
        for _, resource in entries:
            _release(resource, resource["resourceType"])
    return Document(root if kind == "Bundle" else {}, entries, _by_url(entries), digits)


def _entry(entry: object) -> tuple[str | None, Resource]:
    if not isinstance(entry, dict):
        raise Rejected("an entry of the Bundle is no element", "Bundle")
    resource = entry.get("resource")
    if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
        return entry.get("fullUrl"), resource
    if resource is None and {"request", "response", "link"} & set(entry):
        return None, {"resourceType": "Parameters"}  # a deletion, or an answer: it says nothing of a resource
    raise Rejected("an entry of the Bundle holds no resource", "Bundle")


def _release(resource: Resource, kind: str) -> None:
    if told := _TYPES.get(kind):
        raise Rejected(f"FHIR {told}, not R4: it has a {kind}", "Bundle", told)
    for name, (told, shows) in _ELEMENTS.get(kind, {}).items():
        if name in resource and shows(resource[name]):
            raise Rejected(f"FHIR {told}, not R4: {kind}.{name} has no such form there", kind, told)
    if kind in {"Patient", "Practitioner"} and _old_name(resource.get("name")):
        raise Rejected(f"FHIR DSTU2, not R4: {kind}.name has no such form there", kind, "DSTU2")
    meta = resource.get("meta")
    if isinstance(meta, dict):
        for profile in meta.get("profile") or ():
            if match := _PROFILE.search(profile) if isinstance(profile, str) else None:
                told = (match[1] or "").upper() or _PROFILES[match[2][0]]
                raise Rejected(f"FHIR {told}, not R4: a profile of {kind}.meta says so", kind, told)


def _old_name(names: object) -> bool:
    if isinstance(names, dict):
        return True
    return isinstance(names, list) and any(isinstance(name, dict) and isinstance(name.get("family"), list) for name in names)


def _by_url(entries: list[tuple[str | None, Resource]]) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for url, resource in entries:
        if url:
            found[url] = resource
        if identifier := resource.get("id"):
            found.setdefault(f"{resource['resourceType']}/{identifier}", resource)
    return found


def _digits(body: str) -> dict[float, str] | None:
    """Return the digits of each number, or None where one number is written in two ways, and so must be read one by one."""
    found: dict[float, str] = {}
    for text in set(_VALUE.findall(body)):
        if found.setdefault(float(text), text) != text:
            return None
    return found
