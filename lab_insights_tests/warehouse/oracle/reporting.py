"""What was reported of a day, what was corrected, and what was critical."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import day_of, known, minutes, percentile
from lab_insights_tests.warehouse.oracle.told import RELEASED, results


def released(made: Tables) -> list[Row]:
    return [row for row in results(made) if row["status_norm"] in RELEASED]


def told_at(row: Row) -> Any:
    return row.get("verified_at") or row.get("resulted_at")


def daily_activity(made: Tables, _: pd.DataFrame | None = None) -> dict[tuple[Any, ...], Row]:
    counts: dict[str, Counter[Any]] = {}

    def count(name: str, days: Iterable[Any]) -> None:
        counts[name] = Counter(day for day in days if day)

    count("orders", (day_of(row["ordered_at"]) for row in made.rows["lab_order"] if row["status"] != "cancelled"))
    count("critical_notifications", (day_of(row["notified_at"]) for row in made.rows["critical_notification"]))
    count("cases_opened", (day_of(row["opened_at"]) for row in made.rows["crm_case"] if not row["is_removed"]))
    count("results_final", (day_of(told_at(row)) for row in released(made) if row["status_norm"] != "corrected"))
    count("results_corrected", (day_of(told_at(row)) for row in released(made) if row["status_norm"] == "corrected"))
    days = {day for each in counts.values() for day in each}
    return {(day,): {name: each[day] for name, each in counts.items()} for day in sorted(days)}


def rejection(made: Tables, _: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    labels = {row["code"]: row["label"] for row in made.rows["reject_reason"]}
    accounts = {row["lab_order_id"]: row["account_id"] for row in made.rows["order_detail"]}
    visits = {row["lab_order_id"]: row["encounter_id"] for row in made.rows["lab_order"]}
    wards = {row["encounter_id"]: row["ward"] for row in made.rows["encounter"]}
    found: Counter[Any] = Counter()
    for row in made.rows["specimen"]:
        if row["status"] != "rejected" and row["received_at"] is None:
            continue
        at, order = known(row["received_at"]) or known(row["collected_at"]), row["lab_order_id"]
        reason = labels.get(row["reject_reason"], row["reject_reason"] or "no reason given") if row["status"] == "rejected" else "accepted"
        found[day_of(at), accounts.get(order) or "unknown", wards.get(visits[order]) or "unknown", reason] += 1
    return {key: {"specimens": count} for key, count in found.items()}


def corrected(made: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    of = {row["order_item_id"]: row for row in tests.to_dict("records")}
    versions: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(made.rows["result_version"], key=told_at):
        if row["status_norm"] == "corrected":
            versions[row["result_id"]].append(row)
    counted: dict[Any, Counter[str]] = defaultdict(Counter)
    billed: dict[Any, set[str]] = defaultdict(set)
    for row in released(made):
        test = of[row["order_item_id"]]
        if row["value_type"] in {"TX", "FT"} or test["department"] == "pathology":
            continue
        key = day_of(told_at(row)), test["test_code"]
        counted[key]["results"] += 1
        billed[key] |= {row["order_item_id"]} if test["is_billable"] else set()
        its = versions[row["result_id"]]
        said = [tuple(version.get(name) or "" for name in ("value_raw", "unit_raw", "flag_raw")) for version in its]
        new = [version for place, version in enumerate(its) if place == 0 or said[place] != said[place - 1]]
        standing = [row] if row["status_norm"] == "corrected" and not its else []
        for version in [*new, *standing]:
            counted[day_of(told_at(version)), test["test_code"]]["corrected"] += 1
    return {
        key: {"results": count["results"], "corrected": count["corrected"], "billable_tests": len(billed[key])}
        for key, count in counted.items()
    }


def critical_result(made: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    of = {row["order_item_id"]: row for row in tests.to_dict("records")}
    calls: dict[str, list[Row]] = defaultdict(list)
    for row in made.rows["critical_notification"]:
        calls[row["result_id"]].append(row)
    found = {}
    for row in released(made):
        says = row["is_critical"] if row["is_critical"] is not None else (row["flag_norm"] or "").startswith("critical_")
        if not says:
            continue
        test, its, verified = of[row["order_item_id"]], calls[row["result_id"]], row["verified_at"]
        first = min((call["notified_at"] for call in its), default=None)
        found[(row["result_id"],)] = {
            "test_code": test["test_code"],
            "priority": test["priority"],
            "event_day": day_of(told_at(row)),
            "is_documented": bool(its),
            "is_acknowledged": any(call["acknowledged_at"] for call in its),
            "minutes_to_notify": minutes(verified, first) if first and verified and first >= verified else None,
            "is_implausible": bool(first and verified and first < verified),
        }
    return found


def critical_reporting(made: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    by_day: dict[Any, list[Row]] = defaultdict(list)
    for row in critical_result(made, tests).values():
        by_day[row["event_day"]].append(row)
    found = {}
    for day, rows in by_day.items():
        told = [row["minutes_to_notify"] for row in rows if row["minutes_to_notify"] is not None]
        found[(day,)] = {
            "criticals": len(rows),
            "documented": sum(row["is_documented"] for row in rows),
            "acknowledged": sum(row["is_acknowledged"] for row in rows),
            "observations": len(told),
            "median_minutes": percentile(told, 0.5),
            "p90_minutes": percentile(told, 0.9),
            **{f"within_{limit}": sum(each <= limit for each in told) for limit in (15, 30, 60)},
            "implausible": sum(row["is_implausible"] for row in rows),
        }
    return found
