"""The rows of the message store: each order's HL7 and FHIR messages, and the merges, as the LIS rows tell them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lab_insights.local.laboratory import fhir, hl7, medications, people
from lab_insights.local.laboratory.orders import Order, Trouble
from lab_insights.local.laboratory.registration import merge_instant
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import Row

_PER_ORDER = 4


def order_messages(scene: Scene, order: Order) -> Iterator[Row]:
    """Yield an order's messages: the order, its results when the last is verified, again with the correction, and the drugs that they led to.

    Every third order reports in FHIR, the others in HL7 v2.
    """
    first = order.id * _PER_ORDER
    body = hl7.order_message(order, _control(scene, first), order.account.host_codes[0])
    yield _row(scene, first, "hl7v2", "ORM^O01", order.ordered, order, body)
    sendings = [(order.completed, False)]
    if order.trouble == Trouble.CORRECTED:
        sendings.append((order.corrected, True))
    for number, (at, corrected) in enumerate(sendings, start=first + 1):
        if order.id % 3 == 0:
            body = fhir.result_bundle(order, scene.tenant.id.replace("_", "-"), at, corrected)
            yield _row(scene, number, "fhir", "Bundle", at, order, body)
        else:
            facility = order.account.host_codes[0]
            body = hl7.result_message(order, _control(scene, number), facility, at, corrected)
            yield _row(scene, number, "hl7v2", "ORU^R01", at, order, body)
    if its := medications.prescription(order):
        # Two numbers that only a correction, and no order, would take.
        facility = order.account.host_codes[0]
        body = medications.prescription_message(its, _control(scene, first + 2), facility)
        yield _row(scene, first + 2, "hl7v2", "RDE^O11", its.written, order, body, placer=its.number)
        body = medications.dispense_message(its, _control(scene, first + 3), facility)
        yield _row(scene, first + 3, "hl7v2", "RDS^O13", its.dispensed, order, body, placer=its.number)


def merge_rows(scene: Scene, index: int) -> Iterator[Row]:
    """Yield the ADT^A40 of day `index`, if a patient is merged on it."""
    merged = people.merged_patient(scene, index)
    if merged is None:
        return
    at, identifier = merge_instant(scene, index), scene.identifier(index, 0) * _PER_ORDER - 1
    survivor = people.patient(scene, people.SURVIVOR)
    facility = people.account(scene, 1).host_codes[0]
    control = _control(scene, identifier)
    body = hl7.merge_message(survivor, people.patient(scene, merged), control, facility, at)
    yield _row(scene, identifier, "hl7v2", "ADT^A40", at, None, body, survivor.mrn)


def _control(scene: Scene, number: int) -> str:
    return f"M{scene.tenant.key}-{number}"


def _row(
    scene: Scene, number: int, kind: str, message: str, at: datetime, order: Order | None, body: str, mrn: str = "", placer: str = ""
) -> Row:
    values = {
        "id": number,
        "format": kind,
        "message_type": message,
        "control_id": _control(scene, number),
        "patient_mrn": order.patient.mrn if order else mrn,
        "placer_number": placer or (order.numbers[0] if order else None),
        "received_at": at,
        "updated_at": at,
        "body": body,
    }
    return Row.born("message", at, values)
