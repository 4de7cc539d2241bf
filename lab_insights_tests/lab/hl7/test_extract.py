"""The records of patients, orders, specimens, visits and prescriptions in HL7 v2 messages, and what the field rules say where they come from."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest

from lab_insights_tests.lab.hl7.messages import PID, message
from lab_insights_tests.lab.reading import read_one, rows, told


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


@pytest.mark.parametrize("kind", ["OML^O33^OML_O33", "OML^O35^OML_O35"])
def test_an_order_message_of_specimens_has_the_specimen_before_its_orders(kind: str) -> None:
    tubes = "SPM|1|T1||SER|||||||||||||20260301080000+0000", "SPM|2|T2||UR|||||||||||||20260301090000+0000"
    of_tube = "OBX|1|NM|VOL||4|mL", "SAC|||C1"
    body = message(kind, PID, tubes[0], *of_tube, "ORC|NW|P1", "OBR|1|P1||BMP", tubes[1], *of_tube, "ORC|NW|P2", "OBR|1|P2||UA")
    assert [told(row, "specimen_number", "placer_number") for row in rows(body, "specimen")] == [("T1", "P1"), ("T2", "P2")]
    orders = [told(row, "placer_number", "code", "collected_at") for row in rows(body, "order")]
    assert orders == [("P1", "BMP", datetime(2026, 3, 1, 8)), ("P2", "UA", datetime(2026, 3, 1, 9))]


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
