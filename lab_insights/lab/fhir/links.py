"""What only other resources of a FHIR R4 document say of one: which panel or report lists an observation, and the tests of a request."""

from __future__ import annotations

from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.values import first


class Links:
    """The links of a document that are read against their direction."""

    def __init__(self, document: Document) -> None:
        self._listed: dict[int, Resource] = {}
        self._tests: dict[int, list[Resource]] = {}
        for _, resource in document.entries:
            if resource["resourceType"] == "DiagnosticReport":
                request = document.found(first(resource.get("basedOn")), resource)
                if request and not request.get("code"):
                    self._tests.setdefault(id(request), []).append(resource.get("code") or {})
                for each in resource.get("result") or ():
                    if found := document.found(each, resource):
                        self._listed[id(found)] = resource
            elif resource["resourceType"] == "Observation":
                for each in resource.get("hasMember") or ():
                    if found := document.found(each, resource):
                        # A report that lists the members of its panel as well says more of them.
                        self._listed.setdefault(id(found), resource)

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
