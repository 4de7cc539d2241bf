"""Several sources in one curated table: by mapping files alone, each row accounted for, no source's rows touched by another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lab_insights.config import Source
from lab_insights.errors import ConfigError
from lab_insights.governance.classes import phi_class, strictest
from lab_insights.lab import contracts as module
from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lab.declared import by_raw_table, curated_from, declared, raw_tables, served
from lab_insights.lab.mappings import every, mappings
from lab_insights.lake.commit import Lake
from lab_insights.lake.compact import compact
from lab_insights.lake.dataset import dataset
from lab_insights.lake.manifest import Kind, Manifest
from lab_insights.names import TenantId
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import day, fresh_tenant

RIDGELINE = Path(__file__).parent / "ridgeline"
LIS = pa.schema([("id", pa.int64()), ("value_raw", pa.string()), ("status_raw", pa.string()), ("updated_at", STAMP)])
RSLT = pa.schema(
    [(name, pa.string()) for name in ("line_no", "rqst_no", "pt_no", "test_cd", "kind", "vals", "flags", "st", "done_tm")]
    + [("chg_ts", STAMP)]
)


@pytest.fixture(autouse=True)
def ridgeline() -> Iterator[None]:
    """The deployment's own files are in force."""
    module.use(RIDGELINE)
    yield
    module.use(None)


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def land_lis(lab: Lab, number: int, *ids: int, kind: Kind = "delta", hour: float = 24) -> None:
    rows = [{"id": key, "value_raw": f"{key}.5", "status_raw": "F", "updated_at": at(number)} for key in ids]
    lab.land("lis.result", number, rows, LIS, kind=kind, hour=hour)


def line(key: str, test: str, values: str | None, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"line_no": key, "rqst_no": "R1", "pt_no": "7", "test_cd": test, "vals": values, "st": "D", "chg_ts": at(number), **more}


def land_ridgeline(lab: Lab, number: int, *rows: dict[str, Any], kind: Kind = "delta", hour: float = 24) -> None:
    lab.land("ridgeline.rslt", number, rows, RSLT, kind=kind, key=("line_no",), cursor="chg_ts", hour=hour)


def curate(lab: Lab, number: int, table: str = "result") -> Manifest:
    return pipeline.curate_table(lab.lake, lab.tenant, table, day(number), contracts()[table], "test")


def counted(manifest: Manifest) -> dict[str, int]:
    """What accounts for the rows, without what is not normalised."""
    return {name: count for name, count in manifest.counts.items() if not name.startswith("unmapped_")}


def components(lab: Lab, manifest: Manifest) -> dict[str, tuple[Any, ...]]:
    return {row["result_id"]: (row["component_code"], row["value_raw"]) for row in lab.rows(manifest) if not row["is_deleted"]}


def findings(lab: Lab, table: str = "result") -> list[tuple[str, str]]:
    of = next(each for each in curations(lab.lake, lab.tenant) if each.table == table)
    return [(each.status, each.message) for each in verify_derived(lab.lake, lab.tenant, of, None, ())]


def test_a_packed_column_becomes_a_row_for_each_component_and_what_does_not_match_its_list_stays_whole_and_is_counted(lab: Lab) -> None:
    land_ridgeline(
        lab,
        1,
        line("1", "CBC3", "12.1, 4.0 ,neg", flags="+,,!"),
        line("2", "GLU", "99"),
        line("3", "CBC3", "1,2"),
        line("4", "???", "a,b,c,d"),
        line("5", "UA", None),
        line("6", "UA", "a comment of somebody", kind="NOTE"),
    )
    manifest = curate(lab, 1)
    assert components(lab, manifest) == {
        "ridgeline:1^1": ("WBC", "12.1"),
        "ridgeline:1^2": ("HGB", "4.0"),
        "ridgeline:1^3": ("PLT", "neg"),
        "ridgeline:2^1": ("GLU", "99"),
        "ridgeline:3^1": (None, "1,2"),
        "ridgeline:4^1": (None, "a,b,c,d"),
        "ridgeline:5^1": ("PH", None),
        "ridgeline:5^2": ("PROT", None),
        "ridgeline:5^3": ("NITR", None),
    }
    by_id = {row["result_id"]: row for row in lab.rows(manifest)}
    first, last = by_id["ridgeline:1^1"], by_id["ridgeline:1^3"]
    assert (str(first["value_num"]), first["flag_norm"], first["loinc"], first["status_norm"]) == (
        "12.100000000",
        "high",
        "6690-2",
        "final",
    )
    assert (last["value_num"], last["flag_norm"], by_id["ridgeline:1^2"]["flag_raw"]) == (None, "critical_high", "")
    assert (first["patient_id"], first["lab_order_id"], first["source_system"]) == ("ridgeline:7", "ridgeline:R1", "ridgeline")
    # Of the row with two parts the other places are tombstones: an earlier version may have had values there.
    assert {key for key, row in by_id.items() if row["is_deleted"]} == {"ridgeline:3^2", "ridgeline:3^3"}
    assert counted(manifest) == {"kept": 11, "superseded": 0, "excluded": 1, "unmatched": 2, "split": 6}
    assert [status for status, _ in findings(lab)] == ["ok"]


def test_a_row_that_lost_a_part_leaves_no_component_of_its_older_version(lab: Lab) -> None:
    land_ridgeline(lab, 1, line("1", "CBC3", "1,2,3"))
    land_ridgeline(lab, 2, line("1", "CBC3", "4,5", number=2))
    for number in (1, 2):
        curate(lab, number)
    state = lab.state("curated", "result", "result_id")
    assert {key: row["value_raw"] for key, row in state.items() if not row["is_deleted"]} == {"ridgeline:1^1": "4,5"}


def test_free_text_times_are_read_in_their_forms_and_others_are_kept_and_counted(lab: Lab) -> None:
    said = {
        "3/4/26 2:05p": "2026-03-04 14:05",
        "12/31/25 12:00 AM": "2025-12-31 00:00",
        "3/4/26 12:01pm": "2026-03-04 12:01",
        "2026-03-04 09:30": "2026-03-04 09:30",
        '"noon" \\ 3/4': None,
        "2/30/26 1:00p": None,
        "3/4/26 14:05p": None,
        "": None,
    }
    land_ridgeline(lab, 1, *(line(str(number), "GLU", "1", done_tm=text) for number, text in enumerate(said)))
    manifest = curate(lab, 1)
    rows = lab.rows(manifest, "result_id")
    assert [row["resulted_at"] and f"{row['resulted_at']:%Y-%m-%d %H:%M}" for row in rows] == list(said.values())
    unread = [json.loads(row["unread_times"])["resulted_at"] for row in rows if row["unread_times"]]
    assert unread == ['"noon" \\ 3/4', "2/30/26 1:00p", "3/4/26 14:05p"]
    assert manifest.counts["unread_times"] == 3


def test_a_curated_day_is_the_union_of_its_sources_each_accounted_for(lab: Lab) -> None:
    land_lis(lab, 1, 1, 2, 2, kind="snapshot")
    only = curate(lab, 1)
    assert (only.kind, counted(only)) == ("snapshot", {"kept": 2, "superseded": 1, "excluded": 0})
    land_ridgeline(lab, 1, line("1", "CBC3", "1,2,3"), line("1", "CBC3", "3,2,1", 1), kind="snapshot")
    both = curate(lab, 1)
    assert set(components(lab, both)) == {"1", "2", "ridgeline:1^1", "ridgeline:1^2", "ridgeline:1^3"}
    assert (both.kind, len(both.inputs)) == ("snapshot", 2)
    assert counted(both) == {
        "kept": 5, "superseded": 2, "excluded": 0, "unmatched": 0, "split": 2, "kept_lis": 2, "superseded_lis": 1,
        "kept_ridgeline": 3, "superseded_ridgeline": 1, "split_ridgeline": 2,
    }  # fmt: skip
    assert [status for status, _ in findings(lab)] == ["ok"]
    assert curate(lab, 1) == both


def test_a_snapshot_of_one_source_takes_away_the_rows_of_that_source_alone(lab: Lab) -> None:
    land_lis(lab, 1, 1, 2, kind="snapshot")
    land_ridgeline(lab, 1, line("1", "GLU", "1"), line("2", "GLU", "2"), kind="snapshot")
    land_lis(lab, 2, 3)
    land_ridgeline(lab, 2, line("2", "GLU", "2"), kind="snapshot")
    land_lis(lab, 3, 2, kind="snapshot")
    land_ridgeline(lab, 3, line("3", "GLU", "3", number=3))
    manifests = [curate(lab, number) for number in (1, 2, 3)]
    assert [manifest.kind for manifest in manifests] == ["snapshot", "delta", "delta"]
    assert [manifest.counts.get("absent") for manifest in manifests] == [None, 1, 2]
    state = lab.state("curated", "result", "result_id")
    assert {key for key, row in state.items() if not row["is_deleted"]} == {"2", "ridgeline:2^1", "ridgeline:3^1"}
    known = dataset(lab.lake, lab.tenant, ["result"], lab.lake.clock.now())
    assert set(known.arrow("result")["result_id"].to_pylist()) == {"2", "ridgeline:2^1", "ridgeline:3^1"}
    assert [status for status, _ in findings(lab)] == ["ok"] * 3
    # A compacted state gives the same tombstones.
    compact(lab.lake, lab.tenant, "curated", "result", bound=1)
    land_ridgeline(lab, 4, kind="snapshot")
    assert curate(lab, 4).counts["absent"] == 2
    assert [status for status, _ in findings(lab)] == ["ok"] * 4


def test_one_source_that_is_whole_is_no_snapshot_of_a_table_that_another_has_fed(lab: Lab) -> None:
    land_ridgeline(lab, 1, line("1", "GLU", "1"), kind="snapshot")
    land_lis(lab, 2, 1, kind="snapshot")
    assert [curate(lab, number).kind for number in (2, 1)] == ["delta", "snapshot"]
    assert {*lab.state("curated", "result", "result_id")} == {"1", "ridgeline:1^1"}


def test_verify_tells_the_source_whose_rows_are_not_accounted_for_and_a_batch_that_came_later(lab: Lab) -> None:
    land_lis(lab, 1, 1, 2)
    land_ridgeline(lab, 1, line("1", "CBC3", "1,2,3"))
    good = curate(lab, 1)
    bad = good.model_copy(update={"counts": good.counts | {"kept_ridgeline": 2}})
    lab.lake.storage.put("curated", good.object_key, bad.model_dump_json().encode())
    [(status, message)] = findings(lab)
    assert (status, "1 raw rows of ridgeline went in" in message) == ("broken", True)
    land_ridgeline(lab, 1, line("2", "GLU", "4"))
    [(status, message)] = findings(lab)
    assert (status, "1 raw batches came after it" in message) == ("pending", True)


def test_a_mapping_that_a_deployment_adds_leaves_days_without_that_source_as_they_were(lab: Lab) -> None:
    land_lis(lab, 1, 1)
    module.use(None)
    before = curate(lab, 1)
    module.use(RIDGELINE)
    assert curate(lab, 1) == before


def test_days_of_several_sources_end_in_the_same_state_in_any_order(lab: Lab) -> None:
    states = []
    for order in ((1, 2, 3), (3, 1, 2)):
        each = Lab(lab.lake, fresh_tenant())
        for number in (1, 2, 3):
            land_lis(each, number, number, 9)
            land_ridgeline(each, number, line("1", "CBC3", "1,2,3" if number == 1 else "7,8", number=number))
        for number in order:
            curate(each, number)
        states.append({key: (row["value_raw"], row["is_deleted"]) for key, row in each.state("curated", "result", "result_id").items()})
    assert states[0] == states[1]
    assert sum(not gone for _, gone in states[0].values()) == 5


def test_a_whole_new_domain_is_files_alone(lab: Lab) -> None:
    schema = pa.schema([("qc_no", pa.int64()), ("inst", pa.string()), ("ok", pa.string()), ("run_tm", pa.string()), ("chg_ts", STAMP)])
    row = {"qc_no": 1, "inst": "A1", "ok": "Y", "run_tm": "3/4/26 2:05p", "chg_ts": at(1)}
    lab.land("ridgeline.qc", 1, [row], schema, key=("qc_no",), cursor="chg_ts")
    [made] = lab.rows(curate(lab, 1, "instrument_check"))
    assert (made["check_id"], made["passed"], made["checked_at"].hour) == ("ridgeline:1", True, 14)


def test_what_is_mapped_is_declared_classified_and_served() -> None:
    assert declared()["ridgeline.rslt"].cursor == "chg_ts"
    assert by_raw_table()["ridgeline.ptnt"].table == "patient"
    assert set(curated_from("ridgeline.rslt")) == {"result"}
    assert raw_tables(contracts()["patient"])[0] == "lis.patient"
    assert "ridgeline.ptnt" in raw_tables(contracts()["patient"])
    tenancy = {"discriminator": {"schema": "ridgeline", "column": "tenant_id", "value": "{key}"}}
    source = Source.model_validate({"engine": "postgresql", "url": "env:RIDGELINE", "tenancy": tenancy})
    assert {"patient", "lab_order", "result", "account", "record_host_code", "instrument_check"} == set(served({"ridgeline": source}))
    without = source.model_copy(update={"exclude": ("qc", "rslt")})
    assert {"patient", "lab_order", "account", "record_host_code"} == set(served({"ridgeline": without})), (
        "a table that is left out is expected nowhere"
    )
    assert phi_class("raw", "ridgeline.ptnt", "CHART_NO") == "direct"
    assert phi_class("raw", "ridgeline.ptnt", "remark_nobody_mapped") == "unclassified"
    module.use(None)
    assert "ridgeline.rslt" not in declared()
    assert phi_class("raw", "ridgeline.ptnt", "chart_no") == "unclassified"


def test_every_mapping_reads_its_key_and_its_cursor() -> None:
    mapped = [(contract, mapping) for contract, mapping in every() if not mapping.is_own]
    assert len(mapped) >= 8
    for contract, mapping in mapped:
        its = {column.name: column for column in mapping.read(contract)}
        assert all(its[key].reads or its[key].always for key in contract.key), mapping.raw
        assert any(its[key].reads for key in contract.key), mapping.raw
        assert "updated_at" not in its or its["updated_at"].source in {None, mapping.source.cursor}, mapping.raw


def test_nothing_that_messages_tell_lands_in_a_column_of_a_milder_class() -> None:
    """An id is made of numbers that identify, so its column must say that it does."""
    told = {
        (contract.source.records, column.source): column.phi
        for contract in contracts().values()
        if contract.source
        for column in contract.columns
    }
    # Of records that no table of statements holds a column is what it is called in any other.
    named: dict[str | None, list[Any]] = {}
    for (_, name), phi in told.items():
        named.setdefault(name, []).append(phi)
    for contract, mapping in every():
        if mapping.source.records and not mapping.is_own:
            for column in mapping.read(contract):
                reads = [
                    told.get((mapping.source.records, name), strictest(named.get(name, []))) for name in column.reads if not column.parse
                ]
                assert strictest([column.phi, *reads]) == column.phi, f"{contract.table}.{column.name} of {mapping.raw}"


GOOD: dict[str, Any] = yaml.safe_load((RIDGELINE / "mappings" / "ridgeline" / "patient.yaml").read_text())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"into": "pateint"}, "into: there is no contract of pateint"),
        ({"columns": GOOD["columns"] | {"shoe_size": {"from": "x"}}}, "columns.shoe_size: patient has no such column"),
        ({"columns": {"mrn": {"from": "chart_no"}}}, "columns.patient_id: a key column is not mapped"),
        ({"columns": {"patient_id": {"always": "ridgeline"}}}, "columns.patient_id: a key column is not mapped"),
        ({"columns": {"patient_id": {"from": "pt_no"}}}, "columns.patient_id: the table has another source"),
        ({"columns": {"patient_id": {"id": "pt_no", "from": "x"}}}, "a column has one of"),
        ({"columns": {"patient_id": {"id": "pt_no"}, "birth_date": {"from": "dob", "instant": "M/D"}}}, "a form such as"),
        ({"source": GOOD["source"] | {"name": "lis", "table": "patient"}}, "is mapped into patient already"),
        ({"source": GOOD["source"] | {"table": "rslt"}}, "says another key or cursor"),
        ({"source": {"name": "messages", "table": "message", "key": ["message_id"], "records": "patient"}}, "records have no"),
        ({"split": {"columns": ["a"], "test": "t", "components": {"X": ["A", "A"]}}}, "split: Value error, a split needs"),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_a_mapping_that_can_not_be_is_told_by_its_file_and_place(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "mappings" / "ridgeline"
    path.mkdir(parents=True)
    result = yaml.safe_load((RIDGELINE / "mappings" / "ridgeline" / "result.yaml").read_text())
    (path / "a_result.yaml").write_text(yaml.safe_dump(result))
    (path / "patient.yaml").write_text(yaml.safe_dump(GOOD | change))
    module.use(tmp_path)
    with pytest.raises(ConfigError) as raised:
        mappings()
    assert str(path / "patient.yaml") in str(raised.value)
    assert told in str(raised.value)
    assert raised.value.remedy


def test_a_contract_that_nothing_feeds_or_that_is_there_already_is_told(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    text = (RIDGELINE / "contracts" / "instrument_check.yaml").read_text()
    (tmp_path / "contracts" / "x.yaml").write_text(text)
    module.use(tmp_path)
    with pytest.raises(ConfigError, match="instrument_check has no source"):
        mappings()
    (tmp_path / "contracts" / "y.yaml").write_text(text.replace("table: instrument_check", "table: patient"))
    module._contracts.cache_clear()
    with pytest.raises(ConfigError, match=r"y\.yaml: table: patient has a contract already"):
        contracts()
