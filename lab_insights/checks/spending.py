"""Whether a tenant's day cost what its days usually cost, once for each day, when it was delivered; and what each has cost (`<tenant>#cost`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from statistics import median

from lab_insights.checks.verdicts import COST_AS_USUAL, Judgement, Subject
from lab_insights.lake.items import Items
from lab_insights.names import TenantId

# What is usual is the median of the days before: of so many at most, and known from so many on. A first load is no reason to wake somebody.
DAYS, ENOUGH = 14, 5
TIMES = 3.0


@dataclass(frozen=True)
class Spent:
    """What a whole day cost: bytes written to the lake, CPU seconds, Snowflake statements."""

    bytes: int
    cpu_seconds: float
    statements: int


# Less than this is not worth a person's time, however unusual (bytes, seconds, statements).
FLOOR = Spent(500_000_000, 300.0, 2_000)


def unusual(now: Spent, before: Sequence[Spent], floor: Spent = FLOOR) -> str:
    """Return in words what is more than three times the median of the days `before`; nothing where it is little, or too few days are known."""
    if len(before) < ENOUGH:
        return ""
    told = []
    for name, value in asdict(now).items():
        usual = median(getattr(each, name) for each in before)
        if value > max(TIMES * usual, getattr(floor, name)):
            told.append(f"{value:,.0f} {name.replace('_', ' ')} where {usual:,.0f} are usual")
    return "; ".join(told)


@dataclass(frozen=True)
class Spending(Items):
    """What days have cost."""

    def before(self, tenant: str, day: date) -> list[Spent]:
        """Return what is known of the days before one."""
        between = str(day - timedelta(days=DAYS)), str(day - timedelta(days=1))
        return [_spent(item) for item in self.query(self.status, f"{tenant}#cost", between)]

    def known(self, tenant: str, day: date) -> bool:
        """Whether a day was judged already."""
        return bool(list(self.query(self.status, f"{tenant}#cost", (str(day), str(day)))))

    def record(self, tenant: str, day: date, what: Spent) -> None:
        """Write down what a day has cost."""
        item = {"pk": f"{tenant}#cost", "sk": str(day), **{name: str(value) for name, value in asdict(what).items()}}
        self.db.put_item(TableName=self.status, Item={name: {"S": value} for name, value in item.items()})

    def judge(self, tenant: TenantId, day: date, what: Spent, asset: str) -> Judgement:
        """Judge a day by those before it, and write down what it has cost."""
        message = unusual(what, self.before(tenant, day))
        self.record(tenant, day, what)
        numbers: dict[str, int | str] = {"day": str(day), "bytes": what.bytes, "cpu_seconds": round(what.cpu_seconds)}
        told = f"{day} cost {message}" if message else ""
        return Judgement(Subject(COST_AS_USUAL, asset, tenant, "cost"), told, numbers | {"statements": what.statements})


def _spent(item: dict[str, str]) -> Spent:
    return Spent(int(item["bytes"]), float(item["cpu_seconds"]), int(item["statements"]))
