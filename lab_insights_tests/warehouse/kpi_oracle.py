"""The KPIs once more, in pandas and plain Python, from their definitions in words: nothing of it is taken from the SQL."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from lab_insights_tests.warehouse.kpi_data import ZONE, Row, Tables

YEAR = 365 * 24 * 60
STAGES = {
    "order_to_collect": ("started", "collected"),
    "collect_to_receive": ("collected", "received"),
    "receive_to_verify": ("received", "verified"),
    "total": ("started", "verified"),
}


def local(at: datetime) -> datetime:
    return at.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def day_of(at: datetime | None) -> date | None:
    return local(at).date() if at else None


def end_of(day: date) -> datetime:
    midnight = datetime(day.year, day.month, day.day) + timedelta(days=1)
    return midnight.replace(tzinfo=ZoneInfo(ZONE)).astimezone(ZoneInfo("UTC")).replace(tzinfo=None)


def known(at: datetime | None) -> datetime | None:
    return at if at and at.year > 1970 else None


def midnight(at: datetime) -> bool:
    return any(each.time() == datetime.min.time() for each in (at, local(at)))


def percentile(values: list[float], share: float) -> float | None:
    if len(values) < 10:
        return None
    return sorted(values)[math.ceil(round(share * len(values), 9)) - 1]


def tests(made: Tables) -> pd.DataFrame:
    """Every ordered test with its state, its ends, and minutes or the reason why there are none for each stage."""
    orders = {row["lab_order_id"]: row for row in made.rows["lab_order"]}
    accounts = {row["lab_order_id"]: row["account_id"] for row in made.rows["order_detail"]}
    merged = {row["lab_order_id"]: row["surviving_patient_id"] for row in made.rows["order_detail"]}
    panels = {row["test_code"]: row for row in made.rows["orderable"]}
    specimens: dict[str, list[Row]] = {}
    for row in made.rows["specimen"]:
        specimens.setdefault(str(row["lab_order_id"]), []).append(row)
    results: dict[str, list[Row]] = {}
    for row in made.rows["result"]:
        if row["status_norm"] in {"preliminary", "final", "corrected"}:
            results.setdefault(row["order_item_id"], []).append(row)
    emergencies = {row["encounter_id"] for row in made.rows["encounter"] if row["encounter_class"] == "emergency"}
    found = [_test(item, orders, accounts, merged, panels, specimens, results, emergencies) for item in made.rows["order_item"]]
    frame = pd.DataFrame(found).sort_values(["patient", "started_sort", "item"], key=lambda c: c if c.name != "item" else c.astype(str))
    analytes: dict[str, set[str]] = {}
    for row in made.rows["test_component"]:
        analytes.setdefault(row["test_code"], set()).add(row["loinc"] or row["component_code"])
    last: dict[Any, datetime] = {}
    duplicates = []
    for row in frame.to_dict("records"):
        started, keys = row["started_sort"], [(row["patient"], each) for each in analytes.get(row["test"], {row["test"]})]
        live = row["state"] not in {"cancelled", "rejected"} and row["patient"] is not None and pd.notna(started)
        since = [started - last[key] for key in keys if key in last] if live else []
        duplicates.append(pd.notna(row["retest"]) and any(each < timedelta(hours=row["retest"]) for each in since))
        if live:
            last |= dict.fromkeys(keys, started)
    return frame.assign(duplicate=duplicates)


def _test(item: Row, orders: Any, accounts: Any, merged: Any, panels: Any, specimens: Any, results: Any, emergencies: Any) -> Row:
    order = orders[str(item["lab_order_id"])]
    panel = panels.get(item["test_code"], {})
    tubes = specimens.get(str(item["lab_order_id"]), [])
    good = [tube for tube in tubes if tube["status"] != "rejected"]
    every = results.get(item["order_item_id"], [])
    final = [row for row in every if row["status_norm"] != "preliminary"]
    if tubes and not good:
        state = "rejected"
    elif "cancelled" in {item["status"], order["status"]}:
        state = "cancelled"
    elif every and len(final) == len(every) and item["status"] in {None, "completed"}:
        state = "complete"
    else:
        state = "without_result" if not every and item["status"] == "completed" else "pending"
    verified = [row["verified_at"] for row in final if row["verified_at"]]
    ends = {
        "started": known(item["added_at"] if item["is_add_on"] else order["ordered_at"]),
        "collected": known(min((tube["collected_at"] for tube in good), default=None)),
        "received": known(min((tube["received_at"] for tube in good), default=None)),
        "verified": max(verified, default=None) if state == "complete" else None,
    }
    stages = _stages(ends, add_on=bool(item["is_add_on"]), complete=state == "complete")
    target = panel.get("stat_target_minutes" if order["priority"] == "stat" else "tat_target_minutes")
    patient = order["patient_id"]
    potassium = any(row["loinc"] in {"2823-3", "6298-4", "75940-7"} for row in every)
    sampled = order["priority"] == "stat" and order["encounter_id"] in emergencies and potassium
    return {
        "item": item["order_item_id"],
        "order": str(item["lab_order_id"]),
        "test": item["test_code"],
        "department": panel.get("department", "unknown"),
        "priority": order["priority"] or "unknown",
        "account": accounts.get(str(item["lab_order_id"])) or "unknown",
        "provider": order["provider_id"],
        "sample": "ED STAT potassium" if sampled else "other",
        "patient": merged.get(str(item["lab_order_id"])) or patient,
        "state": state,
        "add_on": bool(item["is_add_on"]),
        "billable": bool(panel.get("is_billable", 1)),
        "retest": panel.get("min_retest_hours"),
        "target": target,
        "started_sort": ends["started"],
        **ends,
        "start_day": day_of(ends["started"]),
        "verified_day": day_of(ends["verified"]),
        **stages,
    }


def _stages(ends: Row, *, add_on: bool, complete: bool) -> Row:
    stages: Row = {}
    for stage, (first, last) in STAGES.items():
        start, end = ends[first], ends[last]
        value, issue = None, None
        if stage == "order_to_collect" and add_on:
            issue = "add_on"
        elif start is None or end is None:
            issue = "missing"
        elif midnight(start) or midnight(end):
            issue = "date_only"
        elif end < start:
            issue = "negative"
        elif (end - start) > timedelta(minutes=YEAR):
            issue = "over_a_year"
        elif complete:
            value = round((end - start).total_seconds() / 60, 2)
        stages |= {f"{stage}_minutes": value, f"{stage}_issue": issue}
    return stages


def turnaround(frame: pd.DataFrame, by: list[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """(day, stage, *by) → tests, observations, median, p90, with target, within target."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    complete = frame[(frame.state == "complete") & frame.verified_day.notna()]
    for key, rows in complete.groupby(["verified_day", *by]):
        for stage in STAGES:
            values = [value for value in rows[f"{stage}_minutes"] if pd.notna(value)]
            targeted = [(row.receive_to_verify_minutes, row.target) for row in rows.itertuples() if pd.notna(row.target)]
            targeted = [pair for pair in targeted if pd.notna(pair[0])] if stage == "receive_to_verify" else []
            found[(key[0], stage, *key[1:])] = (
                len(rows),
                len(values),
                percentile(values, 0.5),
                percentile(values, 0.9),
                len(targeted),
                sum(value <= target for value, target in targeted),
            )
    return found


def pending(frame: pd.DataFrame) -> dict[tuple[Any, ...], tuple[int, int, int, float | None]]:
    """(day, test, priority) → pending, not received, overdue at its end, and the least time that is left."""
    days = {*frame.start_day.dropna(), *frame.verified_day.dropna()}
    counts: dict[tuple[Any, ...], Counter[str]] = {}
    left: dict[tuple[Any, ...], float] = {}
    for day in days:
        ends = end_of(day)
        for row in frame.to_dict("records"):
            verified, started, received = (row[name] if pd.notna(row[name]) else None for name in ("verified", "started", "received"))
            waiting = verified >= ends if verified else row["state"] == "pending"
            if row["state"] in {"cancelled", "rejected"} or not started or started >= ends or not waiting:
                continue
            count = counts.setdefault((day, row["test"], row["priority"]), Counter())
            there = received if received and received < ends else None
            count["pending"] += 1
            count["not_received"] += there is None
            if there and pd.notna(row["target"]):
                remaining = row["target"] - (ends - there).total_seconds() / 60
                count["overdue"] += remaining < 0
                key = (day, row["test"], row["priority"])
                left[key] = min(left.get(key, remaining), remaining)
    return {
        key: (count["pending"], count["not_received"], count["overdue"], round(left[key], 2) if key in left else None)
        for key, count in counts.items()
    }


def business_days(month: date, last: date) -> int:
    days = [month + timedelta(days=number) for number in range(31)]
    return sum(day.weekday() < 5 and day.month == month.month and day <= last for day in days)


def stages(made: Tables) -> list[tuple[Row, str, datetime, datetime | None]]:
    """Each opportunity and stage that it came to, when, and when it left it."""
    found: list[tuple[Row, str, datetime, datetime | None]] = []
    for row in made.rows["opportunity"]:
        its = [each for each in made.rows["opportunity_stage_history"] if each["opportunity_id"] == row["opportunity_id"]]
        came = sorted((each["changed_at"], each["to_stage"]) for each in its) or [(row["created_at"], row["stage"])]
        ends = [at for at, _ in came[1:]]
        found += [(row, stage, at, after) for (at, stage), after in zip(came, [*ends, None], strict=True)]
    return found
