"""Sales: opportunities by stage, and what an account ordered before and after one was won."""

from __future__ import annotations

from lab_insights.lab.kpis.model import COUNT, Column, Relations, Report, day, day_ends

MONEY = "NUMBER(14,2)"
# As many days are compared on each side of a win.
WINDOW = 90


def _entered(relations: Relations, zone: str) -> str:
    """Each stage that an opportunity came to, and when; without a history the stage that it stands in, from when it was made."""
    return f"""
SELECT O.OPPORTUNITY_ID, O.ACCOUNT_ID, O.AMOUNT, COALESCE(H.TO_STAGE, O.STAGE) AS STAGE, COALESCE(H.CHANGED_AT, O.CREATED_AT) AS CAME_AT,
    LEAD(H.CHANGED_AT) OVER (PARTITION BY O.OPPORTUNITY_ID ORDER BY H.CHANGED_AT, H.TO_STAGE) AS LEFT_AT,
    {day("COALESCE(H.CHANGED_AT, O.CREATED_AT)", zone)} AS EVENT_DAY
FROM {relations["opportunity"]} AS O
LEFT JOIN {relations["opportunity_stage_history"]} AS H ON H.OPPORTUNITY_ID = O.OPPORTUNITY_ID AND H.CHANGED_AT IS NOT NULL
WHERE COALESCE(H.CHANGED_AT, O.CREATED_AT) IS NOT NULL AND COALESCE(H.TO_STAGE, O.STAGE) IS NOT NULL"""


def _pipeline(relations: Relations, zone: str) -> str:
    ends = day_ends("D.EVENT_DAY", zone)
    return f"""
WITH ENTERED AS ({_entered(relations, zone)}), CAME AS (
    SELECT EVENT_DAY, STAGE, COUNT(*) AS N, SUM(AMOUNT) AS AMOUNT FROM ENTERED GROUP BY 1, 2
), DAYS AS (SELECT D.EVENT_DAY, S.STAGE FROM (SELECT DISTINCT EVENT_DAY FROM ENTERED) AS D CROSS JOIN (SELECT DISTINCT STAGE FROM ENTERED) AS S),
STOOD AS (
    SELECT D.EVENT_DAY, D.STAGE, COUNT(*) AS N, SUM(E.AMOUNT) AS AMOUNT FROM DAYS AS D
    JOIN ENTERED AS E ON E.STAGE = D.STAGE AND E.CAME_AT < {ends} AND COALESCE(E.LEFT_AT >= {ends}, TRUE) GROUP BY 1, 2
)
SELECT D.EVENT_DAY, D.STAGE, COALESCE(C.N, 0) AS ENTERED, COALESCE(C.AMOUNT, 0) AS AMOUNT_ENTERED, COALESCE(S.N, 0) AS STANDING,
    COALESCE(S.AMOUNT, 0) AS AMOUNT_STANDING
FROM DAYS AS D LEFT JOIN CAME AS C ON C.EVENT_DAY = D.EVENT_DAY AND C.STAGE = D.STAGE
LEFT JOIN STOOD AS S ON S.EVENT_DAY = D.EVENT_DAY AND S.STAGE = D.STAGE
WHERE C.N > 0 OR S.N > 0"""


PIPELINE = Report(
    "sales_pipeline",
    "Opportunities by stage: those that came to it on a day, and those that stood in it when the day ended.",
    "hc1 dashboards (sales).",
    ("event_day", "stage"),
    {
        "event_day": Column("DATE", "Day in the tenant's zone on which the stage of any opportunity changed."),
        "stage": Column("VARCHAR", "prospecting, qualified, proposal, won or lost."),
        "entered": Column(COUNT, "Opportunities that came to the stage. Win rate = those of won / those of won and lost, of the sums."),
        "amount_entered": Column(MONEY, "Their expected revenue a year, as it is known now."),
        "standing": Column(COUNT, "Opportunities in the stage when the day ended. A snapshot: never add days up."),
        "amount_standing": Column(MONEY, "Their expected revenue a year."),
    },
    ("opportunity", "opportunity_stage_history"),
    _pipeline,
)


def _wins(relations: Relations, zone: str) -> str:
    return f"""
WITH ENTERED AS ({_entered(relations, zone)}), WON AS (
    SELECT OPPORTUNITY_ID, ACCOUNT_ID, AMOUNT, MIN(EVENT_DAY) AS EVENT_DAY FROM ENTERED WHERE STAGE = 'won' GROUP BY 1, 2, 3
), KNOWN AS (SELECT MIN(EVENT_DAY) AS FIRST_DAY, MAX(EVENT_DAY) AS LAST_DAY FROM {relations["test_volume"]} AS V)
SELECT W.OPPORTUNITY_ID, COALESCE(W.ACCOUNT_ID, 'unknown') AS ACCOUNT_ID, W.EVENT_DAY, W.AMOUNT,
    COALESCE(SUM(CASE WHEN V.EVENT_DAY < W.EVENT_DAY THEN V.TESTS END), 0) AS TESTS_BEFORE,
    COALESCE(SUM(CASE WHEN V.EVENT_DAY > W.EVENT_DAY THEN V.TESTS END), 0) AS TESTS_AFTER,
    GREATEST(LEAST(DATEDIFF('day', K.FIRST_DAY, W.EVENT_DAY), {WINDOW}), 0) AS DAYS_BEFORE,
    GREATEST(LEAST(DATEDIFF('day', W.EVENT_DAY, K.LAST_DAY), {WINDOW}), 0) AS DAYS_AFTER
FROM WON AS W CROSS JOIN KNOWN AS K LEFT JOIN {relations["test_volume"]} AS V ON V.ACCOUNT_ID = W.ACCOUNT_ID
    AND V.EVENT_DAY BETWEEN DATEADD('day', -{WINDOW}, W.EVENT_DAY) AND DATEADD('day', {WINDOW}, W.EVENT_DAY)
GROUP BY W.OPPORTUNITY_ID, W.ACCOUNT_ID, W.EVENT_DAY, W.AMOUNT, K.FIRST_DAY, K.LAST_DAY"""


WINS = Report(
    "sales_win",
    f"Each opportunity that was won, with what its account ordered in the {WINDOW} days before and after it.",
    "hc1 dashboards (sales).",
    ("opportunity_id",),
    {
        "opportunity_id": Column("VARCHAR", "Opportunity in the CRM."),
        "account_id": Column("VARCHAR", "Account that it was about."),
        "event_day": Column("DATE", "Day on which it was won first, in the tenant's zone; it is in neither sum."),
        "amount": Column(MONEY, "Expected revenue a year."),
        "tests_before": Column(COUNT, "Tests of the account before it that were neither cancelled nor rejected."),
        "tests_after": Column(COUNT, "Those after it."),
        "days_before": Column(COUNT, f"Days before it that are known, at most {WINDOW}: compare tests a day."),
        "days_after": Column(COUNT, f"Days after it that are known, at most {WINDOW}."),
    },
    ("opportunity", "opportunity_stage_history"),
    _wins,
    after=("test_volume",),
)
