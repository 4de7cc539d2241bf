"""Freshness of each tenant: whether the day that is due by its deliver-by time is in its own database, and the record of when each was.

The day after it is predicted, from how long after their end the last days of the tenant were there: nothing is asked for it.

A day is delivered when it has ended for every modelled table of the tenant (its bookmark has reached the day's end), everything that follows from
it is in the lake, and all of that is in the ledger of the tenant's database. The time is that of the last load. Each day is written down when it is
due (`<prefix>-status`, `<tenant>#delivered`), and once more with the time when it is there; then it is not asked for again, so that nothing polls a
warehouse awake: the ledger is read only for a day that is complete in the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo

from lab_insights.checks.verdicts import FRESH, Judgement, Subject
from lab_insights.errors import WarehouseError, told
from lab_insights.extract.window import end_of
from lab_insights.lab.declared import Sources, curated_from, has, read_by, served_wide
from lab_insights.lake.commit import Lake
from lab_insights.lake.items import Items
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import ledger
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session

State = Literal["met", "delivered late", "late"]
# Days that a prediction is made from, and how soon the next look could find what is not there now.
HABIT, NEXT_LOOK = 7, timedelta(minutes=15)
# How long a day that is not there is looked for; after that it was missed for good.
LOOK_BACK = timedelta(days=14)
_LOADED_AT = """
SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID, TO_VARCHAR(LOADED_AT, 'YYYY-MM-DD"T"HH24:MI:SS') FROM OPS.LEDGER
WHERE DAY = CAST(? AS DATE)"""
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


def deliveries(
    lake: Lake, tenants: Iterable[Tenant], sources: Sources, session_factory: Callable[[], Session], first_day: date
) -> list[Delivery]:
    """Return the due days of each tenant that are not known to be there, in order, and the newest one in any case.

    Looked at is from the oldest that was written down in `LOOK_BACK`. A tenant that is suspended, or registered after its newest due day, is left out.
    One that can not be looked at is late, and stops no other.
    """
    known, now = Deliveries(lake.state.aws, lake.state.prefix), lake.clock.now()
    found: list[Delivery] = []
    with _Warehouse(session_factory) as warehouse:
        for tenant in tenants:
            newest = due_day(tenant, now)
            # By the wall clock it may have been registered long after a simulated now: then that says nothing.
            new = tenant.registered_at is not None and due_at(tenant, newest) <= tenant.registered_at <= now
            if tenant.suspended or newest < first_day or new:
                continue
            written = known.between(tenant.id, newest - LOOK_BACK, newest)
            for day in _days(min(written, default=newest), newest):
                at, missing = written.get(day), tuple[str, ...]()
                if at is None:
                    missing, at = _looked(lake, tenant, sources, day, warehouse, now)
                    if at or day not in written:
                        known.record(tenant.id, day, at, due_at(tenant, day))
                elif day < newest:
                    continue
                found.append(Delivery(tenant.id, day, due_at(tenant, day), now, at, missing))
            upcoming = newest + timedelta(days=1)
            expected = predicted(upcoming, due_at(tenant, upcoming), known.lags(tenant.id, newest), now)
            found[-1] = replace(found[-1], next=expected)
    return found


def newest(found: Iterable[Delivery]) -> list[Delivery]:
    """Return the newest due day of each tenant."""
    return list({each.tenant: each for each in found}.values())


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


class _Warehouse:
    """One session for all tenants, opened for the first that needs it; one that can not be opened is not tried for each of them."""

    def __init__(self, factory: Callable[[], Session]) -> None:
        self._factory = factory
        self._opened: Session | WarehouseError | None = None

    def session(self) -> Session:
        """Return the session; raise `WarehouseError` when there is none."""
        if self._opened is None:
            try:
                self._opened = self._factory()
            except WarehouseError as error:
                self._opened = error
        if isinstance(self._opened, WarehouseError):
            raise self._opened
        return self._opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None and not isinstance(self._opened, WarehouseError):
            self._opened.close()


def _looked(
    lake: Lake, tenant: Tenant, sources: Sources, day: date, warehouse: _Warehouse, now: datetime
) -> tuple[tuple[str, ...], datetime | None]:
    """Return what is missing of a day, and when it was delivered when nothing is."""
    try:
        missing, batches = _in_the_lake(lake, tenant, sources, day)
        return (missing, None) if missing else _in_the_warehouse(warehouse, tenant, batches, now)
    except Exception as error:  # noqa: BLE001 (one tenant's fault must not silence the lateness of the others)
        return (f"what is known of it ({told(error)})",), None


def judged(found: Iterable[Delivery], standing: Iterable[Judgement], asset: str) -> list[Judgement]:
    """Return a judgement of each tenant: that it is late; a tenant that is no longer looked at (suspended, gone) is not late any more."""
    made = {each.tenant: each for each in found}
    gone = [Judgement(each.of) for each in standing if each.of.tenant not in made]
    return [
        *(
            Judgement(
                Subject(FRESH, asset, TenantId(each.tenant), "delivery"),
                str(each).partition(": ")[2] if each.state == "late" else "",
                {"day": str(each.day), "missing_tables": len(each.missing)},
            )
            for each in made.values()
        ),
        *gone,
    ]


def _in_the_lake(lake: Lake, tenant: Tenant, sources: Sources, day: date) -> tuple[tuple[str, ...], list[Manifest]]:
    """Return what is missing of a day in the lake, and the batches that must be in the warehouse."""
    expected = [raw for raw, [(_, mapping), *_] in read_by().items() if has(sources, mapping)]
    missing = [f"raw/{raw}" for raw in expected if not _ended(lake, Partition("raw", tenant.id, raw, day))]
    batches: list[Manifest] = []
    becoming = {name for raw in {*expected, *lake.state.tables("raw", tenant.id, day, day)} for name in curated_from(raw)}
    wanted: dict[Layer, set[str]] = {"curated": becoming, "transformed": {wide.table for wide in served_wide(sources)}}
    for layer, names in wanted.items():
        for name in sorted(names.union(lake.state.tables(layer, tenant.id, day, day))):
            its = partition_manifests(lake, Partition(layer, tenant.id, name, day))
            batches += its
            missing += [] if its else [f"{layer}/{name}"]
    return tuple(missing), batches


def _ended(lake: Lake, partition: Partition) -> bool:
    position = lake.state.head(partition).position
    if position is not None:
        return position >= end_of(partition.day)
    # Without a bookmark a day is a snapshot, and one that was taken when it had ended is of all of it.
    return any(batch.created_at >= end_of(partition.day) for batch in partition_manifests(lake, partition))


def _in_the_warehouse(
    warehouse: _Warehouse, tenant: Tenant, batches: list[Manifest], now: datetime
) -> tuple[tuple[str, ...], datetime | None]:
    try:
        session = warehouse.session()
        use(session, tenant.id)
        day = str(batches[0].day) if batches else str(date.min)
        held = {tuple(map(str, row[:4])): str(row[4]) for row in session.execute(_LOADED_AT, day)}
    except WarehouseError as error:
        return (f"its database ({error.message})",), None
    absent = tuple(dict.fromkeys(f"snowflake/{each.layer}/{each.table}" for each in batches if ledger.entry(each) not in held))
    if absent:
        return absent, None
    loaded = [datetime.fromisoformat(held[ledger.entry(each)]).replace(tzinfo=UTC) for each in batches]
    # A load can not be later than now; where the clock is simulated, the warehouse's is not.
    return (), min(now, max(loaded, default=now))
