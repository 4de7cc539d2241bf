"""The records of HL7 v2 messages of each type, and what the field rules say where they come from."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest

from lab_insights_tests.lab.reading import read_one, reasons, rows, told

PID = "PID|1|ext|77^^^OTHER^PI~12345^^^HOSP&1.2&ISO^MR||Doe&van^Jane^Q||19800506|F|||1 Main^^Town^ST^12345||555-0100"


def message(kind: str, *segments: str, version: str = "2.5.1", at: str = "20260301101500+0200") -> str:
    return "\r".join([f"MSH|^~\\&|APP|LAB|||{at}||{kind}|c1|P|{version}", *segments]) + "\r"


def results(*obx: str, kind: str = "ORU^R01", obr: str = "OBR|1|P1|F1|BMP^Panel^L", **header: str) -> list[dict[str, Any]]:
    return rows(message(kind, PID, obr, *obx, **header), "result")


def test_a_patient_is_known_by_the_medical_record_number_among_its_identifiers() -> None:
    [row] = rows(message("ADT^A08", PID), "patient")
    assert told(row, "mrn", "authority", "family_name", "given_name", "sex_raw", "postal_code", "phone", "birth_date") == (
        "12345", "HOSP", "Doe", "Jane", "F", "12345", "555-0100", date(1980, 5, 6),
    )  # fmt: skip
    assert [each["value"] for each in json.loads(row["identifiers"])] == ["77", "12345"]
    assert told(row, "sender", "control_id", "sent_at", "event", "remarks") == ("APP^LAB", "c1", datetime(2026, 3, 1, 8, 15), "A08", None)


def test_each_identifier_of_a_patient_is_a_record_of_its_own() -> None:
    pid = PID.replace("^MR||", '^MR~9^^^PLAN~^^^HOSP^SS~8^^^PLAN^""||')
    found = rows(message("ADT^A08", pid), "identifier")
    assert [told(row, "identifier", "authority", "identifier_type") for row in found] == [
        ("77", "OTHER", "PI"), ("12345", "HOSP", "MR"), ("9", "PLAN", "U"), ("8", "PLAN", "U"),
    ]  # fmt: skip
    assert {told(row, "patient_mrn", "patient_authority") for row in found} == {("12345", "HOSP")}


def test_a_merge_retires_every_number_of_mrg_into_the_survivors() -> None:
    survivor, *retired = rows(message("ADT^A40^ADT_A39", PID, "MRG|900^^^HOSP^MR~901^^^OTHER||||||Roe^Jan"), "patient")
    assert told(survivor, "mrn", "merged_into_mrn") == ("12345", None)
    assert [told(row, "mrn", "authority", "merged_into_mrn", "merged_into_authority", "family_name") for row in retired] == [
        ("900", "HOSP", "12345", "HOSP", "Roe"),
        ("901", "OTHER", "12345", "HOSP", "Roe"),
    ]
    assert len(rows(message("ADT^A08", PID, "MRG|900"), "patient")) == 1, "no merge"


def test_what_a_message_empties_is_told_from_what_it_does_not_say() -> None:
    [row] = rows(message("ADT^A08", 'PID|1||1^^^H^MR||Doe^""||""|F||||||'), "patient")
    assert told(row, "given_name", "birth_date", "phone") == (None, None, None)
    assert json.loads(row["remarks"]) == {"cleared": ["given_name", "birth_date"]}


def test_an_order_takes_its_times_and_priority_where_the_rules_say() -> None:
    orc, spm = (
        "ORC|NW|P1|F1|G1|IP||||20260301080000+0000|||77^Who",
        "SPM|1|S9||SER^Serum|||||||||||||20260301090000+0000|20260301093000+0000",
    )
    obr = "OBR|1|Px|Fx|BMP^Panel^L|A|20260301070000+0000|20260301084500+0000|||||||20260301095000+0000||88^Other||||||||CH|||^^^^^T"
    [full] = rows(message("OML^O21", PID, orc, "TQ1|1||||||||S", obr, spm), "order")
    assert told(full, "placer_number", "filler_number", "requisition", "priority_raw", "provider_code", "department", "patient_mrn") == (
        "P1", "F1", "G1", "S", "77", "CH", "12345",
    )  # fmt: skip
    assert told(full, "ordered_at", "collected_at", "received_at") == tuple(datetime(2026, 3, 1, *at) for at in ((8, 0), (9, 0), (9, 30)))
    [bare] = rows(message("ORM^O01", PID, obr), "order")
    assert told(bare, "placer_number", "filler_number", "priority_raw", "provider_code") == ("Px", "Fx", "T", "88")
    assert told(bare, "ordered_at", "collected_at", "received_at") == tuple(datetime(2026, 3, 1, *at) for at in ((7, 0), (8, 45), (9, 50)))
    [oldest] = rows(message("ORM^O01", PID, obr.replace("^^^^^T", "")), "order")
    assert oldest["priority_raw"] == "A"


def test_specimens_follow_their_order_and_tell_why_they_were_rejected() -> None:
    spm = "SPM|1|PL1^FI1||SER^Serum||||||||||||||||N|HEM^Hemolyzed^HL7|||CLOT^Clotted"
    [row] = rows(message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4|", spm), "specimen")
    assert told(row, "specimen_number", "placer_number", "type_code", "type_name", "reject_reason", "condition", "status_raw") == (
        "FI1", "P1", "SER", "Serum", "Hemolyzed", "Clotted", "N",
    )  # fmt: skip
    [linked] = rows(message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4|", spm), "result")
    assert linked["specimen_number"] == "FI1"


def test_before_2_5_the_specimen_is_a_field_of_the_order() -> None:
    obr = "OBR|1|P1|F1|K|||20260301084500+0000|||||||20260301095000+0000|BLD&Whole blood"
    [row] = rows(message("ORU^R01", PID, obr, version="2.3"), "specimen")
    assert told(row, "type_code", "type_name", "collected_at") == ("BLD", "Whole blood", datetime(2026, 3, 1, 8, 45))


def test_a_specimen_was_collected_and_received_when_it_says_else_when_its_order_does() -> None:
    obr, spm = "OBR|1|P1|F1|K|||20260301084500+0000|||||||20260301095000+0000", "SPM|1|S1||SER|||||||||||||{0}|{1}"
    times = {
        ("20260301080000+0000^20260301081000+0000", "20260301090000+0000"): (datetime(2026, 3, 1, 8), datetime(2026, 3, 1, 9)),
        ("", "20260301090000+0000"): (datetime(2026, 3, 1, 8, 45), datetime(2026, 3, 1, 9)),
        ("20260301080000+0000", ""): (datetime(2026, 3, 1, 8), datetime(2026, 3, 1, 9, 50)),
        ('""', ""): (None, datetime(2026, 3, 1, 9, 50)),
    }
    for (collected, received), expected in times.items():
        body = message("ORU^R01", PID, obr, spm.format(collected, received))
        [tube], [order] = rows(body, "specimen"), rows(body, "order")
        assert told(tube, "collected_at", "received_at") == told(order, "collected_at", "received_at") == expected


def test_an_order_with_a_time_of_collection_has_a_specimen_without_a_segment_of_it() -> None:
    [row] = rows(message("ORU^R01", PID, "OBR|1|P1|F1|K|||20260301084500+0000"), "specimen")
    assert told(row, "placer_number", "specimen_number", "type_code", "state", "collected_at") == (
        "P1", None, None, "collected", datetime(2026, 3, 1, 8, 45),
    )  # fmt: skip
    assert rows(message("ORU^R01", PID, "OBR|1|P1|F1|K"), "specimen") == []


def test_in_oul_the_specimen_comes_first_and_the_common_order_behind_its_request() -> None:
    body = message(
        "OUL^R22", PID, "SPM|1|S1||SER", "OBR|1|P1||K", "ORC|SC|P1|F1", "OBX|1|NM|K||4|", "SPM|2|S2||UR", "OBR|1|P2||UA", "OBX|1|NM|UA||7|"
    )
    assert [told(row, "specimen_number", "placer_number", "filler_number", "code") for row in rows(body, "result")] == [
        ("S1", "P1", "F1", "K"),
        ("S2", "P2", None, "UA"),
    ]
    assert [told(row, "specimen_number", "type_code") for row in rows(body, "specimen")] == [("S1", "SER"), ("S2", "UR")]
    assert [told(row, "placer_number", "filler_number") for row in rows(body, "order")] == [("P1", "F1"), ("P2", None)]


def test_a_specimen_that_comes_first_is_told_with_each_order_on_it_and_once_where_there_is_none() -> None:
    body = message("OUL^R22", PID, "SPM|1|S1||SER", "OBR|1|P1||K", "OBR|2|P2||NA", "SPM|2|S2||UR")
    assert [told(row, "specimen_number", "placer_number") for row in rows(body, "specimen")] == [("S1", "P1"), ("S1", "P2"), ("S2", None)]


def test_how_far_a_specimen_came_is_said_by_what_is_told_of_it() -> None:
    came, taken = "20260301090000+0000", "20260301083000+0000"
    fields = {"rejected": f"||||{taken}|{came}|||HEM", "received": f"||||{taken}|{came}", "collected": f"||||{taken}", None: ""}
    for state, rest in fields.items():
        [row] = rows(message("ORU^R01", PID, "OBR|1|P1|F1|K", f"SPM|1|S1||SER|||||||||{rest}"), "specimen")
        assert row["state"] == state, rest


def test_an_order_is_given_up_by_its_status_its_control_or_that_of_its_results() -> None:
    said = {"ORC|RE|P1|||CM": "CM", "ORC|CA|P1|||CM": "CM", "ORC|CA|P1": "CA", "ORC|DC|P1": "DC", "ORC|NW|P1": None, "ORC|RE|P1": None}
    for orc, status in said.items():
        [row] = rows(message("ORM^O01", PID, orc, "OBR|1|P1|F1|K"), "order")
        assert row["status_raw"] == status, orc
    [row] = rows(message("ORU^R01", PID, "ORC|RE|P1", f"OBR|1|P1|F1|K{'|' * 7}A{'|' * 14}X"), "order")
    assert told(row, "status_raw", "action") == ("X", "A")


def test_a_result_is_verified_when_it_is_reported_as_final_or_corrected() -> None:
    obr = f"OBR|1|P1|F1|K{'|' * 18}20260301100000"
    found = results(*(f"OBX|{n}|NM|K||4||||||{letter}" for n, letter in enumerate("FCPX")), obr=obr, at="20260301101500")
    assert [row["verified_at"] for row in found] == [datetime(2026, 3, 1, 10)] * 2 + [None] * 2
    assert json.loads(found[0]["remarks"]) == {"no_zone": ["reported_at"]}


def test_a_visit_is_told_by_its_number_with_its_patient() -> None:
    pv1 = f"PV1|1|E|ER^1{'|' * 16}V1{'|' * 25}20260301080000+0000|20260302+0000"
    [row] = rows(message("ORM^O01", PID, pv1, "OBR|1|P1|F1|K"), "encounter")
    assert told(row, "visit_number", "patient_mrn", "class_raw", "ward", "admitted_at") == (
        "V1",
        "12345",
        "E",
        "ER",
        datetime(2026, 3, 1, 8),
    )
    assert rows(message("ORM^O01", PID, "PV1|1|E"), "encounter") == []


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
    "SN||^1^:^40": ("1:40", None, ":", "1", "40", None, None),
    "SN||^3^-^5": ("3-5", None, "-", "3", "5", None, None),
    r"ST||a\T\b^c": ("a&b^c", None, None, None, None, None, "a&b^c"),
    "ST||7.4": ("7.4", "7.4", None, None, None, None, "7.4"),
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


def test_a_prescription_and_what_is_dispensed_on_it() -> None:
    body = message(
        "RDS^O13", PID, "ORC|NW|P1|F1||CM||||20260301080000Z".replace("Z", "+0000"), "TQ1|1||BID||||20260301+0000|20260308+0000",
        "RXE||00378^Warfarin^NDC|5||mg|TAB|^with food|||30|TAB|3", "RXR|PO^Oral", "RXD|1|00378^Warfarin^NDC|20260301120000+0000|30|TAB||RX77|2|slowly",
    )  # fmt: skip
    [order] = rows(body, "medication_order")
    assert told(order, "placer_number", "drug_code", "drug_name", "dose_number", "dose_unit", "route", "frequency", "instructions") == (
        "P1", "00378", "Warfarin", "5", "mg", "Oral", "BID", "with food",
    )  # fmt: skip
    assert told(order, "refills", "status_raw", "start_at") == ("3", "CM", datetime(2026, 3, 1))
    [given] = rows(body, "medication_dispense")
    assert told(given, "patient_mrn", "filler_number", "drug_system", "prescription_number", "quantity_number", "refills_remaining") == (
        "12345", "F1", "NDC", "RX77", "30", "2",
    )  # fmt: skip


def test_a_prescription_is_told_by_rxo_where_there_is_no_rxe() -> None:
    rxo = "RXO|00378^Warfarin^NDC|5||mg|TAB|^for the pharmacy|^with food||||30|TAB|2|77^Who"
    names = (
        "drug_code",
        "dose_number",
        "dose_unit",
        "route",
        "instructions",
        "quantity_number",
        "quantity_unit",
        "refills",
        "provider_code",
    )
    for kind in ("OMP^O09", "RDE^O11", "ORM^O01"):
        found = read_one(message(kind, PID, "ORC|NW|P1", rxo, "RXR|PO^Oral"))
        assert (len(found.rows["medication_order"]), found.rows["order"]) == (1, []), kind
        [row] = rows(message(kind, PID, "ORC|NW|P1", rxo, "RXR|PO^Oral"), "medication_order")
        assert told(row, *names) == ("00378", "5", "mg", "Oral", "with food", "30", "TAB", "2", "77")
    [encoded] = rows(message("RDE^O11", PID, "ORC|NW|P1", rxo, "RXE||00378^Warfarin^NDC|2.5||mg"), "medication_order")
    assert encoded["dose_number"] == "2.5", "what the pharmacy made of it"


RELEASES = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8")


@pytest.mark.parametrize("release", RELEASES)
def test_an_order_with_its_results_says_the_same_in_every_release(release: str) -> None:
    by_segments, by_roles = release >= "2.5", release >= "2.7"
    orc = f"ORC|RE|P1|F1|G1|CM||||20260301080000+0000|||{'' if by_roles else '77^Who'}"
    source, timing = ("", "") if by_segments else ("SER&Serum", "^^^^^S")
    obr = "OBR|1|P1|F1|BMP^Panel^L|||20260301084500+0000|||||||20260301095000+0000|{0}|||||||20260301100000+0000||CH|F||{1}"
    segments = [PID, "PV1|1|E|ER^1" + "|" * 16 + "V1", orc]
    segments += ["TQ1|1||||||||S"] if by_segments else []
    segments += [obr.format(source, timing)]
    segments += ["PRT|1|AD||OP^Ordering Provider|77^Who"] if by_roles else []
    segments += ["OBX|1|NM|K^Potassium^L^2823-3^Potassium^LN||<4.2|mmol/L|3.5-5.1|N|||F", "NTE|1||slightly hemolyzed"]
    segments += ["SPM|1|S1||SER^Serum|||||||||||||20260301084500+0000|20260301095000+0000"] if by_segments else []
    body = message("ORU^R01", *segments, version=release)
    [order], [result], [tube], [report], [visit] = (rows(body, kind) for kind in ("order", "result", "specimen", "report", "encounter"))
    taken, came, reported = (datetime(2026, 3, 1, *clock) for clock in ((8, 45), (9, 50), (10, 0)))
    names = (
        "placer_number",
        "filler_number",
        "requisition",
        "patient_mrn",
        "code",
        "status_raw",
        "priority_raw",
        "department",
        "visit_number",
    )
    assert told(order, *names) == ("P1", "F1", "G1", "12345", "BMP", "CM", "S", "CH", "V1")
    assert told(order, "provider_code", "ordered_at", "collected_at", "received_at") == ("77", datetime(2026, 3, 1, 8), taken, came)
    names = (
        "code",
        "loinc",
        "panel_code",
        "value_raw",
        "value_number",
        "value_operator",
        "unit_raw",
        "range_low",
        "flag_raw",
        "status_raw",
    )
    assert told(result, *names) == ("K", "2823-3", "BMP", "<4.2", "4.2", "<", "mmol/L", "3.5", "N", "F")
    assert told(result, "comment", "patient_mrn", "filler_number", "verified_at") == ("slightly hemolyzed", "12345", "F1", reported)
    assert told(tube, "type_code", "type_name", "filler_number", "state", "collected_at") == ("SER", "Serum", "F1", "received", taken)
    assert told(report, "filler_number", "reported_at", "status_raw") == ("F1", reported, "F")
    assert told(visit, "visit_number", "patient_mrn", "class_raw", "ward") == ("V1", "12345", "E", "ER")


@pytest.mark.parametrize("release", RELEASES)
def test_a_merge_and_a_prescription_say_the_same_in_every_release(release: str) -> None:
    survivor, retired = rows(message("ADT^A40", PID, "MRG|900^^^HOSP^MR", version=release), "patient")
    assert told(retired, "mrn", "merged_into_mrn", "birth_date", "sex_raw") == ("900", "12345", date(1980, 5, 6), "F")
    assert survivor["merged_into_mrn"] is None
    by_segments = release >= "2.5"
    rxe = f"RXE|{'' if by_segments else '1^BID^^20260301+0000'}|00378^Warfarin^NDC|5||mg|TAB||||30|TAB|3"
    timing = ["TQ1|1||BID||||20260301+0000"] if by_segments else []
    kind = "RDE^O11" if release >= "2.4" else "RDE^O01"
    [drug] = rows(message(kind, PID, "ORC|NW|P1", *timing, rxe, version=release), "medication_order")
    assert told(drug, "drug_code", "dose_number", "dose_unit", "frequency", "quantity_number", "refills", "start_at") == (
        "00378", "5", "mg", "BID", "30", "3", datetime(2026, 3, 1),
    )  # fmt: skip


def test_providers_and_organizations_are_told_once_a_message() -> None:
    orc = "ORC|RE|P1|F1|||||||||77^Who^Ann^^^^^^NPI|||||||||Clinic^^C1|1 Road^^Town^ST^12345"
    body = message("ORU^R01", PID, "PV1|1|O|||||88^Att", orc, "OBR|1|P1|F1|K", orc, "OBR|2|P1|F1|NA")
    assert [told(row, "provider_code", "authority", "role") for row in rows(body, "provider")] == [
        ("88", None, "attending"),
        ("77", "NPI", "ordering"),
    ]
    assert [told(row, "name", "organization_code", "city", "role") for row in rows(body, "organization")] == [
        ("Clinic", "C1", "Town", "ordering")
    ]
    assert [row["npi"] for row in rows(body, "provider")] == [None, "77"]
    assert {told(row, "organization_code", "organization_authority") for row in rows(body, "order")} == {("C1", "LAB")}


def test_z_segments_and_unknown_ones_are_left_alone() -> None:
    assert len(results("ZPI|own|x^y", "OBX|1|NM|K||4", "ZZZ", "QQQ|1")) == 1


def test_a_five_character_header_reads_the_same() -> None:
    plain = message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4")
    assert read_one(plain.replace("|^~\\&|", "|^~\\&#|", 1)).rows == read_one(plain).rows


def test_a_stamp_without_a_zone_has_that_of_the_header_else_it_is_remarked() -> None:
    obr = "OBR|1|P1|F1|K|||20260301084500"
    [zoned] = rows(message("ORU^R01", PID, obr), "report")
    assert (zoned["observed_at"], zoned["remarks"]) == (datetime(2026, 3, 1, 6, 45), None)
    [bare] = rows(message("ORU^R01", PID, obr, at="20260301101500"), "report")
    assert (bare["observed_at"], json.loads(bare["remarks"])) == (datetime(2026, 3, 1, 8, 45), {"no_zone": ["observed_at"]})


def test_records_are_numbered_by_kind_through_all_messages_of_a_row() -> None:
    one = message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4", "OBX|2|NM|NA||140")
    found = rows(f"BHS|^~\\&\r{one}{one}BTS|2\r", "result")
    assert [row["record"] for row in found] == [1, 2, 3, 4]


def test_a_bad_message_of_a_batch_is_rejected_alone() -> None:
    one = message("ORU^R01", PID, "OBR|1|P1|F1|K", "OBX|1|NM|K||4")
    found = read_one(f"BHS|^~\\&\r{one}{one.replace('OBX|', 'broken|')}{one}BTS|3\r")
    assert (found.parsed, found.rejected, len(found.rows["result"])) == (2, 1, 2)
    [row] = found.rows["reject"]
    assert row[-4:-1] == ("line 4 is no segment: it begins with no name", "ORU^R01", "2.5.1")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "the body is empty"),
        ("", "the body is empty"),
        ("hello", "neither HL7 v2 nor FHIR"),
        ("MSH", "MSH-1 and MSH-2 declare no delimiters"),
        ("MSH|^~\\&|||||||", "MSH-9 names no message type"),
        (b"MSH|^~\\&|\xe9||||||ORU^R01", "not UTF-8"),
    ],
)
def test_what_can_not_be_read_is_rejected_with_its_reason(body: str | bytes | None, reason: str) -> None:
    [told_] = reasons(body)
    assert reason in told_


def test_bytes_are_read_in_the_character_set_that_the_message_names() -> None:
    header = "MSH|^~\\&|APP|LAB|||20260301||ADT^A08|c|P|2.5||||||8859/1"
    [row] = rows(f"{header}\rPID|1||1||M\u00fcller^J\u00f6rg".encode("latin-1"), "patient")
    assert told(row, "family_name", "given_name") == ("M\u00fcller", "J\u00f6rg")
