"""Datasets for machine learning: what was known at an instant, whatever became known since; and nothing in the de-identified form that names a person."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.governance.audit import Log
from lab_insights.governance.audit.log import chain_of
from lab_insights.governance.deidentify import Deidentified
from lab_insights.lake import sweep
from lab_insights.lake.commit import Lake
from lab_insights.lake.dataset import NotKnown
from lab_insights.lake.layout import Partition
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import fresh_tenant, instant

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dataset.md"
CONFIGURATION = """
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: none, credentials: "env:NONE"}}
sources: {{}}
partitions: {{start: 2026-03-01}}
phi: {{pseudonym_key: "env:PSEUDONYMS"}}
"""
COLUMNS = (
    "id",
    "lab_order_id",
    "patient_id",
    "value_raw",
    "status_raw",
    "order_item_id",
    "component_code",
    "loinc",
    "value_type",
    "unit_raw",
)
MORE = ("range_raw", "flag_raw", "performing_lab")
TIMES = ("analysed_at", "resulted_at", "verified_at", "updated_at")
SCHEMA = pa.schema([*((name, pa.string()) for name in (*COLUMNS, *MORE)), *((name, STAMP) for name in TIMES)])


def result(key: str, value: str, when: datetime, status: str = "F") -> dict[str, Any]:
    return {"id": key, "lab_order_id": "o1", "patient_id": "p1", "value_raw": value, "status_raw": status, "updated_at": when}


def known(lab: Lab, as_of: datetime) -> dict[str, str]:
    rows = lab.lake.dataset(lab.tenant, ["result"], as_of).arrow("result").to_pylist()
    return {row["result_id"]: row["value_raw"] for row in rows}


@pytest.fixture
def lab(lake: Lake) -> Lab:
    return Lab(lake, fresh_tenant())


@pytest.fixture
def lived(lab: Lab) -> tuple[Lab, dict[float, dict[str, str]]]:
    """Days of results with what a dataset held when it was asked at the time: by the hour since the first day."""
    asked: dict[float, dict[str, str]] = {}

    def step(number: int, hour: float, rows: list[dict[str, Any]], **more: Any) -> None:
        lab.land("lis.result", number, rows, SCHEMA, hour=hour, **more)
        lab.curate("lis.result", number)
        now = lab.lake.clock.now()
        asked[(now - instant(1)) / timedelta(hours=1)] = known(lab, now)

    step(1, 24, [result("r1", "1", at(1)), result("r2", "2", at(1)), result("r3", "3", at(1, 9), "P")], kind="snapshot")
    # a correction and a new one
    step(2, 24, [result("r3", "3 corrected", at(2)), result("r4", "4", at(2))])
    # late: it is of the first day, and that day is made anew
    step(1, 60, [result("r9", "late", at(1, 10))])
    # corrected again, and one that was changed back in an older version that changes nothing
    step(3, 24, [result("r4", "4 corrected", at(3)), result("r1", "older", at(1, 1))])
    # a snapshot: what it lacks was deleted
    step(4, 24, [result("r1", "1", at(1)), result("r4", "4 corrected", at(3)), result("r5", "5", at(4))], kind="snapshot")
    # the second day is read again and replaces what was known of it
    step(2, 130, [result("r3", "3 again", at(2, 20))], supersedes=True)
    return lab, asked


def test_nothing_later_than_the_instant_is_in_it(lived: tuple[Lab, dict[float, dict[str, str]]]) -> None:
    lab, asked = lived
    assert [known(lab, instant(1, hour)) for hour in asked] == list(asked.values())
    first = {"r1": "1", "r2": "2", "r3": "3"}
    second = {"r1": "1", "r2": "2", "r3": "3 corrected", "r4": "4"}
    assert asked[24] == first
    assert asked[48] == second
    assert asked[60] == second | {"r9": "late"}
    assert asked[72] == second | {"r9": "late", "r4": "4 corrected"}
    assert asked[96] == {"r1": "1", "r4": "4 corrected", "r5": "5"}
    assert known(lab, instant(1, 59.9)) == second, "the late row is of the first day and was not known"
    assert known(lab, instant(1, 95)) == asked[72], "deleted later"


def test_an_instant_is_one_whatever_its_zone_and_has_to_have_one(lived: tuple[Lab, dict[float, dict[str, str]]]) -> None:
    lab, asked = lived
    there = timezone(timedelta(hours=-5))
    assert known(lab, instant(1, 48).astimezone(there)) == asked[48]
    with pytest.raises(NotKnown, match="no time zone"):
        known(lab, datetime(2026, 3, 2))
    with pytest.raises(NotKnown, match="Nothing was known"):
        known(lab, instant(1, 23.9))
    with pytest.raises(NotKnown, match="Nothing was known"):
        lab.lake.dataset(lab.tenant, ["no_such_table"], instant(9))


def test_pins_name_the_batches_and_stay_as_they_are(lived: tuple[Lab, dict[float, dict[str, str]]]) -> None:
    lab, _ = lived
    then = lab.lake.dataset(lab.tenant, ["result"], instant(1, 48)).pins
    assert len(then["tables"]["result"]["manifests"]) == 2
    assert then["as_of"] == "2026-03-03T00:00:00+00:00"
    lab.land("lis.result", 1, [result("r77", "later still", at(1))], SCHEMA, hour=200)
    lab.curate("lis.result", 1)
    assert lab.lake.dataset(lab.tenant, ["result"], instant(1, 48)).pins == then


def test_an_instant_whose_batches_were_swept_is_refused_and_never_answered_otherwise(
    lived: tuple[Lab, dict[float, dict[str, str]]],
) -> None:
    lab, asked = lived
    lab.lake.clock.set(instant(90))
    assert sweep.retire(lab.lake, lab.tenant, "curated", "result") > 0
    with pytest.raises(NotKnown, match="replaced and swept"):
        known(lab, instant(1, 48))
    assert known(lab, instant(90)) == known(lab, instant(1, 140))
    assert known(lab, instant(1, 96)) == asked[96]


def test_batches_are_the_same_rows_and_wide_tables_too(lab: Lab) -> None:
    lab.modelled(1, "snapshot", patient=[{"id": "p1", "mrn": "m1"}], lab_order=[{"id": "o1", "patient_id": "p1", "ordered_at": at(1)}])
    lab.transform("order_detail", 1)
    lab.modelled(2, patient=[{"id": "p1", "mrn": "m1 corrected"}])
    lab.transform("order_detail", 2)
    found = lab.lake.dataset(lab.tenant, ["order_detail", "patient"], instant(1, 24))
    assert (found.tables["order_detail"].layer, found.tables["patient"].layer) == ("transformed", "curated")
    assert [row["mrn"] for row in found.arrow("order_detail").to_pylist()] == ["m1"]
    assert pa.Table.from_batches(found.batches("patient")).to_pylist() == found.arrow("patient").to_pylist()
    now = lab.lake.dataset(lab.tenant, ["order_detail"], instant(2, 24))
    assert [row["mrn"] for row in now.arrow("order_detail").to_pylist()] == ["m1 corrected"]


def test_the_de_identified_form_names_nobody_and_can_be_joined_with_its_key(lab: Lab) -> None:
    person = {"mrn": "MRN-77", "family_name": "Sampledottir", "given_name": "Ada", "phone": "555-0100", "sex": "F"}
    others = [{"id": f"p{number}", "birth_date": birth, "postal_code": code, **person} for number, birth, code in (
        (1, "1980-05-06", "62701"), (2, "1901-01-01", "03601"), (3, None, None),
    )]  # fmt: skip
    lab.modelled(1, "snapshot", patient=others, result=[result("r1", "Ada told me", at(1))])
    whole = lab.lake.dataset(lab.tenant, ["patient", "result"], instant(2))
    found = Deidentified(whole, b"key")
    patients = found.arrow("patient").to_pylist()
    assert sorted(patients[0]) == [
        "birth_date",
        "merged_into_patient_id",
        "mrn",
        "patient_id",
        "postal_code",
        "sex",
        "source_system",
        "updated_at",
    ]
    assert [(row["birth_date"], row["postal_code"], row["sex"]) for row in patients] == [
        (1980, "627", "female"),
        (1936, "000", "female"),
        (None, None, "female"),
    ]
    assert {row["updated_at"] for row in patients} == {2026}
    text = str(patients) + str(found.arrow("result").to_pylist())
    assert not [word for word in ("Ada", "Sampledottir", "MRN-77", "555", "62701", "1980-", "'p1'", lab.tenant) if word in text]
    [row] = found.arrow("result").to_pylist()
    assert row["patient_id"] == patients[0]["patient_id"], "one key, one pseudonym"
    assert Deidentified(whole).arrow("patient")["patient_id"][0].as_py() != patients[0]["patient_id"]
    [read, *_] = Log(lab.lake.storage).records(chain_of(lab.tenant))
    assert (read.action, read.subject, read.counts["rows"]) == ("dataset.read", "curated.patient", 3)


def test_the_example_of_the_how_to_runs_as_it_stands(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient, order = {"id": "p1", "mrn": "m1"}, {"id": "o1", "patient_id": "p1", "ordered_at": at(1)}
    lab.modelled(1, "snapshot", patient=[patient], lab_order=[order], result=[result("r1", "1", at(1))])
    lab.transform("order_detail", 1)
    storage, path = lab.lake.storage, tmp_path / "lab_insights.yaml"
    path.write_text(CONFIGURATION.format(endpoint=storage.aws.endpoint_url, prefix=storage.prefix))
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(path))
    monkeypatch.setenv("PSEUDONYMS", "secret")
    [example] = re.findall(r"^```python\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(example.replace("aurora_clinic", lab.tenant), made)  # noqa: S102 (our own page)
    assert made["train"].num_rows == made["known"].arrow("result").num_rows == 1
    assert "patient_id" in made["train"].column_names


def test_a_user_defined_table_has_nothing_left_until_it_is_classified(lab: Lab) -> None:
    schema = pa.schema([("id", pa.int64()), ("note", pa.string()), ("updated_at", STAMP)])
    lab.land("crm.udt_note", 1, [{"id": 1, "note": "Ada", "updated_at": at(1)}], schema)
    lab.curate("crm.udt_note", 1)
    found = lab.lake.dataset(lab.tenant, ["crm.udt_note"], datetime(2026, 4, 1, tzinfo=UTC))
    assert found.arrow("crm.udt_note")["note"].to_pylist() == ["Ada"]
    assert set(Deidentified(found).arrow("crm.udt_note").column_names) <= {"source_system"}
    assert lab.lake.state.head(Partition("raw", lab.tenant, "crm.udt_note", instant(1).date())).version == 1
