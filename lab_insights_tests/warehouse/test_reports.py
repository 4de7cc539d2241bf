"""A refresh of the KPIs, by the daily activity report and its oracle."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from lab_insights.checks import grains
from lab_insights.lab.kpis.daily import DAILY_ACTIVITY
from lab_insights.lab.kpis.service import AUDIT
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.kpi_tables import SCHEMAS, ZONE, Row, Tables
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.oracle.reporting import daily_activity


def a_week() -> Tables:
    """Orders, results, cases and calls around a change of the clocks, some without their time."""
    rng, made, start = random.Random(7), Tables(), datetime(2026, 3, 6)
    for n in range(300):
        at = None if n % 37 == 0 else start + timedelta(minutes=rng.randrange(4 * 1440))
        made.add("lab_order", lab_order_id=str(n), status=rng.choice(["completed"] * 5 + ["cancelled", None]), ordered_at=at)
    for n in range(700):
        order = made.rows["lab_order"][n % 300]
        base = order["ordered_at"] or start
        status = rng.choice(["final", "final", "corrected", "amended", "preliminary", None])
        verified = None if n % 41 == 0 else base + timedelta(seconds=rng.randrange(200_000))
        its = {"status_norm": status, "resulted_at": base, "verified_at": verified}
        made.add("result", result_id=str(n), lab_order_id=order["lab_order_id"], **its)
    for n in range(12):
        made.add("crm_case", case_id=str(n), opened_at=start + timedelta(hours=7 * n), is_removed=n % 5 == 0)
    for n in range(15):
        made.add("critical_notification", notification_id=str(n), notified_at=start + timedelta(hours=5 * n))
    return made


def held(session: Session) -> dict[date, Row]:
    names = list(DAILY_ACTIVITY.columns)
    rows = session.execute(f"SELECT {', '.join(names)} FROM REPORTS.DAILY_ACTIVITY ORDER BY EVENT_DAY")
    return {row[0]: {name: float(v) if isinstance(v, Decimal) else v for name, v in zip(names[1:], row[1:], strict=True)} for row in rows}


def counts(session: Session) -> dict[date, tuple[int, int, int]]:
    return {day: (row["orders"], row["results_final"], row["results_corrected"]) for day, row in held(session).items()}


def test_the_report_equals_the_oracle_and_a_second_run_changes_nothing(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    week = a_week()
    load(session, storage, tenant, week.write(lake, 1), run_id="test")
    receipts = refresh(session, tenant, ZONE, date(2026, 3, 8))
    expected = {day: row for (day,), row in daily_activity(week).items()}
    assert held(session) == expected
    made = next(each for each in receipts if each.table == "daily_activity")
    assert (made.rows, made.day_rows) == (len(expected), 1)
    refresh(session, tenant, ZONE, date(2026, 3, 8))
    assert held(session) == expected


def test_only_the_tables_that_are_asked_for_are_made(session: Session, tenant: TenantId) -> None:
    assert [made.table for made in refresh(session, tenant, ZONE, date(2026, 3, 8), [AUDIT])] == [AUDIT.name]
    assert session.execute("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'REPORTS'") == [(AUDIT.name.upper(),)]


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
                SCHEMAS["result"],
                key=("result_id",),
            )
        ],
        run_id="t",
    )
    refresh(session, tenant, ZONE, monday.date())
    assert counts(session) == {monday.date(): (0, 1, 0)}
    later = [
        lake.batch(
            "result",
            2,
            [{"result_id": "1", "status_norm": "corrected", "verified_at": friday}],
            SCHEMAS["result"],
            key=("result_id",),
        ),
        lake.batch("lab_order", 2, [{"lab_order_id": "1", "ordered_at": tuesday}], SCHEMAS["lab_order"], key=("lab_order_id",)),
    ]
    load(session, storage, tenant, later, run_id="t")
    refresh(session, tenant, ZONE, friday.date())
    assert counts(session) == {tuesday.date(): (1, 0, 0), friday.date(): (0, 0, 1)}


@pytest.mark.parametrize(("zone", "day"), [("UTC", date(2026, 1, 5)), (ZONE, date(2026, 1, 4))])
def test_tables_that_do_not_exist_count_as_empty_and_the_zone_decides_the_day(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake, zone: str, day: date
) -> None:
    assert all(made.rows == 0 for made in refresh(session, tenant, zone, day))
    case = lake.batch("crm_case", 1, [{"case_id": "1", "opened_at": datetime(2026, 1, 5, 4, 59)}], SCHEMAS["crm_case"], key=("case_id",))
    load(session, storage, tenant, [case], run_id="t")
    refresh(session, tenant, zone, day)
    assert list(held(session)) == [day]


def test_rows_of_a_kpi_that_its_key_does_not_tell_apart_fail_its_check(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake
) -> None:
    made = Tables()
    for code in ("A", "B"):
        made.add("order_item", order_item_id=code, lab_order_id="1", test_code=code)
    made.add("orderable", orderable_id="1", test_code="A", department="chemistry")
    load(session, storage, tenant, made.write(lake, 1), run_id="t")
    refresh(session, tenant, ZONE, date(2026, 1, 5))
    session.execute("INSERT INTO CURATED.ORDERABLE SELECT * REPLACE ('2' AS ORDERABLE_ID) FROM CURATED.ORDERABLE")
    found = grains.refreshed(tenant, refresh(session, tenant, ZONE, date(2026, 1, 5)), str)
    assert {each.of.table: each.message for each in found if not each.passed} == {"ordered_test": "3 rows have 2 keys"}
