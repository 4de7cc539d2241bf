"""Curation: the newest version per key, every raw row accounted for, whatever the order of days."""

from __future__ import annotations

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa
import pytest

from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import Curation, contract_schema, curated, newest
from lab_insights.lab.declared import by_raw_table
from lab_insights.lab.engine import Duck, Query
from lab_insights.lab.pipeline import MissingInput
from lab_insights.lab.texts import joined
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import Rows, day, fresh_tenant, instant

NOTES = pa.schema([("id", pa.int64()), ("note", pa.string()), ("updated_at", STAMP)])
TABLE = "crm.udt_note"


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def note(key: int | None, text: str | None, number: int = 1, hour: float = 8) -> dict[str, Any]:
    return {"id": key, "note": text, "updated_at": at(number, hour)}


def notes(lab: Lab, manifest: Manifest) -> list[tuple[int, str]]:
    return sorted((row["id"], row["note"]) for row in lab.rows(manifest))


def hashes(rows: list[dict[str, Any]], schema: pa.Schema = NOTES, key: tuple[str, ...] = ("id",)) -> list[str]:
    """The record hashes of raw rows, in order."""
    table = pa.Table.from_pylist(rows, schema)
    whole = table.append_column("__batch", pa.array(["b"] * len(rows))).append_column("__ingested_at", pa.array([at(1)] * len(rows), STAMP))
    whole = whole.append_column("__tenant", pa.array(["t"] * len(rows))).append_column("__gone_at", pa.nulls(len(rows), STAMP))
    with Duck({"raw": whole}) as engine:
        engine.run(curated(schema, Curation("crm", key, None)))
        found = pa.Table.from_batches(engine.batches(), engine.schema)
    return [str(text) for text in found.sort_by("id")["record_hash"].to_pylist()]


def test_a_day_without_a_row_is_curated_without_its_query_and_is_like_any_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.land(TABLE, 1, [note(1, "x")], NOTES)
    lab.land(TABLE, 2, [], NOTES)
    some = lab.curate(TABLE, 1)
    monkeypatch.delattr(Duck, "run")
    none = lab.curate(TABLE, 2)
    assert (none.rows, none.counts, none.checksum) == (0, {"kept": 0, "superseded": 0, "excluded": 0}, 0)
    assert (none.arrow_schema, none.key, none.kind, none.engine) == (some.arrow_schema, some.key, some.kind, some.engine)


def test_of_two_rows_that_tell_the_same_of_one_key_it_is_always_the_same_one_that_is_kept() -> None:
    schema = contract_schema(contracts()["patient"])
    rows = [{"patient_id": "p", "source_pk": key, "record_hash": "same", "batch_id": "b", "source_updated_at": at(1)} for key in "abc"]
    query = Query(newest(ibis.table(ibis.Schema.from_pyarrow(schema), name="rows"), ["patient_id"]))
    kept = set()
    for order in itertools.permutations(rows):
        with Duck({"rows": pa.Table.from_pylist(list(order), schema)}) as engine:
            engine.run(query)
            kept |= {row["source_pk"] for batch in engine.batches() for row in batch.to_pylist()}
    assert kept == {"c"}


def test_the_newest_version_of_each_key_is_kept_and_the_others_are_counted(lab: Lab) -> None:
    lab.land(TABLE, 1, [note(1, "old", hour=7), note(2, "only"), note(1, "new", hour=9)], NOTES)
    lab.land(TABLE, 1, [note(1, "oldest", hour=6), note(3, "later", hour=10)], NOTES)
    manifest = lab.curate(TABLE, 1)
    assert notes(lab, manifest) == [(1, "new"), (2, "only"), (3, "later")]
    assert manifest.counts == {"kept": 3, "superseded": 2, "excluded": 0}
    assert (manifest.kind, manifest.key) == ("delta", ("id",))
    assert len(manifest.inputs) == 2


def test_of_equal_stamps_the_later_batch_wins_and_within_a_batch_always_the_same_row(lab: Lab) -> None:
    lab.land(TABLE, 1, [note(1, "first")], NOTES)
    lab.land(TABLE, 1, [note(1, "second"), note(2, "a"), note(2, "b")], NOTES)
    once = notes(lab, lab.curate(TABLE, 1))
    assert once[0] == (1, "second")
    other = Lab(lab.lake, fresh_tenant())
    other.land(TABLE, 1, [note(1, "first")], NOTES)
    other.land(TABLE, 1, [note(2, "b"), note(2, "a"), note(1, "second")], NOTES)
    assert notes(other, other.curate(TABLE, 1)) == once


def test_rows_without_a_whole_key_are_excluded_and_counted(lab: Lab) -> None:
    rows = [note(None, "one"), note(None, "two"), note(1, "kept")]
    lab.land(TABLE, 1, rows, NOTES)
    manifest = lab.curate(TABLE, 1)
    assert notes(lab, manifest) == [(1, "kept")]
    assert manifest.counts == {"kept": 1, "superseded": 0, "excluded": 2}
    lab.land(TABLE, 2, [*rows, note(1, "again", 2)], NOTES, key=("id", "note"))
    assert lab.curate(TABLE, 2).counts == {"kept": 2, "superseded": 0, "excluded": 2}


def test_rows_that_a_snapshot_replaced_are_superseded_with_or_without_a_key(lab: Lab) -> None:
    lab.land(TABLE, 1, [note(None, "one"), note(1, "old"), note(2, "deleted since")], NOTES)
    lab.land(TABLE, 1, [note(None, "one"), note(1, "new", hour=9)], NOTES, kind="snapshot")
    lab.land(TABLE, 1, [note(3, "after", hour=10)], NOTES)
    manifest = lab.curate(TABLE, 1)
    assert notes(lab, manifest) == [(1, "new"), (3, "after")]
    assert manifest.kind == "snapshot"
    assert manifest.counts == {"kept": 2, "superseded": 3, "excluded": 1}


def test_a_tombstone_is_a_version_of_its_key_as_of_the_instant_when_the_row_was_gone(lab: Lab) -> None:
    lab.land(TABLE, 1, [note(1, "gone"), note(2, "back"), note(3, "stamped ahead", hour=20)], NOTES)
    partition = Partition("raw", lab.tenant, TABLE, day(1))
    dead = pa.Table.from_pylist([note(1, "gone"), note(2, "back"), note(3, "stamped ahead", hour=20)], NOTES)
    draft = Draft(partition, "delta", key=("id",), cursor="updated_at", gone_at=instant(1, 12))
    commit(lab.lake, settled_head(lab.lake, partition), draft, Rows(dead.to_batches(), NOTES))
    lab.land(TABLE, 1, [note(2, "back", hour=13)], NOTES)
    manifest = lab.curate(TABLE, 1)
    found = {row["id"]: (row["note"], row["is_deleted"], row["source_updated_at"].hour) for row in lab.rows(manifest)}
    assert found == {1: ("gone", True, 12), 2: ("back", False, 13), 3: ("stamped ahead", True, 20)}
    assert manifest.counts == {"kept": 3, "superseded": 4, "excluded": 0}


def test_a_table_without_a_key_keeps_its_doubled_rows_each_under_a_key_of_its_own(lab: Lab) -> None:
    schema = pa.schema([("a", pa.int64()), ("occurrence", pa.string())])
    rows = [{"a": 1, "occurrence": "x"}] * 3 + [{"a": None, "occurrence": None}] * 2
    lab.land(TABLE, 1, rows, schema, kind="snapshot", key=(), cursor=None, supersedes=True)
    manifest = lab.curate(TABLE, 1)
    found = lab.rows(manifest)
    assert manifest.key == ("record_hash", "occurrence")
    assert len({(row["record_hash"], row["occurrence"]) for row in found}) == 5
    assert sorted((row["a"] or 0, row["source_occurrence"]) for row in found if row["a"]) == [(1, "x")] * 3
    assert manifest.counts == {"kept": 5, "superseded": 0, "excluded": 0}


def test_days_curated_in_any_order_end_in_the_same_state(lab: Lab) -> None:
    states = []
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        each = Lab(lab.lake, fresh_tenant())
        each.land(TABLE, 1, [note(1, "a"), note(2, "a")], NOTES, kind="snapshot")
        each.land(TABLE, 2, [note(1, "b", 2), note(3, "b", 2)], NOTES)
        each.land(TABLE, 3, [note(1, "c", 3)], NOTES)
        for number in order:
            each.curate(TABLE, number)
        states.append({key: (row["note"], row["record_hash"]) for key, row in each.state("curated", TABLE, "id").items()})
    assert {key: text for key, (text, _) in states[0].items()} == {1: "c", 2: "a", 3: "b"}
    assert all(each == states[0] for each in states)


def test_nothing_is_written_when_nothing_changed_and_the_same_rows_when_it_is_forgotten(lab: Lab) -> None:
    lab.land(TABLE, 1, [note(1, "a"), note(2, None)], NOTES)
    first = lab.curate(TABLE, 1)
    assert lab.curate(TABLE, 1) == first
    lab.land(TABLE, 1, [note(3, "more")], NOTES)
    second = lab.curate(TABLE, 1)
    assert (second.batch, second.supersedes) == (1, True)
    again = Lab(lab.lake, fresh_tenant())
    again.land(TABLE, 1, [note(2, None), note(1, "a")], NOTES)
    again.land(TABLE, 1, [note(3, "more")], NOTES)
    assert {row["record_hash"] for row in again.rows(again.curate(TABLE, 1))} == {row["record_hash"] for row in lab.rows(second)}
    assert [each.batch for each in partition_manifests(lab.lake, Partition("curated", lab.tenant, TABLE, day(1)))] == [1]


def test_a_day_that_was_never_landed_is_a_clear_error(lab: Lab) -> None:
    with pytest.raises(MissingInput, match="never materialized") as raised:
        lab.curate(TABLE, 9)
    assert (raised.value.tenant, raised.value.table, raised.value.partition) == (lab.tenant, TABLE, str(day(9)))


def test_a_day_without_rows_is_an_empty_batch(lab: Lab) -> None:
    lab.land(TABLE, 1, [], NOTES)
    manifest = lab.curate(TABLE, 1)
    assert (manifest.rows, manifest.checksum, manifest.counts["kept"]) == (0, 0, 0)


def test_a_record_hash_tells_null_from_empty_and_columns_from_each_other() -> None:
    schema = pa.schema([("id", pa.int64()), ("a", pa.string()), ("b", pa.string()), ("c", pa.binary()), ("d", pa.float64())])
    alike: list[dict[str, Any]] = [
        {"a": None, "b": None},
        {"a": "", "b": None},
        {"a": None, "b": ""},
        {"a": "x", "b": ""},
        {"a": "", "b": "x"},
        {"a": "1:x", "b": None},
        {"a": "-", "b": None},
        {"c": b""},
        {"c": b"\x00"},
        {"c": b"\x00\x00"},
        {"d": 0.1},
        {"d": 0.1 + 2**-56},
        {"a": "x1:y"},
        {"a": "x", "b": "y"},
    ]
    assert len({hashes([{"id": 0, **row}], schema)[0] for row in alike}) == len(alike)


def test_a_hash_does_not_depend_on_the_batch_or_the_instant_it_came_with() -> None:
    assert hashes([note(1, "a"), note(2, "a")])[0] == hashes([note(1, "a")])[0]


def test_columns_that_are_called_as_ours_keep_their_values_under_names_of_their_own(lab: Lab) -> None:
    names = ["id", "tenant_id", "source_tenant_id", "source_source_tenant_id", "Batch_ID", "record_hash", "source_pk", "occurrence"]
    schema = pa.schema([(name, pa.string()) for name in names])
    lab.land(TABLE, 1, [{name: f"value of {name}" for name in names}], schema, cursor=None)
    [row] = lab.rows(lab.curate(TABLE, 1))
    assert row["tenant_id"] == lab.tenant
    assert {f"value of {name}" for name in names} <= set(row.values())
    assert row["source_tenant_id"] == "value of tenant_id"


def test_a_row_as_wide_as_a_server_allows_has_a_hash() -> None:
    table = ibis.table({f"c{number}": "string" for number in range(1600)}, name="wide")
    assert '"c1599"' in ibis.to_sql(table.select(hash=joined([table[name] for name in table.columns])), dialect="duckdb")


def test_a_column_that_changed_its_type_within_a_day_arrives_as_text(lab: Lab) -> None:
    number, text = pa.schema([("id", pa.int64()), ("x", pa.int32())]), pa.schema([("id", pa.int64()), ("x", pa.string())])
    lab.land(TABLE, 1, [{"id": 1, "x": 7}], number, cursor=None)
    lab.land(TABLE, 1, [{"id": 2, "x": "seven"}], text, cursor=None)
    assert [row["x"] for row in lab.rows(lab.curate(TABLE, 1), "id")] == ["7", "seven"]


def test_a_cursor_that_no_type_holds_leaves_the_instant_of_landing_as_the_version(lab: Lab) -> None:
    schema = pa.schema([("id", pa.int64()), ("updated_at", STAMP), ("updated_at__text", pa.string())])
    lab.land(TABLE, 1, [{"id": 1, "updated_at": None, "updated_at__text": "infinity"}], schema, hour=9)
    [row] = lab.rows(lab.curate(TABLE, 1))
    assert row["source_updated_at"] == row["ingested_at"] == at(1, 9)
    assert row["updated_at__text"] == "infinity"


# contracts


def results(lab: Lab, *values: dict[str, Any]) -> list[dict[str, Any]]:
    """Curate results; return them in order."""
    names = sorted({"id", "updated_at", *values[0]})
    schema = pa.schema([(name, STAMP if name == "updated_at" else pa.string()) for name in names])
    lab.land("lis.result", 1, [{"id": f"{number:03d}", "updated_at": at(1), **each} for number, each in enumerate(values)], schema)
    return lab.rows(lab.curate("lis.result", 1), "result_id")


def test_a_number_is_read_only_where_the_text_is_one_and_the_text_stays(lab: Lab) -> None:
    expected: dict[str | None, str | None] = {"12.10": "12.1", " 7 ": "7", "-0.5": "-0.5", "+1": "1", ".5": "0.5", "<5": "5"}
    expected |= dict.fromkeys(["1e3", "neg", "", "1,5", None, "Infinity", "1.", "0x1F", "9" * 40, "<", "1:80", "3-5"])
    found = results(lab, *({"value_raw": text} for text in expected))
    assert {row["value_raw"]: row["value_num"] for row in found} == {text: number and Decimal(number) for text, number in expected.items()}


def test_codes_are_normalised_and_unknown_ones_are_null_beside_their_source(lab: Lab) -> None:
    known, unknown = results(lab, {"flag_raw": "HH", "status_raw": "F"}, {"flag_raw": "hh", "status_raw": "Z"})
    assert (known["flag_raw"], known["flag_norm"], known["status_norm"]) == ("HH", "critical_high", "final")
    assert (unknown["flag_raw"], unknown["flag_norm"], unknown["status_raw"], unknown["status_norm"]) == ("hh", None, "Z", None)


def test_a_modelled_row_has_its_contracts_schema_whatever_the_source_holds(lab: Lab) -> None:
    raw, contract = "lis.result", by_raw_table()["lis.result"]
    schema = pa.schema([("id", pa.int64()), ("value_raw", pa.float64()), ("updated_at", pa.string())])
    lab.land(raw, 1, [{"id": 7, "value_raw": 1.5, "updated_at": "2026-03-01T08:00:00.5Z"}], schema)
    manifest = lab.curate(raw, 1)
    [row] = lab.rows(manifest)
    assert manifest.schema_() == contract_schema(contract)
    assert (row["result_id"], row["value_raw"], row["loinc"]) == ("7", "1.5", None)
    assert row["updated_at"] == row["source_updated_at"] == datetime(2026, 3, 1, 8, 0, 0, 500000)
    assert (row["tenant_id"], row["source_system"], row["is_deleted"]) == (lab.tenant, "lis", False)
