"""Data quality: for each measure how many rows were looked at and how many fail it. Nothing is repaired; what fails is counted and shown."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, Column, Relations, Report, count_if, day, known, one_of
from lab_insights.lab.kpis.ordered_tests import STAGES
from lab_insights.lab.terminology import NO_RESULT, REPORTED, UCUM

_SPELT = {
    "order_to_collect": "order to collection",
    "collect_to_receive": "collection to receipt",
    "receive_to_verify": "receipt to verification",
    "total": "order to verification",
}
MEASURES: dict[str, str] = {
    "orders_without_patient": "Orders whose patient is not known (orphans, empty references included).",
    "orders_without_account": "Orders whose account could not be found by connection and host code.",
    "orders_without_priority": "Orders whose priority is empty or not a known code.",
    "duplicate_orders": "Orders that share their placer number with another order.",
    "tests_without_orderable": "Ordered tests whose code is not in the catalogue.",
    "tests_repeated": "Ordered tests repeated within the minimum retest interval.",
    "tests_without_result": "Ordered tests that the LIS completed and that have no result (entered in error, or lost).",
    "results_without_order": "Results whose order is not known (orphans).",
    "results_without_value": "Results that were released without a value.",
    "duplicate_results": "Results of an order item and component that has another live result.",
    "unmapped_loinc": "Results without a LOINC code.",
    "non_ucum_units": "Results whose unit is neither a usual one of UCUM nor declared to be one.",
    "unmapped_units": "Results whose unit is neither declared to be of UCUM nor a known spelling of a unit of it.",
    "unparsable_numbers": "Results declared numeric (NM) whose value is no number.",
    "unknown_result_status": "Results whose status is not a known code; they are counted nowhere else.",
    "unknown_flags": "Results whose abnormal flag is not a known code.",
    "rejections_without_reason": "Rejected specimens without a reason.",
    "epoch_times": "Specimens with 1970-01-01 in the place of a time.",
    "impossible_dates": "Encounters whose day of discharge is no date, such as 0000-00-00.",
    "unreadable_times": "Encounters whose time of arrival, as somebody typed it, is no time of day.",
    **{f"{stage}_missing": f"Complete tests whose time from {text} lacks an end." for stage, text in _SPELT.items()},
    **{f"{stage}_date_only": f"Complete tests whose time from {text} has a date in the place of an end." for stage, text in _SPELT.items()},
    **{f"{stage}_implausible": f"Complete tests whose time from {text} is negative or over 365 days." for stage, text in _SPELT.items()},
    "rejected_messages": "Messages that could not be read whole (dead letters).",
    "criticals_told_before_verified": "Critical results that were told before they were verified.",
}
"""Measure → what fails it."""


def _build(relations: Relations, zone: str) -> str:
    units = ", ".join("'" + unit.replace("'", "''") + "'" for unit in UCUM)
    verified, ordered = day("COALESCE(R.VERIFIED_AT, R.RESULTED_AT)", zone), day("O.ORDERED_AT", zone)
    received = day(f"COALESCE({known('S.RECEIVED_AT')}, {known('S.COLLECTED_AT')})", zone)
    stages = {}
    for stage in STAGES:
        issue, checked = f"{stage.upper()}_ISSUE", f"STATE = 'complete' AND COALESCE({stage.upper()}_ISSUE, '') <> 'add_on'"
        stages[f"{stage}_missing"] = (checked, f"{issue} = 'missing'")
        stages[f"{stage}_date_only"] = (checked, f"{issue} = 'date_only'")
        stages[f"{stage}_implausible"] = (checked, f"{issue} IN ('negative', 'over_a_year')")
    orders = _counted(
        f"""SELECT {ordered} AS EVENT_DAY, O.PRIORITY, P.PATIENT_ID, D.ACCOUNT_ID, O.PLACER_NUMBER,
            COUNT(*) OVER (PARTITION BY O.PLACER_NUMBER) AS SAME FROM {relations["lab_order"]} AS O
            LEFT JOIN {relations["patient"]} AS P ON P.PATIENT_ID = O.PATIENT_ID
            LEFT JOIN {relations["order_detail"]} AS D ON D.LAB_ORDER_ID = O.LAB_ORDER_ID""",
        {
            "orders_without_patient": ("TRUE", "PATIENT_ID IS NULL"),
            "orders_without_account": ("TRUE", "ACCOUNT_ID IS NULL"),
            "orders_without_priority": ("TRUE", "PRIORITY IS NULL"),
            "duplicate_orders": ("PLACER_NUMBER IS NOT NULL", "SAME > 1"),
        },
    )
    results = _counted(
        f"""SELECT {verified} AS EVENT_DAY, R.*, O.LAB_ORDER_ID AS FOUND,
            COUNT(*) OVER (PARTITION BY R.ORDER_ITEM_ID, R.COMPONENT_CODE) AS SAME FROM {relations["result"]} AS R
            LEFT JOIN {relations["lab_order"]} AS O ON O.LAB_ORDER_ID = R.LAB_ORDER_ID
            WHERE NOT {one_of("COALESCE(R.STATUS_NORM, '')", NO_RESULT)}""",
        {
            "results_without_order": ("TRUE", "FOUND IS NULL"),
            "results_without_value": (one_of("STATUS_NORM", REPORTED), "VALUE_RAW IS NULL OR VALUE_RAW = ''"),
            "duplicate_results": ("ORDER_ITEM_ID IS NOT NULL AND COMPONENT_CODE IS NOT NULL", "SAME > 1"),
            "unmapped_loinc": ("TRUE", "LOINC IS NULL"),
            "non_ucum_units": ("UNIT_RAW IS NOT NULL", f"UNIT_DECLARED IS NULL AND UNIT_RAW NOT IN ({units})"),
            "unmapped_units": ("UNIT_RAW IS NOT NULL", "UNIT_UCUM IS NULL"),
            "unparsable_numbers": ("VALUE_TYPE = 'NM' AND VALUE_RAW IS NOT NULL", "VALUE_NUM IS NULL"),
            "unknown_result_status": ("TRUE", "STATUS_NORM IS NULL"),
            "unknown_flags": ("COALESCE(FLAG_RAW, '') NOT IN ('', 'N')", "FLAG_NORM IS NULL"),
        },
    )
    tests = _counted(
        f"SELECT COALESCE(VERIFIED_DAY, START_DAY) AS EVENT_DAY, F.* FROM {relations['ordered_test']} AS F",
        {
            "tests_without_orderable": ("TRUE", "DEPARTMENT = 'unknown'"),
            "tests_without_result": ("STATE IN ('complete', 'without_result')", "STATE = 'without_result'"),
            "tests_repeated": ("STATE NOT IN ('cancelled', 'rejected')", "IS_DUPLICATE"),
            **stages,
        },
    )
    specimens = _counted(
        f"SELECT {received} AS EVENT_DAY, S.* FROM {relations['specimen']} AS S",
        {
            "rejections_without_reason": ("STATUS = 'rejected'", "REJECT_REASON IS NULL"),
            "epoch_times": (
                "COALESCE(COLLECTED_AT, RECEIVED_AT) IS NOT NULL",
                f"(COLLECTED_AT IS NOT NULL AND {known('COLLECTED_AT')} IS NULL) OR (RECEIVED_AT IS NOT NULL AND {known('RECEIVED_AT')} IS NULL)",
            ),
        },
    )
    encounters = _counted(
        f"SELECT {day('E.ADMITTED_AT', zone)} AS EVENT_DAY, E.* FROM {relations['encounter']} AS E",
        {
            "impossible_dates": ("TRUE", "DISCHARGED_ON_RAW IS NOT NULL"),
            "unreadable_times": ("ARRIVAL_RAW IS NOT NULL", "ARRIVAL_TIME IS NULL"),
        },
    )
    messages = _counted(
        f"SELECT {day('M.RECEIVED_AT', zone)} AS EVENT_DAY, M.MESSAGE_ID IN "
        f"(SELECT MESSAGE_ID FROM {relations['message_reject']} AS R WHERE MESSAGE_ID IS NOT NULL) AS IS_REJECTED FROM {relations['message_log']} AS M",
        {"rejected_messages": ("TRUE", "IS_REJECTED")},
    )
    criticals = _counted(
        f"SELECT * FROM {relations['critical_result']} AS C", {"criticals_told_before_verified": ("IS_DOCUMENTED", "IS_IMPLAUSIBLE")}
    )
    return " UNION ALL ".join(
        f"SELECT * FROM ({part}) AS Q WHERE CHECKED > 0" for part in (orders, results, tests, specimens, encounters, messages, criticals)
    )


def _counted(rows: str, measures: dict[str, tuple[str, str]]) -> str:
    """Count each measure, (which rows are looked at, which of them fail), in one pass over `rows`; a row is made of each."""
    counts = ", ".join(
        f"{count_if(checked)} AS C_{name.upper()}, {count_if(f'({checked}) AND ({failed})')} AS F_{name.upper()}"
        for name, (checked, failed) in measures.items()
    )
    names = ", ".join(f"('{name}')" for name in measures)
    pick = {side: " ".join(f"WHEN '{name}' THEN {side}_{name.upper()}" for name in measures) for side in ("C", "F")}
    return f"""
SELECT EVENT_DAY, M.MEASURE, CASE M.MEASURE {pick["C"]} END AS CHECKED, CASE M.MEASURE {pick["F"]} END AS FAILED
FROM (SELECT EVENT_DAY, {counts} FROM ({rows}) AS X WHERE EVENT_DAY IS NOT NULL GROUP BY 1) AS T
CROSS JOIN (SELECT COLUMN1 AS MEASURE FROM VALUES {names}) AS M"""


QUALITY = Report(
    "data_quality",
    "What is wrong with the data of a day, measure by measure. Nothing is repaired: what fails is counted.",
    "Conventions of this project; LOINC and UCUM (Regenstrief Institute) for codes and units.",
    ("event_day", "measure"),
    {
        "event_day": Column("DATE", "Day in the tenant's zone that the rows belong to: of the order, the verification or the receipt."),
        "measure": Column("VARCHAR", "What is looked at."),
        "checked": Column(COUNT, "Rows that were looked at."),
        "failed": Column(COUNT, "Rows that fail. Rate = failed / checked, of the sums."),
    },
    ("lab_order", "patient", "order_detail", "result", "specimen", "encounter", "message_log", "message_reject"),
    _build,
    after=("ordered_test", "critical_result"),
)
