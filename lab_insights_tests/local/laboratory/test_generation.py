"""The generated days: deterministic, complete in the troubles they promise, and consistent when replayed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from lab_insights.local.laboratory.timeline import Change, Row, Window, changes
from lab_insights_tests.local.laboratory.days import (
    AURORA,
    BIRCHWOOD,
    CEDAR,
    FIRST_DAY,
    TENANTS,
    day,
    scene,
    state_after,
)

DIGEST = """
import hashlib
from lab_insights_tests.local.laboratory.days import day, scene
print(hashlib.sha256(repr([list(day(scene(), index)) for index in range(4)]).encode()).hexdigest())
"""


def operations(index: int) -> Counter[str]:
    return Counter(change.operation for change in day(scene(), index))


def instant(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def test_another_process_with_the_same_seed_makes_the_same_rows() -> None:
    mine = hashlib.sha256(repr([list(day(scene(), index)) for index in range(4)]).encode()).hexdigest()
    made = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60)
    assert made.stdout.strip() == mine


def test_another_seed_makes_other_rows() -> None:
    assert list(day(scene(), 1)) != list(day(scene(seed=12), 1))


def test_tenants_differ_in_their_rows() -> None:
    names = {tuple(change.values["family_name"] for change in day(scene(tenant), 0) if change.table == "patient") for tenant in TENANTS}
    assert len(names) == len(TENANTS)
    assert () not in names


@pytest.mark.parametrize("index", range(1, 8))
def test_every_later_day_has_new_changed_and_deleted_rows(index: int) -> None:
    found = operations(index)
    assert found["insert"] > 100
    assert found["update"] > 10
    assert found["delete"] >= 1


@pytest.mark.parametrize("index", range(1, 8))
def test_every_cursor_value_of_a_later_day_is_inside_it(index: int) -> None:
    window = Window.of_day(FIRST_DAY, index)
    stamps = [instant(change.values["updated_at"]) for change in day(scene(), index) if change.values.get("updated_at")]
    assert len(stamps) > 100
    assert all(window.start <= stamp < window.end for stamp in stamps)


@pytest.mark.parametrize("index", range(1, 8))
def test_every_day_brings_an_order_that_was_placed_days_before(index: int) -> None:
    orders = [change.values for change in day(scene(), index) if change.table == "lab_order" and change.operation == "insert"]
    assert [order for order in orders if order["updated_at"] - order["ordered_at"] >= timedelta(days=2)]


def test_a_week_has_every_trouble_of_a_laboratory() -> None:
    state = state_after(scene(), 7)
    results = state["result"].values()
    written = [change.values for index in range(8) for change in day(scene(), index) if change.table == "result"]
    assert {values["status_raw"] for values in written if values} == {"P", "F", "C", "X"}
    assert {result["flag_raw"] for result in results} >= {"H", "L", "HH", "A", None}
    values = " ".join(str(result["value_raw"]) for result in results)
    assert "<0.1" in values
    assert "1:40" in values
    assert ",neg" in values
    assert None in {result["loinc"] for result in results}
    assert {specimen["status"] for specimen in state["specimen"].values()} >= {"rejected", "received"}
    assert {order["status"] for order in state["lab_order"].values()} >= {"completed", "cancelled", "in_process"}
    assert [patient for patient in state["patient"].values() if patient["merged_into_id"]]
    assert {case["status"] for case in state["crm_case"].values()} >= {"open", "closed", "reopened"}
    assert 1 in {case["deleted"] for case in state["crm_case"].values()}
    assert None in {campaign["updated_at"] for campaign in state["campaign"].values()}
    assert "0000-00-00" in {encounter["discharged_on"] for encounter in state["encounter"].values()}
    assert state["critical_notification"]


def test_activities_keep_the_old_name_of_a_renamed_account() -> None:
    state = state_after(scene(), 7)
    stale = [memo for memo in state["memo"].values() if memo["account_name"] != state["account"][(memo["account_id"],)]["name"]]
    assert stale


def test_every_reference_of_the_replayed_state_resolves() -> None:
    state = state_after(scene(), 7)
    codes = {row["host_code"] for row in state["record_host_code"].values() if row["record_type"] == "account"}
    components = {row["component_code"] for row in state["test_component"].values()}
    for order in state["lab_order"].values():
        assert (order["patient_id"],) in state["patient"]
        assert order["account_host_code"] in codes
        assert (order["provider_id"],) in state["contact"]
    for result in state["result"].values():
        assert (result["order_item_id"],) in state["order_item"]
        assert result["component_code"] in components | {"UA"}
    for account in state["account"].values():
        assert account["parent_id"] is None or (account["parent_id"],) in state["account"]
        assert len(account["host_code"].split("^")) == len(account["connection_id"].split("^"))


def test_a_merged_patient_gets_no_new_orders() -> None:
    state = state_after(scene(), 7)
    merged = {patient["id"] for patient in state["patient"].values() if patient["merged_into_id"]}
    after = Window.of_day(FIRST_DAY, 3).start
    assert not [order for order in state["lab_order"].values() if order["patient_id"] in merged and order["updated_at"] > after]


def test_the_new_column_comes_on_the_fourth_day() -> None:
    def columns(index: int) -> set[str]:
        made = [change for change in day(scene(), index) if (change.table, change.operation) == ("opportunity", "insert")]
        return set(made[0].values)

    assert columns(3) - columns(2) == {"forecast_category"}


def test_volume_grows_with_the_scale() -> None:
    small, large = (Counter(change.table for change in day(scene(scale=scale), 1)) for scale in (1, 20))
    for table in ("lab_order", "specimen", "audit_event", "udt_courier_pickup"):
        assert large[table] > 10 * small[table]


def test_one_user_defined_table_is_large_and_wide() -> None:
    made = {tenant.id: [change for change in day(scene(tenant), 0) if change.table.startswith("udt_")] for tenant in TENANTS}
    assert len(made[AURORA.id]) == 5_000
    assert len(made[AURORA.id][0].values) == 40
    assert {change.table for rows in made.values() for change in rows} == {
        "udt_instrument_log",
        "udt_courier_pickup",
        "udt_supply_request",
    }
    assert 0 < len(made[BIRCHWOOD.id]) < 1_000
    assert 0 < len(made[CEDAR.id]) < 1_000


class TestTimeline:
    window = Window.of_day(FIRST_DAY, 1)

    def at(self, hours: int) -> datetime:
        return self.window.start + timedelta(hours=hours)

    def test_versions_between_two_looks_become_one_insert(self) -> None:
        row = Row.born("t", self.at(1), {"id": 1, "status": "a"}).then(self.at(2), status="b")
        expected = {"id": 1, "status": "b", "updated_at": self.at(2)}
        assert list(changes([row], self.window)) == [Change("t", "insert", {"id": 1, "status": "a"}, expected)]

    def test_an_update_holds_what_changed_and_never_the_first_values(self) -> None:
        row = Row.born("t", self.at(-30), {"id": 1, "status": "a", "note": "x"}).then(self.at(-10), status="b")
        row.then(self.at(3), note="y")
        [change] = changes([row], self.window)
        assert (change.operation, change.values) == ("update", {"note": "y", "updated_at": self.at(3)})

    def test_a_row_that_comes_and_goes_within_the_day_was_never_there(self) -> None:
        assert not list(changes([Row.born("t", self.at(1), {"id": 1}).deleted(self.at(2))], self.window))

    def test_the_end_of_the_day_belongs_to_the_next(self) -> None:
        row = Row.born("t", self.at(24), {"id": 1})
        assert not list(changes([row], self.window))
        assert len(list(changes([row], Window.of_day(FIRST_DAY, 2)))) == 1
