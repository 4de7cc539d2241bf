"""KPIs of client services and of audit, against their recomputation."""

from __future__ import annotations

from collections import Counter

import pytest

from lab_insights_tests.warehouse import kpi_oracle as oracle
from lab_insights_tests.warehouse.weeks import Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")


def test_cases_have_a_backlog_at_the_end_of_each_day_and_causes(weeks: Weeks) -> None:
    kept = [row for row in weeks.made.rows["crm_case"] if not row["is_removed"]]
    opened = Counter(oracle.day_of(row["opened_at"]) for row in kept)
    closed = Counter(oracle.day_of(row["closed_at"]) for row in kept if row["closed_at"])
    expected = {}
    for day in {*opened, *closed}:
        ends = oracle.end_of(day)  # type: ignore[arg-type]
        open_ = [
            row for row in kept if row["opened_at"] < ends and (row["closed_at"] >= ends if row["closed_at"] else row["status"] != "closed")
        ]
        good = [row for row in kept if oracle.day_of(row["closed_at"]) == day and row["closed_at"] >= row["opened_at"]]
        expected[day] = (opened[day], closed[day], len(open_), len(good), closed[day] - len(good))
    held = {
        row[0]: row[1:]
        for row in weeks.rows("SELECT EVENT_DAY, OPENED, CLOSED, BACKLOG, OBSERVATIONS, IMPLAUSIBLE FROM REPORTS.CASE_ACTIVITY")
    }
    assert held == expected
    causes = Counter(
        (oracle.day_of(row["closed_at"]), row["root_cause"] or "not given", row["account_id"]) for row in kept if row["closed_at"]
    )
    assert {row[:3]: row[3] for row in weeks.rows("SELECT EVENT_DAY, ROOT_CAUSE, ACCOUNT_ID, CLOSED FROM REPORTS.CASE_CAUSE")} == causes


def test_tasks_are_on_time_by_the_day_they_were_due_and_overdue_when_it_ends(weeks: Weeks) -> None:
    tasks = weeks.made.rows["crm_task"]
    due = [row for row in tasks if row["due_at"]]
    expected = {}
    for day in {oracle.day_of(row[name]) for row in tasks for name in ("due_at", "created_at") if row[name]}:
        ends = oracle.end_of(day)  # type: ignore[arg-type]
        mine = [row for row in due if oracle.day_of(row["due_at"]) == day]
        on_time = [row for row in mine if row["completed_at"] and row["completed_at"] <= row["due_at"]]
        open_ = [
            row
            for row in tasks
            if row["created_at"] < ends and (row["completed_at"] >= ends if row["completed_at"] else row["status"] != "done")
        ]
        overdue = [row for row in open_ if row["due_at"] and row["due_at"] < ends]
        expected[day] = (len(mine), len(on_time), len(open_), len(overdue))
    held = {
        row[0]: row[1:] for row in weeks.rows("SELECT EVENT_DAY, DUE, DONE_ON_TIME, OPEN_TASKS, OPEN_OVERDUE FROM REPORTS.TASK_ACTIVITY")
    }
    assert held == expected


def test_audit_activity_counts_events_and_refusals_by_user_and_action(weeks: Weeks) -> None:
    events = weeks.made.rows["audit_event"]
    expected = Counter((oracle.day_of(row["occurred_at"]), row["user_name"], row["action"]) for row in events)
    refused = Counter((oracle.day_of(row["occurred_at"]), row["user_name"], row["action"]) for row in events if row["outcome"] == "refused")
    held = {row[:3]: row[3:] for row in weeks.rows("SELECT EVENT_DAY, USER_NAME, ACTION, EVENTS, REFUSED FROM REPORTS.AUDIT_ACTIVITY")}
    assert held == {key: (count, refused[key]) for key, count in expected.items()}
