"""Messages through the lake: raw batches become the curated tables of their records, every message is accounted for, and one bad one stops nothing."""

from __future__ import annotations

import gc
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lab import parsed as module
from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lab.declared import curated_from
from lab_insights.lab.records import FIELDS, PARSER_VERSION
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import day, fresh_tenant
from lab_insights_tests.local.laboratory.days import scene, state_after

RAW = "messages.message"
SCHEMA = pa.schema([("id", pa.int64()), ("format", pa.string()), ("body", pa.string()), ("updated_at", STAMP)])
ORU = "MSH|^~\\&|APP|LAB|||20260301101500+0000||ORU^R01|c1|P|2.5.1\rPID|1||12345^^^H^MR\rOBR|1|P1|F1|BMP\rOBX|1|NM|K^Potassium^L||{value}|mmol/L|||||{status}\r"
DESCRIPTORS = Path("/proc/self/fd")
RECORDS = [name for name, contract in contracts().items() if contract.source and contract.source.records]


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def message(key: int | None, body: str | None, number: int = 1) -> dict[str, Any]:
    return {"id": key, "format": "any", "body": body, "updated_at": at(number)}


def oru(value: str, status: str = "F") -> str:
    return ORU.format(value=value, status=status)


def curate(lab: Lab, number: int, table: str) -> Manifest:
    return pipeline.curate_table(lab.lake, lab.tenant, RAW, day(number), contracts()[table], "test")


def test_results_are_typed_rows_that_say_where_they_come_from(lab: Lab) -> None:
    lab.land(RAW, 1, [message(7, oru("4.10", "C"))], SCHEMA)
    [row] = lab.rows(curate(lab, 1, "message_result"))
    assert (row["message_id"], row["record"], row["source_system"], row["connection_id"], row["source_pk"]) == (
        "7",
        1,
        "messages",
        "APP^LAB",
        "1:71:1",
    )
    assert (row["patient_mrn"], row["placer_number"], row["filler_number"], row["code"]) == ("12345", "P1", "F1", "K")
    assert (row["value_raw"], str(row["value_num"]), row["status_norm"], row["source_updated_at"]) == (
        "4.10",
        "4.100000000",
        "corrected",
        at(1),
    )


def test_every_message_is_parsed_or_rejected_and_a_bad_one_ends_nothing(lab: Lab) -> None:
    bodies = [
        oru("4"),
        "hello Jane Doe",
        None,
        '{"resourceType": "MedicationOrder"}',
        f"BHS|^~\\&\r{oru('5')}{oru('6').replace('OBX', 'obx')}",
    ]
    lab.land(RAW, 1, [message(number, body) for number, body in enumerate(bodies)], SCHEMA)
    manifest = curate(lab, 1, "message_reject")
    found = lab.rows(manifest, "message_id")
    assert [(row["message_id"], row["standard"], row["position"]) for row in found] == [
        ("1", None, 1),
        ("2", None, 1),
        ("3", "fhir", 1),
        ("4", "hl7v2", 2),
    ]
    assert not any("Doe" in str(row) for row in found)
    assert manifest.counts == {
        "kept": 4, "superseded": 0, "excluded": 0, "messages": 5, "parsed": 2, "rejected": 4, "replaced": 0,
    }  # fmt: skip
    assert curate(lab, 1, "message_result").rows == 2


def test_a_resend_is_another_row_and_nothing_that_was_said_is_lost(lab: Lab) -> None:
    lab.land(RAW, 1, [message(1, oru("4")), message(2, oru("5", "C")), message(3, oru("5", "C"))], SCHEMA)
    rows = lab.rows(curate(lab, 1, "message_result"), "message_id")
    assert [(row["value_raw"], row["status_norm"]) for row in rows] == [("4", "final"), ("5", "corrected"), ("5", "corrected")]
    said = {(row["filler_number"], row["code"], row["sub_id"], row["status_raw"], row["value_raw"]) for row in rows}
    assert len(said) == 2, "one correction"


def test_rows_without_an_id_are_excluded_and_counted_and_rewritten_ones_supersede(lab: Lab) -> None:
    lab.land(RAW, 1, [message(None, oru("4")), message(1, oru("5"))], SCHEMA)
    lab.land(RAW, 1, [message(1, oru("6"))], SCHEMA)
    manifest = curate(lab, 1, "message_result")
    assert [row["value_raw"] for row in lab.rows(manifest)] == ["6"]
    assert (manifest.counts["kept"], manifest.counts["superseded"], manifest.counts["excluded"]) == (1, 1, 1)


def test_what_a_snapshot_of_the_store_replaced_is_counted(lab: Lab) -> None:
    lab.land(RAW, 1, [message(1, oru("4")), message(2, oru("5"))], SCHEMA)
    lab.land(RAW, 1, [message(2, oru("5"))], SCHEMA, kind="snapshot")
    manifest = curate(lab, 1, "message_result")
    assert (manifest.kind, manifest.rows, manifest.counts["messages"], manifest.counts["replaced"]) == ("snapshot", 1, 1, 2)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_string()], ids=str)
def test_bodies_may_be_bytes_or_large_and_a_cursor_may_be_text(lab: Lab, kind: pa.DataType) -> None:
    schema = pa.schema([("id", pa.string()), ("body", kind), ("updated_at", pa.string())])
    body = oru("4").encode() if pa.types.is_binary(kind) else oru("4")
    lab.land(RAW, 1, [{"id": "x", "body": body, "updated_at": "2026-03-01 08:00:00"}], schema)
    [row] = lab.rows(curate(lab, 1, "message_result"))
    assert (row["value_raw"], row["source_updated_at"]) == ("4", row["ingested_at"])


def test_a_day_without_messages_is_an_empty_batch_of_every_table(lab: Lab) -> None:
    lab.land(RAW, 1, [], SCHEMA)
    assert {curate(lab, 1, table).rows for table in RECORDS} == {0}


def test_a_day_is_parsed_once_for_all_its_tables_and_made_again_when_the_parser_is_another(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []
    real = module.read
    monkeypatch.setattr(module, "read", lambda found, key, at, body: (read.append(key), real(found, key, at, body)))
    lab.land(RAW, 1, [message(1, oru("4")), message(2, oru("5"))], SCHEMA)
    made = [curate(lab, 1, table) for table in RECORDS]
    assert read == ["1", "2"]
    assert [curate(lab, 1, table) for table in RECORDS] == made
    assert all(manifest.code_version.endswith(f".{PARSER_VERSION}") for manifest in made)
    monkeypatch.setattr("lab_insights.lab.curate.PARSER_VERSION", "next")
    assert curate(lab, 1, "message_result").batch == 1


def test_days_of_more_messages_than_are_held_at_a_time_are_whole(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    lab.land(RAW, 1, [message(number, oru(str(number))) for number in range(10)], SCHEMA)
    assert {row["value_raw"] for row in lab.rows(curate(lab, 1, "message_result"))} == {str(number) for number in range(10)}


def test_no_file_of_a_parsed_day_has_a_name_or_outlives_it(lab: Lab) -> None:
    lab.land(RAW, 1, [message(1, oru("4"))], SCHEMA)
    module._parsed.cache_clear()
    gc.collect()
    before = _temporary()
    curate(lab, 1, "message_result")
    during = _temporary() - before
    assert during.total() == len(FIELDS)
    assert all(target.endswith("(deleted)") for target in during)
    module._parsed.cache_clear()
    gc.collect()
    assert _temporary() <= before


def _temporary() -> Counter[str]:
    """The temporary files that this process holds open."""
    return Counter(target for each in DESCRIPTORS.iterdir() if (target := _target(each)).startswith(tempfile.gettempdir()))


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def test_verify_computes_the_records_again_and_misses_a_message_that_is_not_accounted_for(lab: Lab) -> None:
    lab.land(RAW, 1, [message(1, oru("4")), message(2, "nothing")], SCHEMA)
    for table in curated_from(RAW):
        curate(lab, 1, table)
    derivations = {each.table: each for each in curations(lab.lake, lab.tenant)}
    assert set(RECORDS) <= set(derivations)
    for table in RECORDS:
        [finding] = verify_derived(lab.lake, lab.tenant, derivations[table], None, ())
        assert finding.status == "ok", finding
    # A manifest that accounts for one message less than went in.
    good = pipeline.landed(lab.lake, Partition("curated", lab.tenant, "message_result", day(1)))[-1]
    bad = good.model_copy(update={"counts": good.counts | {"messages": 1}})
    lab.lake.storage.put("curated", good.object_key, bad.model_dump_json().encode())
    [finding] = verify_derived(lab.lake, lab.tenant, derivations["message_result"], None, ())
    assert finding.status == "broken"


def test_the_laboratorys_messages_say_what_its_tables_say(lake: Lake) -> None:
    """Results, orders, specimens and patients of both standards, against the rows that the messages were written from."""
    lab, state = Lab(lake, fresh_tenant()), state_after(scene(), 3)
    stored = [
        {"id": key[0], "body": row["body"], "updated_at": row["updated_at"].replace(tzinfo=None)} for key, row in state["message"].items()
    ]
    lab.land(RAW, 1, stored, pa.schema([("id", pa.int64()), ("body", pa.string()), ("updated_at", STAMP)]))
    manifest = curate(lab, 1, "message_result")
    assert (manifest.counts["parsed"], manifest.counts["rejected"]) == (len(stored), 0)

    orders = {row["placer_number"]: row for row in state["lab_order"].values()}
    patients = {row["id"]: row for row in state["patient"].values()}
    written = {(row["lab_order_id"], row["component_code"]): row for row in state["result"].values()}
    newest: dict[Any, dict[str, Any]] = {}
    for row in sorted(lab.rows(manifest), key=lambda row: row["source_updated_at"]):
        newest[row["placer_number"], row["code"]] = row
    compared = dict.fromkeys(("hl7v2", "fhir"), 0)
    for (placer, code), row in newest.items():
        order = orders[placer]
        its = written.get((order["id"], code))
        assert row["patient_mrn"] == patients[order["patient_id"]]["mrn"]
        assert row["filler_number"] == order["filler_number"]
        if its is None or its["status_raw"] == "P":
            continue  # deleted since, or not told yet
        assert row["loinc"] == its["loinc"] or row["loinc"] is None
        assert row["range_raw"] == its["range_raw"] or its["status_raw"] == "X"
        assert row["status_norm"] == {"F": "final", "C": "corrected", "X": "cancelled"}[its["status_raw"]]
        if its["value_raw"] and row["standard"] == "hl7v2":
            assert row["value_raw"] == its["value_raw"]
            assert row["flag_raw"] == its["flag_raw"]
        compared[row["standard"]] += 1
    assert min(compared.values()) > 50
    assert any(row["loinc"] for row in newest.values())

    told = {row["placer_number"]: row for row in lab.rows(curate(lab, 1, "message_order")) if row["ordered_at"]}
    assert {row["priority"] for row in told.values()} >= {"stat", "routine"}
    for placer, row in told.items():
        # Both standards tell seconds at least; FHIR tells more of them.
        assert row["ordered_at"].replace(microsecond=0) == orders[placer]["ordered_at"].replace(tzinfo=None, microsecond=0)
    tubes = {row["specimen_number"]: row for row in lab.rows(curate(lab, 1, "message_specimen"))}
    known = {row["specimen_number"]: row for row in state["specimen"].values()}
    assert tubes
    assert all(row["reject_reason"] == known[number]["reject_reason"] for number, row in tubes.items() if row["standard"] == "hl7v2")
    people = lab.rows(curate(lab, 1, "message_patient"))
    merged = {row["mrn"]: row["merged_into_mrn"] for row in people if row["merged_into_mrn"]}
    by_mrn = {row["mrn"]: row for row in patients.values()}
    assert merged
    assert all(patients[by_mrn[old]["merged_into_id"]]["mrn"] == new for old, new in merged.items())
    assert all(json.loads(row["identifiers"]) for row in people if row["identifiers"])
