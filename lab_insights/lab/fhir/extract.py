"""The records of a FHIR R4 document: what its resources say, linked by the references between them.

Observations of another category than the laboratory's (vital signs, surveys …) are no results, and are left to the raw layer, as are resources of
other types. A reference that leads out of the document is kept as it is, beside the columns that it would have filled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from lab_insights.lab import genomic, message_keys
from lab_insights.lab.fhir import medications, people, results, values
from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.links import Links
from lab_insights.lab.fhir.values import concept, first, instant, text
from lab_insights.lab.records import UNSPECIFIED, Header, Kind, Row, specimen_state

Add = Callable[[Kind, Row], None]
_NOBODY: tuple[Any, ...] = (None, None, None)
_NO_ORDER: Row = (None,) * 5


def header(document: Document) -> Header:
    """Return the header of a document; a Bundle's identifier is its control id."""
    root = document.bundle or document.entries[0][1]
    source = (root.get("meta") or {}).get("source")
    control = (root.get("identifier") or {}).get("value") if document.bundle else None
    return "fhir", text(source), text(control), instant(document.sent)


def extract(document: Document, add: Add) -> None:
    """Give `add` every record of a document, its values in the order of `records.FIELDS`."""
    walk = _Walk(document, add)
    for url, resource in document.entries:
        if step := _Walk.STEPS.get(resource["resourceType"]):
            step(walk, resource, url)
    walk.finish()


class _Walk:
    """A walk through the resources of one document."""

    def __init__(self, document: Document, add: Add) -> None:
        self._document, self._add, self._header = document, add, header(document)
        self._people: dict[int, tuple[Any, ...]] = {}
        # What only other resources say of these: the order of a specimen, and which organisations performed tests.
        self._specimens: list[Resource] = []
        self._organizations: list[Resource] = []
        self._orders: dict[int, tuple[Any, ...]] = {}
        self._performers: set[int] = set()
        self._genomic: list[Row] = []
        self._keys = message_keys.ResultKeys()
        self._links = Links(document)

    def _patient(self, resource: Resource, _: str | None) -> None:
        link = self._person(resource)
        for each in resource.get("identifier") or ():
            if number := text(each.get("value")):
                kind = concept(each.get("type"))[0] or UNSPECIFIED
                self._add("identifier", (text(resource.get("id")), *link, number, text(each.get("system")), kind))
        survivor = next((link.get("other") for link in resource.get("link") or () if link.get("type") == "replaced-by"), None)
        into = self._linked(survivor, resource) if survivor else _NOBODY
        if replacement := self._links.replacement(resource):
            into = self._person(replacement)
        row = people.patient(resource, link, into)
        self._add("patient", row)
        for retired in people.merged(self._document, resource, row):
            self._add("patient", retired)

    def finish(self) -> None:
        """Add the records that needed the whole document."""
        for resource in self._organizations:
            self._named(resource, "performing" if id(resource) in self._performers else None)
        for resource in self._specimens:
            self._sample(resource)
        for row in genomic.variants(self._genomic):
            self._add("genomic", row)

    def _practitioner(self, resource: Resource, _: str | None) -> None:
        code, authority = _professional(resource)
        national = code if authority == values.NPI else None
        self._add("provider", (text(resource.get("id")), code, authority, national, *values.name(resource.get("name")), None))

    def _encounter(self, resource: Resource, _: str | None) -> None:
        period, place = resource.get("period") or {}, first(resource.get("location")).get("location") or {}
        ward, stamps = text(place.get("display")), (instant(period.get("start")), instant(period.get("end")))
        kind = text((resource.get("class") or {}).get("code"))
        self._add("encounter", (text(resource.get("id")), _number(resource), *self._subject(resource), kind, ward, *stamps))

    def _organization(self, resource: Resource, _: str | None) -> None:
        self._organizations.append(resource)

    def _named(self, resource: Resource, role: str | None) -> None:
        its, place = first(resource.get("identifier")), first(resource.get("address"))
        parent = text((resource.get("partOf") or {}).get("reference"))
        row = (
            text(resource.get("id")), text(its.get("value")), text(its.get("system")), text(resource.get("name")), parent,
            text(place.get("city")), text(place.get("state")), text(place.get("postalCode")), values.phone(resource.get("telecom")), role,
        )  # fmt: skip
        self._add("organization", row)

    def _request(self, resource: Resource, _: str | None) -> None:
        sample = self._document.found(first(resource.get("specimen")), resource) or {}
        numbers = self._numbers(resource)
        if sample:
            self._orders.setdefault(id(sample), numbers)
        collected = (sample.get("collection") or {}).get("collectedDateTime")
        for code in self._links.tests(resource):
            row = (
                text(resource.get("id")), *numbers, text((resource.get("requisition") or {}).get("value")),
                *self._subject(resource), *values.test(code), text(resource.get("intent")), text(resource.get("status")), None,
                text(resource.get("priority")), *self._requester(resource), self._visit(resource),
                concept(first(resource.get("category")))[0], None, instant(resource.get("authoredOn")), instant(collected),
                instant(sample.get("receivedTime")),
            )  # fmt: skip
            self._add("order", row)

    def _specimen(self, resource: Resource, _: str | None) -> None:
        self._specimens.append(resource)

    def _sample(self, resource: Resource) -> None:
        request = self._document.found(first(resource.get("request")), resource)
        numbers = self._numbers(request) if request else self._orders.get(id(resource), _NO_ORDER)
        collection = resource.get("collection") or {}
        collected = collection.get("collectedDateTime") or (collection.get("collectedPeriod") or {}).get("end")
        code, name, _system = concept(resource.get("type"))
        code_of, name_of, _ = concept(first(resource.get("condition")))
        # R4 has no reason of a rejection but the condition that the specimen came in.
        condition = name_of or code_of
        status, stamps = text(resource.get("status")), (instant(collected), instant(resource.get("receivedTime")))
        row = (
            text(resource.get("id")), _tube(resource), *numbers, *self._subject(resource), code, name, status,
            specimen_state(status == "unsatisfactory", *stamps), *stamps, condition if status == "unsatisfactory" else None, condition,
        )  # fmt: skip
        self._add("specimen", row)

    def _observation(self, resource: Resource, _: str | None) -> None:
        if not results.of_laboratory(resource):
            return
        # One that names no order is of that of its panel, or of the report that lists it.
        holders = self._links.holders(resource)
        order = self._order(resource, *holders)
        sample = self._document.found(resource.get("specimen"), resource)
        if sample:
            self._orders.setdefault(id(sample), order[:-1])
        performer = first(resource.get("performer"))
        maker = self._document.found(performer, resource) or {}
        if maker:
            self._performers.add(id(maker))
        links = (*self._known_by(resource), *order, *self._subject(resource), _tube(sample) if sample else None)
        panel = values.test(holders[-1].get("code"))[0] if holders else None
        for row in results.results(self._document, resource, links, panel, text(maker.get("name")) or text(performer.get("display"))):
            self._add("result", (*row, self._keys.of(row)))
            if row[genomic.LOINC] in genomic.CODES:
                self._genomic.append(row)

    def _report(self, resource: Resource, _: str | None) -> None:
        if maker := self._document.found(first(resource.get("performer")), resource):
            self._performers.add(id(maker))
        when = resource.get("effectiveDateTime") or (resource.get("effectivePeriod") or {}).get("end")
        row = (
            text(resource.get("id")), *self._order(resource), *self._subject(resource), *values.test(resource.get("code")),
            concept(first(resource.get("category")))[0], text(resource.get("status")), text(resource.get("conclusion")), instant(when),
            instant(resource.get("issued")),
        )  # fmt: skip
        self._add("report", row)

    def _prescription(self, resource: Resource, _: str | None) -> None:
        provider = self._professional(resource.get("requester"), resource)
        links = (*self._known_by(resource), *self._numbers(resource), *self._subject(resource))
        self._add("medication_order", medications.prescribed(self._document, resource, links, provider))

    def _dispense(self, resource: Resource, _: str | None) -> None:
        asked = first(resource.get("authorizingPrescription"))
        request = self._document.found(asked, resource)
        order = (*self._numbers(request), None) if request else (*_NO_ORDER, text(asked.get("reference")))
        links = (*self._known_by(resource), *order, *self._subject(resource))
        self._add("medication_dispense", medications.dispensed(self._document, resource, links))

    def _known_by(self, resource: Resource) -> Row:
        """Return id and key of a resource."""
        mrn, _, reference = self._subject(resource)
        _, sender, *_ = self._header
        its = text(resource.get("id"))
        return its, message_keys.of_resource(its, sender, mrn or reference)

    def _subject(self, resource: Resource) -> tuple[Any, ...]:
        return self._linked(resource.get("subject") or resource.get("patient"), resource)

    def _linked(self, reference: Resource | None, within: Resource) -> tuple[Any, ...]:
        """Return mrn, authority and reference of a patient; the reference only when it leads out of the document."""
        if not reference:
            return _NOBODY
        if patient := self._document.found(reference, within):
            return self._person(patient)
        its = reference.get("identifier") or {}
        return text(its.get("value")), text(its.get("system")), text(reference.get("reference"))

    def _person(self, patient: Resource) -> tuple[Any, ...]:
        if (known := self._people.get(id(patient))) is None:
            its = values.identifier(patient.get("identifier"), "MR")
            self._people[id(patient)] = known = (text(its.get("value")), text(its.get("system")), None)
        return known

    def _order(self, *holders: Resource) -> tuple[Any, ...]:
        """Return what is said of the order that the first of these names, and the reference to one that is not in the document."""
        for holder in holders:
            if based := first(holder.get("basedOn")):
                if request := self._document.found(based, holder):
                    return *self._numbers(request), None
                return *_filled(based.get("identifier") or {}), text(based.get("reference"))
        report = next((each for each in holders if each["resourceType"] == "DiagnosticReport"), None)
        return *(_filled(first(report.get("identifier"))) if report else _NO_ORDER), None

    def _numbers(self, request: Resource) -> Row:
        """Return what a request, or a prescription, says of its order."""
        return message_keys.order_numbers(*values.order_numbers(request.get("identifier")), self._subject(request)[0])

    def _professional(self, reference: Resource | None, within: Resource) -> str | None:
        if not reference:
            return None
        found = self._document.found(reference, within)
        return (
            _professional(found)[0] if found else text((reference.get("identifier") or {}).get("value")) or text(reference.get("reference"))
        )

    def _requester(self, resource: Resource) -> tuple[str | None, str | None, str | None]:
        """Return the number of who asked for tests, and code and authority of the organisation that it was asked for."""
        reference = resource.get("requester")
        found = self._document.found(reference, resource)
        if not found or found["resourceType"] == "Practitioner":
            return self._professional(reference, resource), None, None
        house = found
        person = None
        if found["resourceType"] == "PractitionerRole":
            person = self._professional(found.get("practitioner"), found)
            house = self._document.found(found.get("organization"), found) or {}
        its = first(house.get("identifier")) if house.get("resourceType") == "Organization" else {}
        return person, text(its.get("value")), text(its.get("system"))

    def _visit(self, resource: Resource) -> str | None:
        encounter = resource.get("encounter")
        found = self._document.found(encounter, resource) if encounter else None
        return _number(found) if found else text((encounter or {}).get("reference"))

    STEPS: ClassVar[dict[str, Callable[[_Walk, Resource, str | None], None]]] = {
        "Patient": _patient,
        "Encounter": _encounter,
        "Practitioner": _practitioner,
        "Organization": _organization,
        "ServiceRequest": _request,
        "Specimen": _specimen,
        "Observation": _observation,
        "DiagnosticReport": _report,
        "MedicationRequest": _prescription,
        "MedicationDispense": _dispense,
    }


def _professional(resource: Resource) -> tuple[str | None, str | None]:
    """Return the number of a practitioner: the national one, else the first."""
    every = resource.get("identifier")
    its = next((each for each in every or () if each.get("system") == values.NPI), None) or first(every)
    return text(its.get("value")), text(its.get("system"))


def _filled(identifier: Resource) -> Row:
    """Return what the filler's number alone says of an order."""
    return message_keys.order_numbers(None, None, *values.numbered(identifier), None)


def _number(encounter: Resource) -> str | None:
    return text(first(encounter.get("identifier")).get("value")) or text(encounter.get("id"))


def _tube(specimen: Resource) -> str | None:
    own = text(first(specimen.get("identifier")).get("value"))
    return own or text((specimen.get("accessionIdentifier") or {}).get("value"))
