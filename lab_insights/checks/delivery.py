"""Freshness of each tenant: whether the day that is due by its deliver-by time is in its own database.

A day is delivered when it has ended for every modelled table of the tenant (its bookmark has reached the day's end), everything that follows from
it is in the lake, and all of that is in the ledger of the tenant's database. The time is that of the last load. A day that was delivered is not asked
for again, so that nothing polls a warehouse awake: the ledger is read only for a day that is complete in the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Self

from lab_insights.checks.deadlines import Deliveries, Delivery, due_at, due_day, predicted
from lab_insights.checks.verdicts import FRESH, Judgement, Subject
from lab_insights.errors import WarehouseError, told
from lab_insights.extract.window import end_of
from lab_insights.lab.declared import Sources, curated_from, has, read_by, served_wide
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import ledger
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session

# How long a day that is not there is looked for; after that it was missed for good.
LOOK_BACK = timedelta(days=14)
_LOADED_AT = """
SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID, TO_VARCHAR(LOADED_AT, 'YYYY-MM-DD"T"HH24:MI:SS') FROM OPS.LEDGER
WHERE DAY = CAST(? AS DATE)"""


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
