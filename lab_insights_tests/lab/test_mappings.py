"""Several sources in one curated table: by mapping files alone, each row accounted for, no source's rows touched by another's."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lab import contracts as module
from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lake.commit import Lake
from lab_insights.lake.compact import compact
from lab_insights.lake.dataset import dataset
from lab_insights.lake.manifest import Kind, Manifest
from lab_insights.names import TenantId
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.world import RIDGELINE, STAMP, Lab, at
from lab_insights_tests.lake.world import day, fresh_tenant

pytestmark = pytest.mark.usefixtures("ridgeline")
LIS = pa.schema([("id", pa.int64()), ("value_raw", pa.string()), ("status_raw", pa.string()), ("updated_at", STAMP)])
RSLT = pa.schema(
    [(name, pa.string()) for name in ("line_no", "rqst_no", "pt_no", "test_cd", "kind", "vals", "flags", "st", "done_tm")]
    + [("chg_ts", STAMP)]
)


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
