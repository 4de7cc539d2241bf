"""Client services: cases, tasks; and who did what in the systems."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, Column, Relations, Report, count_if, day, day_ends, percentile

_KEPT = "NOT COALESCE(IS_REMOVED, FALSE)"
HOURS = "NUMBER(12,2)"


def _cases(relations: Relations, zone: str) -> str:
    cases = relations["crm_case"]
    opened, closed = day("OPENED_AT", zone), day("CLOSED_AT", zone)
    return f"""
WITH OPENED AS (
    SELECT {opened} AS EVENT_DAY, COUNT(*) AS N, {count_if("STATUS = 'reopened' OR H.CASE_ID IS NOT NULL")} AS REOPENED FROM {cases} AS C
    LEFT JOIN (SELECT DISTINCT CASE_ID FROM {relations["case_status_history"]} AS S WHERE TO_STATUS = 'reopened') AS H ON H.CASE_ID = C.CASE_ID
    WHERE {_KEPT} AND OPENED_AT IS NOT NULL GROUP BY 1
), CLOSED AS (
    SELECT EVENT_DAY, COUNT(*) AS N, COUNT(HOURS) AS OBSERVATIONS, {percentile("0.5", "HOURS")} AS MEDIAN_HOURS, {percentile("0.9", "HOURS")} AS P90_HOURS,
        COUNT(*) - COUNT(HOURS) AS IMPLAUSIBLE
    FROM (SELECT {closed} AS EVENT_DAY, CASE WHEN CLOSED_AT >= OPENED_AT
            THEN CAST(DATEDIFF('second', OPENED_AT, CLOSED_AT) / 3600 AS {HOURS}) END AS HOURS
        FROM {cases} AS C WHERE {_KEPT} AND CLOSED_AT IS NOT NULL) AS C GROUP BY 1
), DAYS AS (SELECT EVENT_DAY FROM OPENED UNION SELECT EVENT_DAY FROM CLOSED), BACKLOG AS (
    SELECT D.EVENT_DAY, COUNT(*) AS N FROM DAYS AS D JOIN {cases} AS C ON {_KEPT} AND C.OPENED_AT < {day_ends("D.EVENT_DAY", zone)}
        AND (C.CLOSED_AT IS NULL AND C.STATUS <> 'closed' OR C.CLOSED_AT >= {day_ends("D.EVENT_DAY", zone)})
    GROUP BY 1
)
SELECT D.EVENT_DAY, COALESCE(O.N, 0) AS OPENED, COALESCE(O.REOPENED, 0) AS REOPENED, COALESCE(C.N, 0) AS CLOSED, COALESCE(B.N, 0) AS BACKLOG,
    COALESCE(C.OBSERVATIONS, 0) AS OBSERVATIONS, C.MEDIAN_HOURS, C.P90_HOURS, COALESCE(C.IMPLAUSIBLE, 0) AS IMPLAUSIBLE
FROM DAYS AS D LEFT JOIN OPENED AS O ON O.EVENT_DAY = D.EVENT_DAY LEFT JOIN CLOSED AS C ON C.EVENT_DAY = D.EVENT_DAY
LEFT JOIN BACKLOG AS B ON B.EVENT_DAY = D.EVENT_DAY"""


CASES = Report(
    "case_activity",
    "Cases opened and closed on a day, and the backlog at its end. Cases that users deleted count nowhere.",
    "hc1 activities.",
    ("event_day",),
    {
        "event_day": Column("DATE", "Day in the tenant's zone."),
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
    },
    ("crm_case", "case_status_history"),
    _cases,
)


def _causes(relations: Relations, zone: str) -> str:
    return f"""
SELECT {day("CLOSED_AT", zone)} AS EVENT_DAY, COALESCE(ROOT_CAUSE, 'not given') AS ROOT_CAUSE, COALESCE(ACCOUNT_ID, 'unknown') AS ACCOUNT_ID,
    COUNT(*) AS CLOSED
FROM {relations["crm_case"]} AS C WHERE {_KEPT} AND CLOSED_AT IS NOT NULL GROUP BY 1, 2, 3"""


CAUSES = Report(
    "case_cause",
    "Cases closed on a day by root cause and account.",
    "hc1 activities.",
    ("event_day", "root_cause", "account_id"),
    {
        "event_day": Column("DATE", "Day of the closing in the tenant's zone."),
        "root_cause": Column("VARCHAR", "Cause as found; `not given` where there is none."),
        "account_id": Column("VARCHAR", "Account that the case is about."),
        "closed": Column(COUNT, "Cases closed."),
    },
    ("crm_case",),
    _causes,
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
