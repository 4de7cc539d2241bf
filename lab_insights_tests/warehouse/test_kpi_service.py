"""KPIs of client services and of audit, against their recomputation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lab_insights_tests.warehouse import kpi_oracle as oracle
from lab_insights_tests.warehouse.weeks import Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")


def test_cases_have_a_backlog_at_the_end_of_each_day_and_causes(weeks: Weeks) -> None:
    kept = [row for row in weeks.made.rows["crm_case"] if not row["is_removed"]]
    opened = Counter(oracle.day_of(row["opened_at"]) for row in kept)
    closed = Counter(oracle.day_of(row["closed_at"]) for row in kept if row["closed_at"])
    reopened = {row["case_id"] for row in weeks.made.rows["case_status_history"] if row["to_status"] == "reopened"}
    assert reopened & {row["case_id"] for row in kept if row["status"] == "closed"}, "closed again since"
    expected = {}
    for day in {*opened, *closed}:
        ends = oracle.end_of(day)  # type: ignore[arg-type]
        open_ = [
            row for row in kept if row["opened_at"] < ends and (row["closed_at"] >= ends if row["closed_at"] else row["status"] != "closed")
        ]
        good = [row for row in kept if oracle.day_of(row["closed_at"]) == day and row["closed_at"] >= row["opened_at"]]
        again = [
            row for row in kept if oracle.day_of(row["opened_at"]) == day and (row["status"] == "reopened" or row["case_id"] in reopened)
        ]
        expected[day] = (opened[day], len(again), closed[day], len(open_), len(good), closed[day] - len(good))
    held = {
        row[0]: row[1:]
        for row in weeks.rows("SELECT EVENT_DAY, OPENED, REOPENED, CLOSED, BACKLOG, OBSERVATIONS, IMPLAUSIBLE FROM REPORTS.CASE_ACTIVITY")
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


def test_the_pipeline_has_what_came_to_each_stage_on_a_day_and_what_stood_in_it_at_its_end(weeks: Weeks) -> None:
    found = oracle.stages(weeks.made)
    expected = {}
    for day in {oracle.day_of(at) for _, _, at, _ in found}:
        ends = oracle.end_of(day)  # type: ignore[arg-type]
        for stage in {stage for _, stage, _, _ in found}:
            came = [row["amount"] for row, its, at, _ in found if its == stage and oracle.day_of(at) == day]
            stood = [row["amount"] for row, its, at, after in found if its == stage and at < ends and (after is None or after >= ends)]
            if came or stood:
                expected[day, stage] = (len(came), float(sum(came)), len(stood), float(sum(stood)))
    held = weeks.rows("SELECT EVENT_DAY, STAGE, ENTERED, AMOUNT_ENTERED, STANDING, AMOUNT_STANDING FROM REPORTS.SALES_PIPELINE")
    assert {row[:2]: row[2:] for row in held} == expected
    assert {stage for _, stage in expected} == {"prospecting", "qualified", "proposal", "won", "lost"}


def test_a_win_has_the_volume_of_its_account_on_both_sides_of_the_day_it_was_won_first(weeks: Weeks) -> None:
    frame = weeks.tests[weeks.tests.start_day.notna() & ~weeks.tests.state.isin(["cancelled", "rejected"])]
    every = weeks.tests[weeks.tests.start_day.notna()]
    first, last = min(every.start_day), max(every.start_day)
    won: dict[str, Any] = {}
    for row, stage, at, _ in oracle.stages(weeks.made):
        if stage == "won":
            won.setdefault(row["opportunity_id"], (row["account_id"], oracle.day_of(at)))
    expected = {}
    for key, (account, day) in won.items():
        its = frame[frame.account == account].start_day
        expected[key] = (account, day, int((its < day).sum()), int((its > day).sum()), (day - first).days, (last - day).days)
    columns = "ACCOUNT_ID, EVENT_DAY, TESTS_BEFORE, TESTS_AFTER, DAYS_BEFORE, DAYS_AFTER"
    assert {row[0]: row[1:] for row in weeks.rows(f"SELECT OPPORTUNITY_ID, {columns} FROM REPORTS.SALES_WIN")} == expected
    assert any(row[2] and row[3] for row in expected.values())
