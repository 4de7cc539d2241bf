"""The scanner: what a column's values look like, with Presidio's own patterns, and never a value in what it says."""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.config import PhiSection
from lab_insights.governance.scan import Finds, recognisers, scan
from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import fresh_tenant


@pytest.fixture(scope="module")
def finds() -> Finds:
    """The recognisers, which are to ask nobody on a network."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
        made = recognisers()
        made("a@b.example 555-0100")
        return made


@pytest.fixture
def lab(lake: Lake) -> Lab:
    return Lab(lake, fresh_tenant())


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("write to ada.s@clinic.example.org please", "EMAIL_ADDRESS"),
        ("call (212) 555-0134 after noon", "PHONE_NUMBER"),
        ("SSN 078-05-1125", "US_SSN"),
        ("from 192.168.7.21", "IP_ADDRESS"),
        ("see https://portal.example.com/p?id=7", "URL"),
        ("mrn: 7744190", "MEDICAL_RECORD_NUMBER"),
        ("seen on 03/14/2026", "DATE_TIME"),
        (" 62701-1234 ", "ZIP_CODE"),
    ],
)
def test_what_identifies_by_its_form_is_recognised(finds: Finds, text: str, entity: str) -> None:
    assert entity in finds(text)


@pytest.mark.parametrize("text", ["", "haemolysed", "12.1", "POS", "1:160", "mg/dL", "no comment", "A+"])
def test_what_laboratories_write_is_not(finds: Finds, text: str) -> None:
    assert finds(text) == set()


def test_classes_are_proposed_with_shares_and_no_value_and_a_declared_column_is_known(lab: Lab, finds: Finds) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": number,
            "contact": f"person{number}@needle.example" if number % 4 else "none",
            "seen": "03/14/2026" if number % 2 else None,
            "colour": "purple",
            "note": "",
            "updated_at": at(1),
        }
        for number in range(40)
    ]
    schema = pa.schema(
        [("id", pa.int64()), *((name, pa.string()) for name in ("contact", "seen", "colour", "note")), ("updated_at", STAMP)]
    )
    lab.land("crm.udt_contact", 1, rows, schema)
    lab.curate("crm.udt_contact", 1)
    lab.modelled(1, "snapshot", patient=[{"id": "p1", "family_name": "Sampledottir"}])
    found = {(each.table, each.column): each for each in scan(lab.lake, lab.tenant, finds)}
    contact, seen, colour = (found["crm.udt_contact", name] for name in ("contact", "seen", "colour"))
    assert (contact.phi, contact.proposed, contact.share, contact.sampled) == ("unclassified", "direct", 0.75, 40)
    assert (seen.proposed, seen.share, seen.sampled) == ("quasi", 1.0, 20)
    assert (colour.proposed, colour.found) == (None, {})
    assert not [key for key in found if key[0] == "patient" and key[1] == "family_name"], "direct is the strictest class already"
    text = str([each.to_dict() for each in found.values()])
    assert not [word for word in ("needle", "person", "purple", "03/14", "Sampledottir") if word in text]
    declared = PhiSection.model_validate({"classes": {"crm.udt_*": {"contact": "direct", "colour": "none"}}})
    lake = dataclasses.replace(lab.lake, storage=dataclasses.replace(lab.lake.storage, phi=declared))
    again = {(each.table, each.column): each for each in scan(lake, lab.tenant, finds)}
    assert ("crm.udt_contact", "contact") not in again
    assert (again["crm.udt_contact", "colour"].phi, again["crm.udt_contact", "seen"].phi) == ("none", "unclassified")
