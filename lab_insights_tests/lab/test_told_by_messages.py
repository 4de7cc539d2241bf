"""What messages tell stands in the laboratory's tables, linked to what its own system has, and is counted once."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lab.mappings import every
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import day, fresh_tenant

TOLD = tuple(dict.fromkeys(contract.table for contract, mapping in every() if mapping.source.name == "messages"))
SCHEMA = pa.schema([("id", pa.int64()), ("body", pa.string()), ("updated_at", STAMP)])
_HEAD = "MSH|^~\\&|APP|LAB|||20260301101500+0000||{kind}|c1|P|2.5.1\rPID|1||{mrn}^^^H^MR||Doe^Jane||19800506|F\r"


def oru(mrn: str, placer: str, filler: str, value: str, status: str = "F", *more: str) -> str:
    head = _HEAD.format(kind="ORU^R01", mrn=mrn)
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


@pytest.fixture(scope="module")
def told(lake: Lake) -> Lab:
    """Day 1: a system's orders, and messages that tell of two of them and of one more. Day 2: the system gets the one more as well."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", "M1"), patient("p2", "M2"), patient("p3", "M3"), patient("p4", "M3")],
        lab_order=[order("o1", "p1", "P1", "F1"), order("o2", "p2", "P2", None), order("o3", "p2", "P9", "F9")],
        result=[{"id": "r1", "lab_order_id": "o1", "patient_id": "p1", "status_raw": "F", "value_raw": "4.0"}],
    )
    tell(
        lab,
        1,
        message(1, oru("M1", "P1", "F1", "4.0")),
        message(2, oru("M2", "P2", "", "5.0")),
        message(3, oru("M9", "P3", "F3", "6.0", "P")),
        message(4, oru("M9", "P3", "F3", "6.1", "F", "OBX|2|NM|NA^Sodium^L||140||||||O")),
        message(5, oru("M3", "P9", "F8", "7.0")),
        kind="snapshot",
    )
    lab.modelled(2, lab_order=[order("o4", "p9", "P3", "F3")], patient=[patient("p9", "M9")])
    tell(lab, 2)
    return lab


def linked(lab: Lab, number: int, table: str, key: str, link: str) -> dict[str, Any]:
    return {row[key]: row[link] for row in lab.transform(table, number)}


def test_results_orders_and_patients_of_messages_stand_beside_those_of_the_laboratorys_system(told: Lab) -> None:
    rows = {row["result_id"]: row for row in told.rows(made(told, 1, "result"))}
    assert set(rows) == {"r1", "messages:P1^K^", "messages:P2^K^", "messages:P3^K^", "messages:P9^K^"}, "no row of an O"
    newest = rows["messages:P3^K^"]
    assert (newest["value_raw"], newest["status_norm"], newest["source_system"]) == ("6.1", "final", "messages")
    assert (newest["lab_order_id"], newest["patient_id"]) == ("messages:P3", "messages:H^M9")
    assert {row["patient_id"] for row in told.rows(made(told, 1, "patient"))} >= {"p1", "messages:H^M1", "messages:H^M9"}
    numbers = [
        (row["authority"], row["identifier_type"], row["identifier"], row["patient_id"])
        for row in told.rows(made(told, 1, "patient_identifier"))
    ]
    assert sorted(numbers) == [("messages:H", "MR", f"M{number}", f"messages:H^M{number}") for number in (1, 2, 3, 9)]
    counts = made(told, 1, "result").counts
    assert (counts["kept_lis"], counts["kept_messages"], counts["superseded_messages"], counts["excluded_messages"]) == (1, 4, 1, 1)


def test_every_statement_of_a_message_is_a_version_that_is_no_lower_bound(told: Lab) -> None:
    found = told.rows(made(told, 1, "result_version"))
    versions = {(row["value_raw"], row["status_norm"], row["is_lower_bound"]) for row in found if row["result_id"] == "messages:P3^K^"}
    assert versions == {("6.0", "preliminary", False), ("6.1", "final", False)}
    assert {row["is_lower_bound"] for row in found if row["source_system"] == "lis"} == {True}


def test_an_order_is_linked_by_its_filler_number_else_by_placer_number_and_patient(told: Lab) -> None:
    assert linked(told, 1, "order_detail", "lab_order_id", "linked_order_id") == {
        "o1": None,
        "o2": None,
        "o3": None,
        "messages:P1": "o1",
        "messages:P2": "o2",
        "messages:P3": None,
        "messages:P9": None,  # another laboratory's number, and another patient's placer number
    }


def test_what_the_system_gets_later_links_what_messages_told_before(told: Lab) -> None:
    found = linked(told, 2, "order_detail", "lab_order_id", "linked_order_id")
    assert (found["messages:P3"], found["o4"]) == ("o4", None)


def test_a_patient_is_linked_by_a_number_that_one_patient_alone_has(told: Lab) -> None:
    assert linked(told, 1, "patient_profile", "patient_id", "linked_patient_id") == {
        **dict.fromkeys(("p1", "p2", "p3", "p4")),
        "messages:H^M1": "p1",
        "messages:H^M2": "p2",
        "messages:H^M3": None,
        "messages:H^M9": None,
    }
    assert linked(told, 2, "patient_profile", "patient_id", "linked_patient_id")["messages:H^M9"] == "p9"


def test_no_patient_of_the_system_has_an_order_or_result_twice(told: Lab) -> None:
    counted = {row["patient_id"]: (row["order_count"], row["result_count"]) for row in told.transform("patient_profile", 1)}
    assert (counted["p1"], counted["p2"]) == ((1, 1), (2, 0))


def test_every_message_and_every_row_is_accounted_for(told: Lab) -> None:
    for of in curations(told.lake, told.tenant):
        if of.table in TOLD:
            found = verify_derived(told.lake, told.tenant, of, None, ())
            assert {each.status for each in found} == {"ok"}, found


# An OBX from its type on, by the code of its test, with what is made of it.
READ: dict[str, tuple[str, dict[str, Any]]] = {
    "TSH": (
        "NM|TSH||<5|mIU/L|0.4-4.0|N|||F",
        {"value_num": 5, "value_operator": "<", "unit_ucum": "m[IU]/L", "flag_norm": "normal", "is_abnormal": False},
    ),
    "GLU": (
        "NM|GLU||61|mg/dL^milligrams^UCUM|(70 to 99)|LL|||F",
        {"range_low": 70, "range_high": 99, "unit_ucum": "mg/dL", "is_critical": True},
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
    "CUL": ("ST|CUL||growth||||||B", {"value_text": "growth", "value_num": None, "status_norm": "appended"}),
}
SENT = [f"OBX|9|{sent}" for sent, _ in READ.values()]
_SNOMED = "http://snomed.info/sct"
CODED = {
    "resourceType": "Observation", "id": "o1", "status": "entered-in-error", "code": {"coding": [{"code": "COV"}]},
    "basedOn": [{"identifier": {"value": "F7"}}],
    "valueCodeableConcept": {"coding": [{"system": _SNOMED, "code": "260373001", "display": "Detected"}]},
}  # fmt: skip
MEASURED = {
    "resourceType": "Observation", "id": "o2", "status": "amended", "code": {"coding": [{"code": "PLT"}]},
    "basedOn": [{"identifier": {"value": "F7"}}],
    "valueQuantity": {"value": 20, "comparator": "<", "unit": "thousand per microliter", "system": "http://unitsofmeasure.org", "code": "10*3/uL"},
    "referenceRange": [{"low": {"value": 150}, "text": "150 and more"}],
    "interpretation": [{"coding": [{"code": "LL"}]}],
}  # fmt: skip


@pytest.fixture(scope="module")
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
    head = _HEAD.format(kind="ORU^R01", mrn="M1") + "\r".join(answered)
    known = "\r".join([head, "OBX|1|NM|K||4.0||||||F", *SENT, spm])
    variant = [
        "OBX|1|CWE|48018-6^Gene^LN|1a|HGNC:1100^BRCA1^HGNC||||||F",
        "OBX|2|CWE|53037-8^Significance^LN|1a|LA6668-3^Pathogenic^LN||||||F",
    ]
    other = _HEAD.format(kind="ORU^R01", mrn="M1") + "\r".join(
        [
            orc.format("P2", "F2", "99^Dr^^^^^^^NPI", "C9"),
            obr.format("P2", "F2", "BRCA"),
            *variant,
            spm.replace("T1", "T2") + "|||HEM|||CLOT",
        ]
    )
    lost = _HEAD.format(kind="ORM^O01", mrn="M1") + "ORC|CA|P3||||||||||||||||||||\rOBR|1|P3||BMP"
    drug = "RXE||855332^Warfarin 5 MG^RXNORM|1||TAB|||||30|TAB"
    given = "RXD|1|855332^Warfarin 5 MG^RXNORM|20260301120000+0000|30|TAB"
    prescribed = _HEAD.format(kind="RDE^O11", mrn="M1") + f"ORC|NW|RX1\r{drug}"
    again = _HEAD.format(kind="RDS^O13", mrn="M1") + "\r".join(["ORC|RE|RX1|", drug, given, given.replace("120000", "180000")])
    iron = head + "\rOBX|1|NM|FE||{0}||||||{1}"
    resent = iron.format("60", "F").replace("20260301100000", "20260301120000")
    stated = [iron.format("60", "F"), resent, iron.format("61", "C"), iron.format("62", "C")]
    bodies = [known, other, lost, prescribed, again, again, json.dumps(CODED), json.dumps(MEASURED), *stated]
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)), kind="snapshot")
    return lab


def told_of(lab: Lab, table: str) -> dict[Any, dict[str, Any]]:
    return {row[contracts()[table].key[0]]: row for row in lab.rows(made(lab, 1, table)) if row["source_system"] == "messages"}


def test_ordered_tests_of_messages_are_those_that_their_results_answer(whole: Lab) -> None:
    items = told_of(whole, "order_item")
    assert {key: (row["lab_order_id"], row["test_code"], row["status"], row["is_add_on"]) for key, row in items.items()} == {
        "messages:P1^BMP": ("messages:P1", "BMP", None, True),
        "messages:P2^BRCA": ("messages:P2", "BRCA", None, True),
        "messages:P3^BMP": ("messages:P3", "BMP", "cancelled", None),
    }
    results = told_of(whole, "result")
    answers = [row for row in results.values() if row["lab_order_id"] != "messages:F7"]
    assert {row["order_item_id"] for row in answers} == {"messages:P1^BMP", "messages:P2^BRCA"}
    verified = {row["status_raw"]: row["verified_at"] for row in answers}
    assert verified == {**dict.fromkeys("FCA", at(1, 10)), **dict.fromkeys("IDWB")}


@pytest.mark.parametrize("code", READ)
def test_a_result_of_a_message_is_normalised_as_one_of_the_laboratorys_system(whole: Lab, code: str) -> None:
    row, (_, expected) = told_of(whole, "result")[f"messages:P1^{code}^"], READ[code]
    assert {name: row[name] for name in expected} == expected


def test_a_result_of_a_document_is_normalised_as_well(whole: Lab) -> None:
    found = told_of(whole, "result")
    coded, measured = found["messages:F7^COV^"], found["messages:F7^PLT^"]
    assert [coded[name] for name in ("value_code", "value_code_system", "value_text", "status_norm")] == [
        "260373001", _SNOMED, "Detected", "entered_in_error",
    ]  # fmt: skip
    names = ("value_num", "value_operator", "unit_raw", "unit_ucum", "range_low", "range_high", "is_critical", "status_norm")
    assert [measured[name] for name in names] == [20, "<", "thousand per microliter", "10*3/uL", 150, None, True, "amended"]


def test_units_and_codes_that_nobody_knows_are_counted_and_no_others(whole: Lab) -> None:
    counts = made(whole, 1, "result").counts
    assert {name: count for name, count in counts.items() if name.startswith("unmapped")} == {
        "unmapped_loinc": 14,
        "unmapped_unit_ucum": 1,
        "unmapped_flag_norm": 0,
        "unmapped_status_norm": 0,
    }


def test_a_resend_is_the_same_version_whenever_it_was_verified_and_each_correction_another(whole: Lab) -> None:
    found = [row for row in whole.rows(made(whole, 1, "result_version")) if row["result_id"] == "messages:P1^FE^"]
    assert sorted((row["status_norm"], row["value_raw"]) for row in found) == [("corrected", "61"), ("corrected", "62"), ("final", "60")]


# Columns of which messages say nothing, each with why: all others are mapped.
_FREE = "their times have the form of their standard"
_OWN = "the CRM alone has it"
UNSAID = {
    "account": {"parent_account_id": _OWN, "status": _OWN, "created_at": _OWN},
    "encounter": {
        "discharged_on_raw": "a stamp that is none stands in the message",
        "arrival_raw": "PV1 has no time that somebody typed",
        "arrival_time": "the same",
    },
    "lab_order": {"accession": "the laboratory's own system gives it", "unread_times": _FREE},
    "order_item": {"completed_at": "an order is complete by its results"},
    "patient": {"unread_times": _FREE},
    "provider": dict.fromkeys(("account_id", "credential", "specialty", "email", "phone", "created_at"), _OWN),
    "result": {"unread_times": _FREE},
    "result_version": {"updated_at": "a version is what was said, whenever", "removed_at": "a message takes nothing back but by a status"},
    "specimen": {"volume_ml": "no record of a specimen has it"},
}


@pytest.mark.parametrize("table", TOLD)
def test_every_column_of_a_table_is_mapped_or_said_why_not(table: str) -> None:
    for contract, mapping in every():
        if contract.table == table and mapping.source.name == "messages" and not mapping.is_own:
            unmapped = [column.name for column in contract.columns if column.name not in dict(mapping.columns)]
            assert unmapped == [*UNSAID.get(table, {})]


def test_what_a_code_means_is_said_by_the_contract_where_it_says_it_at_all() -> None:
    said_twice = {
        (contract.table, name)
        for contract, mapping in every()
        if mapping.source.name == "messages" and not mapping.is_own
        for name, rule in mapping.columns
        if rule.values and (column := contract.column(name)) and column.values
    }
    assert said_twice == set()


def test_specimens_of_messages_are_of_their_order_with_how_far_they_came(whole: Lab) -> None:
    names = ("lab_order_id", "status", "reject_reason", "condition", "collected_at", "received_at")
    found = {key: tuple(row[name] for name in names) for key, row in told_of(whole, "specimen").items()}
    assert found == {
        "messages:P1^T1": ("messages:P1", "received", None, None, at(1, 8), at(1, 8.5)),
        "messages:P2^T2": ("messages:P2", "rejected", "HEM", "CLOT", at(1, 8), at(1, 8.5)),
        # of messages that have no SPM, by OBR-7
        "messages:P1^": ("messages:P1", "collected", None, None, at(1, 8), None),
    }


def test_providers_of_messages_are_linked_by_their_national_number_else_by_a_code_that_one_alone_has(whole: Lab) -> None:
    assert linked(whole, 1, "provider_profile", "provider_id", "linked_provider_id") == {
        "d1": None,
        "d2": None,
        "messages:D1": "d1",
        "messages:99": "d2",
    }


def test_organisations_of_messages_are_accounts_that_their_orders_are_of(whole: Lab) -> None:
    assert linked(whole, 1, "account_profile", "account_id", "linked_account_id") == {
        "a1": None,
        "messages:LAB^C1": "a1",
        "messages:LAB^C9": None,
    }
    placed = linked(whole, 1, "order_detail", "lab_order_id", "account_id")
    assert (placed["messages:P1"], placed["messages:P2"]) == ("messages:LAB^C1", "messages:LAB^C9")
    counted = {row["account_id"]: row["order_count"] for row in whole.transform("account_profile", 1)}
    assert counted["a1"] == 0, "an order of the system is not counted again as its message tells it"


def test_a_prescription_is_one_however_often_it_is_told_and_each_dispense_of_it_another(whole: Lab) -> None:
    [(key, order_)] = told_of(whole, "medication_order").items()
    assert (key, order_["patient_id"], order_["drug_name"], order_["status"]) == (
        "messages:RX1",
        "messages:H^M1",
        "Warfarin 5 MG",
        "active",
    )
    dispensed = told_of(whole, "medication_dispense").values()
    assert {(row["medication_order_id"], row["dispensed_at"]) for row in dispensed} == {
        ("messages:RX1", at(1, 12)),
        ("messages:RX1", at(1, 18)),
    }
    assert len(dispensed) == 2


def test_a_patient_of_the_system_has_the_drugs_and_variants_that_messages_tell(whole: Lab) -> None:
    [row] = [row for row in whole.transform("patient_profile", 1) if row["patient_id"] == "p1"]
    assert (row["medication_count"], row["genomic_result_count"], row["last_genomic_result_at"]) == (1, 1, at(1, 10))


def test_a_variant_and_a_visit_stand_with_what_they_belong_to(whole: Lab) -> None:
    [(key, variant)] = told_of(whole, "genomic_result").items()
    assert (key, variant["lab_order_id"], variant["gene"], variant["interpretation"], variant["status_norm"]) == (
        "messages:P2^1a", "messages:P2", "BRCA1", "Pathogenic", "final",
    )  # fmt: skip
    [(key, visit)] = told_of(whole, "encounter").items()
    assert (key, visit["patient_id"], visit["encounter_class"]) == ("messages:V1", "messages:H^M1", "emergency")
    orders = told_of(whole, "lab_order").values()
    assert {(row["encounter_id"], row["requisition"]) for row in orders} == {("messages:V1", "GP1"), (None, "GP2"), (None, None)}


def test_a_merge_that_messages_tell_is_one_of_the_systems_patients(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    of = {"o1": "p1", "o8": "p8", "o9": "p9"}
    orders = [order(key, of[key], None, key) for key in of]
    results = [{"id": f"r{key}", "lab_order_id": key, "patient_id": its, "status_raw": "F"} for key, its in of.items()]
    people = [patient("p1", "M1"), patient("p8", "M8"), patient("p9", "M9")]
    lab.modelled(1, "snapshot", patient=people, lab_order=orders, result=results)
    tell(lab, 1, message(1, oru("M8", "P8", "F8", "4.0")), message(2, oru("M7", "P7", "F7", "4.0")), kind="snapshot")
    survivors = linked(lab, 1, "patient_profile", "patient_id", "surviving_patient_id")
    assert survivors == {"p1": "p1", "p8": "p8", "p9": "p9", "messages:H^M8": "p8", "messages:H^M7": "messages:H^M7"}
    a40 = _HEAD.format(kind="ADT^A40^ADT_A39", mrn="M1") + "MRG|M8^^^H^MR~M7^^^H^MR"
    lab.modelled(2)
    tell(lab, 2, message(3, a40, 2))
    retired = lab.state("curated", "patient", "patient_id", 2)["messages:H^M8"]
    assert (retired["merged_into_patient_id"], retired["birth_date"], retired["sex"]) == ("messages:H^M1", date(1980, 5, 6), "female")
    merged = ["p1", "p8", "messages:H^M1", "messages:H^M7", "messages:H^M8"]
    assert linked(lab, 2, "patient_profile", "patient_id", "surviving_patient_id") == dict.fromkeys(merged, "p1")
    assert linked(lab, 2, "order_detail", "lab_order_id", "surviving_patient_id") == dict.fromkeys(
        ["o1", "o8", "messages:P8", "messages:P7"], "p1"
    )
    assert linked(lab, 2, "result_detail", "result_id", "surviving_patient_id") == dict.fromkeys(
        ["ro1", "ro8", "messages:P8^K^", "messages:P7^K^"], "p1"
    )
    # What the system says of its own patient counts; a number that is another's now gives its people back.
    lab.modelled(3, patient=[patient("p8", "M8") | {"merged_into_id": "p9"}, patient("p1", "M5")])
    tell(lab, 3)
    assert linked(lab, 3, "result_detail", "result_id", "surviving_patient_id") == {
        **dict.fromkeys(["ro8", "ro9", "messages:P8^K^"], "p9"),
        "ro1": "p1",
        "messages:P7^K^": "messages:H^M1",
    }


def test_what_messages_alone_tell_is_counted_for_the_linked_owner_and_what_both_tell_once(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    owners = {"patient": ("p1", "messages:H^M1", "p2"), "account": ("a1", "messages:LAB^C1", "a2"), "provider": ("d1", "messages:D1", "d2")}

    def sent(number: int, hour: int) -> str:
        answered = oru("M1", f"P{number}", f"F{number}", "4.0").replace(
            f"|F{number}\rOBR", f"|F{number}|||||||||D1^Who|||||||||Clinic^^C1\rOBR"
        )
        return answered.replace("|BMP", f"|BMP||202603010{hour}0000+0000")

    def had(number: int, owner: str) -> dict[str, Any]:
        names = ("order_count", "last_order_at", "newest_orders", "result_count", "newest_results")
        return {row[f"{owner}_id"]: tuple(row[name] for name in names) for row in lab.transform(f"{owner}_profile", number)}

    def coded(host_code: str, record: str) -> dict[str, Any]:
        record_type = "account" if record.startswith("a") else "contact"
        return {"record_type": record_type, "connection_id": "lis", "host_code": host_code, "record_id": record}

    lab.modelled(
        1,
        "snapshot",
        patient=[patient("p1", "M1"), patient("p2", "M2")],
        account=[{"id": "a1", "name": "Clinic"}, {"id": "a2", "name": "Ward"}],
        provider=[{"id": name, "is_provider": "1"} for name in ("d1", "d2")],
        record_host_code=[coded("C0", "a1"), coded("C1", "a1"), coded("D1", "d1")],
        lab_order=[order("o1", "p1", "P1", "F1") | {"connection_id": "lis", "account_host_code": "C0", "provider_id": "d1"}],
        result=[{"id": "r1", "lab_order_id": "o1", "patient_id": "p1", "status_raw": "F", "resulted_at": at(1)}],
    )
    tell(lab, 1, message(1, sent(1, 8)), message(2, sent(2, 9)), kind="snapshot")
    orders, results = '["messages:P2","o1"]', '["r1","messages:P2^K^"]'
    for owner, (own, its, _) in owners.items():
        found = had(1, owner)
        assert (found[own], found[its]) == ((2, at(1, 9), orders, 2, results), (0, None, None, 0, None))
    # One more that messages alone tell.
    lab.modelled(2)
    tell(lab, 2, message(3, sent(3, 7), 2))
    for owner, (own, *_) in owners.items():
        assert had(2, owner)[own][:3] == (3, at(1, 9), '["messages:P2","o1","messages:P3"]')
    # The system has one of them as well, of other people: theirs it is.
    lab.modelled(3, lab_order=[order("o2", "p2", "P2", "F2")])
    tell(lab, 3)
    for owner, (own, *_) in owners.items():
        found = had(3, owner)
        assert found[own] == (2, at(1), '["o1","messages:P3"]', 2, '["r1","messages:P3^K^"]')
        assert owner != "patient" or found["p2"] == (1, at(1), '["o2"]', 0, None)
    # The numbers and codes that link the owners of messages become others'.
    codes = [coded("C1", "a2"), coded("D1", "d2")]
    lab.modelled(4, patient=[patient("p1", "M5"), patient("p2", "M1")], record_host_code=codes)
    tell(lab, 4)
    for owner, (own, its, other) in owners.items():
        found = had(4, owner)
        assert (found[own], found[its][:3]) == ((1, at(1), '["o1"]', 1, '["r1"]'), (0, None, None))
        assert found[other][2:] == ('["o2","messages:P3"]' if owner == "patient" else '["messages:P3"]', 1, '["messages:P3^K^"]')
