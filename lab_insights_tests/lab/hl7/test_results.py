"""The results of HL7 v2 messages: their values, codes, notes and status, and whose they are."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from lab_insights_tests.lab.hl7.messages import PID, message, results
from lab_insights_tests.lab.reading import read_one, rows, told


def test_a_result_is_verified_when_it_is_reported_as_final_or_corrected() -> None:
    obr = f"OBR|1|P1|F1|K{'|' * 18}20260301100000"
    found = results(*(f"OBX|{n}|NM|K||4||||||{letter}" for n, letter in enumerate("FCPX")), obr=obr, at="20260301101500")
    assert [row["verified_at"] for row in found] == [datetime(2026, 3, 1, 10)] * 2 + [None] * 2
    assert json.loads(found[0]["remarks"]) == {"no_zone": ["reported_at"]}


def test_the_observations_of_one_sub_id_are_one_variant() -> None:
    first = ("OBX|1|CWE|48018-6^Gene^LN|1a|HGNC:1100^BRCA1^HGNC||||||F", "OBX|2|ST|48004-6^DNA^LN|1a|c.68_69del||||||F")
    meant = "OBX|3|CWE|53037-8^Significance^LN|1a|LA6668-3^Pathogenic^LN||||||C"
    other = ("OBX|4|CWE|48018-6^Gene^LN|1b|HGNC:1101^BRCA2^HGNC||||||F", "OBX|5|ST|48018-6^Gene^LN|1c|TP53||||||O")
    source = "OBX|6|CWE|48002-0^Source^LN|1d|LA6683-2^Germline^LN||||||F"
    body = message("ORU^R01", PID, "OBR|1|P1|F1|BRCA", *first, meant, *other, source)
    found = rows(body, "genomic")
    assert [told(row, "sub_id", "gene_code", "gene", "dna_change", "interpretation", "status_raw") for row in found] == [
        ("1a", "HGNC:1100", "BRCA1", "c.68_69del", "Pathogenic", "C"),
        ("1b", "HGNC:1101", "BRCA2", None, None, "F"),
    ]
    assert {told(row, "filler_number", "patient_mrn") for row in found} == {("F1", "12345")}
    assert len(rows(body, "result")) == 6, "they are results all the same"


VALUES = {
    "NM||12.10": ("12.10", "12.10", None, None, None, None, None),
    "NM||<5": ("<5", "5", "<", None, None, None, None),
    "SN||<^5": ("<5", "5", "<", None, None, None, None),
    "SN||=^5": ("=5", "5", None, None, None, None, None),
    "SN||=^1^:^40": ("=1:40", None, ":", "1", "40", None, None),
    "SN||^1^:^40": ("1:40", None, ":", "1", "40", None, None),
    "SN||^3^-^5": ("3-5", None, "-", "3", "5", None, None),
    r"ST||a\T\b^c": ("a&b^c", None, None, None, None, None, "a&b^c"),
    "ST||7.4": ("7.4", "7.4", None, None, None, None, "7.4"),
    "DT||20260301": ("20260301", None, None, None, None, None, "20260301"),
    "CWE||10828004": ("10828004", None, None, None, None, "10828004", "10828004"),
    "TX||one~two": ("one\ntwo", None, None, None, None, None, "one\ntwo"),
    "CWE||POS^Positive^HL7": ("POS^Positive^HL7", None, None, None, None, "POS", "Positive"),
    'NM||""': (None,) * 7,
    "NM||": (None,) * 7,
}


@pytest.mark.parametrize("sent", VALUES, ids=str)
def test_a_value_keeps_what_was_reported_beside_what_it_says(sent: str) -> None:
    kind, value = sent.split("||")
    [row] = results(f"OBX|1|{kind}|K^Potassium^L||{value}|mmol/L|3.5-5.1|H|||F")
    assert told(row, "value_raw", "value_number", "value_operator", "value_low", "value_high", "value_code", "value_text") == VALUES[sent]
    assert told(row, "unit_raw", "range_low", "range_high", "flag_raw", "status_raw") == ("mmol/L", "3.5", "5.1", "H", "F")


def test_a_document_is_described_and_stays_in_the_message() -> None:
    [row] = results("OBX|1|ED|DOC^Report^L||LAB^AP^PDF^Base64^JVBERi0xLjQ=||||||F")
    assert (row["value_raw"], json.loads(row["remarks"])) == ("LAB^AP^PDF^Base64", {"shortened": ["value_raw"]})


@pytest.mark.parametrize(
    ("code", "local", "loinc"),
    [
        ("2823-3^Potassium^LN^K^Kalium^L", "K", "2823-3"),
        ("K^Kalium^L^2823-3^Potassium^LN", "K", "2823-3"),
        ("2823-3^Potassium^LN", "2823-3", "2823-3"),
        ("K^Kalium^99LAB", "K", None),
    ],
)
def test_the_loinc_code_is_found_in_whichever_place_it_stands(code: str, local: str, loinc: str | None) -> None:
    [row] = results(f"OBX|1|NM|{code}||4")
    assert told(row, "code", "loinc", "panel_code") == (local, loinc, "BMP")


def test_notes_go_with_the_result_that_they_follow() -> None:
    first, second = results("NTE|1||of the order", "OBX|1|NM|K||4", "NTE|1||slightly", "NTE|2||hemolyzed", "OBX|2|NM|NA||140")
    assert (first["comment"], second["comment"]) == ("slightly\nhemolyzed", None)


def test_every_status_is_told_and_those_that_are_no_results_are_told_apart() -> None:
    assert [row["status_raw"] for row in results(*(f"OBX|{n}|NM|K||4||||||{letter}" for n, letter in enumerate("FCAPIXDWON")))] == list(
        "FCAPIXDWON"
    )


@pytest.mark.parametrize("kind", ["ORM^O01", "OML^O21", "ADT^A01", "VXU^V04", "MDM^T02", "SIU^S12"])
def test_observations_of_other_messages_are_no_results(kind: str) -> None:
    found = read_one(message(kind, PID, "ORC|NW|P1", "OBR|1|P1|F1|K", "OBX|1|NM|K||4"))
    assert (found.parsed, found.rejected, found.rows["result"]) == (1, 0, [])


def test_several_patients_of_one_message_keep_their_results_apart() -> None:
    other = PID.replace("12345^", "999^")
    body = message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4", other, "OBR|1|P2|F2|K", "OBX|1|NM|K||5")
    assert [told(row, "patient_mrn", "placer_number", "value_raw") for row in rows(body, "result")] == [
        ("12345", "P1", "4"),
        ("999", "P2", "5"),
    ]
