"""Instants and dates of messages: HL7 v2's `YYYYMMDDHHMMSS.S+ZZZZ` and ISO 8601, as naive instants in UTC, with a remark where they say less."""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime, timedelta, timezone

from lab_insights.lab.records import UNREADABLE, Marked

_HL7 = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)?(?:(\d\d)(?:\.(\d{1,9}))?)?)?)?)?([+-]\d{4})?", re.ASCII)
_ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII)
# Stamps repeat within a message and within a day: most are looked up.
_REMEMBERED = 1 << 16


@functools.lru_cache(_REMEMBERED)
def hl7_instant(text: str, zone: str = "") -> datetime | Marked:
    """Return an HL7 v2 stamp; `zone` is the offset of those that have none (that of MSH-7), else they are taken for UTC and say so."""
    return _instant(_HL7.fullmatch(text), zone)


@functools.lru_cache(_REMEMBERED)
def iso_instant(text: str) -> datetime | Marked:
    """Return a FHIR date, dateTime or instant."""
    return _instant(_ISO.fullmatch(text), "")


@functools.lru_cache(_REMEMBERED)
def hl7_date(text: str) -> date | Marked:
    """Return the day of an HL7 v2 stamp, as its writer's calendar has it."""
    return _date(_HL7.fullmatch(text))


@functools.lru_cache(_REMEMBERED)
def iso_date(text: str) -> date | Marked:
    """Return the day of a FHIR date."""
    return _date(_ISO.fullmatch(text))


def _date(match: re.Match[str] | None) -> date | Marked:
    if match is None:
        return UNREADABLE
    try:
        found = date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        return UNREADABLE
    return found if match[3] else Marked(found, "coarse")


def _instant(match: re.Match[str] | None, default: str) -> datetime | Marked:
    if match is None:
        return UNREADABLE
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    zone = zone or default
    try:
        # A leap second is the second before it: no type of ours has a sixtieth.
        found = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59), _micro(fraction), UTC
        )  # fmt: skip
        # A day is a day in its writer's zone: moving its midnight would make it another.
        if zone and zone != "Z" and hour:
            found = found.replace(tzinfo=_offset(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return UNREADABLE
    naive = found.replace(tzinfo=None)
    if not hour:
        return Marked(naive, "date_only" if day else "date_only coarse")
    return naive if zone else Marked(naive, "no_zone")


def _micro(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0


def _offset(zone: str) -> timezone:
    digits = zone.replace(":", "")
    hours, minutes = int(digits[1:3]), int(digits[3:5])
    if minutes > 59:
        raise ValueError
    return timezone((1 if digits[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))
