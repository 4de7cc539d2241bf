"""HL7 v2.5.1 messages of an order: ORM^O01 when it is placed, ORU^R01 for its results, ADT^A40 for a merge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lab_insights.local.laboratory.catalogue import Component
from lab_insights.local.laboratory.lis import result_status, specimen_number
from lab_insights.local.laboratory.orders import Item, Order, Result
from lab_insights.local.laboratory.people import Patient
from lab_insights.local.laboratory.values import Value

_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\", "\r": "", "\n": "\\.br\\"})
_SPECIMENS = {"SER": "Serum", "BLD": "Whole blood", "PLAS": "Plasma", "UR": "Urine"}


def order_message(order: Order, control: str, facility: str) -> str:
    """Return the ORM^O01 of an order: one ORC, OBR and TQ1 per test."""
    segments = head("ORM^O01^ORM_O01", order.ordered, control, facility) + _visit(order)
    for place, item in enumerate(order.items, start=1):
        segments += [
            _common_order("NW", order),
            segment("TQ1", {1: "1", 9: order.priority}),
            _request(order, item, place),
        ]
    return message(segments)


def result_message(order: Order, control: str, facility: str, at: datetime, corrected: bool) -> str:
    """Return an ORU^R01 with every result of an order; a correction sends all of them again."""
    segments = head("ORU^R01^ORU_R01", at, control, facility) + _visit(order)
    for place, item in enumerate(order.items, start=1):
        status = "X" if order.reject_reason else "C" if corrected and place == 1 else "F"
        segments += [_common_order("RE", order), _request(order, item, place, at, status)]
        segments += [_observation(order, item, result, n, corrected) for n, result in enumerate(item.results, start=1)]
        segments.append(_tube(order, item))
    return message(segments)


def merge_message(survivor: Patient, merged: Patient, control: str, facility: str, at: datetime) -> str:
    """Return the ADT^A40 that merges one patient into another."""
    event = segment("EVN", {1: "A40", 2: time(at)})
    prior = segment("MRG", {1: _identifier(merged, facility), 7: _person(merged)})
    return message([*head("ADT^A40^ADT_A39", at, control, facility), event, patient(survivor, facility), prior])


def escape(text: str) -> str:
    """Return `text` with HL7's delimiters and line ends escaped."""
    return text.translate(_ESCAPES)


def message(segments: list[str]) -> str:
    """Return the text of a message."""
    return "\r".join(segments) + "\r"


def segment(name: str, fields: Mapping[int, str | None]) -> str:
    """Return a segment from its fields by number; gaps are empty."""
    return "|".join([name, *(fields.get(number) or "" for number in range(1, max(fields) + 1))])


def time(instant: datetime) -> str:
    """Return an instant as HL7 writes it."""
    return instant.strftime("%Y%m%d%H%M%S+0000")


def head(kind: str, at: datetime, control: str, facility: str) -> list[str]:
    """Return the header of a message, alone in a list."""
    fields = ("LIS", facility.upper(), "LAB_INSIGHTS", "DEMO", time(at), "", kind, control, "P", "2.5.1")
    return ["MSH|^~\\&|" + "|".join(fields)]


def _identifier(patient: Patient, facility: str) -> str:
    return f"{patient.mrn}^^^{facility.upper()}^MR"


def _person(patient: Patient) -> str:
    return f"{escape(patient.family_name)}^{escape(patient.given_name)}"


def patient(patient: Patient, facility: str) -> str:
    """Return the PID segment of a patient."""
    return segment(
        "PID",
        {
            1: "1",
            3: _identifier(patient, facility),
            5: _person(patient),
            7: f"{patient.birth_date:%Y%m%d}",
            8: patient.sex,
            11: f"^^^^{patient.postal_code}",
            13: patient.phone,
        },
    )


def _visit(order: Order) -> list[str]:
    facility = order.account.host_codes[0]
    visit = segment("PV1", {1: "1", 2: "E" if order.priority == "S" else "O", 19: f"V{order.id:09d}"})
    return [patient(order.patient, facility), visit]


def _common_order(control: str, order: Order) -> str:
    placer, filler, _ = order.numbers
    # ORC-9 is when the order was placed; a late order tells its real time.
    return segment("ORC", {1: control, 2: placer, 3: filler, 9: time(order.happened(order.ordered)), 12: provider(order)})


def provider(order: Order) -> str:
    """Return the XCN field of who ordered."""
    return f"Prov{1000 + order.provider_id}^Provider{order.provider_id}"


def _request(order: Order, item: Item, place: int, at: datetime | None = None, status: str | None = None) -> str:
    placer, filler, _ = order.numbers
    return segment(
        "OBR",
        {
            1: str(place),
            2: placer,
            3: filler,
            4: f"{item.test.code}^{escape(item.test.name)}^L",
            7: time(order.happened(order.collected)) if at else None,
            14: time(order.happened(order.received)) if at else None,
            16: provider(order),
            22: time(order.happened(at)) if at else None,
            24: {"microbiology": "MB", "hematology": "HM", "immunology": "IMM"}.get(item.test.department, "CH"),
            25: status,
            27: None if at else f"^^^^^{order.priority}",
        },
    )


def _observation(order: Order, item: Item, result: Result, number: int, corrected: bool) -> str:
    component, status = result.component, result_status(order)
    value = (result.corrected if corrected else None) or result.value
    return segment(
        "OBX",
        {
            1: str(number),
            2: value.type if status != "X" else None,
            3: _code(component),
            5: _value(value) if status != "X" else None,
            6: escape(component.unit or ""),
            7: escape(component.range_raw or ""),
            8: value.flag if status != "X" else None,
            11: "X" if status == "X" else "C" if corrected and result.corrected else "F",
            14: time(order.happened(order.collected)),
            19: time(order.happened(item.resulted)) if status != "X" else None,
            23: order.lab,
        },
    )


def _code(component: Component) -> str:
    local = f"{component.code}^{escape(component.name)}^L"
    return f"{component.loinc}^{escape(component.name)}^LN^{local}" if component.loinc else local


def _value(value: Value) -> str:
    """Return OBX-5; a structured number is comparator^number^separator^number."""
    if value.type != "SN":
        return escape(value.raw)
    if value.raw.startswith(("<", ">")):
        return f"{value.raw[0]}^{value.raw[1:]}"
    left, _, right = value.raw.partition(":")
    return f"^{left}^:^{right}"


def _tube(order: Order, item: Item) -> str:
    kind = item.test.specimen
    return segment(
        "SPM",
        {
            1: "1",
            2: specimen_number(order),
            4: f"{kind}^{_SPECIMENS[kind]}^HL70487",
            17: time(order.happened(order.collected)),
            18: time(order.happened(order.received)),
            21: order.reject_reason,
        },
    )
