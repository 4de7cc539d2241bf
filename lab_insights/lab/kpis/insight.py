"""Personal insights: what stands out in each patient's results, analyte by analyte, and beside the drugs that these monitor."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, INSTANT, ZONED, Column, Relations, Report, day, known, reported
from lab_insights.lab.kpis.monitoring import monitoring

# A trend is that of so many newest values; a change counts as one between values that are not further apart.
NEWEST, TOGETHER_DAYS = 5, 30
NO_DRUG = "none"
# Orders and dispenses that nobody takes: HL7 table 0119 and 0038, FHIR.
_ENDED = "'CA', 'DC', 'OC', 'OD', 'CR', 'CANCELLED', 'STOPPED', 'DECLINED', 'ENTERED-IN-ERROR', 'REVOKED'"
_VALUE = "NUMBER(38,9)"


def _build(relations: Relations, zone: str) -> str:
    return f"""
WITH PEOPLE AS (
    SELECT P.PATIENT_ID, P.MRN, COALESCE(L.SURVIVING_PATIENT_ID, P.LINKED_PATIENT_ID, P.SURVIVING_PATIENT_ID, P.PATIENT_ID) AS PERSON
    FROM {relations["personal_profile"]} AS P LEFT JOIN {relations["personal_profile"]} AS L ON L.PATIENT_ID = P.LINKED_PATIENT_ID
), NUMBERS AS (
    SELECT MRN, MIN(PERSON) AS PERSON FROM PEOPLE WHERE MRN IS NOT NULL GROUP BY MRN HAVING COUNT(DISTINCT PERSON) = 1
), CLOCK AS (
    SELECT CAST(DATEADD('day', 1, MAX(AS_OF)) AS TIMESTAMP_NTZ) AS AS_OF FROM {relations["personal_profile"]} AS P
), ANALYTES AS ({_analytes()}), DRUGS AS ({_drugs()}), REPORTED AS (
    SELECT COALESCE(P.PERSON, R.PATIENT_ID) AS PATIENT_ID, COALESCE(R.LOINC, R.COMPONENT_CODE) AS ANALYTE,
        {known("COALESCE(R.VERIFIED_AT, R.RESULTED_AT)")} AS TOLD_AT, COALESCE(R.UNIT_UCUM, R.UNIT_RAW, '') AS UNIT, R.VALUE_NUM AS VALUE,
        R.RANGE_LOW, R.RANGE_HIGH, R.RESULT_ID, R.ORDER_ITEM_ID
    FROM {relations["personal_result"]} AS R LEFT JOIN PEOPLE AS P ON P.PATIENT_ID = R.PATIENT_ID
    WHERE {reported()} AND R.VALUE_NUM IS NOT NULL AND COALESCE(R.VALUE_OPERATOR, '') = ''
), TIMED AS (
    SELECT *, FIRST_VALUE(UNIT) OVER (PARTITION BY PATIENT_ID, ANALYTE ORDER BY TOLD_AT DESC, RESULT_ID DESC) AS LAST_UNIT
    FROM REPORTED WHERE TOLD_AT IS NOT NULL AND PATIENT_ID IS NOT NULL AND ANALYTE IS NOT NULL
), PLACED AS (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY PATIENT_ID, ANALYTE ORDER BY TOLD_AT DESC, RESULT_ID DESC) AS PLACE FROM TIMED WHERE UNIT = LAST_UNIT
), NEWEST AS (
    SELECT *, MAX(PLACE) OVER (PARTITION BY PATIENT_ID, ANALYTE) AS OLDEST FROM PLACED WHERE PLACE <= {NEWEST}
), TRENDS AS (
    SELECT PATIENT_ID, ANALYTE, MAX(UNIT) AS UNIT, COUNT(*) AS OBSERVATIONS, {_at(1, "VALUE")} AS LAST_VALUE, {_at(1, "TOLD_AT")} AS LAST_AT,
        {_at(1, "RANGE_LOW")} AS RANGE_LOW, {_at(1, "RANGE_HIGH")} AS RANGE_HIGH, {_at(2, "VALUE")} AS PREVIOUS_VALUE, {_at(2, "TOLD_AT")} AS PREVIOUS_AT,
        {_at("OLDEST", "VALUE")} AS OLDEST_VALUE,
        REGR_SLOPE(CAST(VALUE AS FLOAT), DATEDIFF('second', CAST('2020-01-01' AS TIMESTAMP_NTZ), TOLD_AT) / 86400.0) * 30 AS SLOPE
    FROM NEWEST GROUP BY 1, 2
), COUNTED AS (
    SELECT R.PATIENT_ID, R.ANALYTE, COUNT(*) AS RESULTS, COUNT(DISTINCT CASE WHEN F.IS_DUPLICATE THEN F.ORDER_ITEM_ID END) AS DUPLICATES
    FROM TIMED AS R LEFT JOIN {relations["ordered_test"]} AS F ON F.ORDER_ITEM_ID = R.ORDER_ITEM_ID GROUP BY 1, 2
), GIVEN AS (
    SELECT PATIENT_MRN, DRUG_CODE, DRUG_NAME, DRUG_SYSTEM, STATUS_RAW, COALESCE(START_AT, ORDERED_AT) AS TOLD_AT, END_AT
    FROM {relations["personal_medication_order"]} AS O
    UNION ALL SELECT PATIENT_MRN, DRUG_CODE, DRUG_NAME, DRUG_SYSTEM, STATUS_RAW, DISPENSED_AT, CAST(NULL AS TIMESTAMP_NTZ)
    FROM {relations["personal_medication_dispense"]} AS D
), TAKEN AS (
    SELECT N.PERSON AS PATIENT_ID, D.DRUG, D.ANALYTE, D.DUE_DAYS, MIN(G.TOLD_AT) AS DRUG_SINCE, MAX(G.TOLD_AT) AS DRUG_LAST_AT
    FROM GIVEN AS G JOIN NUMBERS AS N ON N.MRN = G.PATIENT_MRN CROSS JOIN CLOCK AS C
    JOIN DRUGS AS D ON CONTAINS(LOWER(G.DRUG_NAME), D.DRUG) OR (CONTAINS(LOWER(G.DRUG_SYSTEM), 'rxnorm') AND G.DRUG_CODE = D.RXNORM)
    WHERE G.TOLD_AT < C.AS_OF AND COALESCE(G.END_AT >= C.AS_OF, TRUE) AND UPPER(COALESCE(G.STATUS_RAW, '')) NOT IN ({_ENDED})
    GROUP BY 1, 2, 3, 4
), BESIDE AS (
    SELECT COALESCE(T.PATIENT_ID, D.PATIENT_ID) AS PATIENT_ID, COALESCE(T.ANALYTE, D.ANALYTE) AS ANALYTE, COALESCE(D.DRUG, '{NO_DRUG}') AS DRUG,
        D.DRUG_SINCE, D.DRUG_LAST_AT, DATEADD('day', D.DUE_DAYS, COALESCE(T.LAST_AT, D.DRUG_SINCE)) AS MONITORING_DUE_AT,
        T.UNIT, T.OBSERVATIONS, T.LAST_VALUE, T.LAST_AT, T.RANGE_LOW, T.RANGE_HIGH, T.PREVIOUS_VALUE, T.PREVIOUS_AT, T.OLDEST_VALUE,
        CASE WHEN T.OBSERVATIONS >= 3 THEN T.SLOPE END AS SLOPE_30_DAYS
    FROM TRENDS AS T FULL OUTER JOIN TAKEN AS D ON D.PATIENT_ID = T.PATIENT_ID AND D.ANALYTE = T.ANALYTE
), JUDGED AS (
    SELECT B.*, A.ANALYTE_NAME, A.CHANGE_LIMIT_PERCENT, C.AS_OF, COALESCE(N.RESULTS, 0) AS RESULTS, COALESCE(N.DUPLICATES, 0) AS DUPLICATES,
        CASE WHEN LAST_VALUE < RANGE_LOW THEN 'low' WHEN LAST_VALUE > RANGE_HIGH THEN 'high'
            WHEN LAST_VALUE IS NOT NULL AND COALESCE(RANGE_LOW, RANGE_HIGH) IS NOT NULL THEN 'within' END AS RANGE_POSITION,
        CASE WHEN LAST_AT <= DATEADD('day', {TOGETHER_DAYS}, PREVIOUS_AT) THEN {_change("PREVIOUS_VALUE")} END AS CHANGE_PERCENT,
        CASE WHEN OBSERVATIONS >= 3 THEN {_change("OLDEST_VALUE")} END AS TREND_PERCENT, A.FOLLOW_UP_DAYS
    FROM BESIDE AS B CROSS JOIN CLOCK AS C LEFT JOIN ANALYTES AS A ON A.LOINC = B.ANALYTE
    LEFT JOIN COUNTED AS N ON N.PATIENT_ID = B.PATIENT_ID AND N.ANALYTE = B.ANALYTE
), DUE AS (
    SELECT *, CASE WHEN RANGE_POSITION IN ('low', 'high') THEN DATEADD('day', FOLLOW_UP_DAYS, LAST_AT) END AS FOLLOW_UP_DUE_AT FROM JUDGED
)
SELECT *, {day("LAST_AT", zone)} AS LAST_DAY, ABS(CHANGE_PERCENT) > CHANGE_LIMIT_PERCENT AS IS_CHANGED,
    CASE WHEN TREND_PERCENT > CHANGE_LIMIT_PERCENT THEN 'rising' WHEN TREND_PERCENT < -CHANGE_LIMIT_PERCENT THEN 'falling'
        WHEN TREND_PERCENT IS NOT NULL AND CHANGE_LIMIT_PERCENT IS NOT NULL THEN 'steady' END AS TREND,
    COALESCE(FOLLOW_UP_DUE_AT < AS_OF, FALSE) AS IS_FOLLOW_UP_OVERDUE, COALESCE(MONITORING_DUE_AT < AS_OF, FALSE) AS IS_MONITORING_OVERDUE
FROM DUE"""


def _at(place: int | str, of: str) -> str:
    return f"MAX(CASE WHEN PLACE = {place} THEN {of} END)"


def _change(since: str) -> str:
    """The change of the last value since another one, in percent of that."""
    return f"(CAST(LAST_VALUE AS FLOAT) - CAST({since} AS FLOAT)) / NULLIF(ABS(CAST({since} AS FLOAT)), 0) * 100"


def _analytes() -> str:
    rows = (
        f"SELECT '{each.loinc}' AS LOINC, '{each.name}' AS ANALYTE_NAME, CAST({_number(each.change_limit)} AS FLOAT) AS CHANGE_LIMIT_PERCENT, "
        f"CAST({_number(each.follow_up_days)} AS {COUNT}) AS FOLLOW_UP_DAYS"
        for each in monitoring().analytes
    )
    return " UNION ALL ".join(rows)


def _drugs() -> str:
    rows = (
        f"SELECT '{each.name.lower()}' AS DRUG, '{each.rxnorm}' AS RXNORM, '{each.loinc}' AS ANALYTE, {each.due_days} AS DUE_DAYS"
        for each in monitoring().drugs
    )
    return " UNION ALL ".join(rows)


def _number(value: float | None) -> str:
    return "NULL" if value is None else str(value)


INSIGHT = Report(
    "patient_insight",
    "What stands out in each patient's results: the trend of each analyte with its range, sudden changes, overdue follow-up, duplicates, and each drug "
    "beside the analyte that monitors it. Rows of persons: the table lies in TRANSFORMED, which the owner alone reads. Merges are followed.",
    "`lab/kpis/monitoring.yaml`, which names the source of each limit and interval; reference change values: Fraser 2001.",
    ("patient_id", "analyte", "drug"),
    {
        "patient_id": Column(
            "VARCHAR", "Where the patient lives on: the end of its merges, in the laboratory's system where that has it.", "direct"
        ),
        "analyte": Column("VARCHAR", "LOINC code, else the local code.", "clinical"),
        "drug": Column(
            "VARCHAR", f"A drug that the patient takes and that the analyte monitors; `{NO_DRUG}` where there is none.", "clinical"
        ),
        "analyte_name": Column("VARCHAR", "Name of a listed analyte.", "clinical"),
        "as_of": Column(INSTANT, "End of the newest day that the profiles of patients are as of, UTC; what is overdue is so then."),
        **ZONED,
        "last_day": Column("DATE", "Day of the last value in the tenant's zone.", "quasi"),
        "results": Column(COUNT, "Released results of the analyte (final, corrected, amended or appended) that are numbers.", "clinical"),
        "observations": Column(COUNT, f"Those of the trend: the newest {NEWEST} in the unit of the last.", "clinical"),
        "last_at": Column(INSTANT, "When the last value was verified (reported, where the verification is missing), UTC.", "quasi"),
        "last_value": Column(_VALUE, "The last value.", "clinical"),
        "unit": Column("VARCHAR", "Its unit, in UCUM where it is known.", "clinical"),
        "range_low": Column(_VALUE, "Lower end of its reference range.", "clinical"),
        "range_high": Column(_VALUE, "Upper end of its reference range.", "clinical"),
        "range_position": Column("VARCHAR", "low, within or high; null without a range.", "clinical"),
        "previous_value": Column(_VALUE, "The value before it, in the same unit.", "clinical"),
        "previous_at": Column(INSTANT, "When that was verified, UTC.", "quasi"),
        "change_percent": Column(
            "FLOAT", f"Delta check: the change since then, in percent; null when over {TOGETHER_DAYS} days apart.", "clinical"
        ),
        "change_limit_percent": Column("FLOAT", "Reference change value of a listed analyte."),
        "is_changed": Column("BOOLEAN", "Whether the change is beyond that limit; null without either.", "clinical"),
        "slope_30_days": Column("FLOAT", "Least-squares slope of the trend, a value per 30 days; null under 3 observations.", "clinical"),
        "trend": Column(
            "VARCHAR", "rising, falling or steady, by the change from the first to the last observation and the same limit.", "clinical"
        ),
        "follow_up_due_at": Column(INSTANT, "When a value out of its range is to be measured again, UTC; of listed analytes.", "quasi"),
        "is_follow_up_overdue": Column("BOOLEAN", "Whether it was not until then.", "clinical"),
        "duplicates": Column(COUNT, "Its tests that were repeated within the minimum retest interval.", "clinical"),
        "drug_since": Column(INSTANT, "First order or dispense of the drug, UTC.", "quasi"),
        "drug_last_at": Column(INSTANT, "Newest order or dispense of the drug, UTC.", "quasi"),
        "monitoring_due_at": Column(INSTANT, "When the analyte is to be measured for the drug, UTC.", "quasi"),
        "is_monitoring_overdue": Column("BOOLEAN", "Whether it was not until then.", "clinical"),
    },
    ("personal_result", "personal_profile", "personal_medication_order", "personal_medication_dispense"),
    _build,
    after=("ordered_test",),
    day="last_day",
    personal=True,
)
