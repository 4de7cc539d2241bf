"""Opportunities by stage, and what an account ordered before and after one was won."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.counted import live
from lab_insights_tests.warehouse.oracle.instants import day_of, end_of


def stages(made: Tables) -> list[tuple[Row, str, datetime, datetime | None]]:
    """Each opportunity and stage that it came to, when, and when it left it."""
    found: list[tuple[Row, str, datetime, datetime | None]] = []
    for row in made.rows["opportunity"]:
        its = [each for each in made.rows["opportunity_stage_history"] if each["opportunity_id"] == row["opportunity_id"]]
        came = sorted((each["changed_at"], each["to_stage"]) for each in its) or [(row["created_at"], row["stage"])]
        ends = [at for at, _ in came[1:]]
        found += [(row, stage, at, after) for (at, stage), after in zip(came, [*ends, None], strict=True)]
    return found


def pipeline(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    every, found = stages(made), {}
    for day in {day_of(at) for *_, at, _ in every}:
        ends = end_of(day)
        for stage in {stage for _, stage, *_ in every}:
            came = [row["amount"] for row, its, at, _ in every if its == stage and day_of(at) == day]
            stood = [row["amount"] for row, its, at, after in every if its == stage and at < ends and (after is None or after >= ends)]
            if came or stood:
                found[day, stage] = {
                    "entered": len(came),
                    "amount_entered": float(sum(came)),
                    "standing": len(stood),
                    "amount_standing": float(sum(stood)),
                }
    return found


def wins(made: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    every, counted = tests.start_day.dropna(), live(tests)
    window, found = timedelta(days=90), dict[tuple[Any, ...], Row]()
    for row, stage, at, _ in stages(made):
        key, day = (row["opportunity_id"],), day_of(at)
        if stage != "won" or key in found:
            continue
        its = [each for each in counted[counted.account_id == row["account_id"]].start_day if abs(each - day) <= window]
        found[key] = {
            "account_id": row["account_id"] or "unknown",
            "event_day": day,
            "amount": float(row["amount"]),
            "tests_before": sum(each < day for each in its),
            "tests_after": sum(each > day for each in its),
            "days_before": min(day - min(every), window).days,
            "days_after": min(max(every) - day, window).days,
        }
    return found
