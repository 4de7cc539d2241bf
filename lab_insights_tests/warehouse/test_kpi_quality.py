"""KPIs of what went wrong, against their recomputation: rejections, corrections, critical values, and the quality of data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lab_insights_tests.warehouse import kpi_oracle as oracle
from lab_insights_tests.warehouse.kpi_data import Row
from lab_insights_tests.warehouse.weeks import Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")


def test_rejections_are_counted_by_account_site_and_their_one_reason(weeks: Weeks) -> None:
    labels = {row["code"]: row["label"] for row in weeks.made.rows["reject_reason"]}
    accounts = {row["lab_order_id"]: row["account_id"] for row in weeks.made.rows["order_detail"]}
    visits = {row["lab_order_id"]: row["encounter_id"] for row in weeks.made.rows["lab_order"]}
    wards = {row["encounter_id"]: row["ward"] for row in weeks.made.rows["encounter"]}
    expected: Counter[Any] = Counter()
    for row in weeks.made.rows["specimen"]:
        site = wards.get(visits[row["lab_order_id"]]) or "unknown"
        at = oracle.known(row["received_at"]) or oracle.known(row["collected_at"])
        reason = labels.get(row["reject_reason"], row["reject_reason"] or "no reason given") if row["status"] == "rejected" else "accepted"
        expected[oracle.day_of(at), accounts.get(str(row["lab_order_id"])) or "unknown", site, reason] += 1
    held = {row[:4]: row[4] for row in weeks.rows("SELECT EVENT_DAY, ACCOUNT_ID, SITE, REASON, SPECIMENS FROM REPORTS.SPECIMEN_REJECTION")}
    assert held == expected
    assert {key[2] for key in expected} == {"ED", "4 West", "unknown"}
    assert {key[3] for key in expected} == {"accepted", "Hemolyzed", "Quantity not sufficient", "ODD", "no reason given"}
    assert all(key[0].year == 2026 for key in held), "1970-01-01 is no day of this laboratory"


def _results(weeks: Weeks) -> list[Row]:
    tests = {str(row["item"]): row for row in weeks.tests.to_dict("records")}
    return [{**row, "of": tests[row["order_item_id"]]} for row in weeks.made.rows["result"]]


def test_corrected_results_leave_narratives_out_and_count_tests_that_are_billed(weeks: Weeks) -> None:
    counted: dict[Any, Counter[str]] = {}
    billed: dict[Any, set[str]] = {}
    for row in _results(weeks):
        at = row["verified_at"] or row["resulted_at"]
        if row["status_norm"] not in {"final", "corrected"} or row["value_type"] == "TX" or not at:
            continue
        key = (oracle.day_of(at), row["of"]["test"])
        counted.setdefault(key, Counter()).update(["results", *(["corrected"] if row["status_norm"] == "corrected" else [])])
        billed.setdefault(key, set()).update([row["order_item_id"]] if row["of"]["billable"] else [])
    held = {
        row[:2]: row[2:]
        for row in weeks.rows("SELECT EVENT_DAY, TEST_CODE, RESULTS, CORRECTED, BILLABLE_TESTS FROM REPORTS.CORRECTED_RESULT")
    }
    assert held == {key: (count["results"], count["corrected"], len(billed[key])) for key, count in counted.items()}


def test_criticals_are_those_told_and_the_minutes_from_verification_to_the_first_call(weeks: Weeks) -> None:
    calls = {row["result_id"]: row for row in weeks.made.rows["critical_notification"]}
    by_day: dict[Any, list[Any]] = {}
    for row in weeks.made.rows["result"]:
        if row["status_norm"] in {"final", "corrected"} and row["flag_norm"].startswith("critical"):
            call = calls.get(row["result_id"])
            minutes = (call["notified_at"] - row["verified_at"]).total_seconds() / 60 if call else None
            day = oracle.day_of(row["verified_at"] or row["resulted_at"])
            by_day.setdefault(day, []).append((call is not None, bool(call and call["acknowledged_at"]), minutes))
    expected = {}
    for day, found in by_day.items():
        good = [minutes for *_, minutes in found if minutes is not None and minutes >= 0]
        within = [sum(minutes <= limit for minutes in good) for limit in (15, 30, 60)]
        told, answered = sum(told for told, *_ in found), sum(answered for _, answered, _ in found)
        negative = sum(minutes is not None and minutes < 0 for *_, minutes in found)
        expected[day] = (len(found), told, answered, len(good), oracle.percentile(good, 0.5), *within, negative)
    names = "CRITICALS, DOCUMENTED, ACKNOWLEDGED, OBSERVATIONS, MEDIAN_MINUTES, WITHIN_15, WITHIN_30, WITHIN_60, IMPLAUSIBLE"
    assert {row[0]: row[1:] for row in weeks.rows(f"SELECT EVENT_DAY, {names} FROM REPORTS.CRITICAL_REPORTING")} == expected
    assert any(row[-1] for row in expected.values())


def test_quality_counts_what_fails_and_what_was_looked_at(weeks: Weeks) -> None:
    found = weeks.rows("SELECT MEASURE, SUM(CHECKED), SUM(FAILED) FROM REPORTS.DATA_QUALITY GROUP BY 1")
    held = {row[0]: row[1:] for row in found}
    results = [row for row in weeks.made.rows["result"] if row["verified_at"] or row["resulted_at"]]
    orders = [row for row in weeks.made.rows["lab_order"] if row["ordered_at"]]
    known_orders = {row["lab_order_id"] for row in weeks.made.rows["lab_order"]}
    accounts = {row["lab_order_id"] for row in weeks.made.rows["order_detail"] if row["account_id"]}
    people = {row["patient_id"] for row in weeks.made.rows["patient"]}
    placers = Counter(row["placer_number"] for row in weeks.made.rows["lab_order"])
    specimens = weeks.made.rows["specimen"]
    visits = [row for row in weeks.made.rows["encounter"] if row["source_system"] == "lis"]
    complete = weeks.tests[weeks.tests.state == "complete"]
    judged = complete[complete.verified_day.notna() | complete.start_day.notna()]

    def count(rows: list[Row], failed: Any) -> tuple[int, int]:
        return len(rows), sum(bool(failed(row)) for row in rows)

    expected = {
        "orders_without_patient": count(orders, lambda row: row["patient_id"] not in people),
        "orders_without_account": count(orders, lambda row: row["lab_order_id"] not in accounts),
        "orders_without_priority": count(orders, lambda row: row["priority"] is None),
        "duplicate_orders": count(orders, lambda row: placers[row["placer_number"]] > 1),
        "tests_without_result": (
            int(
                weeks.tests.state.isin(["complete", "without_result"]).sum()
                - weeks.tests[weeks.tests.state.isin(["complete", "without_result"])][["start_day", "verified_day"]]
                .isna()
                .all(axis=1)
                .sum()
            ),
            int(((weeks.tests.state == "without_result") & weeks.tests.start_day.notna()).sum()),
        ),
        "results_without_order": count(results, lambda row: row["lab_order_id"] not in known_orders),
        "results_without_value": count(
            [row for row in results if row["status_norm"] in {"final", "corrected"}], lambda row: row["value_raw"] is None
        ),
        "unmapped_loinc": count(results, lambda row: row["loinc"] is None),
        "non_ucum_units": count([row for row in results if row["unit_raw"]], lambda row: row["unit_raw"] != "mmol/L"),
        "unmapped_units": count([row for row in results if row["unit_raw"]], lambda row: row["unit_raw"] == "furlong"),
        "impossible_dates": count(visits, lambda row: row["discharged_on_raw"]),
        "unreadable_times": count([row for row in visits if row["arrival_raw"]], lambda row: row["arrival_raw"] == "early"),
        "unparsable_numbers": count([row for row in results if row["value_type"] == "NM" and row["value_raw"]], lambda _: True),
        "unknown_result_status": count(results, lambda row: row["status_norm"] is None),
        "epoch_times": count(specimens, lambda row: row["received_at"].year == 1970),
        "total_implausible": (len(judged), int(judged.total_issue.isin(["negative", "over_a_year"]).sum())),
        "collect_to_receive_date_only": (len(judged), int((judged.collect_to_receive_issue == "date_only").sum())),
        "order_to_collect_missing": (
            int((judged.order_to_collect_issue != "add_on").sum()),
            int((judged.order_to_collect_issue == "missing").sum()),
        ),
    }
    assert {name: held[name] for name in expected} == expected
    assert all(failed for _, failed in expected.values()), "each measure has something to count"
