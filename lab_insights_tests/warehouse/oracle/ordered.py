"""Ordered tests: their state, their ends, and minutes or the reason why there are none for each stage."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import YEAR, day_of, known, local, midnight, minutes
from lab_insights_tests.warehouse.oracle.told import RELEASED, results

# What was said of a result that was not released, by whether more is to come of it.
TO_COME = {"preliminary", "registered"}
NOTHING_TO_COME = RELEASED | {"cancelled", "entered_in_error", "not_asked"}
STAGES = {
    "order_to_collect": ("started_at", "collected_at"),
    "collect_to_receive": ("collected_at", "received_at"),
    "receive_to_verify": ("received_at", "verified_at"),
    "total": ("started_at", "verified_at"),
}
# What the table does not have, and others are counted from.
_OWN = ("patient", "retest")


def ordered_test(_: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    records = tests.drop(columns=list(_OWN)).to_dict("records")
    return {(row["order_item_id"],): {name: value for name, value in row.items() if name != "order_item_id"} for row in records}


def tests(made: Tables) -> pd.DataFrame:
    held = _Held(made)
    rows = [_test(held, item) for item in made.rows["order_item"]]
    listed: dict[str, set[str]] = defaultdict(set)
    for row in made.rows["test_component"]:
        listed[row["test_code"]].add(row["loinc"] or row["component_code"])
    last: dict[Any, datetime] = {}
    for row in sorted(rows, key=lambda row: (row["started_at"] or datetime(1, 1, 1), row["order_item_id"])):
        keys = [(row["patient"], each) for each in listed.get(row["test_code"], {row["test_code"]})]
        live = row["state"] not in {"cancelled", "rejected"} and row["patient"] is not None and row["started_at"] is not None
        since = [row["started_at"] - last[key] for key in keys if key in last] if live else []
        row["is_duplicate"] = row["retest"] is not None and any(each < timedelta(hours=row["retest"]) for each in since)
        if live:
            last |= dict.fromkeys(keys, row["started_at"])
    return pd.DataFrame(rows, dtype=object)


class _Held:
    """A laboratory's rows by what they are looked up with."""

    def __init__(self, made: Tables) -> None:
        self.orders = {row["lab_order_id"]: row for row in made.rows["lab_order"]}
        self.details = {row["lab_order_id"]: row for row in made.rows["order_detail"]}
        self.panels = {row["test_code"]: row for row in made.rows["orderable"]}
        self.emergencies = {row["encounter_id"] for row in made.rows["encounter"] if row["encounter_class"] == "emergency"}
        self.tubes: dict[str, list[Row]] = defaultdict(list)
        self.results: dict[str, list[Row]] = defaultdict(list)
        self.components: dict[str, list[Row]] = defaultdict(list)
        for row in made.rows["specimen"]:
            self.tubes[row["lab_order_id"]].append(row)
        for row in results(made):
            self.results[row["order_item_id"]].append(row)
        for row in made.rows["test_component"]:
            self.components[row["test_code"]].append(row)


def _test(held: _Held, item: Row) -> Row:
    order, detail = held.orders[item["lab_order_id"]], held.details.get(item["lab_order_id"], {})
    panel, its = held.panels.get(item["test_code"], {}), held.results[item["order_item_id"]]
    stat, state = order["priority"] == "stat", _state(held, item)
    good = [tube for tube in held.tubes[item["lab_order_id"]] if tube["status"] != "rejected"]
    said = [row for row in its if row["status_norm"] in RELEASED | TO_COME]
    verified = [row["released_at"] for row in said if row["status_norm"] in RELEASED and row["released_at"]]
    ends = {
        "started_at": known(item["added_at"] if item["is_add_on"] else order["ordered_at"]),
        "collected_at": known(_first(good, "collected_at")),
        "received_at": known(_first(good, "received_at")),
        "verified_at": max(verified, default=None) if state == "complete" else None,
    }
    stages = _stages(ends, add_on=item["is_add_on"], complete=state == "complete")
    target = panel.get("stat_target_minutes" if stat else "tat_target_minutes")
    taken = stages["receive_to_verify_minutes"]
    potassium = any(row["loinc"] in {"2823-3", "6298-4", "75940-7"} for row in said)
    hour = local(ends["received_at"]).hour if ends["received_at"] else None
    return {
        "order_item_id": item["order_item_id"],
        "lab_order_id": item["lab_order_id"],
        "test_code": item["test_code"] or "unknown",
        "department": panel.get("department", "unknown"),
        "priority": order["priority"] or "unknown",
        "account_id": detail.get("account_id") or "unknown",
        "provider_id": order["provider_id"] or "unknown",
        "performing_lab": min((row["performing_lab"] for row in said if row.get("performing_lab")), default="unknown"),
        "shift": "unknown" if hour is None else "day" if 7 <= hour < 15 else "evening" if 15 <= hour < 23 else "night",
        "sampled_as": "ED STAT potassium" if stat and order.get("encounter_id") in held.emergencies and potassium else "other",
        "state": state,
        "is_add_on": item["is_add_on"],
        "is_billable": panel.get("is_billable", True),
        "is_duplicate": False,
        **ends,
        "start_day": day_of(ends["started_at"]),
        "verified_day": day_of(ends["verified_at"]),
        **stages,
        "target_minutes": target,
        "is_within_target": None if target is None or taken is None else taken <= target,
        "patient": detail.get("surviving_patient_id") or order["patient_id"],
        "retest": panel.get("min_retest_hours"),
    }


def _first(tubes: list[Row], name: str) -> datetime | None:
    return min((tube[name] for tube in tubes if tube[name]), default=None)


def _state(held: _Held, item: Row) -> str:
    tubes, its = held.tubes[item["lab_order_id"]], held.results[item["order_item_id"]]
    said = [row["status_norm"] for row in its if row["status_norm"] in RELEASED | TO_COME]
    if tubes and all(tube["status"] == "rejected" for tube in tubes):
        return "rejected"
    if "cancelled" in {item["status"], held.orders[item["lab_order_id"]]["status"]}:
        return "cancelled"
    if not said:
        return "without_result" if item["status"] == "completed" else "pending"
    settled = [row for row in its if row["status_norm"] in NOTHING_TO_COME]
    listed = [any(_is(row, component) for row in settled) for component in held.components[item["test_code"]]]
    whole = all(listed) or not any(listed)
    return "complete" if RELEASED.issuperset(said) and whole and item["status"] in {None, "completed"} else "pending"


def _is(row: Row, component: Row) -> bool:
    same = row["component_code"] == component["component_code"]
    return same or (component["loinc"] is not None and row.get("loinc") == component["loinc"])


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
        elif end - start > YEAR:
            issue = "over_a_year"
        elif complete:
            value = minutes(start, end)
        stages |= {f"{stage}_minutes": value, f"{stage}_issue": issue}
    return stages
