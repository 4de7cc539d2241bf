"""One message: its delimiters, escapes, header and segments. Plain splitting, with nothing done that a field does not ask for."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from lab_insights.lab.hl7.framing import is_name
from lab_insights.lab.records import CLEARED, UNREADABLE, Marked, Rejected
from lab_insights.lab.stamps import hl7_date, hl7_instant

NULL = '""'
_ZONE = re.compile(r"[+-]\d{4}\Z", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?")
_RELEASE = re.compile(r"\d(\.\d){1,2}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
# More than a segment of these releases has: what is read of a field that was not sent is empty, without asking how many there are.
_FIELDS = 52
_PADDING = [""] * _FIELDS
Value = str | Marked | None
# Codes, numbers and names come again within a message and within a day.
_REMEMBERED = 1 << 16


@dataclass(frozen=True, eq=False)
class Delimiters:
    """The delimiters that MSH-1 and MSH-2 declare, and what they make of a text. An absent one is a character that no text of HL7 holds.

    The same delimiters are one object, by which what was read with them is found again.
    """

    field: str
    component: str
    repetition: str = "\x00"
    escape: str = "\x00"
    subcomponent: str = "\x00"
    truncation: str = "\x00"

    @classmethod
    def of(cls, header: str) -> Delimiters:
        """Return the delimiters of an MSH segment; raise `Rejected` where they are none, or two are one."""
        separator = header[3:4]
        return _delimiters(separator, header[4:].split(separator, 1)[0] if separator else "")

    def text(self, raw: str) -> Value:
        """Return a field, component or subcomponent as text: None when empty, and marked when it is the explicit null."""
        if not raw:
            return None
        if raw == NULL:
            return CLEARED
        return self.unescaped(raw) if self.escape in raw else raw

    def parts(self, raw: str) -> list[str]:
        """Return the components of a field's first repetition, eight at least."""
        parts = raw.split(self.repetition, 1)[0].split(self.component)
        return parts + _PADDING[: 8 - len(parts)] if len(parts) < 8 else parts

    def unescaped(self, raw: str) -> str:
        r"""Return a text with `\F\ \S\ \T\ \R\ \E\ \P\ \Xdd..\ \.br\` replaced; any other sequence stays as it was sent."""
        escape, out, position = self.escape, [], 0
        while (start := raw.find(escape, position)) >= 0 and (end := raw.find(escape, start + 1)) >= 0:
            replaced = self._sequence(raw[start + 1 : end])
            if replaced is None:
                # No sequence: the escape character stands for itself, and the next one may begin a sequence.
                out.append(raw[position:end])
                position = end
                if self._keeps(raw[start + 1 : end]):
                    out.append(escape)
                    position = end + 1
                continue
            out += (raw[position:start], replaced)
            position = end + 1
        return "".join((*out, raw[position:]))

    def _keeps(self, inside: str) -> bool:
        """Return whether a sequence that is not replaced is one all the same: highlighting, formatting, character sets, the site's own."""
        return inside in {"H", "N"} or inside[:1] in {".", "C", "M", "Z", "X"}

    def _sequence(self, inside: str) -> str | None:
        match inside:
            case "F":
                return self.field
            case "S":
                return self.component
            case "T":
                return self.subcomponent
            case "R":
                return self.repetition
            case "E":
                return self.escape
            case "P" if self.truncation != "\x00":
                return self.truncation
            case ".br":
                return "\n"
        if inside[:1] == "X" and _HEX.fullmatch(inside, 1):
            data = bytes.fromhex(inside[1:])
            try:
                return data.decode()
            except UnicodeDecodeError:
                return data.decode("latin-1")
        return None


@functools.lru_cache(64)
def _delimiters(separator: str, encoding: str) -> Delimiters:
    if not separator or separator.isalnum() or separator.isspace() or not encoding:
        raise Rejected("MSH-1 and MSH-2 declare no delimiters")
    every = separator + encoding
    if len(encoding) > 5 or len(set(every)) < len(every) or any(each.isalnum() or each.isspace() for each in every):
        raise Rejected("MSH-2 is not one to five delimiters, each another character")
    return Delimiters(separator, *encoding)


@functools.lru_cache(_REMEMBERED)
def _part(its: Delimiters, raw: str, number: int) -> Value:
    if its.repetition in raw:
        raw = raw.split(its.repetition, 1)[0]
    if its.component in raw:
        parts = raw.split(its.component, number)
        raw = parts[number - 1] if len(parts) >= number else ""
    elif number > 1 and raw != NULL:
        return None
    if its.subcomponent in raw:
        raw = raw.split(its.subcomponent, 1)[0]
    return its.text(raw)


@dataclass
class Message:
    """A message whose segments have names; `header` is MSH in fields, with its name at 0, so that `header[9]` is MSH-9."""

    delimiters: Delimiters
    lines: list[str]
    header: list[str]
    zone: str = ""
    type: str = ""
    event: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        self.text, self.parts = self.delimiters.text, self.delimiters.parts

    def part(self, raw: str, number: int) -> Value:
        """Return component `number` of a field's first repetition; the first subcomponent of it."""
        return _part(self.delimiters, raw, number) if raw else None

    def fields(self, line: str) -> list[str]:
        """Return a segment's fields, its name at 0; those that were not sent are empty. Not for MSH, whose first field is the separator."""
        fields = line.split(self.delimiters.field)
        if len(fields) < _FIELDS:
            fields += _PADDING[len(fields) :]
        return fields

    def repetitions(self, raw: str) -> list[str]:
        """Return the repetitions of a field; none when it is empty."""
        return raw.split(self.delimiters.repetition) if raw else []

    def instant(self, raw: str) -> object:
        """Return a time stamp as a naive instant in UTC (None, datetime or marked)."""
        if not raw:
            return None
        # Nearly every stamp is a field of one component, and was seen before.
        found = hl7_instant(raw, self.zone)
        if found is not UNREADABLE:
            return found
        text = self.part(raw, 1)
        return hl7_instant(text, self.zone) if type(text) is str else text

    def day(self, raw: str) -> object:
        """Return a stamp's date (None, date or marked)."""
        text = self.part(raw, 1) if raw else None
        return hl7_date(text) if type(text) is str else text


def split(lines: list[str]) -> Message:
    """Return the message of these segments, the first of which is MSH. Raises `Rejected`."""
    first = lines[0]
    delimiters = Delimiters.of(first)
    separator = delimiters.field
    # MSH-1 is the separator itself, so that the fields of MSH are one further on than a split says.
    header = ["MSH", separator, *first[4:].split(separator)]
    header += _PADDING[: max(26 - len(header), 0)]
    kind = header[9].split(delimiters.repetition, 1)[0].split(delimiters.component)
    name, event, version = kind[0], kind[1] if len(kind) > 1 else "", header[12].split(delimiters.component, 1)[0]
    if not name:
        raise Rejected("MSH-9 names no message type", None, release(version))
    ends = {separator, ""}
    for number, line in enumerate(lines, start=1):
        # The name is all that makes a segment: everything else in a message is data.
        if not (line[3:4] in ends and is_name(line[:3])):
            raise Rejected(f"line {number} is no segment: it begins with no name", told(name, event), release(version))
    zone = _ZONE.search(header[7].split(delimiters.component, 1)[0])
    return Message(delimiters, lines, header, zone[0] if zone else "", name, event, version)


def told(name: str, event: str) -> str | None:
    """Return a message type as it may be told, `ORU^R01`; None for what is no code and so may be anything."""
    code = f"{name}^{event}" if event else name
    return code if _CODE.fullmatch(code) else None


def release(version: str) -> str | None:
    """Return MSH-12 as it may be told, `2.5.1`."""
    return version if _RELEASE.fullmatch(version) else None
