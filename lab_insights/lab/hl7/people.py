"""Patients, providers and organizations of an HL7 v2 message: PID, MRG, PV1, and the XCN and XON fields of orders and results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab_insights.lab.hl7.message import Message
from lab_insights.lab.records import UNSPECIFIED, Row

NOBODY: tuple[Any, ...] = (None, None, None)
# Events that merge a patient (identifier list) into another; A41, A42 and A50 to A51 are about accounts and visits.
MERGES = frozenset({"A18", "A34", "A36", "A39", "A40"})


def patient(message: Message, pid: list[str]) -> tuple[Row, tuple[Any, ...], list[Row]]:
    """Return the record of a PID segment, what links other records to it (mrn, authority, and no reference), and those of its identifiers."""
    raw = pid[3] or pid[2]
    identifiers = _identifiers(message, raw)
    mrn, authority = _chosen(identifiers) if identifiers else (message.text(raw), None)
    name, address = message.parts(pid[5]), pid[11]
    row = (
        None, mrn, authority, _told(identifiers), _surname(message, name[0]), message.text(name[1]), message.day(pid[7]),
        message.part(pid[8], 1), message.part(address, 5) if address else None, _phone(message, pid[13]), None, None, message.event or None,
    )  # fmt: skip
    link = (mrn, authority, None)
    return row, link, [(None, *link, value, its, kind if type(kind) is str else UNSPECIFIED) for value, its, kind in identifiers]


def merged(message: Message, mrg: list[str], survivor: Row) -> Iterator[Row]:
    """Yield a record for each identifier that an MRG segment retires: that patient is merged into the survivor of the record given.

    Both are one person: what PID says of birth, sex, address and telephone is said of the retired number, too.
    """
    name = message.parts(mrg[7])
    family, given = _surname(message, name[0]), message.text(name[1])
    _, mrn, authority, *_ = survivor
    for prior, its, _ in _identifiers(message, mrg[1]) or []:
        yield None, prior, its, None, family, given, *survivor[6:10], mrn, authority, message.event


def providers(message: Message, raw: str, role: str) -> Iterator[Row]:
    """Yield a record for each person of an XCN field that has an identifier."""
    for each in message.repetitions(raw):
        parts = message.parts(each)
        if parts[0] and (code := message.part(parts[0], 1)):
            authority = message.part(each, 9)
            national = code if "NPI" in {authority, message.part(each, 13)} else None
            yield None, code, authority, national, _surname(message, parts[1]), message.text(parts[2]), role


def organization(message: Message, raw: str, address: str, role: str) -> Row | None:
    """Return the record of an XON field with its address (XAD), None without a name or code; without an authority the code is the sender's."""
    name, code = message.part(raw, 1), message.part(raw, 10) or message.part(raw, 3)
    if type(name) is not str and type(code) is not str:
        return None
    place = message.parts(address)
    city, state, zipped = (message.text(place[number]) for number in (2, 3, 4))
    authority = message.part(raw, 6) or message.part(message.header[4], 1) or message.part(message.header[3], 1)
    return None, code, authority, name, None, city, state, zipped, None, role


def _identifiers(message: Message, raw: str) -> list[tuple[Any, Any, Any]]:
    """Return value, authority and type of the identifiers of a CX field."""
    found = []
    for each in message.repetitions(raw):
        parts = message.parts(each)
        value = message.part(parts[0], 1)
        if type(value) is str:
            found.append((value, message.part(parts[3], 1), message.text(parts[4])))
    return found


def _chosen(identifiers: list[tuple[Any, Any, Any]]) -> tuple[Any, Any]:
    """Return the medical record number: the identifier that says to be one, else the first."""
    value, authority, _ = next((each for each in identifiers if each[2] == "MR"), identifiers[0])
    return value, authority


def _told(identifiers: list[tuple[Any, Any, Any]]) -> str | None:
    import orjson

    every = [
        dict(zip(("value", "authority", "type"), (part if type(part) is str else None for part in each), strict=True))
        for each in identifiers
    ]
    return orjson.dumps(every).decode() if every else None


def _surname(message: Message, raw: str) -> object:
    """Return the family name of an XPN or XCN, without what 2.5 and later put behind it."""
    return message.text(raw.split(message.delimiters.subcomponent, 1)[0]) if raw else None


def _phone(message: Message, raw: str) -> object:
    """Return a telephone number: written out, or of its area code and number."""
    if not raw:
        return None
    if written := message.part(raw, 1) or message.part(raw, 12):
        return written
    area, local = message.part(raw, 6), message.part(raw, 7)
    return "-".join(each for each in (area, local) if type(each) is str) or None
