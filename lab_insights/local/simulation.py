"""The demo's laboratories on the local stack: three tenants in the three layouts, and days of changes on the simulated clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

from lab_insights.clock import Clock
from lab_insights.errors import StackError
from lab_insights.local.laboratory import Laboratory, LabTenant, Targets
from lab_insights.local.settings import PREFIX
from lab_insights.local.stack import Stack
from lab_insights.tenants.registry import Tenant

# How long after midnight the simulated clock stands when a day has been written: the daily schedule's time and a little.
AFTER_MIDNIGHT = timedelta(minutes=30)

TENANTS = (
    Tenant(id="aurora_clinic", key="12", layouts={"crm": "schema", "lis": "schema"}, zone="America/New_York"),  # type: ignore[arg-type]
    Tenant(id="birchwood", key="27", layouts={"crm": "prefix", "lis": "prefix"}, zone="America/Chicago"),  # type: ignore[arg-type]
    Tenant(id="cedar_valley", key="31", layouts={"crm": "discriminator", "lis": "discriminator"}, zone="America/Los_Angeles"),  # type: ignore[arg-type]
)


@dataclass(frozen=True)
class Progress:
    """What has been simulated: `written` is the newest whole day, None before the first."""

    seed: int
    scale: float
    first_day: str
    written: str | None = None


class Simulation:
    """The laboratories of one local stack, with the file in which they remember how far they are."""

    def __init__(self, stack: Stack, seed: int = 7, scale: float = 1.0) -> None:
        self._file = stack.directory / "laboratory.json"
        self._clock = Clock(stack.directory / "clock")
        self._progress = self._remembered() or Progress(seed, scale, stack.first_day.isoformat())
        crm = stack.urls.get("mysql", stack.urls["postgresql"])
        targets = Targets(
            crm=crm,
            lis=crm,
            audit=stack.urls["postgresql"],
            messages=stack.urls["postgresql"],
            notification_table=f"{PREFIX}-src-critical_notification",
            dynamodb_endpoint=stack.aws.endpoint_url,
            base=stack.base,
        )
        people = [LabTenant(tenant.id, int(tenant.key), tenant.layouts["crm"]) for tenant in TENANTS]
        self._laboratory = Laboratory(targets, people, self._progress.seed, self.first_day, self._progress.scale)

    @property
    def first_day(self) -> date:
        """The day on which the laboratories opened."""
        return date.fromisoformat(self._progress.first_day)

    @property
    def written(self) -> list[date]:
        """Every day that has been written, in order."""
        if self._progress.written is None:
            return []
        last = date.fromisoformat(self._progress.written)
        return [self.first_day + timedelta(days=index) for index in range((last - self.first_day).days + 1)]

    def advance(self, days: int, told: Callable[[date, int], None] = lambda _day, _changes: None) -> Iterator[date]:
        """Write `days` more days, yielding each when the clock stands just after its end; `told` hears how many rows changed."""
        if days < 1:
            raise StackError(f"{days} days can not be simulated.", remedy="choose one or more.")
        if not self.written:
            self._laboratory.drop()  # what a stack of this directory left there, whose files somebody deleted by hand
            self._laboratory.create()
        for _ in range(days):
            day = self.written[-1] + timedelta(days=1) if self.written else self.first_day
            told(day, sum(self._laboratory.simulate_day(day).values()))
            self._progress = Progress(**{**asdict(self._progress), "written": day.isoformat()})
            self._file.write_text(json.dumps(asdict(self._progress)))
            self._clock.set(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) + AFTER_MIDNIGHT)
            yield day

    def _remembered(self) -> Progress | None:
        return Progress(**json.loads(self._file.read_text())) if self._file.exists() else None
