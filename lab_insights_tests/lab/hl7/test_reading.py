"""What of a body is read, in which character set and time zone, and what is rejected with its reason."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from lab_insights_tests.lab.hl7.messages import PID, message, results
from lab_insights_tests.lab.reading import read_one, reasons, rows, told


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
