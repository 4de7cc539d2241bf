"""By what the things that messages tell of are known, in whichever message they come: parts of the identifiers of curated rows."""

from __future__ import annotations

import hashlib
from typing import Any

from lab_insights.lab.records import FIELDS, NO_RESULTS, Row

_AT = {name: place for place, name in enumerate(FIELDS["result"])}
_ORDER, _RESOURCE, _KEY, _STATUS = (_AT[name] for name in ("order_key", "resource_id", "resource_key", "status_raw"))
_DIGITS = 12
_TEST = _AT["panel_code"], _AT["code"], _AT["sub_id"]


def order_numbers(placer: Any, placer_authority: Any, filler: Any, filler_authority: Any, mrn: Any) -> Row:
    """Return what a record says of its order: by what it is known, then its numbers and whose they are.

    It is known by its placer's number, which the answer to it names as well, else by its filler's, and these two are never one. A number is its
    authority's. Without an authority a placer's number is one of many placers', so it counts for one patient; who assigned the patient's number does
    not matter there, since HL7 and FHIR write that differently. A filler's number is the laboratory's own. The sender is no authority: the
    request and its answer have two.
    """
    placed, filled, owner, maker = (_said(each) for each in (placer, filler, placer_authority, filler_authority))
    key = None
    if placed:
        key = f"placer^{owner}^{placed}" if owner else f"placer^^{_patient(_said(mrn), placed)}^{placed}"
    elif filled:
        key = f"filler^{maker}^{filled}"
    return key, placer, owner or None, filler, maker or None


def of_resource(identifier: str | None, sender: str | None, patient: str | None) -> str | None:
    """Return by what a FHIR resource is known that has no number: its id, and whose id it is: its sender's, else the patient's.

    Some servers write the request into `meta.source`, behind a `#`: the next one is another request of the same server.
    """
    if not identifier:
        return None
    its = sender.partition("#")[0] if sender else ""
    return f"resource^{its}^{identifier}" if its else f"resource^^{_patient(patient or '', identifier)}^{identifier}"


class ResultKeys:
    """By what the results of one message are known: order, panel, code and sub-id; without an order, resource and sub-id.

    A message that tells several alike means several: two OBX of one code without OBX-4, or two requests of one panel. Each but the first has its place
    among them as well, so none takes another's place, and a message that tells them again in the same order tells the same results.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], dict[object, int]] = {}

    def of(self, row: Row) -> str | None:
        """Return the key of a record of a result, which has all but its last column, the key; None where nothing says what it is, or it is none."""
        order = row[_ORDER]
        panel, code, sub_id = (_said(row[place]) for place in _TEST)
        if not code or row[_STATUS] in NO_RESULTS:
            return None
        if order is None:
            # The resource says which it is, whatever lists it.
            return f"{row[_KEY]}^{sub_id}" if row[_KEY] else None
        alike = self._told.setdefault((order, panel, code, sub_id), {})
        place = alike.setdefault(row[_RESOURCE] or object(), len(alike) + 1)
        return f"{order}^{panel}^{code}^{sub_id}^{place if place > 1 else ''}"


def _patient(number: str, of: str) -> str:
    """Return a digest of a patient's number: identifiers of orders and results are in reports, where no medical record number is to be read."""
    return hashlib.sha256(f"{of}^{number}".encode()).hexdigest()[:_DIGITS] if number else ""


def _said(value: Any) -> str:
    """Return a text that a message says; empty where it says none, or empties it."""
    return value if type(value) is str else ""
