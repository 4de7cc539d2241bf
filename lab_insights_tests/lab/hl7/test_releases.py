"""What a message says is the same in every release of HL7 v2, wherever that has its place."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from lab_insights_tests.lab.hl7.messages import PID, message
from lab_insights_tests.lab.reading import rows, told

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
