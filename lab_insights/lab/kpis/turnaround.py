"""Turnaround: percentiles of minutes by stage and dimension, always from the intervals themselves."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, MINUTES, Column, Relations, Report, count_if, percentile
from lab_insights.lab.kpis.ordered_tests import STAGES

# Dimension → the columns that it groups by; `all` has none.
DIMENSIONS = {
    "all": (),
    "test": ("TEST_CODE",),
    "department": ("DEPARTMENT",),
    "priority": ("PRIORITY",),
    "laboratory": ("PERFORMING_LAB",),
    "account": ("ACCOUNT_ID",),
    "shift": ("SHIFT",),
    "test_priority": ("TEST_CODE", "PRIORITY"),
    "sample": ("SAMPLED_AS",),
}
_COLUMNS = tuple(dict.fromkeys(column for columns in DIMENSIONS.values() for column in columns))
SHARES = {"median": "0.5", "p75": "0.75", "p90": "0.9", "p95": "0.95"}


def turnaround(facts: str, period: str, dimensions: tuple[str, ...] = tuple(DIMENSIONS)) -> str:
    """Return the SELECT of turnaround over `facts` (a relation of ordered tests), grouped by the SQL expression `period`.

    A longer period is computed from its intervals: percentiles of percentiles would be wrong, and so would rates of rates.
    """
    staged = " UNION ALL ".join(
        f"SELECT *, {period} AS PERIOD, '{stage}' AS STAGE, {stage.upper()}_MINUTES AS MINUTES, {stage.upper()}_ISSUE AS ISSUE FROM {facts} AS F "
        f"WHERE STATE = 'complete' AND VERIFIED_DAY IS NOT NULL"
        for stage in STAGES
    )
    sets = ", ".join(f"({', '.join(['PERIOD', 'STAGE', *DIMENSIONS[name]])})" for name in dimensions)
    used = [column for column in _COLUMNS if any(column in DIMENSIONS[name] for name in dimensions)]
    named = " ".join(f"WHEN {_is(name, used)} THEN '{name}'" for name in dimensions)
    member = " ".join(f"WHEN {_is(name, used)} THEN {_member(name)}" for name in dimensions)
    percentiles = ", ".join(f"{percentile(share, 'MINUTES')} AS {name.upper()}_MINUTES" for name, share in SHARES.items())
    return f"""
SELECT PERIOD, STAGE, CASE {named} END AS DIMENSION, CASE {member} END AS MEMBER,
    COUNT(*) AS TESTS, COUNT(MINUTES) AS OBSERVATIONS, {percentiles},
    {count_if("STAGE = 'receive_to_verify' AND IS_WITHIN_TARGET IS NOT NULL")} AS WITH_TARGET,
    {count_if("STAGE = 'receive_to_verify' AND IS_WITHIN_TARGET")} AS WITHIN_TARGET,
    {count_if("STAGE = 'receive_to_verify' AND TARGET_MINUTES IS NULL")} AS NO_TARGET,
    {count_if("ISSUE IN ('missing', 'date_only')")} AS MISSING, {count_if("ISSUE IN ('negative', 'over_a_year')")} AS IMPLAUSIBLE
FROM ({staged}) AS S WHERE PERIOD IS NOT NULL GROUP BY GROUPING SETS ({sets})"""


def _member(dimension: str) -> str:
    return " || ' / ' || ".join(DIMENSIONS[dimension]) or "'all'"


def _is(dimension: str, used: list[str]) -> str:
    return " AND ".join(f"GROUPING({column}) = {0 if column in DIMENSIONS[dimension] else 1}" for column in used) or "TRUE"


def _build(relations: Relations, _zone: str) -> str:
    return f"SELECT *, PERIOD AS EVENT_DAY FROM ({turnaround(relations['ordered_test'], 'VERIFIED_DAY')}) AS T"


TURNAROUND = Report(
    "turnaround",
    "Turnaround of the tests completed on a day, by stage and by test, department, priority, laboratory, account, shift and what is sampled.",
    "Hawkins 2007; NHLS; targets: hc1 panel specification; STAT outliers (sample ED STAT potassium, with_target less within_target): CAP Q-Tracks QT8.",
    ("event_day", "stage", "dimension", "member"),
    {
        "event_day": Column("DATE", "Day of the verification in the tenant's zone."),
        "stage": Column("VARCHAR", "order_to_collect, collect_to_receive, receive_to_verify or total."),
        "dimension": Column("VARCHAR", f"What `member` is: {', '.join(DIMENSIONS)}."),
        "member": Column("VARCHAR", "The test, department, priority, laboratory, account, shift or sample; `test / priority`; or `all`."),
        "tests": Column(COUNT, "Complete tests; cancelled and rejected ones are in no turnaround."),
        "observations": Column(COUNT, "Those with both ends, end ≥ start, at most 365 days, and no date in the place of a time."),
        **{
            f"{name}_minutes": Column(
                MINUTES, f"{name} of the minutes, nearest rank; null under 10 observations. Never aggregate it further."
            )
            for name in SHARES
        },
        "with_target": Column(COUNT, "Observations of receive_to_verify whose orderable has a target at this priority."),
        "within_target": Column(COUNT, "Those of them within it; % within target = within_target / with_target; the others are outliers."),
        "no_target": Column(COUNT, "Tests without a target, which are in neither."),
        "missing": Column(COUNT, "Intervals that lack an end, or have a date in the place of a time: excluded."),
        "implausible": Column(COUNT, "Intervals that are negative or over 365 days: excluded."),
    },
    (),
    _build,
    after=("ordered_test",),
)
