"""Days and percentiles by their definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from lab_insights_tests.warehouse.kpi_tables import ZONE

YEAR = timedelta(days=365)


def local(at: datetime) -> datetime:
    return at.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def day_of(at: datetime | None) -> Any:
    return local(at).date() if at else None


def end_of(day: date) -> datetime:
    midnight = datetime(day.year, day.month, day.day) + timedelta(days=1)
    return midnight.replace(tzinfo=ZoneInfo(ZONE)).astimezone(ZoneInfo("UTC")).replace(tzinfo=None)


def known(at: datetime | None) -> datetime | None:
    return at if at and at.year > 1970 else None


def midnight(at: datetime) -> bool:
    return any(each.time() == datetime.min.time() for each in (at, local(at)))


def minutes(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() / 60, 2)


def percentile(values: Iterable[float | None], share: float) -> float | None:
    """The nearest rank of what is there; null under ten."""
    there = sorted(value for value in values if value is not None)
    return there[math.ceil(round(share * len(there), 9)) - 1] if len(there) >= 10 else None


def business_days(month: date, last: date) -> int:
    days = [month + timedelta(days=number) for number in range(31)]
    return sum(day.weekday() < 5 and day.month == month.month and day <= last for day in days)


def before(month: date, months: int) -> date:
    whole = month.year * 12 + month.month - 1 - months
    return date(whole // 12, whole % 12 + 1, 1)
