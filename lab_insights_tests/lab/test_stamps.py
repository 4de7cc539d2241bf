"""Stamps of every precision, and what is remarked where they say less than an instant."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from lab_insights.lab.records import Marked
from lab_insights.lab.stamps import hl7_date, hl7_instant, iso_date, iso_instant


def plain(found: object) -> tuple[object, str | None]:
    return (found.value, found.remark) if isinstance(found, Marked) else (found, None)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("20260301101500+0200", "", (datetime(2026, 3, 1, 8, 15), None)),
        ("20260301101500.1234-0530", "", (datetime(2026, 3, 1, 15, 45, 0, 123400), None)),
        ("202603011015", "+0200", (datetime(2026, 3, 1, 8, 15), None)),
        ("2026030110", "", (datetime(2026, 3, 1, 10), "no_zone")),
        ("20260301", "+0200", (datetime(2026, 3, 1), "date_only")),
        ("202603", "", (datetime(2026, 3, 1), "date_only coarse")),
        ("20260301240000", "", (None, "unreadable")),
        ("20261301", "", (None, "unreadable")),
        ("2026-03-01", "", (None, "unreadable")),
        ("20260301101560+0000", "", (datetime(2026, 3, 1, 10, 15, 59), None)),
        ("00010101000000+1400", "", (None, "unreadable")),
        ("20260301101500+0099", "", (None, "unreadable")),
    ],
)
def test_stamps_of_hl7(text: str, zone: str, expected: tuple[object, str | None]) -> None:
    assert plain(hl7_instant(text, zone)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:15:00Z", (datetime(2026, 3, 1, 10, 15), None)),
        ("2026-03-01T10:15:00.123456789+02:00", (datetime(2026, 3, 1, 8, 15, 0, 123456), None)),
        ("2026-03-01T10:15:00", (datetime(2026, 3, 1, 10, 15), "no_zone")),
        ("2026-03-01", (datetime(2026, 3, 1), "date_only")),
        ("2026", (datetime(2026, 1, 1), "date_only coarse")),
        ("03/01/2026", (None, "unreadable")),
    ],
)
def test_stamps_of_fhir(text: str, expected: tuple[object, str | None]) -> None:
    assert plain(iso_instant(text)) == expected


def test_dates_are_those_of_their_writers_calendar() -> None:
    assert plain(hl7_date("198805060130+1200")) == (date(1988, 5, 6), None)
    assert plain(hl7_date("1988")) == (date(1988, 1, 1), "coarse")
    assert plain(iso_date("1988-05-06")) == (date(1988, 5, 6), None)
    assert plain(iso_date("unknown")) == (None, "unreadable")
