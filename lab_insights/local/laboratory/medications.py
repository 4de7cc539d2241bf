"""HL7 v2.5.1 messages of a pharmacy: RDE^O11 for what is prescribed after some orders' results, RDS^O13 when it is dispensed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lab_insights.local.laboratory import hl7
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.orders import Order, Trouble

_EVERY, _DAYS = 2, 30


@dataclass(frozen=True)
class Prescription:
    """What an order's results led to."""

    order: Order
    code: str
    name: str
    tablets: int

    @property
    def number(self) -> str:
        """Its number at the placer."""
        return f"RX{self.order.id:09d}"

    @property
    def written(self) -> datetime:
        """When it was prescribed: soon after the results."""
        return self.order.completed + timedelta(minutes=40)

    @property
    def dispensed(self) -> datetime:
        """When it was handed over, on the same or the next day."""
        return self.written + timedelta(hours=5)


def prescription(order: Order) -> Prescription | None:
    """Return what an order's results led to, for every other order of a test that a drug follows."""
    if order.id % _EVERY != 1 or order.reject_reason or order.trouble in (Trouble.CORRECTED, Trouble.DELETED):
        return None
    return next((Prescription(order, *words.DRUGS[item.test.code]) for item in order.items if item.test.code in words.DRUGS), None)


def prescription_message(of: Prescription, control: str, facility: str) -> str:
    """Return the RDE^O11 of a prescription."""
    head = hl7.head("RDE^O11^RDE_O11", of.written, control, facility)
    return hl7.message(
        [*head, hl7.patient(of.order.patient, facility), _order("NW", of), _encoded(of), hl7.segment("RXR", {1: "PO^Oral^HL70162"})]
    )


def dispense_message(of: Prescription, control: str, facility: str) -> str:
    """Return the RDS^O13 of a prescription: thirty days of it."""
    head = hl7.head("RDS^O13^RDS_O13", of.dispensed, control, facility)
    given = {1: "1", 2: _drug(of), 3: hl7.time(of.dispensed), 4: str(of.tablets * _DAYS), 5: "TAB", 7: of.number, 8: "2"}
    return hl7.message(
        [
            *head,
            hl7.patient(of.order.patient, facility),
            _order("RE", of),
            _encoded(of),
            hl7.segment("RXR", {1: "PO^Oral^HL70162"}),
            hl7.segment("RXD", given),
        ]
    )


def _order(control: str, of: Prescription) -> str:
    fields = {1: control, 2: of.number, 3: f"PH{of.order.id:09d}", 9: hl7.time(of.written), 12: hl7.provider(of.order)}
    return hl7.segment("ORC", fields)


def _encoded(of: Prescription) -> str:
    quantity = str(of.tablets * _DAYS)
    return hl7.segment("RXE", {1: f"^{of.tablets} a day", 2: _drug(of), 3: "1", 5: "TAB", 10: quantity, 11: "TAB", 12: "3"})


def _drug(of: Prescription) -> str:
    return f"{of.code}^{hl7.escape(of.name)}^RXNORM"
