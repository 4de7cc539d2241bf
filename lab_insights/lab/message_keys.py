"""By what the things that messages tell of are known, in whichever message they come: parts of the identifiers of curated rows."""

from __future__ import annotations


def of_resource(identifier: str | None, sender: str | None, patient: str | None) -> str | None:
    """Return by what a FHIR resource is known that has no number: its id, and whose id it is: its sender's, else the patient's.

    Some servers write the request into `meta.source`, behind a `#`: the next one is another request of the same server.
    """
    if not identifier:
        return None
    its = sender.partition("#")[0] if sender else ""
    return f"resource^{its}^{identifier}" if its else f"resource^^{patient or ''}^{identifier}"
