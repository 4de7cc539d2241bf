"""The rows that an order leaves in the laboratory information system, from encounter to analyzer reading."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.orders import Item, Order, Result, Trouble
from lab_insights.local.laboratory.scene import ID_STRIDE, Scene
from lab_insights.local.laboratory.timeline import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def order_rows(scene: Scene, order: Order) -> Iterator[Row]:
    """Yield the encounter, order, items, specimen, scans, results and readings of an order."""
    placer, filler, accession = order.numbers
    dice = scene.dice("chart", order.id)
    patient_class = "emergency" if order.priority == "S" else dice.choice(("outpatient", "outpatient", "inpatient"))
    admitted = order.happened(order.ordered - timedelta(minutes=40))
    yield Row.born(
        "encounter",
        order.ordered,
        {
            "id": order.id,
            "patient_id": order.patient.id,
            "visit_number": f"V{order.id:09d}",
            "class": patient_class,
            "ward": dice.choice(words.WARDS),
            "admitted_at": admitted,
            "discharged_on": "0000-00-00" if patient_class == "outpatient" else admitted.date() + timedelta(days=2),
            "arrival_text": dice.choice(words.FREE_TIMES),
            "updated_at": order.ordered,
        },
    )
    yield (
        Row.born(
            "lab_order",
            order.ordered,
            {
                "id": order.id,
                "patient_id": order.patient.id,
                "encounter_id": order.id,
                "connection_id": people.CONNECTIONS[0],
                "account_host_code": order.account.host_codes[0],
                "provider_id": order.provider_id,
                "placer_number": placer,
                "filler_number": filler,
                "accession": accession,
                "priority": order.priority,
                "status": "ordered",
                "ordered_at": order.happened(order.ordered),
                "updated_at": order.ordered,
            },
        )
        .then(order.received, status="in_process")
        .then(order.completed, status="cancelled" if order.reject_reason else "completed")
    )
    yield _specimen(order, dice.random())
    for at, location in ((order.collected, "Phlebotomy"), (order.received, "Receiving bench")):
        scan = {"specimen_number": specimen_number(order), "location": location}
        yield Row.born("specimen_tracking", at, {**scan, "scanned_text": dice.choice(words.FREE_TIMES), "updated_at": at})
    for item in order.items:
        yield _item(order, item)
        for result in item.results:
            yield _result(order, item, result)
            if result.value.type == "NM" and item.test.department == "chemistry" and order.id % 2 == 0:
                yield _reading(order, item, result)


def specimen_number(order: Order) -> str:
    """Return the number on the tube."""
    return f"S{order.id:09d}"


def result_status(order: Order) -> str:
    """Return the status letter that the results of an order are written with first."""
    return "X" if order.reject_reason else "P" if order.trouble == Trouble.PRELIMINARY else "F"


def _specimen(order: Order, roll: float) -> Row:
    collected, received = order.happened(order.collected), order.happened(order.received)
    if order.trouble == Trouble.DATE_ONLY:
        collected = collected.replace(hour=0, minute=0, second=0, microsecond=0)
    first: dict[str, Any] = {
        "id": order.id,
        "lab_order_id": order.id,
        "specimen_number": specimen_number(order),
        "specimen_type": order.items[0].test.specimen,
        "status": "collected",
        "reject_reason": None,
        "collected_at": collected,
        "received_at": None,
        "volume_ml": Decimal(f"{1 + 9 * roll:.2f}"),
        "updated_at": order.collected,
    }
    status = "rejected" if order.reject_reason else "received"
    # Some front ends write the epoch for a time that they do not know.
    known = _EPOCH if order.trouble == Trouble.DATE_ONLY and roll < 0.2 else received
    return Row.born("specimen", order.collected, first).then(
        order.received, status=status, reject_reason=order.reject_reason, received_at=known
    )


def _item(order: Order, item: Item) -> Row:
    added = order.ordered + timedelta(minutes=25 if item.added_on else 0)
    row = Row.born(
        "order_item",
        added,
        {
            "id": item.id,
            "lab_order_id": order.id,
            "test_code": item.test.code,
            "status": "ordered",
            "is_add_on": int(item.added_on),
            "added_at": order.happened(added),
            "completed_at": None,
            "updated_at": added,
        },
    )
    if order.reject_reason:
        return row.then(order.received + timedelta(minutes=30), status="cancelled")
    return row.then(item.verified, status="completed", completed_at=order.happened(item.verified))


def _result(order: Order, item: Item, result: Result) -> Row:
    component, value, status = result.component, result.value, result_status(order)
    at = {"X": order.received, "P": item.resulted}.get(status, item.verified)
    cancelled = status == "X"
    row = Row.born(
        "result",
        at,
        {
            "id": result.id,
            "order_item_id": item.id,
            "lab_order_id": order.id,
            "patient_id": order.patient.id,
            "component_code": component.code,
            "loinc": component.loinc,
            "value_raw": None if cancelled else value.raw,
            "value_type": None if cancelled else value.type,
            "unit_raw": component.unit,
            "range_raw": component.range_raw,
            "flag_raw": None if cancelled else value.flag,
            "status_raw": status,
            "performing_lab": order.lab,
            "analysed_at": None if cancelled else order.happened(item.resulted - timedelta(minutes=2)),
            "resulted_at": None if cancelled else order.happened(item.resulted),
            "verified_at": order.happened(item.verified) if status == "F" else None,
            "updated_at": at,
        },
    )
    if status == "P":
        row.then(item.verified, status_raw="F", verified_at=order.happened(item.verified))
    if result.corrected:
        new = result.corrected
        row.then(order.corrected, value_raw=new.raw, value_type=new.type, flag_raw=new.flag, status_raw="C")
    if result.deleted:
        row.deleted(item.verified + timedelta(hours=12))
    return row


def _reading(order: Order, item: Item, result: Result) -> Row:
    number = Decimal(result.value.raw)
    values = {
        "specimen_id": order.id,
        "component_code": result.component.code,
        "run_number": 1,
        "reading": number + Decimal(result.id % ID_STRIDE).scaleb(-12),
        "signal": float(number) * 1.0625,
        "frame": b"\x02\x00" + result.id.to_bytes(8, "big") + b"\xff\x03",
        "updated_at": item.resulted,
    }
    return Row.born("analyzer_reading", item.resulted, values)
