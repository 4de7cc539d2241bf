"""Messages of a laboratory as the tests write them, told to a tenant's lake beside what its own systems have."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lab.mappings import every
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import day, fresh_tenant

TOLD = tuple(dict.fromkeys(contract.table for contract, mapping in every() if mapping.source.name == "messages"))
SCHEMA = pa.schema([("id", pa.int64()), ("body", pa.string()), ("patient_mrn", pa.string()), ("updated_at", STAMP)])
HEAD = "MSH|^~\\&|APP|LAB|||20260301101500+0000||{kind}|c1|P|2.5.1\rPID|1||{mrn}^^^H^MR||Doe^Jane||19800506|F\r"


def oru(mrn: str, placer: str, filler: str, value: str, status: str = "F", *more: str) -> str:
    head = HEAD.format(kind="ORU^R01", mrn=mrn)
    return "\r".join(
        [head + f"ORC|RE|{placer}|{filler}\rOBR|1|{placer}|{filler}|BMP", f"OBX|1|NM|K^Potassium^L||{value}|mmol/L|||||{status}", *more]
    )


def message(key: int, body: str, number: int = 1) -> dict[str, Any]:
    return {"id": key, "body": body, "updated_at": at(number, 8 + key / 60)}


def made(lab: Lab, number: int, table: str) -> Manifest:
    return pipeline.curate_table(lab.lake, lab.tenant, table, day(number), contracts()[table], "test")


def tell(lab: Lab, number: int, *messages: dict[str, Any], kind: Any = "delta") -> None:
    """Land messages of a day and curate the tables that they and the laboratory's system feed."""
    lab.land("messages.message", number, messages, SCHEMA, kind=kind)
    for table in TOLD:
        made(lab, number, table)


def patient(key: str, mrn: str) -> dict[str, Any]:
    return {"id": key, "mrn": mrn, "sex": "F"}


def order(key: str, of: str, placer: str | None, filler: str | None) -> dict[str, Any]:
    return {"id": key, "patient_id": of, "placer_number": placer, "filler_number": filler, "ordered_at": at(1)}


def linked(lab: Lab, number: int, table: str, key: str, link: str) -> dict[str, Any]:
    return {row[key]: row[link] for row in lab.transform(table, number)}


# An OBX from its type on, by the code of its test, with what is made of it.
READ: dict[str, tuple[str, dict[str, Any]]] = {
    "TSH": (
        "NM|TSH||<5|mIU/L|0.4-4.0|N|||F",
        {"value_num": 5, "value_operator": "<", "unit_ucum": "m[IU]/L", "flag_norm": "normal", "is_abnormal": False},
    ),
    "GLU": (
        "NM|GLU||61|mg/dL^milligrams^UCUM|(70 to 99)|A~LL|||F",
        {"range_low": 70, "range_high": 99, "unit_ucum": "mg/dL", "flag_norm": "critical_low", "is_critical": True},
    ),
    "ANA": (
        "ST|ANA||1:40|titer|<40||||F",
        {"value_num": None, "value_operator": ":", "value_low": 1, "value_high": 40, "range_low": None, "range_high": 40},
    ),
    "WBC": (
        "SN|WBC||^3^-^5|/hpf|||||F",
        {"value_operator": "-", "value_low": 3, "value_high": 5, "unit_ucum": "/[HPF]", "is_abnormal": None},
    ),
    "NA": (
        "NM|NA||171||136-145||||F",
        {"value_num": 171, "is_abnormal": True, "is_critical": False, "flag_norm": None, "loinc": None, "mapping_method": "none"},
    ),
    "HCV": (
        "CWE|HCV||POS^Positive^HL70136||NEG|AA|||C",
        {"value_code": "POS", "value_text": "Positive", "value_code_system": "HL70136", "flag_norm": "critical_abnormal"},
    ),
    "KET": (
        "ST|KET||Trace||||||A",
        {"value_code": "260405006", "value_code_system": "SCT", "value_text": "Trace", "status_norm": "amended"},
    ),
    "2823-3": (
        "NM|2823-3^Potassium^LN||7.9||3.5-5.1|HH|||I",
        {"flag_norm": "critical_high", "loinc": "2823-3", "loinc_raw": "2823-3", "mapping_method": "source", "status_norm": "registered"},
    ),
    "CRP": (
        "NM|CRP||>300|furlongs|||||D",
        {"value_operator": ">", "value_num": 300, "unit_raw": "furlongs", "unit_ucum": None, "status_norm": "entered_in_error"},
    ),
    "LIP": ("NM|LIP||9|||>|||W", {"flag_norm": "above_scale", "is_abnormal": True, "status_norm": "entered_in_error"}),
    "SNA": ("SN|SNA||=^171||136-145||||F", {"value_num": 171, "value_operator": None, "is_abnormal": True}),
    "ORG": ("CWE|ORG||10828004||||||F", {"value_num": None, "value_code": "10828004"}),
    "DAY": ("DT|DAY||20260301||||||F", {"value_num": None, "value_text": "20260301"}),
    "ALB": ("NM|ALB||30|ug/min^per minute^UCUM|||||F", {"unit_declared": "ug/min", "unit_ucum": "ug/min"}),
    "ACR": ("NM|ACR||30|mg/mmol{creat}^^UCUM|||||F", {"unit_raw": "mg/mmol{creat}", "unit_ucum": "mg/mmol{creat}"}),
    "CUL": ("ST|CUL||growth||||||B", {"value_text": "growth", "value_num": None, "status_norm": "appended"}),
}
SENT = [f"OBX|9|{sent}" for sent, _ in READ.values()]
SNOMED = "http://snomed.info/sct"
CODED = {
    "resourceType": "Observation", "id": "o1", "status": "entered-in-error", "code": {"coding": [{"code": "COV"}]},
    "basedOn": [{"identifier": {"value": "F7"}}],
    "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": "260373001", "display": "Detected"}]},
}  # fmt: skip
MEASURED = {
    "resourceType": "Observation", "id": "o2", "status": "amended", "code": {"coding": [{"code": "PLT"}]},
    "basedOn": [{"identifier": {"value": "F7"}}],
    "valueQuantity": {"value": 20, "comparator": "<", "unit": "thousand per microliter", "system": "http://unitsofmeasure.org", "code": "10*3/uL"},
    "referenceRange": [{"low": {"value": 150}, "text": "150 and more"}],
    "interpretation": [{"coding": [{"code": "LL"}]}, {"coding": [{"code": "A"}]}],
}  # fmt: skip

DECLARED = {
    "resourceType": "Observation", "id": "o3", "status": "amended", "code": {"coding": [{"code": "GFR"}]},
    "basedOn": [{"identifier": {"value": "F7"}}],
    "valueQuantity": {"value": 90, "unit": "ml per day", "system": "http://unitsofmeasure.org", "code": "mL/d/{1.73_m2}"},
}  # fmt: skip


def whole(lake: Lake) -> Lab:
    """A CRM and a system with one order, and messages of both standards about that one and about another."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", "M1")],
        lab_order=[order("o1", "p1", "P1", "F1")],
        order_item=[{"id": "i1", "lab_order_id": "o1", "test_code": "BMP", "status": "completed"}],
        specimen=[{"id": "s1", "lab_order_id": "o1", "specimen_number": "T1"}],
        account=[{"id": "a1", "name": "Clinic"}],
        record_host_code=[
            {"record_type": "account", "connection_id": "lis", "host_code": "C1", "record_id": "a1"},
            {"record_type": "contact", "connection_id": "lis", "host_code": "D1", "record_id": "d1"},
        ],
        provider=[{"id": "d1", "is_provider": "1"}, {"id": "d2", "is_provider": "1", "npi": "99"}],
    )
    orc = "ORC|RE|{0}|{1}|G{0}||||||||{2}|||||||||Clinic^^{3}|^^Town"
    spm = "SPM|1|T1||SER|||||||||||||20260301080000+0000|20260301083000+0000"
    obr = "OBR|1|{0}|{1}|{2}|||20260301080000+0000||||A|||||||||||20260301100000+0000|||F"
    answered = ["PV1|1|E|||||||||||||||||V1", orc.format("P1", "F1", "D1^Who", "C1"), obr.format("P1", "F1", "BMP")]
    head = HEAD.format(kind="ORU^R01", mrn="M1") + "\r".join(answered)
    known = "\r".join([head, "OBX|1|NM|K||4.0||||||F", *SENT, spm])
    variant = [
        "OBX|1|CWE|48018-6^Gene^LN|1a|HGNC:1100^BRCA1^HGNC||||||F",
        "OBX|2|CWE|53037-8^Significance^LN|1a|LA6668-3^Pathogenic^LN||||||F",
    ]
    other = HEAD.format(kind="ORU^R01", mrn="M1") + "\r".join(
        [
            orc.format("P2", "F2", "99^Dr^^^^^^^NPI", "C9"),
            obr.format("P2", "F2", "BRCA"),
            *variant,
            spm.replace("T1", "T2") + "|||HEM|||CLOT",
        ]
    )
    lost = HEAD.format(kind="ORM^O01", mrn="M1") + "ORC|CA|P3||||||||||||||||||||\rOBR|1|P3||BMP"
    drug = "RXE||855332^Warfarin 5 MG^RXNORM|1||TAB|||||30|TAB"
    given = "RXD|1|855332^Warfarin 5 MG^RXNORM|20260301120000+0000|30|TAB"
    prescribed = HEAD.format(kind="RDE^O11", mrn="M1") + f"ORC|NW|RX1\r{drug}"
    again = HEAD.format(kind="RDS^O13", mrn="M1") + "\r".join(["ORC|RE|RX1|", drug, given, given.replace("120000", "180000")])
    iron = head + "\rOBX|1|NM|FE||{0}||||||{1}"
    resent = iron.format("60", "F").replace("20260301100000", "20260301120000")
    stated = [iron.format("60", "F"), resent, iron.format("61", "C"), iron.format("62", "C")]
    bodies = [known, other, lost, prescribed, again, again, json.dumps(CODED), json.dumps(MEASURED), json.dumps(DECLARED), *stated]
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)), kind="snapshot")
    return lab
