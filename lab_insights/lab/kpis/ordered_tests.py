"""Ordered tests as facts: what was asked for, how far it is, and how long each stage took. The other KPIs of orders are counted from them."""

from __future__ import annotations

from lab_insights.lab.kpis.model import (
    COUNT,
    INSTANT,
    MINUTES,
    YEAR_MINUTES,
    ZONED,
    Column,
    Relations,
    Report,
    date_only,
    day,
    in_zone,
    known,
    minutes,
    one_of,
    reported,
)
from lab_insights.lab.kpis.told import TOLD, results
from lab_insights.lab.terminology import AWAITED, REPORTED, SETTLED

# Stage → where it begins and ends. The stages of one test add up to its total.
STAGES = {
    "order_to_collect": ("STARTED_AT", "COLLECTED_AT"),
    "collect_to_receive": ("COLLECTED_AT", "RECEIVED_AT"),
    "receive_to_verify": ("RECEIVED_AT", "VERIFIED_AT"),
    "total": ("STARTED_AT", "VERIFIED_AT"),
}
# What CAP Q-Tracks QT8 samples: potassium in serum, plasma or blood, ordered STAT in the emergency department.
POTASSIUM, SAMPLE = ("2823-3", "6298-4", "75940-7"), "ED STAT potassium"
_STAGE_TEXT = {
    "order_to_collect": "from the order to the collection; not given for add-ons, whose specimen was there before",
    "collect_to_receive": "from the collection to the receipt in the laboratory",
    "receive_to_verify": "from the receipt to the verification",
    "total": "from the order (or the add-on) to the verification",
}


def _build(relations: Relations, zone: str) -> str:
    times = {name: known(of) for name, of in {"COLLECTED_AT": "S.COLLECTED_AT", "RECEIVED_AT": "S.RECEIVED_AT"}.items()}
    measured = ", ".join(
        f"{_issue(stage, zone)} AS {stage.upper()}_ISSUE, {minutes(*ends)} AS {stage.upper()}_RAW" for stage, ends in STAGES.items()
    )
    given = ", ".join(
        f"CASE WHEN {stage.upper()}_ISSUE IS NULL AND STATE = 'complete' THEN {stage.upper()}_RAW END AS {stage.upper()}_MINUTES"
        for stage in STAGES
    )
    return f"""
WITH REPORTED AS (
    SELECT ORDER_ITEM_ID, COUNT(*) AS REPORTABLE, COUNT(CASE WHEN {reported()} THEN 1 END) AS FINAL,
        MAX(CASE WHEN {reported()} THEN RELEASED_AT END) AS RELEASED_AT, MIN(PERFORMING_LAB) AS PERFORMING_LAB,
        COUNT(CASE WHEN LOINC IN ({", ".join(f"'{code}'" for code in POTASSIUM)}) THEN 1 END) > 0 AS HAS_POTASSIUM
    FROM {results(relations)} AS R WHERE {one_of("STATUS_NORM", (*REPORTED, *AWAITED))} GROUP BY 1
), LISTED AS (SELECT TEST_CODE, COUNT(DISTINCT COMPONENT_CODE) AS N FROM {relations["test_component"]} AS C GROUP BY 1
), SETTLED AS (
    SELECT I.ORDER_ITEM_ID, COUNT(DISTINCT C.COMPONENT_CODE) AS N FROM {relations["order_item"]} AS I
    JOIN {relations["test_component"]} AS C ON C.TEST_CODE = I.TEST_CODE
    JOIN {relations["result"]} AS R ON R.ORDER_ITEM_ID = I.ORDER_ITEM_ID AND (R.COMPONENT_CODE = C.COMPONENT_CODE OR R.LOINC = C.LOINC)
    WHERE {one_of("R.STATUS_NORM", SETTLED)} GROUP BY 1
), SPECIMENS AS (
    SELECT LAB_ORDER_ID, COUNT(*) AS N, COUNT(CASE WHEN STATUS = 'rejected' THEN 1 END) AS REJECTED,
        MIN(CASE WHEN STATUS <> 'rejected' THEN COLLECTED_AT END) AS COLLECTED_AT,
        MIN(CASE WHEN STATUS <> 'rejected' THEN RECEIVED_AT END) AS RECEIVED_AT
    FROM {relations["specimen"]} AS S GROUP BY 1
), JOINED AS (
    SELECT I.ORDER_ITEM_ID, I.LAB_ORDER_ID, COALESCE(I.TEST_CODE, 'unknown') AS TEST_CODE,
        COALESCE(P.DEPARTMENT, 'unknown') AS DEPARTMENT, COALESCE(O.PRIORITY, 'unknown') AS PRIORITY,
        COALESCE(D.ACCOUNT_ID, 'unknown') AS ACCOUNT_ID, COALESCE(O.PROVIDER_ID, 'unknown') AS PROVIDER_ID,
        COALESCE(R.PERFORMING_LAB, 'unknown') AS PERFORMING_LAB, COALESCE(D.SURVIVING_PATIENT_ID, O.PATIENT_ID) AS PATIENT_ID,
        COALESCE(I.IS_ADD_ON, FALSE) AS IS_ADD_ON, COALESCE(P.IS_BILLABLE, TRUE) AS IS_BILLABLE, P.MIN_RETEST_HOURS,
        CASE WHEN O.PRIORITY = 'stat' THEN P.STAT_TARGET_MINUTES ELSE P.TAT_TARGET_MINUTES END AS TARGET_MINUTES,
        CASE WHEN I.IS_ADD_ON THEN {known("I.ADDED_AT")} ELSE {known("O.ORDERED_AT")} END AS STARTED_AT,
        CASE WHEN O.PRIORITY = 'stat' AND V.ENCOUNTER_CLASS = 'emergency' AND R.HAS_POTASSIUM THEN '{SAMPLE}' ELSE 'other' END AS SAMPLED_AS,
        {times["COLLECTED_AT"]} AS COLLECTED_AT, {times["RECEIVED_AT"]} AS RECEIVED_AT,
        CASE WHEN S.N > 0 AND S.REJECTED = S.N THEN 'rejected' WHEN I.STATUS = 'cancelled' OR O.STATUS = 'cancelled' THEN 'cancelled'
            WHEN R.REPORTABLE > 0 AND R.FINAL = R.REPORTABLE AND COALESCE(I.STATUS, 'completed') = 'completed'
                AND COALESCE(E.N >= L.N, TRUE) THEN 'complete'
            WHEN R.REPORTABLE IS NULL AND I.STATUS = 'completed' THEN 'without_result' ELSE 'pending' END AS STATE,
        {known("R.RELEASED_AT")} AS LAST_RELEASED_AT
    FROM {relations["order_item"]} AS I
    LEFT JOIN {relations["lab_order"]} AS O ON O.LAB_ORDER_ID = I.LAB_ORDER_ID
    LEFT JOIN {relations["order_detail"]} AS D ON D.LAB_ORDER_ID = I.LAB_ORDER_ID
    LEFT JOIN {relations["visit"]} AS V ON V.ENCOUNTER_ID = O.ENCOUNTER_ID
    LEFT JOIN {relations["orderable"]} AS P ON P.TEST_CODE = I.TEST_CODE
    LEFT JOIN REPORTED AS R ON R.ORDER_ITEM_ID = I.ORDER_ITEM_ID
    LEFT JOIN LISTED AS L ON L.TEST_CODE = I.TEST_CODE
    LEFT JOIN SETTLED AS E ON E.ORDER_ITEM_ID = I.ORDER_ITEM_ID
    LEFT JOIN SPECIMENS AS S ON S.LAB_ORDER_ID = I.LAB_ORDER_ID
), ANALYTES AS (SELECT DISTINCT TEST_CODE, COALESCE(LOINC, COMPONENT_CODE) AS ANALYTE FROM {relations["test_component"]} AS C
), ASKED AS (
    SELECT J.ORDER_ITEM_ID, LAG(J.STARTED_AT) OVER (PARTITION BY J.PATIENT_ID, COALESCE(A.ANALYTE, J.TEST_CODE),
        J.STATE IN ('cancelled', 'rejected') ORDER BY J.STARTED_AT, J.ORDER_ITEM_ID) AS STARTED_BEFORE
    FROM JOINED AS J LEFT JOIN ANALYTES AS A ON A.TEST_CODE = J.TEST_CODE
), REPEATED AS (SELECT ORDER_ITEM_ID, MAX(STARTED_BEFORE) AS STARTED_BEFORE FROM ASKED GROUP BY 1
), FACTS AS (
    SELECT J.*, CASE WHEN STATE = 'complete' THEN LAST_RELEASED_AT END AS VERIFIED_AT, R.STARTED_BEFORE
    FROM JOINED AS J LEFT JOIN REPEATED AS R ON R.ORDER_ITEM_ID = J.ORDER_ITEM_ID
), MEASURED AS (
    SELECT *, {day("STARTED_AT", zone)} AS START_DAY, {day("VERIFIED_AT", zone)} AS VERIFIED_DAY,
        EXTRACT(HOUR FROM {in_zone("RECEIVED_AT", zone)}) AS RECEIVED_HOUR, {measured}
    FROM FACTS
), JUDGED AS (SELECT *, {given} FROM MEASURED)
SELECT *, CASE WHEN RECEIVED_HOUR IS NULL THEN 'unknown' WHEN RECEIVED_HOUR BETWEEN 7 AND 14 THEN 'day'
        WHEN RECEIVED_HOUR BETWEEN 15 AND 22 THEN 'evening' ELSE 'night' END AS SHIFT,
    RECEIVE_TO_VERIFY_MINUTES <= TARGET_MINUTES AS IS_WITHIN_TARGET,
    COALESCE(STATE NOT IN ('cancelled', 'rejected') AND PATIENT_ID IS NOT NULL
        AND DATEDIFF('second', STARTED_BEFORE, STARTED_AT) < MIN_RETEST_HOURS * 3600, FALSE) AS IS_DUPLICATE
FROM JUDGED"""


def _issue(stage: str, zone: str) -> str:
    start, end = STAGES[stage]
    given = "WHEN IS_ADD_ON THEN 'add_on' " if stage == "order_to_collect" else ""
    return (
        f"CASE {given}WHEN {start} IS NULL OR {end} IS NULL THEN 'missing' "
        f"WHEN {date_only(start, zone)} OR {date_only(end, zone)} THEN 'date_only' "
        f"WHEN {end} < {start} THEN 'negative' WHEN {minutes(start, end)} > {YEAR_MINUTES} THEN 'over_a_year' END"
    )


_WHY = "Why it is not given: missing, date_only, negative, over_a_year"
ORDERED_TEST = Report(
    "ordered_test",
    "Ordered tests as facts: one row per order item, with its state and the minutes of each stage.",
    "Hawkins 2007 (stages of turnaround); hc1 panel specification (targets); ACB/RCPath minimum retest intervals.",
    ("order_item_id",),
    {
        "order_item_id": Column("VARCHAR", "Order item; of messages a placer's number is in it.", "direct"),
        "lab_order_id": Column("VARCHAR", "Order that it belongs to; the same.", "direct"),
        "test_code": Column("VARCHAR", "Code of the orderable; `unknown` where there is none."),
        "department": Column("VARCHAR", "Department of the orderable."),
        "priority": Column("VARCHAR", "Priority of the order: stat, asap, routine, preoperative, timed or unknown."),
        "account_id": Column("VARCHAR", "Ordering account, found by (connection, host code)."),
        "provider_id": Column("VARCHAR", "Ordering provider."),
        "performing_lab": Column("VARCHAR", "Laboratory that performed the test."),
        "shift": Column(
            "VARCHAR", "Shift in which the specimen was received: day (7–15 h), evening (15–23 h) or night, in the tenant's zone."
        ),
        "sampled_as": Column(
            "VARCHAR", f"`{SAMPLE}`: a stat test that reported potassium, ordered in an emergency visit; `other`. What CAP QT8 samples."
        ),
        "state": Column(
            "VARCHAR",
            "rejected when all its specimens were; cancelled; complete when the LIS completed it, every result that it has was released (final, corrected, "
            "amended or appended), and so was every component that the catalogue lists of it, unless it was cancelled, taken back or not asked for (the list "
            "counts for results that it names, by local code or LOINC); without_result when the LIS completed it and it has none; else pending.",
        ),
        "is_add_on": Column("BOOLEAN", "Added to an order that was there; it starts when it was added."),
        "is_billable": Column("BOOLEAN", "Whether the orderable is billed; yes where nothing is said."),
        "is_duplicate": Column(
            "BOOLEAN",
            "A test of the same patient (merges followed) with one of its analytes, alike by LOINC or else by local code, was started less than its "
            "minimum retest interval before; a test whose analytes are not listed is its own.",
        ),
        "started_at": Column(INSTANT, "When it was ordered or added, UTC."),
        "collected_at": Column(INSTANT, "When the first specimen that was not rejected was collected, UTC."),
        "received_at": Column(INSTANT, "When the first such specimen was received, UTC."),
        "verified_at": Column(
            INSTANT, "When the last of its results was first verified, UTC; no resend or correction moves it. Null unless it is complete."
        ),
        **ZONED,
        "start_day": Column("DATE", "Day of the start in the tenant's zone: volume belongs to it."),
        "verified_day": Column("DATE", "Day of the verification in the tenant's zone: turnaround belongs to it."),
        **{f"{stage}_minutes": Column(MINUTES, f"Minutes {text}.") for stage, text in _STAGE_TEXT.items()},
        **{f"{stage}_issue": Column("VARCHAR", f"{_WHY}{' or add_on' if stage == 'order_to_collect' else ''}.") for stage in STAGES},
        "target_minutes": Column(
            COUNT, "Target of the orderable at this priority, from receipt to verification; null where there is none."
        ),
        "is_within_target": Column("BOOLEAN", "receive_to_verify_minutes ≤ target_minutes; null without a target or a valid interval."),
    },
    ("order_item", "lab_order", "order_detail", "visit", "orderable", "test_component", *TOLD, "specimen"),
    _build,
    day="start_day",
)
