"""The public messages and bundles that `LAB_INSIGHTS_SAMPLES` points at: all are read, as other readers read them. Collected only where they are."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import hl7
import pytest

from lab_insights.lab.hl7.framing import messages
from lab_insights.lab.hl7.message import split
from lab_insights.lab.records import CLEARED, Rejected
from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.reading import read_one, rows
from lab_insights_tests.lab.telling import made, message, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import fresh_tenant

SAMPLES = Path(os.environ.get("LAB_INSIGHTS_SAMPLES", "/nowhere"))
MESSAGES = sorted((SAMPLES / "hl7v2").glob("*.hl7"))
BUNDLES = sorted((SAMPLES / "fhir-r4").glob("*.json"))


def test_the_samples_are_all_there() -> None:
    assert (len(MESSAGES), len(BUNDLES)) == (139, 12)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_a_public_message_is_parsed_whole_and_its_fields_are_those_of_python_hl7(path: Path) -> None:
    body = path.read_bytes()
    found = read_one(body)
    assert (found.parsed, found.rejected) == (1, 0)
    [lines] = list(messages(body.decode()))
    assert not isinstance(lines, Rejected)
    ours, theirs = split(lines), hl7.parse("\r".join(lines))
    assert len(theirs) == len(lines)
    compared = 0
    for line, other in zip(lines[1:], theirs[1:], strict=True):
        for place, raw in enumerate(line.split(ours.delimiters.field)[1:], start=1):
            assert ours.fields(line)[place] == raw == str(other[place])
            text = ours.part(raw, 1)
            # That library removes what it can not read, highlighting and formatting; we leave it.
            if "\\" not in raw:
                assert ("" if text is None else '""' if text is CLEARED else text) == _first(other[place])
                compared += 1
    assert compared or len(lines) == 1


def _first(field: Any) -> str:
    while isinstance(field, hl7.containers.Container) and len(field):
        field = field[0]
    return str(field) if field else ""


def test_the_public_messages_hold_orders_results_merges_and_medications_of_every_release() -> None:
    found = [read_one(path.read_bytes()) for path in MESSAGES]
    kinds = Counter(kind for each in found for kind, its in each.rows.items() for _ in its)
    assert {kind for kind, count in kinds.items() if count} == {
        "patient", "identifier", "encounter", "provider", "organization", "order", "specimen", "result", "report", "medication_order",
        "medication_dispense",
    }  # fmt: skip
    [retired] = [row for row in rows((SAMPLES / "hl7v2" / "ADT-A40-01.hl7").read_bytes(), "patient") if row["merged_into_mrn"]]
    assert retired["mrn"] != retired["merged_into_mrn"]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem.split("_")[0])
def test_a_public_bundle_gives_a_record_for_each_laboratory_resource_and_every_reference_is_resolved(path: Path) -> None:
    body = path.read_text()
    resources = [entry["resource"] for entry in json.loads(body, parse_float=str)["entry"]]
    found = read_one(body)
    assert (found.parsed, found.rejected) == (1, 0)
    count = Counter(resource["resourceType"] for resource in resources)
    assert len(found.rows["patient"]) == count["Patient"]
    assert len(found.rows["medication_order"]) == count["MedicationRequest"]
    assert len(found.rows["report"]) == count["DiagnosticReport"]
    assert (len(found.rows["provider"]), len(found.rows["organization"])) == (count["Practitioner"], count["Organization"])
    laboratory = [
        each
        for each in resources
        if each["resourceType"] == "Observation" and any(code["code"] == "laboratory" for one in each["category"] for code in one["coding"])
    ]
    results = rows(body, "result")
    assert len(results) == len(laboratory)
    assert all(row["patient_mrn"] and not row["patient_reference"] for row in results)
    numbers = Counter(str(each["valueQuantity"]["value"]) for each in laboratory if "valueQuantity" in each)
    assert Counter(row["value_number"] for row in results if row["value_type"] == "Quantity") == numbers


def test_every_result_of_the_public_bundles_is_one_of_the_laboratorys_table(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    tell(lab, 1, *(message(key, path.read_text()) for key, path in enumerate(BUNDLES, start=1)), kind="snapshot")
    tell(lab, 2, *(message(key, path.read_text(), 2) for key, path in enumerate(BUNDLES, start=50)))
    found = [lab.rows(made(lab, number, "result")) for number in (1, 2)]
    assert [len(rows) for rows in found] == [len(lab.rows(made(lab, 1, "message_result")))] * 2 == [177, 177]
    assert {row["result_id"] for row in found[0]} == {row["result_id"] for row in found[1]}, "a resend is the same result"
    assert {row["patient_id"] for row in found[0]} <= {row["patient_id"] for row in lab.rows(made(lab, 1, "patient"))}
