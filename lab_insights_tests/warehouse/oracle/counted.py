"""What is counted from ordered tests: turnaround, volume, months, accounts, and what is pending."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import before, business_days, end_of, percentile
from lab_insights_tests.warehouse.oracle.ordered import STAGES

DIMENSIONS = {
    "all": (),
    "test": ("test_code",),
    "department": ("department",),
    "priority": ("priority",),
    "laboratory": ("performing_lab",),
    "account": ("account_id",),
    "shift": ("shift",),
    "test_priority": ("test_code", "priority"),
    "sample": ("sampled_as",),
}


def turnaround(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in tests[(tests.state == "complete") & tests.verified_day.notna()].to_dict("records"):
        for dimension, by in DIMENSIONS.items():
            groups[row["verified_day"], dimension, " / ".join(row[name] for name in by) or "all"].append(row)
    return {(day, stage, dimension, member): _taken(stage, rows) for (day, dimension, member), rows in groups.items() for stage in STAGES}


def _taken(stage: str, rows: list[Row]) -> Row:
    values, issues = [row[f"{stage}_minutes"] for row in rows], Counter(row[f"{stage}_issue"] for row in rows)
    targeted = rows if stage == "receive_to_verify" else []
    return {
        "tests": len(rows),
        "observations": sum(value is not None for value in values),
        **{f"{name}_minutes": percentile(values, share) for name, share in {"median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95}.items()},
        "with_target": sum(row["is_within_target"] is not None for row in targeted),
        "within_target": sum(row["is_within_target"] is True for row in targeted),
        "no_target": sum(row["target_minutes"] is None for row in targeted),
        "missing": issues["missing"] + issues["date_only"],
        "implausible": issues["negative"] + issues["over_a_year"],
    }


def live(tests: pd.DataFrame) -> pd.DataFrame:
    return tests[tests.start_day.notna() & ~tests.state.isin(["cancelled", "rejected"])]


def volume(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    frame = tests[tests.start_day.notna()]
    counted = ~frame.state.isin(["cancelled", "rejected"])
    parts = {
        "tests": counted,
        "cancelled": frame.state == "cancelled",
        "rejected": frame.state == "rejected",
        "add_ons": counted & frame.is_add_on.astype(bool),
        "billable": counted & frame.is_billable.astype(bool),
        "duplicates": frame.is_duplicate.astype(bool),
    }
    sums = frame.assign(**parts).groupby(["start_day", "account_id", "provider_id", "test_code"])[list(parts)].sum()
    return {key: {name: int(value) for name, value in row.items()} for key, row in sums.to_dict("index").items()}


def _by_month(tests: pd.DataFrame, of: str) -> Counter[Any]:
    frame = live(tests)
    return Counter((member, day.replace(day=1)) for member, day in zip(frame[of], frame.start_day, strict=True))


def months(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    frame = live(tests).assign(all="all")
    last, found = max(frame.start_day), {}
    for dimension, of in {"all": "all", "test": "test_code", "provider": "provider_id", "account": "account_id"}.items():
        counts = _by_month(frame, of)
        for member, month in {*counts, *((member, before(month, -1)) for member, month in counts)}:
            now, then = counts[member, month], counts[member, before(month, 1)]
            if month <= last.replace(day=1):
                days = business_days(month, last)
                found[month, dimension, member] = {
                    "tests": now,
                    "tests_before": then,
                    "business_days": days,
                    "tests_per_business_day": now / days if days else None,
                }
    return found


def outreach(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    counts, found = _by_month(tests, "account_id"), {}
    last, spine = max(live(tests).start_day), sorted({month for _, month in counts})
    for account in {account for account, _ in counts}:
        first = min(month for its, month in counts if its == account)
        for month in spine:
            if month < first:
                continue
            three, six = (sum(counts[account, before(month, ago)] for ago in range(start, start + 3)) for start in (0, 3))
            days = business_days(month, last)
            standing = "new" if month == first else "lapsed" if not three else "at_risk" if three < six / 2 else "active"
            found[month, account] = {
                "tests": counts[account, month],
                "tests_before": counts[account, before(month, 1)],
                "trailing_3": three,
                "prior_3": six,
                "business_days": days,
                "tests_per_business_day": counts[account, month] / days if days else None,
                "standing": standing,
            }
    return found


def pending(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    days: set[date] = {*tests.start_day.dropna(), *tests.verified_day.dropna()}
    rows = [row for row in live(tests).to_dict("records") if row["verified_at"] or row["state"] == "pending"]
    groups: dict[tuple[Any, ...], list[tuple[Row, timedelta, timedelta | None]]] = defaultdict(list)
    for day in days:
        ends = end_of(day)
        for row in rows:
            if row["started_at"] < ends and (row["verified_at"] is None or row["verified_at"] >= ends):
                received = row["received_at"]
                age = ends - received if received and received < ends else None
                groups[day, row["test_code"], row["priority"]].append((row, ends - row["started_at"], age))
    found = {}
    for key, open_ in groups.items():
        left = [row["target_minutes"] - age.total_seconds() / 60 for row, _, age in open_ if age and row["target_minutes"] is not None]
        found[key] = {
            "pending": len(open_),
            "not_received": sum(age is None for *_, age in open_),
            "no_target": sum(row["target_minutes"] is None for row, *_ in open_),
            "overdue": sum(each < 0 for each in left),
            "least_remaining_minutes": min(left, default=None),
            "oldest_hours": max(hours.total_seconds() / 3600 for _, hours, _ in open_),
        }
    return found
