"""All fifteen pairs: orders, results, cases, tasks and memos of accounts, providers and patients, counted and re-emitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab_insights.lab.pairs import ACTIVITIES
from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.test_wide import code, order, patient, result
from lab_insights_tests.lab.world import Lab, at
from lab_insights_tests.lake.world import fresh_tenant

# By owner: the one with six of each, the one with a single one, and the one with none.
OWNERS = {"account": ("a1", "a2", "a3"), "provider": ("d1", "d2", "d3"), "patient": ("p1", "p2", "p3")}
PAIRS = [(owner, activity.name) for owner in OWNERS for activity in ACTIVITIES]
KEYS = {"order": "o", "result": "r", "case": "k", "task": "t", "memo": "m"}
# On which later day the single one of each changes.
DAYS = {"order": 2, "result": 3, "case": 4, "task": 5, "memo": 6}


def its(number: int) -> dict[str, Any]:
    """Whose order or activity a number is: 1 to 6 are the first owners', the others the second ones'."""
    return {
        "account_id": "a1" if number < 7 else "a2",
        "provider_id": "d1" if number < 7 else "d2",
        "patient_mrn": f"mp{1 if number < 7 else 2}",
    }


def link(kind: str, activity: str, record_type: str, record: str) -> dict[str, Any]:
    return {"activity_type": kind, "activity_id": activity, "record_type": record_type, "record_id": record}


def links(kind: str, number: int) -> list[dict[str, Any]]:
    of, key = its(number), f"{KEYS[kind]}{number}"
    about = {"account": of["account_id"], "contact": of["provider_id"], "patient": of["patient_mrn"]}
    return [link(kind, key, record_type, record) for record_type, record in about.items()]


def ordered(number: int, **more: Any) -> dict[str, Any]:
    who = {"provider_id": its(number)["provider_id"], "account_host_code": "A1" if number < 7 else "A2"}
    return order(f"o{number}", "p1" if number < 7 else "p2", ordered_at=at(1, number), **who, **more)


@pytest.fixture(scope="module")
def lab(lake: Lake) -> Lab:
    """Day 1: six of everything for the first owners and one for the second. Then a day for each kind, on which the second owners' one changes."""
    lab, every = Lab(lake, fresh_tenant()), range(1, 8)
    lab.modelled(
        1,
        "snapshot",
        account=[{"id": name, "name": name} for name in OWNERS["account"]],
        record_host_code=[code("a1", "lis", "A1"), code("a2", "lis", "A2")],
        provider=[{"id": name, "is_provider": "1", "account_id": "a3"} for name in OWNERS["provider"]],
        patient=[patient(name) for name in OWNERS["patient"]],
        lab_order=[ordered(number) for number in every],
        # the newest rows are no results: nothing came, it is to come, or it was taken back
        result=[
            *(result(f"r{number}", f"o{number}", "p1" if number < 7 else "p2", resulted_at=at(1, number)) for number in every),
            *(result(f"r{letter}", "o1", "p1", status_raw=letter, resulted_at=at(1, 9)) for letter in "ONXDWI"),
        ],
        # the CRM names account, contact and patient on a case itself, and on all that links say so; a task or memo has its account alone
        crm_case=[
            *({"id": f"k{number}", **its(number), "status": "open", "opened_at": at(1, number)} for number in every),
            {"id": "k9", **its(1), "status": "open", "opened_at": at(1, 9), "deleted": "1"},
        ],
        crm_task=[{"id": f"t{number}", "account_id": its(number)["account_id"], "created_at": at(1, number)} for number in every],
        crm_memo=[
            *({"id": f"m{number}", "account_id": its(number)["account_id"], "created_at": at(1, number)} for number in every),
            {"id": "m9", "account_id": "a1", "created_at": at(1, 9), "deleted": "1"},
        ],
        activity_link=[row for kind in ("case", "task", "memo") for number in every for row in links(kind, number)],
    )
    lab.modelled(2, lab_order=[ordered(7, priority="R"), ordered(8)])  # one changed, and one late
    lab.modelled(3, result=[result("r7", "o7", "p2", status_raw="C", resulted_at=at(1, 7))])
    lab.modelled(4, crm_case=[{"id": "k7", **its(7), "status": "closed", "opened_at": at(1, 7)}])
    lab.modelled(5, crm_task=[{"id": "t7", "account_id": "a2", "created_at": at(1, 7), "status": "done"}])
    lab.modelled(6, crm_memo=[{"id": "m7", "account_id": "a2", "created_at": at(1, 7), "deleted": "1"}])
    lab.modelled(
        7, activity_link=[link("task", "t1", "contact", "d2"), link("memo", "m1", "patient", "mp2"), link("case", "k1", "account", "a3")]
    )
    lab.modelled(8, result=[result("r7", "o7", "p2", status_raw="X"), *(result(key, "o1", "p1", status_raw="A") for key in ("r5", "r6"))])
    return lab


def profiles(lab: Lab, owner: str, number: int) -> dict[str, dict[str, Any]]:
    return {row[f"{owner}_id"]: row for row in lab.transform(f"{owner}_profile", number)}


def carried(row: dict[str, Any], kind: str) -> tuple[int, Any, list[str]]:
    return row[f"{kind}_count"], row[f"last_{kind}_at"], json.loads(row[f"newest_{kind}s"] or "[]")


@pytest.mark.parametrize(("owner", "kind"), PAIRS)
def test_each_owner_carries_count_last_time_and_the_newest_five_of_each_activity(lab: Lab, owner: str, kind: str) -> None:
    rows, key = profiles(lab, owner, 1), KEYS[kind]
    found = [carried(rows[name], kind) for name in OWNERS[owner]]
    assert found == [(6, at(1, 6), [f"{key}{number}" for number in (6, 5, 4, 3, 2)]), (1, at(1, 7), [f"{key}7"]), (0, None, [])]


@pytest.mark.parametrize(("owner", "kind"), PAIRS)
def test_a_changed_activity_re_emits_its_owner_and_no_other(lab: Lab, owner: str, kind: str) -> None:
    rows, second = profiles(lab, owner, DAYS[kind]), OWNERS[owner][1]
    assert set(rows) == {second}
    # the late order is the second one, the memo was deleted by its user
    assert carried(rows[second], kind)[0] == {"order": 2, "memo": 0}.get(kind, 1)
    if owner == "account" and kind == "case":
        assert rows[second]["open_case_count"] == 0


@pytest.mark.parametrize(
    ("owner", "kind", "gained", "count"), [("account", "case", "a3", 1), ("provider", "task", "d2", 2), ("patient", "memo", "p2", 1)]
)
def test_a_new_link_re_emits_whom_it_names(lab: Lab, owner: str, kind: str, gained: str, count: int) -> None:
    rows = profiles(lab, owner, 7)
    assert set(rows) == {gained}
    assert carried(rows[gained], kind)[0] == count


@pytest.mark.parametrize("owner", OWNERS)
def test_a_result_that_is_cancelled_leaves_its_owner_and_an_amended_one_stays(lab: Lab, owner: str) -> None:
    rows = profiles(lab, owner, 8)
    assert [carried(rows[name], "result")[0] for name in OWNERS[owner][:2]] == [6, 0]


def test_a_provider_is_re_emitted_with_the_name_of_its_account(lab: Lab) -> None:
    fresh = Lab(lab.lake, fresh_tenant())
    fresh.modelled(1, "snapshot", account=[{"id": "a1", "name": "North"}], provider=[{"id": "d1", "is_provider": "1", "account_id": "a1"}])
    fresh.modelled(2, account=[{"id": "a1", "name": "South"}])
    assert [profiles(fresh, "provider", number)["d1"]["account_name"] for number in (1, 2)] == ["North", "South"]


def test_keys_that_hold_quotes_and_commas_stay_apart(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    lab.modelled(1, "snapshot", patient=[patient("p1")], lab_order=[order('a"b\\c', "p1"), order("d,e", "p1")])
    assert carried(profiles(lab, "patient", 1)["p1"], "order")[2] == ['a"b\\c', "d,e"]
