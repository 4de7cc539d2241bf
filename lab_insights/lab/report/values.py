"""From rows of the KPI tables to values that know what they were counted from; what a row does not hold is nothing, none of nothing, or not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

from lab_insights.lab.report.model import Measured, Row, Share
from lab_insights.lab.report.queries import PERIOD_DAYS, TREND_DAYS

Rows = Mapping[str, Sequence[Row]]
Period = Literal["now", "before"]


class Days:
    """Counts by day, added up over the period that ends on a day and the one before it. Snapshots are looked up, never added."""

    def __init__(self, rows: Sequence[Row], day: date) -> None:
        self.by_day = {row["DAY"]: row for row in rows}
        self.day = day

    def total(self, name: str, period: Period, days: int = PERIOD_DAYS) -> int:
        """Return the sum of a count over a period of so many days."""
        return sum(self._on(self._end(period, days) - timedelta(days=back), name) for back in range(days))

    def at_end(self, name: str, period: Period) -> int:
        """Return the count of a period's last day."""
        return self._on(self._end(period, PERIOD_DAYS), name)

    def share(self, of: str, total: str, period: Period, days: int = PERIOD_DAYS) -> Share:
        """Return a rate over a period, of sums."""
        return Share(self.total(of, period, days), self.total(total, period, days))

    def trend(self, *names: str) -> list[list[Any]]:
        """Return a row a day, oldest first, without the days before the first that is known."""
        every = [self.day - timedelta(days=back) for back in range(TREND_DAYS - 1, -1, -1)]
        first = min(self.by_day, default=self.day)
        return [[day, *(self._on(day, name) for name in names)] for day in every if day >= first]

    def _end(self, period: Period, days: int) -> date:
        return self.day - timedelta(days=days if period == "before" else 0)

    def _on(self, day: date, name: str) -> int:
        return count(self.by_day.get(day), name)


def count(row: Row | None, name: str) -> int:
    """Return a count of a row."""
    return int((row or {}).get(name) or 0)


def share(row: Row | None, of: str, total: str) -> Share:
    """Return the rate of two counts of a row."""
    return Share(count(row, of), count(row, total))


def measured(row: Row | None, name: str) -> Measured:
    """Return a percentile of a row with its observations."""
    value = (row or {}).get(name)
    return Measured(None if value is None else float(value), count(row, "OBSERVATIONS"))
