"""Cases, tasks and audit events."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import day_of, end_of, percentile


def cases(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    kept = [row for row in made.rows["crm_case"] if not row["is_removed"]]
    return {(day,): _of_day(made, kept, day) for day in _days(kept)}


def causes(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    kept, groups = [row for row in made.rows["crm_case"] if not row["is_removed"]], defaultdict(list)
    for row in kept:
        groups[row["root_cause"] or "not given", row["account_id"] or "unknown"].append(row)
    each = {(day, *key): _of_day(made, rows, day) for day in _days(kept) for key, rows in groups.items()}
    return {key: row for key, row in each.items() if row["opened"] or row["closed"] or row["backlog"]}


def _days(kept: list[Row]) -> set[date]:
    return {day_of(row[name]) for row in kept for name in ("opened_at", "closed_at") if row[name]}


def _of_day(made: Tables, kept: list[Row], day: date) -> Row:
    again = {row["case_id"] for row in made.rows["case_status_history"] if row["to_status"] == "reopened"}
    opened = [row for row in kept if day_of(row["opened_at"]) == day]
    closed = [row for row in kept if day_of(row["closed_at"]) == day]
    ends = end_of(day)
    open_ = [
        row for row in kept if row["opened_at"] < ends and (row["closed_at"] >= ends if row["closed_at"] else row["status"] != "closed")
    ]
    hours = [(row["closed_at"] - row["opened_at"]).total_seconds() / 3600 for row in closed if row["closed_at"] >= row["opened_at"]]
    return {
        "opened": len(opened),
        "reopened": sum(row["status"] == "reopened" or row["case_id"] in again for row in opened),
        "closed": len(closed),
        "backlog": len(open_),
        "observations": len(hours),
        "median_hours": percentile(hours, 0.5),
        "p90_hours": percentile(hours, 0.9),
        "implausible": len(closed) - len(hours),
    }


def tasks(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    every, found = made.rows["crm_task"], {}
    for day in {day_of(row[name]) for row in every for name in ("due_at", "created_at") if row[name]}:
        due, ends = [row for row in every if day_of(row["due_at"]) == day], end_of(day)
        done = [row for row in due if row["completed_at"]]
        open_ = [
            row
            for row in every
            if row["created_at"] < ends and (row["completed_at"] >= ends if row["completed_at"] else row["status"] != "done")
        ]
        found[(day,)] = {
            "created": sum(day_of(row["created_at"]) == day for row in every),
            "due": len(due),
            "done_on_time": sum(row["completed_at"] <= row["due_at"] for row in done),
            "done_late": sum(row["completed_at"] > row["due_at"] for row in done),
            "open_tasks": len(open_),
            "open_overdue": sum(row["due_at"] is not None and row["due_at"] < ends for row in open_),
        }
    return found


def audit(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    events = [row for row in made.rows["audit_event"] if row["occurred_at"]]
    keys = [(day_of(row["occurred_at"]), row["user_name"] or "unknown", row["action"] or "unknown") for row in events]
    refused = Counter(key for key, row in zip(keys, events, strict=True) if row["outcome"] == "refused")
    return {key: {"events": count, "refused": refused[key]} for key, count in Counter(keys).items()}
