"""The frame of one tenant's generation: seed, first day and scale, and the dice and clock derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from lab_insights.local.laboratory.tenancy import LabTenant

HISTORY_DAYS = 7
ID_STRIDE = 100_000_000  # room for a day of a large user-defined table


@dataclass(frozen=True)
class Scene:
    """One tenant in the simulator; day indexes count from the first day, history has negative ones."""

    tenant: LabTenant
    seed: int
    first_day: date
    scale: float

    def dice(self, *parts: str | int) -> Random:
        """Return the random numbers of one named part, the same in every process and Python version."""
        return Random(":".join(map(str, (self.seed, self.tenant.id, *parts))))

    def many(self, at_scale_one: float) -> int:
        """Return a volume: linear in the scale, at least one."""
        return max(1, round(at_scale_one * self.scale))

    def midnight(self, index: int) -> datetime:
        """Return the first instant of a day."""
        return datetime.combine(self.first_day, time(), UTC) + timedelta(days=index)

    def moment(self, index: int, dice: Random, first_hour: float = 0, last_hour: float = 24) -> datetime:
        """Return an instant of a day, between two hours."""
        seconds = first_hour * 3600 + dice.random() * (last_hour - first_hour) * 3600
        return self.midnight(index) + timedelta(seconds=min(seconds, 86_399.9))

    def identifier(self, birth: int, number: int) -> int:
        """Return the id of the `number`-th row of its kind that is born on day `birth`, at most `ID_STRIDE` a day."""
        return (birth + HISTORY_DAYS + 1) * ID_STRIDE + number + 1

    def births(self, index: int, life: int) -> range:
        """Return the days whose rows may change on day `index`; on the first day, all of history."""
        return range(-HISTORY_DAYS if index == 0 else max(-HISTORY_DAYS, index - life), index + 1)
