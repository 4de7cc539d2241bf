"""Medications of an HL7 v2 message: prescriptions (RXE, or RXO where there is none) and dispenses (RXD), with route (RXR) and timing (TQ1)."""

from __future__ import annotations

from typing import Any

from lab_insights.lab.hl7.message import Message
from lab_insights.lab.hl7.results import coded
from lab_insights.lab.records import Row

Segment = list[str]


def prescribed(message: Message, order: tuple[Any, ...], orc: Segment, rx: Segment, route: Segment | None, timing: Segment | None) -> Row:
    """Return the record of an RXE or RXO segment. `order` is what it says of its order, and the patient."""
    part, instant = message.part, message.instant
    if rx[0] == "RXE":
        drug, dose, unit, instructions, quantity, of, refills, provider = (rx[number] for number in (2, 3, 5, 7, 10, 11, 12, 13))
    else:
        drug, dose, unit, instructions, quantity, of, refills, provider = (rx[number] for number in (1, 2, 4, 7, 11, 12, 13, 14))
    # Before 2.5 the timing is a field of ORC, or of RXE.
    old = orc[7] or (rx[1] if rx[0] == "RXE" else "")
    often = part(timing[3], 1) if timing else part(old, 2)
    start, end = (timing[7], timing[8]) if timing else (message.parts(old)[3], message.parts(old)[4])
    return (
        None, None, *order, *coded(message, drug), part(orc[5], 1) or part(orc[1], 1), part(dose, 1), part(unit, 1),
        part(route[1], 2) or part(route[1], 1) if route else None, often, part(instructions, 2) or part(instructions, 1), part(quantity, 1),
        part(of, 1), part(refills, 1), part(orc[12] or provider, 1), instant(orc[9]), instant(start), instant(end),
    )  # fmt: skip


def dispensed(message: Message, order: tuple[Any, ...], orc: Segment, rxd: Segment) -> Row:
    """Return the record of an RXD segment. `order` is what it says of its order, no reference, and the patient."""
    part = message.part
    return (
        None, None, *order, *coded(message, rxd[2]), part(rxd[7], 1), part(orc[5], 1) or part(orc[1], 1), part(rxd[4], 1), part(rxd[5], 1), None,
        part(rxd[8], 1), part(rxd[9], 1), message.instant(rxd[3]),
    )  # fmt: skip
