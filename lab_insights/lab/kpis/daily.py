"""The day at a glance: orders, results, calls and cases."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, Column, Relations, Report, count_if, day, reported
from lab_insights.lab.kpis.told import TOLD, results


def _build(relations: Relations, zone: str) -> str:
    # No turnaround: it has rules of its own, and `turnaround` keeps them.
    return f"""
WITH ORDERS AS (
    SELECT {day("ORDERED_AT", zone)} AS EVENT_DAY, COUNT(*) AS N FROM {relations["lab_order"]} AS O
    WHERE COALESCE(STATUS, '') <> 'cancelled' AND ORDERED_AT IS NOT NULL GROUP BY 1
), RESULTS AS (
    SELECT {day("COALESCE(VERIFIED_AT, RESULTED_AT)", zone)} AS EVENT_DAY,
        {count_if("STATUS_NORM <> 'corrected'")} AS FINAL, {count_if("STATUS_NORM = 'corrected'")} AS CORRECTED
    FROM {results(relations)} AS R WHERE {reported()} AND COALESCE(VERIFIED_AT, RESULTED_AT) IS NOT NULL GROUP BY 1
), CRITICAL AS (
    SELECT {day("NOTIFIED_AT", zone)} AS EVENT_DAY, COUNT(*) AS N FROM {relations["critical_notification"]} AS C
    WHERE NOTIFIED_AT IS NOT NULL GROUP BY 1
), CASES AS (
    SELECT {day("OPENED_AT", zone)} AS EVENT_DAY, COUNT(*) AS N FROM {relations["crm_case"]} AS C
    WHERE OPENED_AT IS NOT NULL AND NOT COALESCE(IS_REMOVED, FALSE) GROUP BY 1
), DAYS AS (
    SELECT EVENT_DAY FROM ORDERS UNION SELECT EVENT_DAY FROM RESULTS
    UNION SELECT EVENT_DAY FROM CRITICAL UNION SELECT EVENT_DAY FROM CASES
)
SELECT D.EVENT_DAY, COALESCE(ORDERS.N, 0) AS ORDERS, COALESCE(RESULTS.FINAL, 0) AS RESULTS_FINAL,
    COALESCE(RESULTS.CORRECTED, 0) AS RESULTS_CORRECTED, COALESCE(CRITICAL.N, 0) AS CRITICAL_NOTIFICATIONS,
    COALESCE(CASES.N, 0) AS CASES_OPENED
FROM DAYS AS D
LEFT JOIN ORDERS ON ORDERS.EVENT_DAY = D.EVENT_DAY LEFT JOIN RESULTS ON RESULTS.EVENT_DAY = D.EVENT_DAY
LEFT JOIN CRITICAL ON CRITICAL.EVENT_DAY = D.EVENT_DAY LEFT JOIN CASES ON CASES.EVENT_DAY = D.EVENT_DAY"""


DAILY_ACTIVITY = Report(
    "daily_activity",
    "Orders, results, critical notifications and cases of each day in the tenant's zone.",
    "hc1 dashboards.",
    ("event_day",),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
        "orders": Column(COUNT, "Orders placed on the day that were not cancelled."),
        "results_final": Column(
            COUNT, "Results verified on the day (reported, where that is missing; told again or not) that are final, amended or appended."
        ),
        "results_corrected": Column(
            COUNT, "Those that stand corrected. Preliminary results, and statuses that are no result, count as neither."
        ),
        "critical_notifications": Column(COUNT, "Notifications of critical values made on the day."),
        "cases_opened": Column(COUNT, "Cases opened on the day that users did not delete."),
    },
    ("lab_order", *TOLD, "critical_notification", "crm_case"),
    _build,
)
