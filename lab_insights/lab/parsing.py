"""Bodies → records: which standard a body is of, and what becomes of one that can not be read: a rejection with its reason, never an end of the day."""

from __future__ import annotations

import traceback

from lab_insights.lab.fhir import document as fhir_document
from lab_insights.lab.fhir import extract as fhir_extract
from lab_insights.lab.hl7 import extract as hl7_extract
from lab_insights.lab.hl7 import framing
from lab_insights.lab.hl7 import message as hl7_message
from lab_insights.lab.records import Records, Rejected

_HL7 = ("MSH", "FHS", "BHS", framing.START)
# Names of MSH-18 (table 0211), for bodies that are not UTF-8.
_CHARSETS = {
    "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "UNICODE": "utf-16", "UNICODE UTF-16": "utf-16",
    **{f"8859/{number}": f"iso-8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}  # fmt: skip


def read(records: Records, message_id: str | None, updated_at: object, body: str | bytes | None) -> None:
    """Add to `records` what a row of a message store says; every message of it is parsed or rejected with a reason."""
    records.begin(message_id, updated_at)
    try:
        text = _text(body)
        start = text[:32].lstrip("\ufeff \t\r\n")
        if start[:1] in {"{", "["}:
            _document(records, text.lstrip("\ufeff"))
            return
        if not start.startswith(_HL7):
            raise Rejected("the body is neither HL7 v2 nor FHIR JSON")
    except Rejected as error:
        records.reject(error, None, 1)
        return
    _messages(records, text.lstrip("\ufeff \t\r\n"))


def _messages(records: Records, text: str) -> None:
    for position, found in enumerate(framing.messages(text), start=1):
        try:
            if isinstance(found, Rejected):
                raise found
            message = hl7_message.split(found)
            hl7_extract.extract(message, records.add)
            records.keep(hl7_extract.header(message))
        except Rejected as error:
            records.reject(error, "hl7v2", position)
        except Exception as error:  # noqa: BLE001 - a message that none of us has thought of must not end the day of a tenant
            records.reject(_unforeseen(error), "hl7v2", position)


def _document(records: Records, text: str) -> None:
    try:
        found = fhir_document.parse(text)
        fhir_extract.extract(found, records.add)
        records.keep(fhir_extract.header(found))
    except Rejected as error:
        records.reject(error, "fhir", 1)
    except Exception as error:  # noqa: BLE001 - the same
        records.reject(_unforeseen(error), "fhir", 1)


def _unforeseen(error: Exception) -> Rejected:
    """Type and place only: the error's own text may quote the message."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Rejected(f"an element has another form than its standard says ({type(error).__name__} in {frame.name})")


def _text(body: str | bytes | None) -> str:
    if not body:
        raise Rejected("the body is empty")
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError:
        header = body[: body.find(b"\r")].decode("latin-1").lstrip(framing.START)
    declared = header.split(header[3:4] or "|")[17:18]
    charset = _CHARSETS.get(declared[0].split("~")[0].split("^")[0].strip()) if declared else None
    try:
        return body.decode(charset or "utf-8")
    except UnicodeDecodeError:
        raise Rejected("the body is not UTF-8, and MSH-18 names no character set that it is in") from None
