"""Rejected specimens, corrected results and critical values."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, MINUTES, Column, Relations, Report, count_if, day, known, minutes, percentile, reported
from lab_insights.lab.kpis.told import TOLD, results, says


def _rejection(relations: Relations, zone: str) -> str:
    at = f"COALESCE({known('S.RECEIVED_AT')}, {known('S.COLLECTED_AT')})"
    return f"""
SELECT {day(at, zone)} AS EVENT_DAY, COALESCE(D.ACCOUNT_ID, 'unknown') AS ACCOUNT_ID, COALESCE(V.WARD, 'unknown') AS SITE,
    CASE WHEN S.STATUS = 'rejected' THEN COALESCE(L.LABEL, S.REJECT_REASON, 'no reason given') ELSE 'accepted' END AS REASON, COUNT(*) AS SPECIMENS
FROM {relations["specimen"]} AS S
LEFT JOIN {relations["order_detail"]} AS D ON D.LAB_ORDER_ID = S.LAB_ORDER_ID
LEFT JOIN {relations["lab_order"]} AS O ON O.LAB_ORDER_ID = S.LAB_ORDER_ID
LEFT JOIN {relations["visit"]} AS V ON V.ENCOUNTER_ID = O.ENCOUNTER_ID
LEFT JOIN {relations["reject_reason"]} AS L ON L.CODE = S.REJECT_REASON
WHERE {at} IS NOT NULL AND (S.STATUS = 'rejected' OR S.RECEIVED_AT IS NOT NULL) GROUP BY 1, 2, 3, 4"""


REJECTION = Report(
    "specimen_rejection",
    "Specimens received on a day by account and site, accepted or rejected with the primary reason.",
    "CAP Q-Tracks QT3.",
    ("event_day", "account_id", "site", "reason"),
    {
        "event_day": Column("DATE", "Day of the receipt (of the collection where the receipt is not known) in the tenant's zone."),
        "account_id": Column("VARCHAR", "Account of the order."),
        "site": Column("VARCHAR", "Where it was taken: ward or clinic of the visit; `unknown` where there is none."),
        "reason": Column("VARCHAR", "`accepted`, or the one reason of the rejection."),
        "specimens": Column(COUNT, "Specimens. Rejection rate = those not accepted / all; over a period, of the sums."),
    },
    ("specimen", "order_detail", "lab_order", "visit", "reject_reason"),
    _rejection,
)


def _corrected(relations: Relations, zone: str) -> str:
    # A version that says what the one before it said is the same correction, sent again.
    return f"""
WITH KEPT AS (
    SELECT R.RESULT_ID, {_told("R")} AS TOLD_AT, R.STATUS_NORM, COALESCE(F.TEST_CODE, 'unknown') AS TEST_CODE,
        CASE WHEN F.IS_BILLABLE THEN F.ORDER_ITEM_ID END AS BILLED
    FROM {results(relations)} AS R LEFT JOIN {relations["ordered_test"]} AS F ON F.ORDER_ITEM_ID = R.ORDER_ITEM_ID
    WHERE {reported()} AND {_told("R")} IS NOT NULL
        AND COALESCE(R.VALUE_TYPE, '') NOT IN ('TX', 'FT') AND COALESCE(F.DEPARTMENT, '') <> 'pathology'
), SAID AS (
    SELECT V.RESULT_ID, {_told("V")} AS TOLD_AT, {says("V")} AS SAYS
    FROM {relations["result_version"]} AS V WHERE STATUS_NORM = 'corrected' AND {_told("V")} IS NOT NULL
), CORRECTIONS AS (
    SELECT RESULT_ID, TOLD_AT, COALESCE(SAYS <> LAG(SAYS) OVER (PARTITION BY RESULT_ID ORDER BY TOLD_AT, SAYS), TRUE) AS IS_NEW FROM SAID
), EVENTS AS (
    SELECT K.TOLD_AT, K.TEST_CODE, 1 AS RESULTS, CASE WHEN K.STATUS_NORM = 'corrected' AND C.RESULT_ID IS NULL THEN 1 ELSE 0 END AS CORRECTED, K.BILLED
    FROM KEPT AS K LEFT JOIN (SELECT DISTINCT RESULT_ID FROM CORRECTIONS) AS C ON C.RESULT_ID = K.RESULT_ID
    UNION ALL SELECT C.TOLD_AT, K.TEST_CODE, 0, 1, NULL FROM CORRECTIONS AS C JOIN KEPT AS K ON K.RESULT_ID = C.RESULT_ID WHERE C.IS_NEW
)
SELECT {day("TOLD_AT", zone)} AS EVENT_DAY, TEST_CODE, SUM(RESULTS) AS RESULTS, SUM(CORRECTED) AS CORRECTED, COUNT(DISTINCT BILLED) AS BILLABLE_TESTS
FROM EVENTS AS E GROUP BY 1, 2"""


def _told(alias: str) -> str:
    return f"COALESCE({alias}.VERIFIED_AT, {alias}.RESULTED_AT)"


CORRECTED = Report(
    "corrected_result",
    "Corrected results and billable tests of a day by orderable, without anatomic pathology and narrative results.",
    "CAP Q-Tracks QT16.",
    ("event_day", "test_code"),
    {
        "event_day": Column(
            "DATE",
            "Day of the verification (of the report where that is missing) in the tenant's zone; that of what was told again is the first.",
        ),
        "test_code": Column("VARCHAR", "Orderable."),
        "results": Column(COUNT, "Results that were released: final, corrected, amended or appended."),
        "corrected": Column(
            COUNT,
            "Corrections of them on the day of their first report, each once however often it is sent again: every version of `result_version` that is one, "
            "else the result that stands corrected. A lower bound where versions between two loads are not seen; of messages all are.",
        ),
        "billable_tests": Column(COUNT, "Billable tests that they belong to. Rate = 10,000 × corrected / billable_tests, of the sums."),
    },
    TOLD,
    _corrected,
    after=("ordered_test",),
)


def _critical(relations: Relations, zone: str) -> str:
    return f"""
SELECT R.RESULT_ID, COALESCE(F.TEST_CODE, 'unknown') AS TEST_CODE, COALESCE(F.PRIORITY, 'unknown') AS PRIORITY,
    {day(_told("R"), zone)} AS EVENT_DAY, N.RESULT_ID IS NOT NULL AS IS_DOCUMENTED,
    COALESCE(N.IS_ACKNOWLEDGED, FALSE) AS IS_ACKNOWLEDGED,
    CASE WHEN N.NOTIFIED_AT >= R.VERIFIED_AT THEN {minutes("R.VERIFIED_AT", "N.NOTIFIED_AT")} END AS MINUTES_TO_NOTIFY,
    COALESCE(N.NOTIFIED_AT < R.VERIFIED_AT, FALSE) AS IS_IMPLAUSIBLE
FROM {results(relations)} AS R LEFT JOIN (
    SELECT RESULT_ID, MIN(NOTIFIED_AT) AS NOTIFIED_AT, COUNT(ACKNOWLEDGED_AT) > 0 AS IS_ACKNOWLEDGED
    FROM {relations["critical_notification"]} AS C WHERE NOTIFIED_AT IS NOT NULL GROUP BY 1
) AS N ON N.RESULT_ID = R.RESULT_ID
LEFT JOIN {relations["ordered_test"]} AS F ON F.ORDER_ITEM_ID = R.ORDER_ITEM_ID
WHERE COALESCE(R.IS_CRITICAL, STARTSWITH(R.FLAG_NORM, 'critical_'), FALSE) AND {reported()}"""


CRITICAL_RESULT = Report(
    "critical_result",
    "Critical results as facts: one row per released result whose flag is critical, with its first documented notification.",
    "CAP Q-Tracks QT10; IFCC quality indicators.",
    ("result_id",),
    {
        "result_id": Column("VARCHAR", "Result; of messages a placer's number is in it.", "direct"),
        "test_code": Column("VARCHAR", "Orderable."),
        "priority": Column("VARCHAR", "Priority of the order."),
        "event_day": Column("DATE", "Day of the verification in the tenant's zone; of what was told again the first."),
        "is_documented": Column("BOOLEAN", "Whether a notification is documented."),
        "is_acknowledged": Column("BOOLEAN", "Whether a notification was read back."),
        "minutes_to_notify": Column(MINUTES, "From the verification to the first notification; null where that came before."),
        "is_implausible": Column("BOOLEAN", "Told before it was verified: excluded from the minutes."),
    },
    (*TOLD, "critical_notification"),
    _critical,
    after=("ordered_test",),
)
WITHIN = (15, 30, 60)


def critical_reporting(facts: str, period: str) -> str:
    """Return the SELECT of critical reporting over `facts` (a relation of critical results), grouped by the SQL expression `period`."""
    within = ", ".join(f"{count_if(f'MINUTES_TO_NOTIFY <= {limit}')} AS WITHIN_{limit}" for limit in WITHIN)
    return f"""
SELECT {period} AS PERIOD, COUNT(*) AS CRITICALS, {count_if("IS_DOCUMENTED")} AS DOCUMENTED, {count_if("IS_ACKNOWLEDGED")} AS ACKNOWLEDGED,
    COUNT(MINUTES_TO_NOTIFY) AS OBSERVATIONS, {percentile("0.5", "MINUTES_TO_NOTIFY")} AS MEDIAN_MINUTES,
    {percentile("0.9", "MINUTES_TO_NOTIFY")} AS P90_MINUTES, {within}, {count_if("IS_IMPLAUSIBLE")} AS IMPLAUSIBLE
FROM {facts} AS F WHERE {period} IS NOT NULL GROUP BY 1"""


def _critical_reporting(relations: Relations, _zone: str) -> str:
    return f"SELECT *, PERIOD AS EVENT_DAY FROM ({critical_reporting(relations['critical_result'], 'EVENT_DAY')}) AS C"


CRITICAL_REPORTING = Report(
    "critical_reporting",
    "Critical results of a day, how many were told to a caregiver, and how fast.",
    "CAP Q-Tracks QT10; IFCC quality indicators.",
    ("event_day",),
    {
        "event_day": Column("DATE", "Day of the verification in the tenant's zone."),
        "criticals": Column(COUNT, "Released results whose flag is critical."),
        "documented": Column(COUNT, "Those with a documented notification; % documented = documented / criticals, of the sums."),
        "acknowledged": Column(COUNT, "Those read back."),
        "observations": Column(COUNT, "Notifications at or after the verification."),
        "median_minutes": Column(MINUTES, "Median of the minutes to the first notification, nearest rank; null under 10 observations."),
        "p90_minutes": Column(MINUTES, "Ninth decile of the same."),
        **{f"within_{limit}": Column(COUNT, f"Notifications within {limit} minutes.") for limit in WITHIN},
        "implausible": Column(COUNT, "Notifications before the verification: excluded from the minutes."),
    },
    (),
    _critical_reporting,
    after=("critical_result",),
)
