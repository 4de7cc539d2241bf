"""When a tenant's day is due, what became of each deadline, and when the next day is expected.

What was due and when it was delivered is written down in `<prefix>-status`, `<tenant>#delivered`: once when the day is due, and once more when it is there.
A prediction is made from how long after their end the last days of the tenant were there: nothing is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from lab_insights.extract.window import end_of
from lab_insights.lake.items import Items
from lab_insights.tenants.registry import Tenant

State = Literal["met", "delivered late", "late"]
# Days that a prediction is made from, and how soon the next look could find what is not there now.
HABIT, NEXT_LOOK = 7, timedelta(minutes=15)
NAMED = 3


@dataclass(frozen=True)
class Prediction:
    """The day that is due next: when it is due, and when it is expected, from the tenant's last days."""

    day: date
    due: datetime
    at: datetime

    @property
    def late(self) -> bool:
        """Whether it is expected after it is due."""
        return self.at > self.due

    def __str__(self) -> str:
        return f"{self.day} predicted {'late, ' if self.late else ''}{self.at:%Y-%m-%d %H:%M} UTC, due {self.due:%Y-%m-%d %H:%M}"


def predicted(day: date, due: datetime, lags: Sequence[timedelta], now: datetime) -> Prediction | None:
    """Return when a day is expected: as long after its end as the last days usually were there; None without any.

    When that has passed and it may not be there, as late as the latest of them, and not before the next look.
    """
    if not lags:
        return None
    usual = end_of(day) + sorted(lags)[len(lags) // 2]
    return Prediction(day, due, usual if now < usual else max(end_of(day) + max(lags), now + NEXT_LOOK))


@dataclass(frozen=True)
class Delivery:
    """A due day of a tenant: when it was due, when it was delivered, and what is missing of it."""

    tenant: str
    day: date
    due: datetime
    now: datetime
    at: datetime | None = None
    missing: tuple[str, ...] = ()
    next: Prediction | None = None

    @property
    def state(self) -> State:
        """What became of the deadline."""
        if self.at is None:
            return "late"
        return "met" if self.at <= self.due else "delivered late"

    def __str__(self) -> str:
        due = f"{self.day} was due {self.due:%Y-%m-%d %H:%M} UTC"
        if self.at is not None:
            return f"{self.tenant}: {due}, delivered {self.at:%Y-%m-%d %H:%M}"
        hours = (self.now - self.due).total_seconds() / 3600
        named = ", ".join(self.missing[:NAMED])
        more = f" and {len(self.missing) - NAMED} more" if len(self.missing) > NAMED else ""
        return f"{self.tenant}: {due}, {hours:.1f} h ago; {len(self.missing)} tables are missing: {named}{more}"


def due_at(tenant: Tenant, day: date) -> datetime:
    """Return the instant by which a day (UTC) is due: the tenant's deliver-by time of the day after, in its zone."""
    return datetime.combine(day + timedelta(days=1), tenant.deliver_by.replace(tzinfo=None), ZoneInfo(tenant.zone)).astimezone(UTC)


def due_day(tenant: Tenant, now: datetime) -> date:
    """Return the newest day that is due."""
    day = now.date()
    # A zone ahead of UTC may have its deliver-by time before the UTC day has ended: the day is due then, and can not be complete.
    while due_at(tenant, day) > now:
        day -= timedelta(days=1)
    return day


@dataclass(frozen=True)
class Deliveries(Items):
    """What was delivered when."""

    def at(self, tenant: str, day: date) -> datetime | None:
        """Return when a day was delivered, None when that is not known."""
        key = {"pk": {"S": f"{tenant}#delivered"}, "sk": {"S": str(day)}}
        item = self.db.get_item(TableName=self.status, Key=key, ConsistentRead=True).get("Item")
        return datetime.fromisoformat(item["at"]["S"]) if item and "at" in item else None

    def between(self, tenant: str, first: date, last: date) -> dict[date, datetime | None]:
        """Return the days that were written down, in order, and when each was delivered: None when it was due and not there."""
        found = self.query(self.status, f"{tenant}#delivered", (str(first), str(last)))
        return {date.fromisoformat(item["sk"]): datetime.fromisoformat(item["at"]) if "at" in item else None for item in found}

    def record(self, tenant: str, day: date, at: datetime | None, due: datetime) -> None:
        """Write down that a day was delivered, or (None) that it was due and is not there."""
        item = {"pk": f"{tenant}#delivered", "sk": str(day), "due": due.isoformat(), **({"at": at.isoformat()} if at else {})}
        self.db.put_item(TableName=self.status, Item={name: {"S": value} for name, value in item.items()})

    def lags(self, tenant: str, until: date) -> list[timedelta]:
        """Return how long after their end the newest delivered days up to `until` were delivered."""
        found = self.between(tenant, until - timedelta(days=2 * HABIT), until)
        return [at - end_of(day) for day, at in found.items() if at][-HABIT:]

    def by_month(self, tenant: str, until: date) -> dict[str, tuple[int, int]]:
        """Return for each of the twelve months up to `until`, such as 2026-03, how many of its due days were delivered in time, and how many there were.

        A month without any is left out.
        """
        first = date(until.year - (until.month < 12), until.month % 12 + 1, 1)
        months: dict[str, tuple[int, int]] = {}
        for item in self.query(self.status, f"{tenant}#delivered", (str(first), str(until))):
            met, days = months.get(item["sk"][:7], (0, 0))
            months[item["sk"][:7]] = met + (item.get("at", "~") <= item["due"]), days + 1
        return months


def newest(found: Iterable[Delivery]) -> list[Delivery]:
    """Return the newest due day of each tenant."""
    return list({each.tenant: each for each in found}.values())
