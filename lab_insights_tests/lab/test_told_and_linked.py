"""What messages tell stands beside what the laboratory's own systems have, is linked to it, and is counted once."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from lab_insights.lake.commit import Lake
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.telling import HEAD, TOLD, linked, made, message, order, oru, patient, tell
from lab_insights_tests.lab.world import Lab, at
from lab_insights_tests.lake.world import fresh_tenant


@pytest.fixture(scope="module")
def told(lake: Lake) -> Lab:
    """Day 1: a system's orders, and messages that tell of two of them and of one more. Day 2: the system gets the one more as well."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", "M1"), patient("p2", "M2"), patient("p3", "M3"), patient("p4", "M3")],
        lab_order=[order("o1", "p1", "P1", "F1"), order("o2", "p2", "P2", None), order("o3", "p2", "P9", "F9")],
        result=[{"id": "r1", "lab_order_id": "o1", "patient_id": "p1", "status_raw": "F", "value_raw": "4.0"}],
    )
    tell(
        lab,
        1,
        message(1, oru("M1", "P1", "F1", "4.0")),
        message(2, oru("M2", "P2", "", "5.0")),
        message(3, oru("M9", "P3", "F3", "6.0", "P")),
        message(4, oru("M9", "P3", "F3", "6.1", "F", "OBX|2|NM|NA^Sodium^L||140||||||O")),
        message(5, oru("M3", "P9", "F8", "7.0")),
        kind="snapshot",
    )
    lab.modelled(2, lab_order=[order("o4", "p9", "P3", "F3")], patient=[patient("p9", "M9")])
    tell(lab, 2)
    return lab


def test_results_orders_and_patients_of_messages_stand_beside_those_of_the_laboratorys_system(told: Lab) -> None:
    rows = {row["result_id"]: row for row in told.rows(made(told, 1, "result"))}
    assert set(rows) == {
        "r1",
        "messages:placer^^b33a53988fc6^P1^BMP^K^^",
        "messages:placer^^400bb87346f8^P2^BMP^K^^",
        "messages:placer^^ef394cbf44f2^P3^BMP^K^^",
        "messages:placer^^c8eb5acc608b^P9^BMP^K^^",
    }, "no row of an O"
    newest = rows["messages:placer^^ef394cbf44f2^P3^BMP^K^^"]
    assert (newest["value_raw"], newest["status_norm"], newest["source_system"]) == ("6.1", "final", "messages")
    assert (newest["lab_order_id"], newest["patient_id"]) == ("messages:placer^^ef394cbf44f2^P3", "messages:H^M9")
    assert {row["patient_id"] for row in told.rows(made(told, 1, "patient"))} >= {"p1", "messages:H^M1", "messages:H^M9"}
    numbers = [
        (row["authority"], row["identifier_type"], row["identifier"], row["patient_id"])
        for row in told.rows(made(told, 1, "patient_identifier"))
    ]
    assert sorted(numbers) == [("messages:H", "MR", f"M{number}", f"messages:H^M{number}") for number in (1, 2, 3, 9)]
    counts = made(told, 1, "result").counts
    assert (counts["kept_lis"], counts["kept_messages"], counts["superseded_messages"], counts["excluded_messages"]) == (1, 4, 1, 1)


def test_every_statement_of_a_message_is_a_version_that_is_no_lower_bound(told: Lab) -> None:
    found = told.rows(made(told, 1, "result_version"))
    versions = {
        (row["value_raw"], row["status_norm"], row["is_lower_bound"])
        for row in found
        if row["result_id"] == "messages:placer^^ef394cbf44f2^P3^BMP^K^^"
    }
    assert versions == {("6.0", "preliminary", False), ("6.1", "final", False)}
    assert {row["is_lower_bound"] for row in found if row["source_system"] == "lis"} == {True}


def test_an_order_is_linked_by_its_filler_number_else_by_placer_number_and_patient(told: Lab) -> None:
    assert linked(told, 1, "order_detail", "lab_order_id", "linked_order_id") == {
        "o1": None,
        "o2": None,
        "o3": None,
        "messages:placer^^b33a53988fc6^P1": "o1",
        "messages:placer^^400bb87346f8^P2": "o2",
        "messages:placer^^ef394cbf44f2^P3": None,
        "messages:placer^^c8eb5acc608b^P9": None,  # another laboratory's number, and another patient's placer number
    }


def test_what_the_system_gets_later_links_what_messages_told_before(told: Lab) -> None:
    found = linked(told, 2, "order_detail", "lab_order_id", "linked_order_id")
    assert (found["messages:placer^^ef394cbf44f2^P3"], found["o4"]) == ("o4", None)


def test_a_patient_is_linked_by_a_number_that_one_patient_alone_has(told: Lab) -> None:
    assert linked(told, 1, "patient_profile", "patient_id", "linked_patient_id") == {
        **dict.fromkeys(("p1", "p2", "p3", "p4")),
        "messages:H^M1": "p1",
        "messages:H^M2": "p2",
        "messages:H^M3": None,
        "messages:H^M9": None,
    }
    assert linked(told, 2, "patient_profile", "patient_id", "linked_patient_id")["messages:H^M9"] == "p9"


def test_no_patient_of_the_system_has_an_order_or_result_twice(told: Lab) -> None:
    counted = {row["patient_id"]: (row["order_count"], row["result_count"]) for row in told.transform("patient_profile", 1)}
    assert (counted["p1"], counted["p2"]) == ((1, 1), (2, 0))


def test_every_message_and_every_row_is_accounted_for(told: Lab) -> None:
    derived = {of.table: of for of in curations(told.lake, told.tenant)}
    for table in TOLD:
        found = verify_derived(told.lake, told.tenant, derived[table], None, ())
        assert {each.status for each in found} == {"ok"}, found


def test_providers_of_messages_are_linked_by_their_national_number_else_by_a_code_that_one_alone_has(whole: Lab) -> None:
    assert linked(whole, 1, "provider_profile", "provider_id", "linked_provider_id") == {
        "d1": None,
        "d2": None,
        "messages:D1": "d1",
        "messages:99": "d2",
    }


def test_organisations_of_messages_are_accounts_that_their_orders_are_of(whole: Lab) -> None:
    assert linked(whole, 1, "account_profile", "account_id", "linked_account_id") == {
        "a1": None,
        "messages:LAB^C1": "a1",
        "messages:LAB^C9": None,
    }
    placed = linked(whole, 1, "order_detail", "lab_order_id", "account_id")
    assert (placed["messages:placer^^b33a53988fc6^P1"], placed["messages:placer^^c0a174f118b4^P2"]) == (
        "messages:LAB^C1",
        "messages:LAB^C9",
    )
    counted = {row["account_id"]: row["order_count"] for row in whole.transform("account_profile", 1)}
    assert counted["a1"] == 0, "an order of the system is not counted again as its message tells it"


def test_a_patient_of_the_system_has_the_drugs_and_variants_that_messages_tell(whole: Lab) -> None:
    [row] = [row for row in whole.transform("patient_profile", 1) if row["patient_id"] == "p1"]
    assert (row["medication_count"], row["genomic_result_count"], row["last_genomic_result_at"]) == (1, 1, at(1, 10))


def test_a_merge_that_messages_tell_is_one_of_the_systems_patients(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    of = {"o1": "p1", "o8": "p8", "o9": "p9"}
    orders = [order(key, of[key], None, key) for key in of]
    results = [{"id": f"r{key}", "lab_order_id": key, "patient_id": its, "status_raw": "F"} for key, its in of.items()]
    people = [patient("p1", "M1"), patient("p8", "M8"), patient("p9", "M9")]
    lab.modelled(1, "snapshot", patient=people, lab_order=orders, result=results)
    tell(lab, 1, message(1, oru("M8", "P8", "F8", "4.0")), message(2, oru("M7", "P7", "F7", "4.0")), kind="snapshot")
    survivors = linked(lab, 1, "patient_profile", "patient_id", "surviving_patient_id")
    assert survivors == {"p1": "p1", "p8": "p8", "p9": "p9", "messages:H^M8": "p8", "messages:H^M7": "messages:H^M7"}
    a40 = HEAD.format(kind="ADT^A40^ADT_A39", mrn="M1") + "MRG|M8^^^H^MR~M7^^^H^MR"
    lab.modelled(2)
    tell(lab, 2, message(3, a40, 2))
    retired = lab.state("curated", "patient", "patient_id", 2)["messages:H^M8"]
    assert (retired["merged_into_patient_id"], retired["birth_date"], retired["sex"]) == ("messages:H^M1", date(1980, 5, 6), "female")
    merged = ["p1", "p8", "messages:H^M1", "messages:H^M7", "messages:H^M8"]
    assert linked(lab, 2, "patient_profile", "patient_id", "surviving_patient_id") == dict.fromkeys(merged, "p1")
    assert linked(lab, 2, "order_detail", "lab_order_id", "surviving_patient_id") == dict.fromkeys(
        ["o1", "o8", "messages:placer^^8c3368a008f0^P8", "messages:placer^^3492669aeedd^P7"], "p1"
    )
    assert linked(lab, 2, "result_detail", "result_id", "surviving_patient_id") == dict.fromkeys(
        ["ro1", "ro8", "messages:placer^^8c3368a008f0^P8^BMP^K^^", "messages:placer^^3492669aeedd^P7^BMP^K^^"], "p1"
    )
    # What the system says of its own patient counts; a number that is another's now gives its people back.
    lab.modelled(3, patient=[patient("p8", "M8") | {"merged_into_id": "p9"}, patient("p1", "M5")])
    tell(lab, 3)
    assert linked(lab, 3, "result_detail", "result_id", "surviving_patient_id") == {
        **dict.fromkeys(["ro8", "ro9", "messages:placer^^8c3368a008f0^P8^BMP^K^^"], "p9"),
        "ro1": "p1",
        "messages:placer^^3492669aeedd^P7^BMP^K^^": "messages:H^M1",
    }


def test_what_messages_alone_tell_is_counted_for_the_linked_owner_and_what_both_tell_once(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    owners = {"patient": ("p1", "messages:H^M1", "p2"), "account": ("a1", "messages:LAB^C1", "a2"), "provider": ("d1", "messages:D1", "d2")}

    def sent(number: int, hour: int) -> str:
        answered = oru("M1", f"P{number}", f"F{number}", "4.0").replace(
            f"|F{number}\rOBR", f"|F{number}|||||||||D1^Who|||||||||Clinic^^C1\rOBR"
        )
        return answered.replace("|BMP", f"|BMP||202603010{hour}0000+0000")

    def had(number: int, owner: str) -> dict[str, Any]:
        names = ("order_count", "last_order_at", "newest_orders", "result_count", "newest_results", "case_count")
        return {row[f"{owner}_id"]: tuple(row[name] for name in names) for row in lab.transform(f"{owner}_profile", number)}

    def coded(host_code: str, record: str) -> dict[str, Any]:
        record_type = "account" if record.startswith("a") else "contact"
        return {"record_type": record_type, "connection_id": "lis", "host_code": host_code, "record_id": record}

    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", "M1"), patient("p2", "M2")],
        account=[{"id": "a1", "name": "Clinic"}, {"id": "a2", "name": "Ward"}],
        provider=[{"id": name, "is_provider": "1"} for name in ("d1", "d2")],
        record_host_code=[coded("C0", "a1"), coded("C1", "a1"), coded("D1", "d1")],
        lab_order=[order("o1", "p1", "P1", "F1") | {"connection_id": "lis", "account_host_code": "C0", "provider_id": "d1"}],
        result=[{"id": "r1", "lab_order_id": "o1", "patient_id": "p1", "status_raw": "F", "resulted_at": at(1)}],
        crm_case=[{"id": "k1", "account_id": "a1", "provider_id": "d1", "patient_mrn": "M1", "status": "open", "opened_at": at(1)}],
    )
    tell(lab, 1, message(1, sent(1, 8)), message(2, sent(2, 9)), kind="snapshot")
    orders, results = '["messages:placer^^c0a174f118b4^P2","o1"]', '["r1","messages:placer^^c0a174f118b4^P2^BMP^K^^"]'
    for owner, (own, its, _) in owners.items():
        found = had(1, owner)
        assert (found[own], found[its]) == ((2, at(1, 9), orders, 2, results, 1), (0, None, None, 0, None, 0))
    # One more that messages alone tell.
    lab.modelled(2)
    tell(lab, 2, message(3, sent(3, 7), 2))
    for owner, (own, *_) in owners.items():
        assert had(2, owner)[own][:3] == (3, at(1, 9), '["messages:placer^^c0a174f118b4^P2","o1","messages:placer^^4981025bccaf^P3"]')
    # The system has one of them as well, of other people: theirs it is.
    lab.modelled(3, lab_order=[order("o2", "p2", "P2", "F2")])
    tell(lab, 3)
    for owner, (own, *_) in owners.items():
        found = had(3, owner)
        assert found[own] == (
            2,
            at(1),
            '["o1","messages:placer^^4981025bccaf^P3"]',
            2,
            '["r1","messages:placer^^4981025bccaf^P3^BMP^K^^"]',
            1,
        )
        assert owner != "patient" or found["p2"] == (1, at(1), '["o2"]', 0, None, 0)
    # The numbers and codes that link the owners of messages become others'.
    codes = [coded("C1", "a2"), coded("D1", "d2")]
    lab.modelled(4, patient=[patient("p1", "M5"), patient("p2", "M1")], record_host_code=codes)
    tell(lab, 4)
    for owner, (own, its, other) in owners.items():
        found = had(4, owner)
        # a case names a patient by the number, and the others by themselves
        moved = owner == "patient"
        assert (found[own], found[its][:3]) == ((1, at(1), '["o1"]', 1, '["r1"]', int(not moved)), (0, None, None))
        assert found[other][2:] == (
            '["o2","messages:placer^^4981025bccaf^P3"]' if moved else '["messages:placer^^4981025bccaf^P3"]',
            1,
            '["messages:placer^^4981025bccaf^P3^BMP^K^^"]',
            int(moved),
        )
