"""Genomic results: what the structured observations of one variant say together, found by the LOINC codes that both standards send them with.

Which observations are of one variant HL7 v2 says by OBX-4 (LRI, Clinical Genomics), FHIR by one Observation with its components (Genomics Reporting).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lab_insights.lab.records import FIELDS, NO_RESULTS, SAID_OF_VARIANTS, Row

# LOINC code → what it says, and the column of its code where that is told beside it.
CODES: dict[str, tuple[str, str | None]] = {
    "48018-6": ("gene", "gene_code"),
    "81252-9": ("variant", "variant_code"),
    "48004-6": ("dna_change", None),
    "48005-3": ("protein_change", None),
    "51958-7": ("transcript", None),
    "53034-5": ("allelic_state", None),
    "48002-0": ("source_class", None),
    "69548-6": ("assessment", None),
    "53037-8": ("interpretation", None),
}
_AT = {name: place for place, name in enumerate(FIELDS["result"])}
LOINC = _AT["loinc"]
"""Place of the LOINC code in a record of a result."""
_LINKS = (
    "resource_id", "resource_key", "order_key", "placer_number", "placer_authority", "filler_number", "filler_authority", "patient_mrn",
    "patient_authority", "patient_reference",
)  # fmt: skip
_PLAIN = frozenset({"F", "final"})


def variants(observations: Iterable[Row]) -> Iterator[Row]:
    """Yield the record of each variant that records of results of `CODES` tell of; observations without a gene or a variant are none."""
    grouped: dict[tuple[Any, ...], list[Row]] = {}
    for row in observations:
        if row[_AT["status_raw"]] not in NO_RESULTS:
            key = tuple(row[_AT[name]] for name in _LINKS)
            grouped.setdefault(key if row[_AT["resource_id"]] else (*key, row[_AT["sub_id"]]), []).append(row)
    for rows in grouped.values():
        said: dict[str, Any] = dict.fromkeys(SAID_OF_VARIANTS)
        for row in rows:
            name, code = CODES[row[LOINC]]
            told = row[_AT["value_text"]] or row[_AT["value_raw"]]
            said[name] = told if isinstance(told, str) else None
            if code:
                said[code] = row[_AT["value_code"]]
        if said["gene"] or said["variant"] or said["dna_change"]:
            first = rows[0]
            which = first[_AT["resource_id"]] or first[_AT["sub_id"]]
            # Of several statuses the one that is not plainly final says more.
            status = next((its for row in rows if (its := row[_AT["status_raw"]]) not in _PLAIN), first[_AT["status_raw"]])
            links = (first[_AT[name]] for name in _LINKS)
            yield (*links, which, *said.values(), status, first[_AT["reported_at"]], first[_AT["verified_at"]])
