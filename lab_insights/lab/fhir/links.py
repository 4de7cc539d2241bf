"""What only other resources of a FHIR R4 document say of one: what lists an observation, the tests of a request, who replaced a patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab_insights.lab.fhir import people
from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.values import first


class Links:
    """The links of a document that are read against their direction."""

    def __init__(self, document: Document) -> None:
        self._listed: dict[int, Resource] = {}
        self._tests: dict[int, list[Resource]] = {}
        self._replacements: dict[int, Resource] = {}
        for _, resource in document.entries:
            match resource["resourceType"]:
                case "DiagnosticReport":
                    request = document.found(first(resource.get("basedOn")), resource)
                    if request and not request.get("code"):
                        self._tests.setdefault(id(request), []).append(resource.get("code") or {})
                    self._listed |= dict.fromkeys(_found(document, resource, resource.get("result")), resource)
                case "Observation":
                    # A report that lists the members of its panel as well says more of them.
                    for each in _found(document, resource, resource.get("hasMember")):
                        self._listed.setdefault(each, resource)
                case "Patient":
                    self._replacements |= dict.fromkeys(_found(document, resource, people.replaced(resource)), resource)

    def holders(self, observation: Resource) -> list[Resource]:
        """Return what lists an observation, nearest first: the panel that it is a member of, those above, and the report of the topmost."""
        chain = [observation]
        # Members that hold each other are no FHIR, and must not hold up the day.
        while (holder := self._listed.get(id(chain[-1]))) and all(holder is not each for each in chain):
            chain.append(holder)
        return chain[1:]

    def tests(self, request: Resource) -> list[Resource]:
        """Return the tests of a request: its own, else those of the reports on it."""
        return self._tests.get(id(request)) or [request.get("code") or {}]

    def replacement(self, patient: Resource) -> Resource | None:
        """Return the patient that says to replace this one."""
        return self._replacements.get(id(patient))


def _found(document: Document, within: Resource, references: Iterable[Resource] | None) -> Iterator[int]:
    return (id(found) for each in references or () if (found := document.found(each, within)))
