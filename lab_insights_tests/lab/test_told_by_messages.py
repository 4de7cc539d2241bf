"""What messages tell stands in the laboratory's tables, read and normalised as what its own system has."""

from __future__ import annotations

from typing import Any

import pytest

from lab_insights.lab.contracts import contracts
from lab_insights.lab.mappings import every
from lab_insights_tests.lab.telling import READ, SNOMED, made
from lab_insights_tests.lab.world import Lab, at


def told_of(lab: Lab, table: str) -> dict[Any, dict[str, Any]]:
    return {row[contracts()[table].key[0]]: row for row in lab.rows(made(lab, 1, table)) if row["source_system"] == "messages"}


def test_ordered_tests_of_messages_are_those_that_their_results_answer(whole: Lab) -> None:
    items = told_of(whole, "order_item")
    assert {key: (row["lab_order_id"], row["test_code"], row["status"], row["is_add_on"]) for key, row in items.items()} == {
        "messages:placer^^b33a53988fc6^P1^BMP": ("messages:placer^^b33a53988fc6^P1", "BMP", None, True),
        "messages:placer^^c0a174f118b4^P2^BRCA": ("messages:placer^^c0a174f118b4^P2", "BRCA", None, True),
        "messages:placer^^4981025bccaf^P3^BMP": ("messages:placer^^4981025bccaf^P3", "BMP", "cancelled", None),
    }
    results = told_of(whole, "result")
    answers = [row for row in results.values() if row["lab_order_id"] != "messages:filler^^F7"]
    assert {row["order_item_id"] for row in answers} == {"messages:placer^^b33a53988fc6^P1^BMP", "messages:placer^^c0a174f118b4^P2^BRCA"}
    verified = {row["status_raw"]: row["verified_at"] for row in answers}
    assert verified == {**dict.fromkeys("FCA", at(1, 10)), **dict.fromkeys("IDWB")}


@pytest.mark.parametrize("code", READ)
def test_a_result_of_a_message_is_normalised_as_one_of_the_laboratorys_system(whole: Lab, code: str) -> None:
    row, (_, expected) = told_of(whole, "result")[f"messages:placer^^b33a53988fc6^P1^BMP^{code}^^"], READ[code]
    assert {name: row[name] for name in expected} == expected


def test_a_result_of_a_document_is_normalised_as_well(whole: Lab) -> None:
    found = told_of(whole, "result")
    coded, measured, declared = (found[f"messages:filler^^F7^^{code}^^"] for code in ("COV", "PLT", "GFR"))
    assert [coded[name] for name in ("value_code", "value_code_system", "value_text", "status_norm")] == [
        "260373001", SNOMED, "Detected", "entered_in_error",
    ]  # fmt: skip
    names = ("value_num", "value_operator", "unit_raw", "unit_ucum", "range_low", "range_high", "is_critical", "status_norm")
    assert [declared[name] for name in ("unit_raw", "unit_declared", "unit_ucum")] == ["ml per day", "mL/d/{1.73_m2}", "mL/d/{1.73_m2}"]
    assert [measured[name] for name in names] == [20, "<", "thousand per microliter", "10*3/uL", 150, None, True, "amended"]


def test_units_and_codes_that_nobody_knows_are_counted_and_no_others(whole: Lab) -> None:
    counts = made(whole, 1, "result").counts
    assert {name: count for name, count in counts.items() if name.startswith("unmapped")} == {
        "unmapped_loinc": 20,
        "unmapped_unit_ucum": 1,
        "unmapped_flag_norm": 0,
        "unmapped_status_norm": 0,
    }


def test_a_resend_is_the_same_version_whenever_it_was_verified_and_each_correction_another(whole: Lab) -> None:
    found = [row for row in whole.rows(made(whole, 1, "result_version")) if row["result_id"] == "messages:placer^^b33a53988fc6^P1^BMP^FE^^"]
    versions = {row["version_id"]: (row["status_norm"], row["value_raw"]) for row in found}
    assert sorted(versions.values()) == [("corrected", "61"), ("corrected", "62"), ("final", "60")]
    told = sorted((row["verified_at"].hour, row["report_id"]) for row in found if row["status_norm"] == "final")
    assert [hour for hour, _ in told] == [10, 12], "the first of its reports is when it was verified, and is kept"
    assert len({row["report_id"] for row in found}) == len(found) == 4


def test_a_version_of_a_result_is_a_number_where_the_result_is_one(whole: Lab) -> None:
    versions = {row["component_code"]: row["value_num"] for row in whole.rows(made(whole, 1, "result_version"))}
    assert [versions[code] for code in ("SNA", "ORG", "DAY")] == [171, None, None]


def test_the_gravest_of_several_flags_is_meant_wherever_a_result_stands(whole: Lab) -> None:
    for table in ("result", "result_version", "message_result"):
        found = [row for row in whole.rows(made(whole, 1, table)) if row["flag_raw"] in {"A~LL", "LL~A"}]
        assert [row["flag_norm"] for row in found] == ["critical_low"] * 2, table


# Columns of which messages say nothing, each with why: all others are mapped.
_FREE = "their times have the form of their standard"
_OWN = "the CRM alone has it"
UNSAID = {
    "account": {"parent_account_id": _OWN, "status": _OWN, "created_at": _OWN},
    "encounter": {
        "discharged_on_raw": "a stamp that is none stands in the message",
        "arrival_raw": "PV1 has no time that somebody typed",
        "arrival_time": "the same",
    },
    "lab_order": {"accession": "the laboratory's own system gives it", "unread_times": _FREE},
    "order_item": {"completed_at": "an order is complete by its results"},
    "patient": {"unread_times": _FREE},
    "provider": dict.fromkeys(("account_id", "credential", "specialty", "email", "phone", "created_at"), _OWN),
    "result": {"unread_times": _FREE},
    "result_version": {"updated_at": "a version is what was said, whenever", "removed_at": "a message takes nothing back but by a status"},
    "specimen": {"volume_ml": "no record of a specimen has it"},
}


def test_every_column_of_a_table_is_mapped_or_said_why_not() -> None:
    unmapped = {
        contract.table: [column.name for column in contract.columns if column.name not in dict(mapping.columns)]
        for contract, mapping in every()
        if mapping.source.name == "messages" and not mapping.is_own
    }
    assert {table: names for table, names in unmapped.items() if names} == {table: [*names] for table, names in UNSAID.items()}


def test_what_a_code_means_is_said_by_the_contract_where_it_says_it_at_all() -> None:
    said_twice = {
        (contract.table, name)
        for contract, mapping in every()
        if mapping.source.name == "messages" and not mapping.is_own
        for name, rule in mapping.columns
        if rule.values and (column := contract.column(name)) and column.values
    }
    assert said_twice == set()


def test_specimens_of_messages_are_of_their_order_with_how_far_they_came(whole: Lab) -> None:
    names = ("lab_order_id", "status", "reject_reason", "condition", "collected_at", "received_at")
    found = {key: tuple(row[name] for name in names) for key, row in told_of(whole, "specimen").items()}
    assert found == {
        "messages:placer^^b33a53988fc6^P1^T1": ("messages:placer^^b33a53988fc6^P1", "received", None, None, at(1, 8), at(1, 8.5)),
        "messages:placer^^c0a174f118b4^P2^T2": ("messages:placer^^c0a174f118b4^P2", "rejected", "HEM", "CLOT", at(1, 8), at(1, 8.5)),
        # of messages that have no SPM, by OBR-7
        "messages:placer^^b33a53988fc6^P1^": ("messages:placer^^b33a53988fc6^P1", "collected", None, None, at(1, 8), None),
    }


def test_a_prescription_is_one_however_often_it_is_told_and_each_dispense_of_it_another(whole: Lab) -> None:
    [(key, order_)] = told_of(whole, "medication_order").items()
    assert (key, order_["patient_id"], order_["drug_name"], order_["status"]) == (
        "messages:placer^^0a71f7d1220d^RX1",
        "messages:H^M1",
        "Warfarin 5 MG",
        "active",
    )
    dispensed = told_of(whole, "medication_dispense").values()
    assert {(row["medication_order_id"], row["dispensed_at"]) for row in dispensed} == {
        ("messages:placer^^0a71f7d1220d^RX1", at(1, 12)),
        ("messages:placer^^0a71f7d1220d^RX1", at(1, 18)),
    }
    assert len(dispensed) == 2


def test_a_variant_and_a_visit_stand_with_what_they_belong_to(whole: Lab) -> None:
    [(key, variant)] = told_of(whole, "genomic_result").items()
    assert (key, variant["lab_order_id"], variant["gene"], variant["interpretation"], variant["status_norm"]) == (
        "messages:placer^^c0a174f118b4^P2^1a", "messages:placer^^c0a174f118b4^P2", "BRCA1", "Pathogenic", "final",
    )  # fmt: skip
    [(key, visit)] = told_of(whole, "encounter").items()
    assert (key, visit["patient_id"], visit["encounter_class"]) == ("messages:V1", "messages:H^M1", "emergency")
    orders = told_of(whole, "lab_order").values()
    assert {(row["encounter_id"], row["requisition"]) for row in orders} == {("messages:V1", "GP1"), (None, "GP2"), (None, None)}
