"""The day at a glance: orders, results, turnaround of results, calls and cases."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, MINUTES, YEAR_MINUTES, Column, Relations, Report, day, minutes, percentile, reported


def _build(relations: Relations, zone: str) -> str:
    return f"""
WITH ORDERS AS (
    SELECT {day("ORDERED_AT", zone)} AS EVENT_DAY, COUNT(*) AS N FROM {relations["lab_order"]} AS O
    WHERE COALESCE(STATUS, '') <> 'cancelled' AND ORDERED_AT IS NOT NULL GROUP BY 1
), TIMED AS (
    SELECT {day("COALESCE(R.VERIFIED_AT, R.RESULTED_AT)", zone)} AS EVENT_DAY, R.STATUS_NORM,
        COALESCE(O.STATUS, '') = 'cancelled' AS CANCELLED,
        {minutes("O.ORDERED_AT", "R.VERIFIED_AT")} AS MINUTES
    FROM {relations["result"]} AS R LEFT JOIN {relations["lab_order"]} AS O ON O.LAB_ORDER_ID = R.LAB_ORDER_ID
    WHERE {reported()} AND COALESCE(R.VERIFIED_AT, R.RESULTED_AT) IS NOT NULL
), JUDGED AS (
    SELECT EVENT_DAY, STATUS_NORM,
        CASE WHEN NOT CANCELLED AND MINUTES BETWEEN 0 AND {YEAR_MINUTES} THEN MINUTES END AS MINUTES,
        CASE WHEN NOT CANCELLED AND MINUTES IS NULL THEN 1 ELSE 0 END AS MISSING,
        CASE WHEN NOT CANCELLED AND (MINUTES < 0 OR MINUTES > {YEAR_MINUTES}) THEN 1 ELSE 0 END AS IMPLAUSIBLE
    FROM TIMED
), RESULTS AS (
    SELECT EVENT_DAY, COUNT(CASE WHEN STATUS_NORM <> 'corrected' THEN 1 END) AS FINAL,
        COUNT(CASE WHEN STATUS_NORM = 'corrected' THEN 1 END) AS CORRECTED,
        COUNT(MINUTES) AS OBSERVATIONS, {percentile("0.5", "MINUTES")} AS MEDIAN_MINUTES, {percentile("0.9", "MINUTES")} AS P90_MINUTES,
        SUM(MISSING) AS MISSING, SUM(IMPLAUSIBLE) AS IMPLAUSIBLE
    FROM JUDGED GROUP BY 1
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
    COALESCE(CASES.N, 0) AS CASES_OPENED, COALESCE(RESULTS.OBSERVATIONS, 0) AS TURNAROUND_OBSERVATIONS,
    RESULTS.MEDIAN_MINUTES AS TURNAROUND_MEDIAN_MINUTES, RESULTS.P90_MINUTES AS TURNAROUND_P90_MINUTES,
    COALESCE(RESULTS.MISSING, 0) AS TURNAROUND_MISSING, COALESCE(RESULTS.IMPLAUSIBLE, 0) AS TURNAROUND_IMPLAUSIBLE
FROM DAYS AS D
LEFT JOIN ORDERS ON ORDERS.EVENT_DAY = D.EVENT_DAY LEFT JOIN RESULTS ON RESULTS.EVENT_DAY = D.EVENT_DAY
LEFT JOIN CRITICAL ON CRITICAL.EVENT_DAY = D.EVENT_DAY LEFT JOIN CASES ON CASES.EVENT_DAY = D.EVENT_DAY"""


DAILY_ACTIVITY = Report(
    "daily_activity",
    "Orders, results, turnaround, critical notifications and cases of each day in the tenant's zone.",
    "hc1 dashboards; Hawkins 2007 (turnaround).",
    ("event_day",),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
        "orders": Column(COUNT, "Orders placed on the day that were not cancelled."),
        "results_final": Column(
            COUNT, "Results verified on the day (reported, where that is missing) that are final, amended or appended."
        ),
        "results_corrected": Column(
            COUNT, "Those that stand corrected. Preliminary results, and statuses that are no result, count as neither."
        ),
        "critical_notifications": Column(COUNT, "Notifications of critical values made on the day."),
        "cases_opened": Column(COUNT, "Cases opened on the day that users did not delete."),
        "turnaround_observations": Column(COUNT, "Results whose order → verification is known and from 0 to 365 days."),
        "turnaround_median_minutes": Column(MINUTES, "Median of these, nearest rank; null under 10 observations."),
        "turnaround_p90_minutes": Column(MINUTES, "Ninth decile of the same."),
        "turnaround_missing": Column(COUNT, "Results whose order or verification is not known: excluded."),
        "turnaround_implausible": Column(COUNT, "Results verified before the order, or over 365 days later: excluded."),
    },
    ("lab_order", "result", "critical_notification", "crm_case"),
    _build,
)
