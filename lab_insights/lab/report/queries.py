"""What the page reads from the KPI tables, as pure SQL. Counts come by day and are added up; percentiles come from their facts, never from days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from lab_insights.lab.kpis.declared import tiled
from lab_insights.lab.kpis.reporting import critical_reporting
from lab_insights.lab.kpis.turnaround import turnaround

PERIOD_DAYS = 7
TREND_DAYS = 28
# Upper bounds of the bins of the distribution, in hours.
BINS = (1, 2, 4, 8, 12, 24, 48)
_ROWS = 12


def queries(table: Callable[[str], str], accounts: str, orderables: str, day: date) -> dict[str, str]:
    """Return the SELECTs by name; `table` names a KPI table, `accounts` and `orderables` are relations that name what codes mean.

    Those of tiles of the deployment's own are `own:<KPI table>`.
    """

    def days(name: str, columns: str, length: int = TREND_DAYS, day_column: str = "EVENT_DAY") -> str:
        return f"SELECT {day_column} AS DAY, {columns} FROM {table(name)} WHERE {between(day_column, length)} GROUP BY 1 ORDER BY 1"

    def week() -> str:
        ends = [day - timedelta(days=PERIOD_DAYS * back) for back in range(TREND_DAYS // PERIOD_DAYS)]
        whens = (f"WHEN VERIFIED_DAY > {_date(end - timedelta(days=PERIOD_DAYS))} THEN {_date(end)}" for end in ends)
        return f"CASE {' '.join(whens)} END"

    def between(column: str, length: int) -> str:
        return f"{column} BETWEEN {_date(day - timedelta(days=length - 1))} AND {_date(day)}"

    def top(name: str, member: str, measure: str, where: str = "TRUE") -> str:
        now, before = (f"COALESCE(SUM(CASE WHEN {period('EVENT_DAY')} = '{which}' THEN {measure} END), 0)" for which in ("now", "before"))
        return (
            f"SELECT {member} AS MEMBER, {now} AS NOW, {before} AS BEFORE FROM {table(name)} AS T "
            f"WHERE {between('EVENT_DAY', 2 * PERIOD_DAYS)} AND {where} GROUP BY 1 ORDER BY 2 DESC, 3 DESC, 1 LIMIT {_ROWS}"
        )

    def period(column: str) -> str:
        return f"CASE WHEN {between(column, PERIOD_DAYS)} THEN 'now' WHEN {between(column, 2 * PERIOD_DAYS)} THEN 'before' END"

    recent = f"(SELECT * FROM {table('ordered_test')} WHERE {between('VERIFIED_DAY', 2 * PERIOD_DAYS)})"
    weeks = f"(SELECT * FROM {table('ordered_test')} WHERE {between('VERIFIED_DAY', TREND_DAYS)})"
    hours = "TOTAL_MINUTES / 60"
    bins = " ".join(f"WHEN {hours} < {bound} THEN {index}" for index, bound in enumerate(BINS))
    stat, other = (_count(f"PRIORITY {is_} 'stat'") for is_ in ("=", "<>"))
    named = f"LEFT JOIN {accounts} AS A ON A.ACCOUNT_ID = V.MEMBER"
    return {
        "volume": days(
            "test_volume",
            "SUM(TESTS) AS TESTS, SUM(CANCELLED) AS CANCELLED, SUM(DUPLICATES) AS DUPLICATES, SUM(ADD_ONS) AS ADD_ONS",
        ),
        "specimens": days(
            "specimen_rejection", "SUM(SPECIMENS) AS SPECIMENS, SUM(CASE WHEN REASON <> 'accepted' THEN SPECIMENS ELSE 0 END) AS REJECTED"
        ),
        # A month beside the one before.
        "corrected": days(
            "corrected_result", "SUM(CORRECTED) AS CORRECTED, SUM(BILLABLE_TESTS) AS BILLABLE, SUM(RESULTS) AS RESULTS", 2 * TREND_DAYS
        ),
        "pending": days("pending_test", "SUM(PENDING) AS PENDING, SUM(OVERDUE) AS OVERDUE"),
        "cases": days("case_activity", "SUM(OPENED) AS OPENED, SUM(CLOSED) AS CLOSED, SUM(BACKLOG) AS BACKLOG, SUM(REOPENED) AS REOPENED"),
        "tasks": days(
            "task_activity", "SUM(DUE) AS DUE, SUM(DONE_ON_TIME) AS ON_TIME, SUM(OPEN_TASKS) AS OPEN_TASKS, SUM(OPEN_OVERDUE) AS OVERDUE"
        ),
        "tat_days": (
            f"SELECT EVENT_DAY AS DAY, MEMBER, OBSERVATIONS, MEDIAN_MINUTES, P90_MINUTES FROM {table('turnaround')} WHERE STAGE = 'total' "
            f"AND (DIMENSION = 'all' OR DIMENSION = 'priority' AND MEMBER = 'stat') AND {between('EVENT_DAY', TREND_DAYS)} ORDER BY 1, 2"
        ),
        "tat": (
            f"SELECT PERIOD, STAGE, DIMENSION, MEMBER, TESTS, OBSERVATIONS, MEDIAN_MINUTES, P90_MINUTES, P95_MINUTES, WITH_TARGET, WITHIN_TARGET, NO_TARGET "
            f"FROM ({turnaround(recent, period('VERIFIED_DAY'), ('all', 'test', 'priority', 'department'))}) AS T"
        ),
        "tat_weeks": (
            f"SELECT PERIOD AS WEEK, DIMENSION, MEMBER, OBSERVATIONS, MEDIAN_MINUTES, P90_MINUTES "
            f"FROM ({turnaround(weeks, week(), ('test', 'priority', 'test_priority'))}) AS T WHERE STAGE = 'total' ORDER BY 1, 2, 3"
        ),
        "tat_bins": (
            f"SELECT CASE {bins} ELSE {len(BINS)} END AS BIN, {stat} AS STAT, {other} AS OTHER "
            f"FROM {table('ordered_test')} WHERE TOTAL_MINUTES IS NOT NULL AND {between('VERIFIED_DAY', PERIOD_DAYS)} GROUP BY 1 ORDER BY 1"
        ),
        "by_account": (
            f"SELECT COALESCE(A.NAME, V.MEMBER) AS MEMBER, NOW, BEFORE FROM ({top('test_volume', 'ACCOUNT_ID', 'TESTS')}) AS V {named} ORDER BY 2 DESC, 1"
        ),
        "by_test": top("test_volume", "TEST_CODE", "TESTS"),
        "by_reason": top("specimen_rejection", "REASON", "SPECIMENS", "REASON <> 'accepted'"),
        "by_cause": top("case_cause", "ROOT_CAUSE", "CLOSED", "CLOSED > 0"),
        "pending_by_test": (
            f"SELECT TEST_CODE AS MEMBER, SUM(PENDING) AS PENDING, SUM(OVERDUE) AS OVERDUE, SUM(NOT_RECEIVED) AS NOT_RECEIVED, "
            f"MAX(OLDEST_HOURS) AS OLDEST FROM {table('pending_test')} WHERE EVENT_DAY = {_date(day)} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_ROWS}"
        ),
        "criticals": critical_reporting(
            f"(SELECT * FROM {table('critical_result')} WHERE {between('EVENT_DAY', 2 * PERIOD_DAYS)})", period("EVENT_DAY")
        ),
        "quality": (
            f"SELECT MEASURE, SUM(CHECKED) AS CHECKED, SUM(FAILED) AS FAILED, SUM(CASE WHEN EVENT_DAY = {_date(day)} THEN CHECKED ELSE 0 END) AS DAY_CHECKED, "
            f"SUM(CASE WHEN EVENT_DAY = {_date(day)} THEN FAILED ELSE 0 END) AS DAY_FAILED "
            f"FROM {table('data_quality')} WHERE {between('EVENT_DAY', PERIOD_DAYS)} GROUP BY 1"
        ),
        "names": f"SELECT TEST_CODE, NAME FROM {orderables} AS P WHERE TEST_CODE IS NOT NULL",
        "loads": (
            f"SELECT TABLE_NAME, SUM(CASE WHEN DAY = {_date(day)} THEN STAGED ELSE 0 END) AS STAGED, "
            f"SUM(CASE WHEN DAY < {_date(day)} THEN STAGED ELSE 0 END) AS BEFORE, COUNT(DISTINCT CASE WHEN DAY < {_date(day)} THEN DAY END) AS DAYS "
            f"FROM OPS.LEDGER WHERE LAYER = 'curated' AND DAY BETWEEN {_date(day - timedelta(days=PERIOD_DAYS))} AND {_date(day)} GROUP BY 1"
        ),
    } | {
        f"own:{kpi.name}": days(
            kpi.name, ", ".join(f"SUM({name.upper()}) AS {name.upper()}" for name in tile.columns), TREND_DAYS, kpi.day.upper()
        )
        for kpi, tile in tiled()
    }


def _date(day: date) -> str:
    return f"CAST('{day.isoformat()}' AS DATE)"


def _count(condition: str) -> str:
    return f"COUNT(CASE WHEN {condition} THEN 1 END)"
