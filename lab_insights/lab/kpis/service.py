"""Client services: cases, tasks; and who did what in the systems."""

from __future__ import annotations

from collections.abc import Mapping

from lab_insights.lab.kpis.model import COUNT, Build, Column, Relations, Report, count_if, day, day_ends, percentile

_KEPT = "NOT COALESCE(IS_REMOVED, FALSE)"
HOURS = "NUMBER(12,2)"


def _cases(by: Mapping[str, str]) -> Build:
    """Cases of each day, and of each value of `by`: SQL by the name of its column."""
    names = ("EVENT_DAY", *by)

    def build(relations: Relations, zone: str) -> str:
        opened, closed, ends = day("OPENED_AT", zone), day("CLOSED_AT", zone), day_ends("D.EVENT_DAY", zone)
        also, places = "".join(f", {value} AS {name}" for name, value in by.items()), ", ".join(str(n) for n, _ in enumerate(names, 1))
        keys, same = ", ".join(names), {of: " AND ".join(f"{of}.{name} = K.{name}" for name in names) for of in "OCB"}
        hours = f"CASE WHEN CLOSED_AT >= OPENED_AT THEN CAST(DATEDIFF('second', OPENED_AT, CLOSED_AT) / 3600 AS {HOURS}) END"
        return f"""
WITH CASES AS (
    SELECT CASE_ID, STATUS, OPENED_AT, CLOSED_AT, {opened} AS OPENED_DAY, {closed} AS CLOSED_DAY, {hours} AS HOURS{also}
    FROM {relations["crm_case"]} AS C WHERE {_KEPT}
), DAYS AS (
    SELECT OPENED_DAY AS EVENT_DAY FROM CASES WHERE OPENED_AT IS NOT NULL UNION SELECT CLOSED_DAY FROM CASES WHERE CLOSED_AT IS NOT NULL
), OPENED AS (
    SELECT OPENED_DAY AS {keys}, COUNT(*) AS N, {count_if("STATUS = 'reopened' OR H.CASE_ID IS NOT NULL")} AS REOPENED FROM CASES AS C
    LEFT JOIN (SELECT DISTINCT CASE_ID FROM {relations["case_status_history"]} AS S WHERE TO_STATUS = 'reopened') AS H ON H.CASE_ID = C.CASE_ID
    WHERE OPENED_AT IS NOT NULL GROUP BY {places}
), CLOSED AS (
    SELECT CLOSED_DAY AS {keys}, COUNT(*) AS N, COUNT(HOURS) AS OBSERVATIONS, {percentile("0.5", "HOURS")} AS MEDIAN_HOURS,
        {percentile("0.9", "HOURS")} AS P90_HOURS, COUNT(*) - COUNT(HOURS) AS IMPLAUSIBLE
    FROM CASES AS C WHERE CLOSED_AT IS NOT NULL GROUP BY {places}
), BACKLOG AS (
    SELECT {keys}, COUNT(*) AS N FROM DAYS AS D JOIN CASES AS C ON C.OPENED_AT < {ends}
        AND (C.CLOSED_AT IS NULL AND C.STATUS <> 'closed' OR C.CLOSED_AT >= {ends})
    GROUP BY {places}
), KEYS AS (SELECT {keys} FROM OPENED UNION SELECT {keys} FROM CLOSED UNION SELECT {keys} FROM BACKLOG)
SELECT K.*, COALESCE(O.N, 0) AS OPENED, COALESCE(O.REOPENED, 0) AS REOPENED, COALESCE(C.N, 0) AS CLOSED, COALESCE(B.N, 0) AS BACKLOG,
    COALESCE(C.OBSERVATIONS, 0) AS OBSERVATIONS, C.MEDIAN_HOURS, C.P90_HOURS, COALESCE(C.IMPLAUSIBLE, 0) AS IMPLAUSIBLE
FROM KEYS AS K LEFT JOIN OPENED AS O ON {same["O"]} LEFT JOIN CLOSED AS C ON {same["C"]} LEFT JOIN BACKLOG AS B ON {same["B"]}"""

    return build


_CASES = {
    "opened": Column(COUNT, "Cases opened on the day."),
    "reopened": Column(
        COUNT, "Those of them that were ever reopened, by the history of their status; reopened % = reopened / opened, of the sums."
    ),
    "closed": Column(COUNT, "Cases closed on the day, as it is known now."),
    "backlog": Column(COUNT, "Cases open when the day ended. A snapshot: never add days up."),
    "observations": Column(COUNT, "Cases closed on the day at or after they were opened."),
    "median_hours": Column(HOURS, "Median of their hours from opening to closing, nearest rank; null under 10 observations."),
    "p90_hours": Column(HOURS, "Ninth decile of the same."),
    "implausible": Column(COUNT, "Cases closed before they were opened: excluded from the hours."),
}
CASES = Report(
    "case_activity",
    "Cases opened and closed on a day, and the backlog at its end. Cases that users deleted count nowhere.",
    "hc1 activities.",
    ("event_day",),
    {"event_day": Column("DATE", "Day in the tenant's zone."), **_CASES},
    ("crm_case", "case_status_history"),
    _cases({}),
)
CAUSES = Report(
    "case_cause",
    "What `case_activity` says by root cause and account, on each of its days that one of theirs was opened, closed or open at its end.",
    "hc1 activities.",
    ("event_day", "root_cause", "account_id"),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
        "root_cause": Column("VARCHAR", "Cause as it is known now; `not given` where there is none."),
        "account_id": Column("VARCHAR", "Account that the case is about."),
        **_CASES,
    },
    ("crm_case", "case_status_history"),
    _cases({"ROOT_CAUSE": "COALESCE(ROOT_CAUSE, 'not given')", "ACCOUNT_ID": "COALESCE(ACCOUNT_ID, 'unknown')"}),
)


def _tasks(relations: Relations, zone: str) -> str:
    tasks, ends = relations["crm_task"], day_ends("D.EVENT_DAY", zone)
    return f"""
WITH DUE AS (
    SELECT {day("DUE_AT", zone)} AS EVENT_DAY, COUNT(*) AS N, {count_if("COMPLETED_AT <= DUE_AT")} AS ON_TIME,
        {count_if("COMPLETED_AT > DUE_AT")} AS LATE FROM {tasks} AS T WHERE DUE_AT IS NOT NULL GROUP BY 1
), CREATED AS (SELECT {day("CREATED_AT", zone)} AS EVENT_DAY, COUNT(*) AS N FROM {tasks} AS T WHERE CREATED_AT IS NOT NULL GROUP BY 1),
DAYS AS (SELECT EVENT_DAY FROM DUE UNION SELECT EVENT_DAY FROM CREATED), OPEN AS (
    SELECT D.EVENT_DAY, COUNT(*) AS N, {count_if(f"T.DUE_AT < {ends}")} AS OVERDUE FROM DAYS AS D
    JOIN {tasks} AS T ON T.CREATED_AT < {ends} AND (T.COMPLETED_AT IS NULL AND COALESCE(T.STATUS, '') <> 'done' OR T.COMPLETED_AT >= {ends})
    GROUP BY 1
)
SELECT D.EVENT_DAY, COALESCE(C.N, 0) AS CREATED, COALESCE(U.N, 0) AS DUE, COALESCE(U.ON_TIME, 0) AS DONE_ON_TIME, COALESCE(U.LATE, 0) AS DONE_LATE,
    COALESCE(O.N, 0) AS OPEN_TASKS, COALESCE(O.OVERDUE, 0) AS OPEN_OVERDUE
FROM DAYS AS D LEFT JOIN DUE AS U ON U.EVENT_DAY = D.EVENT_DAY LEFT JOIN CREATED AS C ON C.EVENT_DAY = D.EVENT_DAY
LEFT JOIN OPEN AS O ON O.EVENT_DAY = D.EVENT_DAY"""


TASKS = Report(
    "task_activity",
    "Tasks by the day they were due, and those open when a day ended.",
    "hc1 activities (tasks have deadlines, cases do not).",
    ("event_day",),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
        "created": Column(COUNT, "Tasks made on the day."),
        "due": Column(COUNT, "Tasks due on the day."),
        "done_on_time": Column(COUNT, "Those done by their deadline; % on time = done_on_time / due, of the sums."),
        "done_late": Column(COUNT, "Those done later."),
        "open_tasks": Column(COUNT, "Tasks open when the day ended. A snapshot: never add days up."),
        "open_overdue": Column(COUNT, "Those of them whose deadline had passed."),
    },
    ("crm_task",),
    _tasks,
)


def _audit(relations: Relations, zone: str) -> str:
    return f"""
SELECT {day("OCCURRED_AT", zone)} AS EVENT_DAY, COALESCE(USER_NAME, 'unknown') AS USER_NAME, COALESCE(ACTION, 'unknown') AS ACTION, COUNT(*) AS EVENTS,
    {count_if("OUTCOME = 'refused'")} AS REFUSED FROM {relations["audit_event"]} AS E WHERE OCCURRED_AT IS NOT NULL GROUP BY 1, 2, 3"""


AUDIT = Report(
    "audit_activity",
    "What users did on a day: logins, reads, changes and exports, and what they were refused.",
    "HIPAA Security Rule, 45 CFR 164.312(b).",
    ("event_day", "user_name", "action"),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
        "user_name": Column("VARCHAR", "User."),
        "action": Column("VARCHAR", "What was done."),
        "events": Column(COUNT, "Events, refused ones included."),
        "refused": Column(COUNT, "Refused ones."),
    },
    ("audit_event",),
    _audit,
)
