"""Data quality: of every measure the rows that are looked at and those that fail it, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import day_of, known
from lab_insights_tests.warehouse.oracle.ordered import RELEASED, STAGES
from lab_insights_tests.warehouse.oracle.reporting import critical_result, told_at

Rows = Iterable[tuple[Any, Row]]


class _Counts:
    def __init__(self) -> None:
        self.checked: Counter[Any] = Counter()
        self.failed: Counter[Any] = Counter()

    def count(self, measure: str, rows: Rows, fails: Callable[[Row], Any], looked_at: Callable[[Row], Any] = lambda _: True) -> None:
        for day, row in rows:
            if day and looked_at(row):
                self.checked[day, measure] += 1
                self.failed[day, measure] += bool(fails(row))


def data_quality(made: Tables, tests: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
    counts = _Counts()
    _orders(counts, made)
    _tests(counts, tests)
    _results(counts, made)
    _others(counts, made, tests)
    return {key: {"checked": number, "failed": counts.failed[key]} for key, number in counts.checked.items()}


def _orders(counts: _Counts, made: Tables) -> None:
    people = {row["patient_id"] for row in made.rows["patient"]}
    accounts = {row["lab_order_id"] for row in made.rows["order_detail"] if row["account_id"]}
    placers = Counter(row["placer_number"] for row in made.rows["lab_order"])
    orders = [(day_of(row["ordered_at"]), row) for row in made.rows["lab_order"]]
    counts.count("orders_without_patient", orders, lambda row: row["patient_id"] not in people)
    counts.count("orders_without_account", orders, lambda row: row["lab_order_id"] not in accounts)
    counts.count("orders_without_priority", orders, lambda row: row["priority"] is None)
    counts.count("duplicate_orders", orders, lambda row: placers[row["placer_number"]] > 1, lambda row: row["placer_number"])


def _tests(counts: _Counts, tests: pd.DataFrame) -> None:
    rows = [(row["verified_day"] or row["start_day"], row) for row in tests.to_dict("records")]
    counts.count("tests_without_orderable", rows, lambda row: row["department"] == "unknown")
    counts.count("tests_repeated", rows, lambda row: row["is_duplicate"], lambda row: row["state"] not in {"cancelled", "rejected"})
    done = {"complete", "without_result"}
    counts.count("tests_without_result", rows, lambda row: row["state"] == "without_result", lambda row: row["state"] in done)
    complete = [(day, row) for day, row in rows if row["state"] == "complete"]
    kinds = {"missing": {"missing"}, "date_only": {"date_only"}, "implausible": {"negative", "over_a_year"}}
    for stage in STAGES:
        its = [(day, {"issue": row[f"{stage}_issue"]}) for day, row in complete if row[f"{stage}_issue"] != "add_on"]
        for kind, issues in kinds.items():
            counts.count(f"{stage}_{kind}", its, lambda row, issues=issues: row["issue"] in issues)  # type: ignore[misc]


def _results(counts: _Counts, made: Tables) -> None:
    orders = {row["lab_order_id"] for row in made.rows["lab_order"]}
    rows = [(day_of(told_at(row)), row) for row in made.rows["result"] if row["status_norm"] not in {"order_detail", "not_asked"}]
    same = Counter((row["order_item_id"], row["component_code"]) for _, row in rows)
    counts.count("results_without_order", rows, lambda row: row["lab_order_id"] not in orders)
    counts.count("results_without_value", rows, lambda row: not row["value_raw"], lambda row: row["status_norm"] in RELEASED)
    counts.count(
        "duplicate_results", rows, lambda row: same[row["order_item_id"], row["component_code"]] > 1, lambda row: row["component_code"]
    )
    counts.count("unmapped_loinc", rows, lambda row: row["loinc"] is None)
    counts.count("non_ucum_units", rows, lambda row: row["unit_raw"] != "mmol/L" and not row["unit_declared"], lambda row: row["unit_raw"])
    counts.count("unmapped_units", rows, lambda row: row["unit_raw"] == "furlong", lambda row: row["unit_raw"])
    numbers = [(day, row) for day, row in rows if row["value_type"] == "NM" and row["value_raw"] is not None]
    counts.count("unparsable_numbers", numbers, lambda row: row["value_raw"] != "4.1")
    counts.count("unknown_result_status", rows, lambda row: row["status_raw"] == "?")
    counts.count("unknown_flags", rows, lambda row: row["flag_raw"] == "??", lambda row: row["flag_raw"] not in {None, "", "N"})


def _others(counts: _Counts, made: Tables, tests: pd.DataFrame) -> None:
    tubes = [(day_of(known(row["received_at"]) or known(row["collected_at"])), row) for row in made.rows["specimen"]]
    counts.count("rejections_without_reason", tubes, lambda row: row["reject_reason"] is None, lambda row: row["status"] == "rejected")
    counts.count("epoch_times", tubes, lambda row: any(row[name] and row[name].year == 1970 for name in ("collected_at", "received_at")))
    visits = [(day_of(row["admitted_at"]), row) for row in made.rows["encounter"] if row["source_system"] == "lis"]
    counts.count("impossible_dates", visits, lambda row: row["discharged_on_raw"])
    counts.count("unreadable_times", visits, lambda row: row["arrival_raw"] == "early", lambda row: row["arrival_raw"])
    rejected = {row["message_id"] for row in made.rows["message_reject"]}
    messages = [(day_of(row["received_at"]), row) for row in made.rows["message_log"]]
    counts.count("rejected_messages", messages, lambda row: row["message_id"] in rejected)
    criticals = [(row["event_day"], row) for row in critical_result(made, tests).values()]
    counts.count("criticals_told_before_verified", criticals, lambda row: row["is_implausible"], lambda row: row["is_documented"])
