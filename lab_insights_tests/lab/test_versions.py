"""Days are curated in any order, and end in the same state; every version of a result that was ever landed is a row."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lab import pipeline
from lab_insights.lab.contracts import contracts
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import Rows, day, fresh_tenant, instant

RESULT = "lis.result"
SCHEMA = pa.schema(
    [*((name, pa.string()) for name in ("id", "value_raw", "unit_raw", "status_raw", "component_code")), ("updated_at", STAMP)]
)
DAYS = (1, 2, 3)


def version(key: str, value: str | None, status: str, number: int, hour: float = 8) -> dict[str, Any]:
    return {"id": key, "value_raw": value, "status_raw": status, "unit_raw": "mg/dl", "component_code": "K", "updated_at": at(number, hour)}


def curate(lab: Lab, number: int, table: str = "result_version") -> Manifest:
    return pipeline.curate_table(lab.lake, lab.tenant, RESULT, day(number), contracts()[table], "test")


def gone(lab: Lab, number: int, hour: float, *rows: dict[str, Any]) -> None:
    """Land tombstones that a search for deletes found."""
    partition = Partition("raw", lab.tenant, RESULT, day(number))
    draft = Draft(partition, "delta", key=("id",), cursor="updated_at", gone_at=instant(number, hour))
    commit(lab.lake, settled_head(lab.lake, partition), draft, Rows(pa.Table.from_pylist(list(rows), SCHEMA).to_batches(), SCHEMA))


def told(lab: Lab, manifest: Manifest) -> list[tuple[Any, ...]]:
    rows = lab.rows(manifest)
    assert all(row["is_lower_bound"] is True and row["is_deleted"] is False for row in rows)
    return sorted((row["result_id"], row["status_norm"], row["value_raw"], row["removed_at"] is not None) for row in rows)


def test_every_version_that_was_landed_is_a_row_and_the_same_one_loaded_again_is_no_other(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    first, final, corrected = version("r1", "4.1", "P", 1, 7), version("r1", "4.1", "F", 1, 8), version("r1", "4.6", "C", 1, 9)
    lab.land(RESULT, 1, [first, version("r2", "9", "F", 1, 7)], SCHEMA)
    # A snapshot of the day replaces what lies in `result`, and no version.
    lab.land(RESULT, 1, [final], SCHEMA, kind="snapshot")
    lab.land(RESULT, 1, [final, corrected], SCHEMA)
    gone(lab, 1, 12, corrected)
    manifest = curate(lab, 1)
    assert (manifest.kind, manifest.key) == ("delta", ("result_id", "report_id"))
    assert told(lab, manifest) == [
        ("r1", "corrected", "4.6", False),
        ("r1", "corrected", "4.6", True),
        ("r1", "final", "4.1", False),
        ("r1", "preliminary", "4.1", False),
        ("r2", "final", "9", False),
    ]
    assert (manifest.counts["kept"], manifest.counts["superseded"], manifest.counts["excluded"]) == (5, 1, 0)


def test_what_could_not_be_mapped_is_counted_in_the_receipt(lake: Lake, tenant: TenantId) -> None:
    lab = Lab(lake, tenant)
    odd = {"unit_raw": "furlong", "component_code": "LDL"}
    lab.land(RESULT, 1, [version("r1", "4.1", "F", 1), version("r2", "4.1", "?", 1) | odd], SCHEMA)
    counts = curate(lab, 1, "result").counts
    unmapped = {name: count for name, count in counts.items() if name.startswith("unmapped_")}
    # LDL has a declared code, K has none; no flag is no unknown flag
    assert unmapped == {"unmapped_loinc": 1, "unmapped_unit_ucum": 1, "unmapped_status_norm": 1, "unmapped_flag_norm": 0}


@pytest.mark.parametrize("seed", [1, 2])
def test_days_curated_in_any_order_and_again_end_in_the_same_state(lake: Lake, seed: int) -> None:
    dice = random.Random(seed)
    landed: list[tuple[str, int, float, list[dict[str, Any]]]] = []
    for number in DAYS:
        for place in range(dice.randint(1, 3)):
            hour = 6.0 + place
            # Late rows and ties: some stamps are a day old, and some are shared.
            rows = [
                version(f"r{dice.randrange(4)}", dice.choice(["1", "2", None]), dice.choice("PFC"), number, dice.choice([6, 7, hour]))
                for _ in range(3)
            ]
            rows[0] |= {"updated_at": rows[0]["updated_at"] - timedelta(days=1)}
            landed.append((dice.choice(["delta", "delta", "snapshot"]) if number > 1 else "snapshot", number, hour, rows))
    orders = [list(DAYS), list(DAYS[::-1]), dice.sample(DAYS * 2, len(DAYS) * 2)]
    states = []
    for order in orders:
        lab = Lab(lake, fresh_tenant())
        for kind, number, hour, rows in landed:
            if kind == "snapshot":
                lab.land(RESULT, number, rows, SCHEMA, kind="snapshot", hour=hour)
            else:
                lab.land(RESULT, number, rows, SCHEMA, hour=hour)
        gone(lab, 3, 20, landed[0][3][1])
        for number in order:
            curate(lab, number, "result")
            curate(lab, number)
        held = {}
        for table, key in (("result", "result_id"), ("result_version", "report_id")):
            rows = lab.state("curated", table, key).values()
            held[table] = sorted((row[key], row["record_hash"], row["is_deleted"]) for row in rows)
        states.append(held)
    assert len(states[0]["result_version"]) >= len(states[0]["result"])
    assert all(each == states[0] for each in states)
    # one for each thing that the source said, however often
    seen = {tuple(row.values()) for *_, rows in landed for row in rows}
    assert len(states[0]["result_version"]) == len(seen) + 1
