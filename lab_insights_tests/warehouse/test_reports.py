"""The daily activity report against a pandas oracle."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.lake import TestLake

ZONE = "America/New_York"
STAMP = pa.timestamp("us")
ORDER = pa.schema([("lab_order_id", pa.string()), ("status", pa.string()), ("ordered_at", STAMP)])
RESULT = pa.schema(
    [
        ("result_id", pa.string()),
        ("lab_order_id", pa.string()),
        ("status_norm", pa.string()),
        ("resulted_at", STAMP),
        ("verified_at", STAMP),
    ]
)
CASE = pa.schema([("case_id", pa.string()), ("opened_at", STAMP), ("is_removed", pa.bool_())])
CALL = pa.schema([("notification_id", pa.string()), ("notified_at", STAMP)])
Row = dict[str, Any]


def a_week() -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """Orders, results, cases and calls around a change of the clocks, with intervals missing, negative and absurd."""
    rng = random.Random(7)
    start = datetime(2026, 3, 6)
    orders: list[Row] = [
        {
            "lab_order_id": str(n),
            "status": rng.choice(["completed"] * 5 + ["cancelled", None]),
            "ordered_at": None if n % 37 == 0 else start + timedelta(minutes=rng.randrange(4 * 1440)),
        }
        for n in range(300)
    ]
    results = []
    for n in range(700):
        order: Row = orders[n % 310] if n % 310 < 300 else {"lab_order_id": "unknown", "ordered_at": None}
        base: datetime = order["ordered_at"] or start
        verified = (
            None if n % 41 == 0 else base + timedelta(seconds=rng.randrange(-3000, 200_000)) + timedelta(days=400 if n % 97 == 0 else 0)
        )
        status = rng.choice(["final", "final", "corrected", "preliminary", None])
        results.append(
            {
                "result_id": str(n),
                "lab_order_id": order["lab_order_id"],
                "status_norm": status,
                "resulted_at": base,
                "verified_at": verified,
            }
        )
    cases = [{"case_id": str(n), "opened_at": start + timedelta(hours=7 * n), "is_removed": n % 5 == 0} for n in range(12)]
    calls = [{"notification_id": str(n), "notified_at": start + timedelta(hours=5 * n)} for n in range(15)]
    return orders, results, cases, calls


def local_day(stamps: pd.Series[Any]) -> pd.Series[Any]:
    return stamps.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.date


def oracle(orders: list[Row], results: list[Row], cases: list[Row], calls: list[Row]) -> dict[date, tuple[Any, ...]]:
    order = pd.DataFrame(orders)
    result = pd.DataFrame(results).merge(order, on="lab_order_id", how="left")
    result = result[result.status_norm.isin(["final", "corrected"])]
    result["day"] = local_day(result.verified_at.fillna(result.resulted_at))
    seconds = (result.verified_at - result.ordered_at).dt.total_seconds()
    counted = result.status != "cancelled"
    good = counted & (seconds >= 0) & (seconds <= 365 * 86400)
    case = pd.DataFrame(cases)
    kept = order[(order.status != "cancelled") & order.ordered_at.notna()]
    parts = {
        "orders": local_day(kept.ordered_at).value_counts(),
        "final": result[result.status_norm == "final"].day.value_counts(),
        "corrected": result[result.status_norm == "corrected"].day.value_counts(),
        "calls": local_day(pd.DataFrame(calls).notified_at).value_counts(),
        "cases": local_day(case[~case.is_removed].opened_at).value_counts(),
        "observed": result[good].day.value_counts(),
        "missing": result[counted & seconds.isna()].day.value_counts(),
        "implausible": result[counted & seconds.notna() & ~good].day.value_counts(),
    }

    def percentile(day: date, share: float) -> Decimal | None:
        values = sorted(seconds[good & (result.day == day)])
        if len(values) < 10:
            return None
        rank = -(-int(share * 10) * len(values) // 10)  # the smallest rank that covers the share
        return Decimal(str(round(values[rank - 1] / 60, 2)))

    days = sorted({day for counts in parts.values() for day in counts.index} | set(result.day))
    return {
        day: (
            *(int(parts[name].get(day, 0)) for name in ("orders", "final", "corrected", "calls", "cases", "observed")),
            percentile(day, 0.5),
            percentile(day, 0.9),
            *(int(parts[name].get(day, 0)) for name in ("missing", "implausible")),
        )
        for day in days
    }


def held(session: Session) -> dict[date, tuple[Any, ...]]:
    rows = session.execute("SELECT * FROM REPORTS.DAILY_ACTIVITY ORDER BY EVENT_DAY")
    return {row[0]: row[1:] for row in rows}


def test_the_report_equals_the_oracle_and_a_second_run_changes_nothing(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    orders, results, cases, calls = a_week()
    batches = [
        lake.batch("lab_order", 1, orders, ORDER, key=("lab_order_id",)),
        lake.batch("result", 1, results, RESULT, key=("result_id",)),
        lake.batch("crm_case", 1, cases, CASE, key=("case_id",)),
        lake.batch("critical_notification", 1, calls, CALL, key=("notification_id",)),
    ]
    load(session, storage, tenant, batches, run_id="test")
    receipts = refresh(session, tenant, ZONE, date(2026, 3, 8))
    expected = oracle(orders, results, cases, calls)
    assert held(session) == expected
    assert any(row[6] for row in expected.values())
    assert any(row[5] and not row[6] for row in expected.values())
    made = next(each for each in receipts if each.table == "daily_activity")
    assert (made.rows, made.day_rows) == (len(expected), 1)
    refresh(session, tenant, ZONE, date(2026, 3, 8))
    assert held(session) == expected


def test_a_correction_leaves_its_old_day_and_a_late_order_reaches_the_day_it_was_placed(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    monday, tuesday, friday = (datetime(2026, 1, day, 15) for day in (5, 6, 9))
    load(
        session,
        storage,
        tenant,
        [
            lake.batch(
                "result",
                1,
                [{"result_id": "1", "status_norm": "final", "verified_at": monday}],
                RESULT,
                key=("result_id",),
            )
        ],
        run_id="t",
    )
    refresh(session, tenant, ZONE, monday.date())
    assert {day: row[:3] for day, row in held(session).items()} == {monday.date(): (0, 1, 0)}
    later = [
        lake.batch(
            "result",
            2,
            [{"result_id": "1", "status_norm": "corrected", "verified_at": friday}],
            RESULT,
            key=("result_id",),
        ),
        lake.batch("lab_order", 2, [{"lab_order_id": "1", "ordered_at": tuesday}], ORDER, key=("lab_order_id",)),
    ]
    load(session, storage, tenant, later, run_id="t")
    refresh(session, tenant, ZONE, friday.date())
    assert {day: row[:3] for day, row in held(session).items()} == {tuesday.date(): (1, 0, 0), friday.date(): (0, 0, 1)}


@pytest.mark.parametrize(("zone", "day"), [("UTC", date(2026, 1, 5)), (ZONE, date(2026, 1, 4))])
def test_tables_that_do_not_exist_count_as_empty_and_the_zone_decides_the_day(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake, zone: str, day: date
) -> None:
    assert all(made.rows == 0 for made in refresh(session, tenant, zone, day))
    case = lake.batch("crm_case", 1, [{"case_id": "1", "opened_at": datetime(2026, 1, 5, 4, 59)}], CASE, key=("case_id",))
    load(session, storage, tenant, [case], run_id="t")
    refresh(session, tenant, zone, day)
    assert list(held(session)) == [day]
