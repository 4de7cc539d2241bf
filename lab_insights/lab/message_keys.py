"""By what the things that messages tell of are known, in whichever message they come: parts of the identifiers of curated rows."""

from __future__ import annotations

from lab_insights.lab.records import FIELDS, NO_RESULTS, Row

_AT = {name: place for place, name in enumerate(FIELDS["result"])}
_RESOURCE, _KEY, _STATUS = _AT["resource_id"], _AT["resource_key"], _AT["status_raw"]
_ORDER = _AT["placer_number"], _AT["filler_number"]
_TEST = _AT["panel_code"], _AT["code"], _AT["sub_id"]


def of_resource(identifier: str | None, sender: str | None, patient: str | None) -> str | None:
    """Return by what a FHIR resource is known that has no number: its id, and whose id it is: its sender's, else the patient's.

    Some servers write the request into `meta.source`, behind a `#`: the next one is another request of the same server.
    """
    if not identifier:
        return None
    its = sender.partition("#")[0] if sender else ""
    return f"resource^{its}^{identifier}" if its else f"resource^^{patient or ''}^{identifier}"


class ResultKeys:
    """By what the results of one message are known: order, panel, code and sub-id; without an order, resource and sub-id.

    A message that tells several alike means several: two OBX of one code without OBX-4, or two requests of one panel. Each but the first has its place
    among them as well, so none takes another's place, and a message that tells them again in the same order tells the same results.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], dict[object, int]] = {}

    def of(self, row: Row) -> str | None:
        """Return the key of a record of a result, which has all but its last column, the key; None where nothing says what it is, or it is none."""
        order = next((row[place] for place in _ORDER if type(row[place]) is str), None)
        panel, code, sub_id = (row[place] if type(row[place]) is str else "" for place in _TEST)
        if not code or row[_STATUS] in NO_RESULTS:
            return None
        if order is None:
            # The resource says which it is, whatever lists it.
            return f"{row[_KEY]}^{sub_id}" if row[_KEY] else None
        alike = self._told.setdefault((order, panel, code, sub_id), {})
        place = alike.setdefault(row[_RESOURCE] or object(), len(alike) + 1)
        return f"{order}^{panel}^{code}^{sub_id}^{place if place > 1 else ''}"
