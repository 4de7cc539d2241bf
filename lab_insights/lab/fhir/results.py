"""Results of a FHIR R4 Observation: its own value, and those of its components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lab_insights.lab.fhir import values
from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.fhir.values import concept, first, instant, text
from lab_insights.lab.records import Row, verified

_LABORATORY = frozenset({"laboratory", "LAB"})


class _Said(NamedTuple):
    """What an observation says of all its values."""

    status: str | None
    lab: str | None
    comment: str | None
    stamps: Row


def of_laboratory(observation: Resource) -> bool:
    """Return whether an observation is the laboratory's: its category says so, or it has none."""
    codes = {coding.get("code") for each in observation.get("category") or () for coding in each.get("coding") or ()}
    return not codes or not codes.isdisjoint(_LABORATORY)


def results(document: Document, observation: Resource, links: Row, panel: str | None, lab: str | None) -> Iterator[Row]:
    """Yield the results of an observation. `links` are its id, order, patient and specimen, `panel` the test of the report or panel that lists it."""
    test = values.test(observation.get("code"))
    comment = "\n".join(each["text"] for each in observation.get("note") or () if text(each.get("text"))) or None
    period = observation.get("effectivePeriod") or {}
    when = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or period.get("end")
    said = _Said(text(observation.get("status")), lab, comment, (instant(when), None, instant(observation.get("issued"))))
    components = observation.get("component") or ()
    # A panel has no value of its own: its members and components are the results.
    if not (components or observation.get("hasMember")) or any(name.startswith("value") for name in observation):
        yield _result(document, observation, (*links, *test, None, panel), said)
    for place, each in enumerate(components, start=1):
        yield _result(document, each, (*links, *values.test(each.get("code")), str(place), test[0]), said)


def _result(document: Document, holder: Resource, links: Row, said: _Said) -> Row:
    """Return the record of the value that an observation or a component holds, but for its key."""
    kind, value, (unit, ucum) = values.observed(document, holder)
    absent = concept(holder.get("dataAbsentReason"))
    flags = "~".join(code for each in holder.get("interpretation") or () if (code := concept(each)[0])) or None
    span = first(holder.get("referenceRange"))
    (low, _), (high, _) = values.number(document, span.get("low")), values.number(document, span.get("high"))
    # A text beside them says the same in words.
    written = f"{low}-{high}" if low and high else f">={low}" if low else f"<={high}" if high else text(span.get("text"))
    note = said.comment or absent[1] or absent[0]
    answered = verified(said.status, said.stamps[-1])
    return (*links, kind, *value, unit, ucum, written, low, high, flags, said.status, said.lab, note, *said.stamps, answered)
