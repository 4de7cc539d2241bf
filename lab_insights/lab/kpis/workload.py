"""Volume, outreach, and what is pending: counts of ordered tests."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, Column, Relations, Report, count_if, day_ends

_LIVE = "STATE NOT IN ('cancelled', 'rejected')"


def _volume(relations: Relations, _zone: str) -> str:
    return f"""
SELECT START_DAY AS EVENT_DAY, ACCOUNT_ID, PROVIDER_ID, TEST_CODE, {count_if(_LIVE)} AS TESTS, {count_if("STATE = 'cancelled'")} AS CANCELLED,
    {count_if("STATE = 'rejected'")} AS REJECTED, {count_if(f"{_LIVE} AND IS_ADD_ON")} AS ADD_ONS,
    {count_if(f"{_LIVE} AND IS_BILLABLE")} AS BILLABLE, {count_if("IS_DUPLICATE")} AS DUPLICATES
FROM {relations["ordered_test"]} AS F WHERE START_DAY IS NOT NULL GROUP BY 1, 2, 3, 4"""


VOLUME = Report(
    "test_volume",
    "Tests ordered on a day by account, provider and orderable.",
    "hc1 dashboards; duplicates: ACB/RCPath National Minimum Retesting Intervals.",
    ("event_day", "account_id", "provider_id", "test_code"),
    {
        "event_day": Column("DATE", "Day of the start in the tenant's zone."),
        "account_id": Column("VARCHAR", "Ordering account."),
        "provider_id": Column("VARCHAR", "Ordering provider."),
        "test_code": Column("VARCHAR", "Orderable."),
        "tests": Column(COUNT, "Tests that were neither cancelled nor rejected."),
        "cancelled": Column(COUNT, "Cancelled tests."),
        "rejected": Column(COUNT, "Tests whose specimens were all rejected."),
        "add_ons": Column(COUNT, "Tests that were added on later."),
        "billable": Column(COUNT, "Tests whose orderable is billed."),
        "duplicates": Column(COUNT, "Tests repeated within the minimum retest interval."),
    },
    (),
    _volume,
    after=("ordered_test",),
)


# Mondays to Fridays from S.MONTH to the end of that month, or to L.LAST_DAY if that is sooner.
_END = "LEAST(DATEADD('day', -1, DATEADD('month', 1, S.MONTH)), L.LAST_DAY)"
_DAYS = f"(DATEDIFF('day', S.MONTH, {_END}) + 1)"
_REST, _FIRST = f"MOD({_DAYS}, 7)", "DAYOFWEEKISO(S.MONTH)"
BUSINESS_DAYS = f"(FLOOR({_DAYS} / 7) * 5 + LEAST({_REST}, GREATEST(6 - {_FIRST}, 0)) + GREATEST({_REST} - 8 + {_FIRST}, 0))"


def _last(relations: Relations) -> str:
    return f"(SELECT MAX(EVENT_DAY) AS LAST_DAY FROM {relations['test_volume']} AS V WHERE TESTS > 0)"


def _outreach(relations: Relations, _zone: str) -> str:
    return f"""
WITH MONTHS AS (
    SELECT DATE_TRUNC('month', EVENT_DAY) AS MONTH, ACCOUNT_ID, SUM(TESTS) AS TESTS FROM {relations["test_volume"]} AS V
    GROUP BY 1, 2 HAVING SUM(TESTS) > 0
), SPINE AS (
    SELECT M.MONTH, A.ACCOUNT_ID, A.FIRST_MONTH FROM (SELECT DISTINCT MONTH FROM MONTHS) AS M
    JOIN (SELECT ACCOUNT_ID, MIN(MONTH) AS FIRST_MONTH FROM MONTHS GROUP BY 1) AS A ON A.FIRST_MONTH <= M.MONTH
), SUMS AS (
    SELECT S.MONTH, S.ACCOUNT_ID, S.FIRST_MONTH, {_within(0, 0)} AS TESTS, {_within(1, 1)} AS TESTS_BEFORE,
        {_within(0, 2)} AS TRAILING_3, {_within(3, 5)} AS PRIOR_3, {BUSINESS_DAYS} AS BUSINESS_DAYS
    FROM SPINE AS S LEFT JOIN MONTHS AS M
        ON M.ACCOUNT_ID = S.ACCOUNT_ID AND M.MONTH <= S.MONTH AND M.MONTH > DATEADD('month', -6, S.MONTH)
    CROSS JOIN {_last(relations)} AS L GROUP BY 1, 2, 3, L.LAST_DAY
)
SELECT MONTH AS EVENT_DAY, ACCOUNT_ID, TESTS, TESTS_BEFORE, TRAILING_3, PRIOR_3, BUSINESS_DAYS,
    TESTS / NULLIF(BUSINESS_DAYS, 0) AS TESTS_PER_BUSINESS_DAY,
    CASE WHEN FIRST_MONTH = MONTH THEN 'new' WHEN TRAILING_3 = 0 THEN 'lapsed' WHEN TRAILING_3 * 2 < PRIOR_3 THEN 'at_risk' ELSE 'active' END AS STANDING
FROM SUMS"""


def _within(newest: int, oldest: int) -> str:
    """The tests of the months from `oldest` to `newest` months ago."""
    inside = f"M.MONTH BETWEEN DATEADD('month', -{oldest}, S.MONTH) AND DATEADD('month', -{newest}, S.MONTH)"
    return f"COALESCE(SUM(CASE WHEN {inside} THEN M.TESTS END), 0)"


OUTREACH = Report(
    "account_outreach",
    "Volume of an account month over month, and whether it is new, active, at risk or lapsed.",
    "hc1 dashboards (outreach).",
    ("event_day", "account_id"),
    {
        "event_day": Column("DATE", "First day of the month; the newest month is not whole yet."),
        "account_id": Column("VARCHAR", "Ordering account."),
        "tests": Column(COUNT, "Tests of the month that were neither cancelled nor rejected."),
        "tests_before": Column(COUNT, "Those of the month before."),
        "trailing_3": Column(COUNT, "Those of this month and the two before it."),
        "prior_3": Column(COUNT, "Those of the three months before these."),
        "business_days": Column(COUNT, "Mondays to Fridays of the month, up to the newest day that any test was ordered on."),
        "tests_per_business_day": Column("NUMBER(12,2)", "tests / business_days: months of unequal length compared."),
        "standing": Column(
            "VARCHAR", "new in its first month; lapsed without a test in three months; at_risk below half of the three before; else active."
        ),
    },
    (),
    _outreach,
    after=("test_volume",),
)


DIMENSIONS = {"all": "'all'", "test": "TEST_CODE", "provider": "PROVIDER_ID", "account": "ACCOUNT_ID"}


def _months(relations: Relations, _zone: str) -> str:
    each = " UNION ALL ".join(
        f"SELECT DATE_TRUNC('month', EVENT_DAY) AS MONTH, '{name}' AS DIMENSION, {member} AS MEMBER, SUM(TESTS) AS TESTS "
        f"FROM {relations['test_volume']} AS V GROUP BY 1, 2, 3"
        for name, member in DIMENSIONS.items()
    )
    return f"""
WITH MONTHS AS ({each}), BOTH AS (
    SELECT MONTH, DIMENSION, MEMBER, TESTS, 0 AS TESTS_BEFORE FROM MONTHS
    UNION ALL SELECT DATEADD('month', 1, MONTH), DIMENSION, MEMBER, 0, TESTS FROM MONTHS
    WHERE DATEADD('month', 1, MONTH) <= (SELECT MAX(MONTH) FROM MONTHS)
), SUMS AS (
    SELECT S.MONTH, S.DIMENSION, S.MEMBER, SUM(S.TESTS) AS TESTS, SUM(S.TESTS_BEFORE) AS TESTS_BEFORE, {BUSINESS_DAYS} AS BUSINESS_DAYS
    FROM BOTH AS S CROSS JOIN {_last(relations)} AS L GROUP BY 1, 2, 3, L.LAST_DAY
)
SELECT MONTH AS EVENT_DAY, DIMENSION, MEMBER, TESTS, TESTS_BEFORE, BUSINESS_DAYS, TESTS / NULLIF(BUSINESS_DAYS, 0) AS TESTS_PER_BUSINESS_DAY
FROM SUMS WHERE TESTS > 0 OR TESTS_BEFORE > 0"""


MONTHS = Report(
    "volume_by_month",
    "Tests ordered in a month and in the one before it, by orderable, provider and account.",
    "hc1 dashboards (utilisation).",
    ("event_day", "dimension", "member"),
    {
        "event_day": Column("DATE", "First day of the month; the newest month is not whole yet."),
        "dimension": Column("VARCHAR", f"What `member` is: {', '.join(DIMENSIONS)}."),
        "member": Column("VARCHAR", "The orderable, provider or account; or `all`."),
        "tests": Column(COUNT, "Tests of the month that were neither cancelled nor rejected."),
        "tests_before": Column(COUNT, "Those of the month before. Change = tests / tests_before, less 1, of the sums."),
        "business_days": Column(COUNT, "Mondays to Fridays of the month, up to the newest day that any test was ordered on."),
        "tests_per_business_day": Column("NUMBER(12,2)", "tests / business_days."),
    },
    (),
    _months,
    after=("test_volume",),
)


def _pending(relations: Relations, zone: str) -> str:
    return f"""
WITH DAYS AS (
    SELECT DISTINCT START_DAY AS EVENT_DAY, {day_ends("START_DAY", zone)} AS ENDS FROM {relations["ordered_test"]} AS F
    WHERE START_DAY IS NOT NULL
    UNION SELECT DISTINCT VERIFIED_DAY, {day_ends("VERIFIED_DAY", zone)} FROM {relations["ordered_test"]} AS F WHERE VERIFIED_DAY IS NOT NULL
), OPEN AS (
    SELECT D.EVENT_DAY, F.TEST_CODE, F.PRIORITY, CASE WHEN F.RECEIVED_AT < D.ENDS THEN F.RECEIVED_AT END AS RECEIVED_AT,
        F.TARGET_MINUTES, D.ENDS, DATEDIFF('second', F.STARTED_AT, D.ENDS) / 3600 AS HOURS
    FROM DAYS AS D JOIN {relations["ordered_test"]} AS F ON F.STARTED_AT < D.ENDS AND {_LIVE} AND COALESCE(F.VERIFIED_AT >= D.ENDS, F.STATE = 'pending')
)
SELECT EVENT_DAY, TEST_CODE, PRIORITY, COUNT(*) AS PENDING, {count_if("RECEIVED_AT IS NULL")} AS NOT_RECEIVED,
    {count_if("TARGET_MINUTES IS NULL")} AS NO_TARGET, {count_if("DATEDIFF('second', RECEIVED_AT, ENDS) > TARGET_MINUTES * 60")} AS OVERDUE,
    MIN(TARGET_MINUTES - DATEDIFF('second', RECEIVED_AT, ENDS) / 60) AS LEAST_REMAINING_MINUTES, MAX(HOURS) AS OLDEST_HOURS
FROM OPEN GROUP BY 1, 2, 3"""


PENDING = Report(
    "pending_test",
    "Tests that were pending when a day ended, by orderable and priority.",
    "SENAITE (remaining time = target less age).",
    ("event_day", "test_code", "priority"),
    {
        "event_day": Column("DATE", "Day in the tenant's zone, at whose end they were pending. Snapshots: never add days up."),
        "test_code": Column("VARCHAR", "Orderable."),
        "priority": Column("VARCHAR", "Priority of the order."),
        "pending": Column(COUNT, "Tests that had started, were not verified, and were never cancelled or rejected."),
        "not_received": Column(COUNT, "Those whose specimen was not received yet."),
        "no_target": Column(COUNT, "Those without a target, which can not be overdue."),
        "overdue": Column(COUNT, "Those received longer ago than their target."),
        "least_remaining_minutes": Column(
            "NUMBER(12,2)", "Target less age since the receipt, of the one that has least; below 0 it is overdue."
        ),
        "oldest_hours": Column("NUMBER(12,2)", "Age of the oldest, from its start."),
    },
    (),
    _pending,
    after=("ordered_test",),
)
