"""Results of an HL7 v2 message: OBX by its value type, and the codes of CE, CWE and CNE fields."""

from __future__ import annotations

import functools
import re
from typing import Any

from lab_insights.lab.hl7.message import Delimiters, Message
from lab_insights.lab.records import CLEARED, Marked, Row, verified
from lab_insights.lab.terminology import TIME_TYPES

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_WHOLE = re.compile(_NUMBER, re.ASCII)
_COMPARED = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})", re.ASCII)
_SPAN = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})", re.ASCII)
_LOINC = frozenset({"LN", "LOINC"})
_CODED = frozenset({"CE", "CWE", "CNE", "CF", "IS", "ID"})
_TEXTS = frozenset({"ST", "TX", "FT", "GTS"})
_NOTHING: tuple[Any, ...] = (None,) * 8
UCUM = "UCUM"


def test(message: Message, raw: str) -> tuple[Any, Any, Any, Any]:
    """Return local code, name, its system, and the LOINC code of a CE or CWE field, whichever of its two triplets each is in."""
    return _test(message.delimiters, raw) if raw else (None, None, None, None)


@functools.lru_cache(1 << 14)
def _test(its: Delimiters, raw: str) -> tuple[Any, Any, Any, Any]:
    code, name, system, other, other_name, other_system, *_ = its.parts(raw)
    text = its.text
    if system in _LOINC:
        if other:
            return text(other), text(other_name) or text(name), text(other_system), text(code)
        return text(code), text(name), text(system), text(code)
    return text(code), text(name), text(system), text(other) if other_system in _LOINC else None


def coded(message: Message, raw: str) -> tuple[Any, Any, Any]:
    """Return code, text and system of a CE or CWE field."""
    if not raw:
        return None, None, None
    code, name, system, *_ = message.parts(raw)
    return message.text(code), message.text(name), message.text(system)


def tube(message: Message, spm: list[str]) -> object:
    """Return the number of a specimen: the filler's, else the placer's."""
    return message.part(spm[2], 2) or message.part(spm[2], 1)


def observation(
    message: Message, obx: list[str], order: tuple[Any, ...], specimen: object, panel: object, reported: object, comment: str
) -> Row:
    """Return the record of an OBX segment, but for its key. `order` is what it says of its order, no reference, and the patient."""
    unit, system = obx[6], None
    if unit and message.delimiters.component in unit:
        unit, _, system = message.parts(unit)[:3]
    unit_text, span = message.text(unit), message.text(obx[7])
    low, high = limits(span) if type(span) is str else (None, None)
    flags = obx[8]
    if flags and (message.delimiters.repetition in flags or message.delimiters.component in flags):
        flags = "~".join(each.split(message.delimiters.component, 1)[0] for each in message.repetitions(flags))
    analysed, observed, status = obx[19], obx[14], message.part(obx[11], 1)
    return (
        None, None, *order, specimen, *test(message, obx[3]), message.text(obx[4]), panel, obx[2] or None, *value(message, obx[2], obx[5]),
        unit_text, unit_text if system == UCUM else None, span, low, high, message.text(flags), status,
        message.part(obx[23] or obx[15], 1) if obx[23] or obx[15] else None, comment or None,
        message.instant(observed) if observed else None, message.instant(analysed) if analysed else None, reported,
        verified(status, reported),
    )  # fmt: skip


def value(message: Message, kind: str, raw: str) -> tuple[Any, ...]:
    """Return the value of OBX-5: as reported, number, operator, low, high, code, its system, and text."""
    if not raw:
        return _NOTHING
    if raw == '""':
        return (CLEARED, *_NOTHING[1:])
    if kind == "NM":
        text = message.text(raw)
        return (text, *numeric(str(text)), None, None, None, None, None)
    if kind == "SN":
        return _structured(message, raw)
    if kind in _CODED:
        code, name, system = coded(message, raw)
        return raw, None, None, None, None, code, system, name or code
    if kind in _TEXTS or message.delimiters.component not in raw:
        lines = [str(message.text(line) or "") for line in message.repetitions(raw)]
        text = "\n".join(lines)
        # Numbers that a laboratory calls text are told as numbers too, but for days and times; the text stays what it was.
        told = numeric(text) if len(lines) == 1 and kind not in TIME_TYPES else (None, None)
        return (text, *told, None, None, None, None, text)
    if kind == "ED":
        # The document itself stays in the message: it may be megabytes of it.
        described = message.delimiters.component.join(message.parts(raw)[:4])
        return (Marked(described, "shortened"), *_NOTHING[1:])
    return (raw, *_NOTHING[1:])


@functools.lru_cache(1 << 14)
def numeric(text: str) -> tuple[str | None, str | None]:
    """Return number and operator of a text that is one number, or a comparison with one; both None for any other."""
    stripped = text.strip()
    if _WHOLE.fullmatch(stripped):
        return stripped, None
    match = _COMPARED.fullmatch(stripped)
    return (match[2], match[1]) if match else (None, None)


@functools.lru_cache(1 << 14)
def limits(span: str) -> tuple[str | None, str | None]:
    """Return the ends of a reference range that is written as `low-high`, `<high` or `>low`; None for what it does not say."""
    text = span.strip()
    if match := _SPAN.fullmatch(text):
        return match[1], match[2]
    if match := _COMPARED.fullmatch(text):
        return (None, match[2]) if match[1][0] == "<" else (match[2], None)
    return None, None


def _structured(message: Message, raw: str) -> tuple[Any, ...]:
    """Return a structured number: comparator, number, separator, number."""
    comparator, first, separator, second = (str(message.text(part) or "") for part in message.parts(raw)[:4])
    whole = f"{comparator}{first}{separator}{second}"
    operator = "" if comparator == "=" else comparator
    if second or separator:
        return whole, None, operator or separator or None, first or None, second or None, None, None, None
    return whole, first or None, operator or None, None, None, None, None, None
