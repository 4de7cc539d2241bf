"""The messages: well-formed HL7 v2.5.1 and FHIR R4 that say what the LIS rows say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab_insights.lab.kpis.monitoring import monitoring
from lab_insights.local.laboratory.hl7 import escape
from lab_insights_tests.local.laboratory.days import scene, state_after

ORDERED_SEGMENTS = {
    "ORU^R01": ("MSH", "PID", "PV1", "ORC", "OBR", "OBX", "SPM"),
    "ORM^O01": ("MSH", "PID", "PV1", "ORC", "TQ1", "OBR"),
    "ADT^A40": ("MSH", "EVN", "PID", "MRG"),
    "RDE^O11": ("MSH", "PID", "ORC", "RXE", "RXR"),
    "RDS^O13": ("MSH", "PID", "ORC", "RXE", "RXR", "RXD"),
}


@pytest.fixture(scope="module")
def state() -> dict[str, dict[Any, dict[str, Any]]]:
    return state_after(scene(), 7)


@pytest.fixture(scope="module")
def messages(state: dict[str, dict[Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    return sorted(state["message"].values(), key=lambda message: message["received_at"])


def segments(body: str) -> list[list[str]]:
    return [line.split("|") for line in body.rstrip("\r").split("\r")]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["reference"]} if isinstance(node.get("reference"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_every_hl7_message_has_its_header_and_segments_in_order(messages: list[dict[str, Any]]) -> None:
    for message in (message for message in messages if message["format"] == "hl7v2"):
        parts = segments(message["body"])
        header = parts[0]
        assert header[:2] == ["MSH", "^~\\&"]
        assert (header[8].rpartition("^")[0], header[9], header[11]) == (
            message["message_type"],
            message["control_id"],
            "2.5.1",
        )
        names = list(dict.fromkeys(part[0] for part in parts))
        assert tuple(names) == ORDERED_SEGMENTS[message["message_type"]]
        assert "\n" not in message["body"]


def test_there_are_orders_results_and_a_merge_in_both_formats(messages: list[dict[str, Any]]) -> None:
    kinds = {(message["format"], message["message_type"]) for message in messages}
    hl7 = {"ORM^O01", "ORU^R01", "ADT^A40", "RDE^O11", "RDS^O13"}
    assert kinds == {("fhir", "Bundle"), *(("hl7v2", kind) for kind in hl7)}


def test_a_few_results_are_followed_by_a_drug_that_their_analyte_monitors_and_that_is_dispensed(
    state: dict[str, dict[Any, dict[str, Any]]], messages: list[dict[str, Any]]
) -> None:
    orders = {order["placer_number"]: order for order in state["lab_order"].values()}
    prescribed = {message["placer_number"]: message for message in messages if message["message_type"] == "RDE^O11"}
    dispensed = {message["placer_number"]: message for message in messages if message["message_type"] == "RDS^O13"}
    assert len(messages) / 50 < len(prescribed) < len(messages) / 10
    assert dispensed.keys() <= prescribed.keys()
    assert len(dispensed) > len(prescribed) / 2
    known = set()
    for placer, message in prescribed.items():
        order = orders[placer.replace("RX", "P")]
        loincs = {row["loinc"] for row in state["result"].values() if row["lab_order_id"] == order["id"]}
        [drug] = [part[2].split("^")[1].lower() for part in segments(message["body"]) if part[0] == "RXE"]
        monitored = {each.loinc for each in monitoring().drugs if each.name in drug}
        assert monitored & loincs or ("13457-7" in monitored and None in loincs), "LDL has no LOINC code at its source"
        known.add(drug)
        if placer in dispensed:
            assert dispensed[placer]["received_at"] > message["received_at"] > order["ordered_at"]
            assert dispensed[placer]["patient_mrn"] == message["patient_mrn"]
    assert len(known) > 2


def test_control_ids_are_unique(messages: list[dict[str, Any]]) -> None:
    assert len({message["control_id"] for message in messages}) == len(messages)


def test_the_newest_hl7_results_of_an_order_are_its_rows(
    state: dict[str, dict[Any, dict[str, Any]]], messages: list[dict[str, Any]]
) -> None:
    orders = {order["placer_number"]: order["id"] for order in state["lab_order"].values()}
    newest = {message["placer_number"]: message for message in messages if message["message_type"] == "ORU^R01"}
    compared = 0
    for placer, message in newest.items():
        rows = {row["component_code"]: row for row in state["result"].values() if row["lab_order_id"] == orders[placer]}
        for observation in (part for part in segments(message["body"]) if part[0] == "OBX"):
            code = observation[3].split("^")
            row = rows.get(code[3] if len(code) > 3 else code[0])
            if row is None:
                continue  # entered in error, and deleted since
            assert (observation[11], observation[8]) == (row["status_raw"], row["flag_raw"] or "")
            if row["value_type"] in ("NM", "ST"):
                assert observation[5] == escape(row["value_raw"])
                compared += 1
    assert compared > 100


def test_delimiters_in_names_and_texts_are_escaped(messages: list[dict[str, Any]]) -> None:
    hl7 = [message["body"] for message in messages if message["format"] == "hl7v2"]
    assert any("Synthé \\T\\ Fille" in body for body in hl7)
    assert escape("a|b^c~d&e\\f\ng") == "a\\F\\b\\S\\c\\R\\d\\T\\e\\E\\f\\.br\\g"


def test_every_bundle_is_r4_shaped_and_its_references_resolve(messages: list[dict[str, Any]]) -> None:
    bundles = [json.loads(message["body"]) for message in messages if message["format"] == "fhir"]
    assert bundles
    for bundle in bundles:
        assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
        urls = [entry["fullUrl"] for entry in bundle["entry"]]
        assert len(set(urls)) == len(urls)
        assert references(bundle) <= set(urls)
        kinds = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
        assert kinds == {"Patient", "ServiceRequest", "Specimen", "Observation", "DiagnosticReport"}


def test_fhir_values_are_the_rows_values(state: dict[str, dict[Any, dict[str, Any]]], messages: list[dict[str, Any]]) -> None:
    orders = {order["placer_number"]: order["id"] for order in state["lab_order"].values()}
    newest = {message["placer_number"]: message for message in messages if message["format"] == "fhir"}
    compared = 0
    for placer, message in newest.items():
        rows = {row["component_code"]: row for row in state["result"].values() if row["lab_order_id"] == orders[placer]}
        for entry in json.loads(message["body"])["entry"]:
            resource = entry["resource"]
            if "valueQuantity" in resource and "comparator" not in resource["valueQuantity"]:
                row = rows.get(resource["code"]["coding"][-1]["code"])
                if row is not None:
                    assert resource["valueQuantity"]["value"] == float(row["value_raw"])
                    compared += 1
    assert compared > 20
