"""Records: what a message says about a patient, an order, a result …, in the same columns whether it was HL7 v2 or FHIR.

A record is a statement, not a state: a null says nothing, and what a message empties explicitly (HL7's `""`) is named in `remarks`. So no record
overwrites what an earlier message said, and a resend is one more statement of the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal[
    "patient", "identifier", "encounter", "provider", "organization", "order", "specimen", "result", "report", "genomic", "medication_order",
    "medication_dispense", "reject",
]  # fmt: skip
Row = tuple[Any, ...]
# Rows of other code are stale: raise it whenever a parser reads something otherwise, or its records are ordered otherwise.
PARSER_VERSION = "5"

# Statuses of a result that somebody answers for (OBX-11; Observation.status): reported then, it is verified.
VERIFIED = frozenset({"F", "C", "A", "U", "final", "corrected", "amended"})
# Statuses of what is no result: the order's detail, and what nobody asked for.
NO_RESULTS = frozenset({"O", "N"})

# HL7 table 0203's code of an identifier that does not say what it is.
UNSPECIFIED = "U"
# Columns of every record: the row of the store, the record's number there (by kind), and the message's own header.
COMMON = ("message_id", "record", "updated_at", "standard", "sender", "control_id", "sent_at")
_RESOURCE = ("resource_id", "resource_key")
_LINKS = ("patient_mrn", "patient_authority", "patient_reference")
_ORDER = ("order_key", "placer_number", "placer_authority", "filler_number", "filler_authority")
_TEST = ("code", "name", "code_system", "loinc")
SAID_OF_VARIANTS = (
    "gene_code", "gene", "variant_code", "variant", "dna_change", "protein_change", "transcript", "allelic_state", "source_class",
    "assessment", "interpretation",
)  # fmt: skip
_DRUG = ("drug_code", "drug_name", "drug_system")
FIELDS: dict[Kind, tuple[str, ...]] = {
    "patient": (
        "resource_id", "mrn", "authority", "identifiers", "family_name", "given_name", "birth_date", "sex_raw", "postal_code", "phone",
        "merged_into_mrn", "merged_into_authority", "event",
    ),
    "identifier": ("resource_id", *_LINKS, "identifier", "authority", "identifier_type"),
    "encounter": ("resource_id", "visit_number", *_LINKS, "class_raw", "ward", "admitted_at", "discharged_at"),
    "provider": ("resource_id", "provider_code", "authority", "npi", "family_name", "given_name", "role"),
    "organization": ("resource_id", "organization_code", "authority", "name", "parent_reference", "city", "state", "postal_code", "phone", "role"),
    "order": (
        "resource_id", *_ORDER, "requisition", *_LINKS, *_TEST, "control", "status_raw", "action", "priority_raw", "provider_code",
        "organization_code", "organization_authority", "visit_number", "department", "parent_filler", "ordered_at", "collected_at",
        "received_at",
    ),
    "specimen": (
        "resource_id", "specimen_number", *_ORDER, *_LINKS, "type_code", "type_name", "status_raw", "state", "collected_at",
        "received_at", "reject_reason", "condition",
    ),
    "result": (
        *_RESOURCE, *_ORDER, "order_reference", *_LINKS, "specimen_number", *_TEST, "sub_id", "panel_code", "value_type", "value_raw",
        "value_number", "value_operator", "value_low", "value_high", "value_code", "value_code_system", "value_text", "unit_raw",
        "unit_ucum", "range_raw", "range_low", "range_high", "flag_raw", "status_raw", "performing_lab", "comment", "observed_at",
        "analysed_at", "reported_at", "verified_at", "result_key",
    ),
    "report": (
        "resource_id", *_ORDER, "order_reference", *_LINKS, *_TEST, "department", "status_raw", "conclusion", "observed_at", "reported_at",
    ),
    "genomic": (*_RESOURCE, *_ORDER, *_LINKS, "sub_id", *SAID_OF_VARIANTS, "status_raw", "reported_at", "verified_at"),
    "medication_order": (
        *_RESOURCE, *_ORDER, *_LINKS, *_DRUG, "status_raw", "dose_number", "dose_unit", "route", "frequency", "instructions",
        "quantity_number", "quantity_unit", "refills", "provider_code", "ordered_at", "start_at", "end_at",
    ),
    "medication_dispense": (
        *_RESOURCE, *_ORDER, "order_reference", *_LINKS, *_DRUG, "prescription_number", "status_raw", "quantity_number", "quantity_unit",
        "days_supply", "refills_remaining", "instructions", "dispensed_at",
    ),
    "reject": ("position", "reason", "message_type", "version"),
}  # fmt: skip
_TYPES = {"record": "int64", "position": "int64", "birth_date": "date32"}


class Rejected(Exception):
    """A message that can not be read. The reason is a sentence of ours: it never holds a value."""

    def __init__(self, reason: str, message_type: str | None = None, version: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.message_type, self.version = reason, message_type, version


class Marked:
    """A value that needs a remark: `cleared`, `unreadable`, `date_only`, `no_zone` or `unresolved`."""

    __slots__ = ("remark", "value")

    def __init__(self, value: date | datetime | str | None, remark: str) -> None:
        self.value, self.remark = value, remark


CLEARED = Marked(None, "cleared")
UNREADABLE = Marked(None, "unreadable")
Header = tuple[str | None, str | None, str | None, Any]
"""Standard, sender, control id and instant of a message."""


def specimen_state(rejected: bool, collected: object, received: object) -> str | None:
    """Return how far a specimen came: rejected, received or collected; None where nothing of it is said."""
    if rejected:
        return "rejected"
    return "received" if received else "collected" if collected else None


def verified(status: object, reported: object) -> object:
    """Return the instant that a result was reported at where its status says that somebody answers for it; its remark stays with the report."""
    return (reported.value if type(reported) is Marked else reported) if status in VERIFIED else None


class Records:
    """The records of the rows of a message store, in columns' order; those of a message are kept when all of it was read."""

    def __init__(self) -> None:
        self.rows: dict[Kind, list[Row]] = {kind: [] for kind in FIELDS}
        self.parsed = self.rejected = 0
        self._message: tuple[Any, Any] = (None, None)
        self._numbers: dict[Kind, int] = {}
        self._found: list[tuple[Kind, Row]] = []

    def begin(self, message_id: str | None, updated_at: object) -> None:
        """Go on to the next row of the store."""
        self._message, self._numbers, self._found = (message_id, updated_at), {}, []

    def add(self, kind: Kind, values: Row) -> None:
        """Add a record of the message that is being read, its values in the order of `FIELDS`."""
        self._found.append((kind, values))

    def keep(self, header: Header) -> None:
        """Keep the records of the message: all of it was read."""
        self.parsed += 1
        self._put(header)

    def reject(self, error: Rejected, standard: str | None, position: int) -> None:
        """Keep nothing of the message at `position` of the row but why it was rejected."""
        self.rejected += 1
        self._found = [("reject", (position, error.reason, error.message_type, error.version))]
        self._put((standard, None, None, None))

    def _put(self, header: Header) -> None:
        message_id, updated_at = self._message
        *_, sent = header
        its = (*header[:3], sent.value if type(sent) is Marked else sent)
        for kind, values in self._found:
            self._numbers[kind] = number = self._numbers.get(kind, 0) + 1
            # A loop in C over what is next to never there: most records need no remark.
            plain, remarks = _remarked(kind, values) if Marked in map(type, values) else (values, None)
            self.rows[kind].append((message_id, number, updated_at, *its, *plain, remarks))
        self._found = []

    def drain(self) -> Iterator[tuple[Kind, pa.RecordBatch]]:
        """Yield what was kept since the last time, a batch for each kind that has any."""
        for kind, rows in self.rows.items():
            if rows:
                yield kind, _batch(kind, rows)
                rows.clear()


def _remarked(kind: Kind, values: Row) -> tuple[Row, str]:
    marks = tuple((name, value.remark) for name, value in zip(FIELDS[kind], values, strict=True) if type(value) is Marked)
    return tuple(value.value if type(value) is Marked else value for value in values), _written(marks)


@functools.lru_cache(4096)
def _written(marks: tuple[tuple[str, str], ...]) -> str:
    import orjson

    remarks: dict[str, list[str]] = {}
    for name, told in marks:
        for remark in told.split():
            remarks.setdefault(remark, []).append(name)
    return orjson.dumps(remarks).decode()


@functools.cache
def schema(kind: Kind) -> pa.Schema:
    """Return the Arrow schema of a kind's records: instants are naive, in UTC; numbers stay the texts that were sent."""
    import pyarrow as pa

    def of(name: str) -> pa.DataType:
        return pa.timestamp("us") if name.endswith("_at") else pa.type_for_alias(_TYPES.get(name, "string"))

    return pa.schema([(name, of(name)) for name in (*COMMON, *FIELDS[kind], "remarks")])


def _batch(kind: Kind, rows: Sequence[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    its = schema(kind)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), its, strict=True)], schema=its
    )
