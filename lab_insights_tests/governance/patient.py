"""What is planted: a patient with unmistakable values, in every source of one tenant, and in each way in which a message can be broken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
import yaml

from lab_insights.local.laboratory import dynamodb
from lab_insights_tests.assets.world import AURORA, FIRST, PEOPLE, World
from lab_insights_tests.governance.haystack import insert

FAMILY, GIVEN, MRN = "Zzyxqvarnheim", "Qwyrmintrude", "MRNZQ7744190XK"
PHONE, ADDRESS, EMAIL = "555-0199-77316", "4417 Xylquorn Crescent", "qwyrm@needle.example"
NOTE = "frobnicated spleen beneath the purple walrus"
NEEDLES = tuple(
    value.casefold() for value in (FAMILY, GIVEN, MRN, PHONE, ADDRESS, EMAIL, NOTE, "xylquorn", "needle.example", "purple walrus")
)
EVERYTHING = f"{FAMILY}, {GIVEN} ({MRN}) {PHONE} {ADDRESS} {EMAIL}: {NOTE}"
NOON = datetime(FIRST.year, FIRST.month, FIRST.day, 12)

_PID = f"PID|1||{MRN}^^^HOSP^MR||{FAMILY}^{GIVEN}||19700101|F|||{ADDRESS}^^Springfield^IL^62701||{PHONE}^PRN^PH^{EMAIL}"
HL7 = "\r".join(
    (
        "MSH|^~\\&|APP|LAB|||20260302120000+0000||ORU^R01|c990001|P|2.5.1",
        _PID,
        "OBR|1|P990001|F990001|CBC^Count^L|||20260302110000+0000",
        f"OBX|1|TX|NOTE^Comment^L||{NOTE}||||||F",
        f"NTE|1||{EVERYTHING}",
        "",
    )
)
BUNDLE = {
    "resourceType": "Bundle",
    "type": "message",
    "entry": [
        {
            "fullUrl": "urn:uuid:1",
            "resource": {
                "resourceType": "Patient",
                "id": "p1",
                "identifier": [{"value": MRN, "type": {"coding": [{"code": "MR"}]}}],
                "name": [{"family": FAMILY, "given": [GIVEN]}],
                "telecom": [{"system": "phone", "value": PHONE}, {"system": "email", "value": EMAIL}],
                "address": [{"line": [ADDRESS], "postalCode": "62701"}],
            },
        },
        {
            "fullUrl": "urn:uuid:2",
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "Comment"},
                "subject": {"reference": "urn:uuid:1"},
                "valueString": NOTE,
                "note": [{"text": EVERYTHING}],
            },
        },
    ],
}
BROKEN_BUNDLE = json.loads(json.dumps(BUNDLE))
BROKEN_BUNDLE["entry"][0]["resource"]["name"] = EVERYTHING
BROKEN_BUNDLE["entry"][1]["resource"]["subject"] = [EVERYTHING]
MESSAGES = {
    "whole HL7": HL7,
    "no message at all": f"hello, this is about {EVERYTHING}",
    "a line that is no segment": HL7.replace("OBR|1", f"{EVERYTHING}\rOBR|1"),
    "a type that is a name": HL7.replace("ORU^R01", f"{FAMILY}^{GIVEN}").replace("2.5.1", MRN),
    "no delimiters": f"MSH{EVERYTHING}",
    "no type, a name for a version": HL7.replace("ORU^R01", "").replace("2.5.1", FAMILY),
    "dates that are notes": HL7.replace("19700101", NOTE).replace("20260302110000+0000", EVERYTHING),
    "whole FHIR": json.dumps(BUNDLE),
    "cut off": json.dumps(BUNDLE)[:-90],
    "forms that are none": json.dumps(BROKEN_BUNDLE),
    "a resource that is a name": json.dumps({"resourceType": FAMILY, "name": GIVEN}),
    "an entry that is a name": json.dumps({"resourceType": "Bundle", "entry": [EVERYTHING]}),
    "a profile that is a name": json.dumps({"resourceType": "Patient", "meta": {"profile": [f"http://x/stu3/{FAMILY}"]}}),
    "a type of another release and a name": json.dumps({"resourceType": "MedicationOrder", "patient": {"display": EVERYTHING}}),
}


def found_in(text: str) -> list[str]:
    """Return the needles in a text."""
    folded = text.casefold()
    return [needle for needle in NEEDLES if needle in folded]


def widen(path: Path) -> None:
    """Let the tables that these tests make be read too, the one whose key is a record number in ranges."""
    content = yaml.safe_load(path.read_text())
    content["sources"]["messages"]["include"] = ["message", "udt_*"]
    content["sources"]["crm"]["overrides"] = {"udt_by_mrn": {"ranges": 2}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def plant(world: World) -> None:
    """Put the patient into every source of one tenant."""
    crm, lis, texts = (f"{world.base}_{source}_{AURORA}" for source in ("crm", "lis", "messages"))
    person = {"mrn": MRN, "family_name": FAMILY, "given_name": GIVEN, "phone": PHONE}
    insert(world, "lis", lis, "patient", id=990001, **person, postal_code="62701", sex="F", updated_at=NOON)
    result = {"id": 990001, "order_item_id": 1, "lab_order_id": 1, "patient_id": 990001, "component_code": "NOTE", "value_raw": NOTE}
    insert(world, "lis", lis, "result", **result, value_type="TX", unit_raw="purple walrus", status_raw="F", updated_at=NOON)
    case = {"id": 990001, "account_id": 1, "patient_mrn": MRN, "subject": NOTE, "body": EVERYTHING, "status": "open", "deleted": 0}
    insert(world, "crm", crm, "crm_case", **case, opened_at=NOON, updated_at=NOON)
    world.execute(
        "crm",
        f"CREATE TABLE {crm}.udt_patient_note (id BIGINT PRIMARY KEY, email VARCHAR(80), note TEXT, at_all TEXT, updated_at DATETIME(6))",
    )
    insert(world, "crm", crm, "udt_patient_note", id=1, email=EMAIL, note=NOTE, at_all=EVERYTHING, updated_at=NOON)
    world.execute("crm", f"CREATE TABLE {crm}.udt_by_mrn (mrn VARCHAR(40) PRIMARY KEY, phone VARCHAR(40))")
    for number in range(40):
        insert(world, "crm", crm, "udt_by_mrn", mrn=f"{MRN}-{number:02d}", phone=PHONE)
    # one that can not be read at all, and one whose key is there twice when case counts
    world.execute("crm", f"CREATE TABLE {crm}.udt_part (id INT PRIMARY KEY) ENGINE=MyISAM")
    world.execute("crm", f"CREATE TABLE {crm}.udt_broken (id INT PRIMARY KEY) ENGINE=MERGE UNION=({crm}.udt_part)")
    world.execute("crm", f"DROP TABLE {crm}.udt_part")
    world.execute("messages", f"CREATE TABLE {texts}.udt_note (mrn TEXT PRIMARY KEY, words TSVECTOR, told JSONB, at_all TEXT[])")
    its = sa.text(f"INSERT INTO {texts}.udt_note VALUES (:mrn, to_tsvector('simple', :note), CAST(:told AS jsonb), ARRAY[:every])")
    with sa.create_engine(world.laboratory.targets.messages, poolclass=sa.NullPool).begin() as connection:
        connection.execute(its, {"mrn": MRN, "note": NOTE, "told": json.dumps({"name": FAMILY}), "every": EVERYTHING})
    stamps = {"received_at": NOON.replace(tzinfo=UTC), "updated_at": NOON.replace(tzinfo=UTC)}
    for number, body in enumerate(MESSAGES.values(), 990001):
        kind = {"format": "hl7", "message_type": "ORU^R01", "control_id": f"c{number}", "patient_mrn": MRN}
        insert(world, "messages", texts, "message", id=number, **kind, body=body, **stamps)
    event = {
        "tenant_id": PEOPLE[0].key,
        "id": 990001,
        "occurred_at": NOON,
        "user_name": "user01",
        "action": "read",
        "entity_type": "patient",
    }
    details = sa.cast(json.dumps({"note": EVERYTHING}), sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql"))
    insert(
        world, "audit", f"{world.base}_audit", "audit_event", **event, entity_id=MRN, outcome="success", details=details, updated_at=NOON
    )
    item = {"notification_id": f"n-{MRN}", "result_id": "990001", "patient_mrn": MRN, "value_text": NOTE, "notified_to": FAMILY}
    calls = [{"1": {"outcome": EVERYTHING}}, "at", NOON.isoformat()]
    table = dynamodb._table(world.laboratory.targets)
    moment = f"{NOON.isoformat()}+00:00"
    table.put_item(
        Item={"tenant_id": str(PEOPLE[0].key), **item, "channel": "phone", "notified_at": moment, "attempts": calls, "updated_at": moment}
    )
