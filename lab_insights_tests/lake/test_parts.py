"""A snapshot that equals the newest one writes no bytes; one that differs, in whatever, is written whole."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab_insights.lake import parts
from lab_insights.lake.commit import Lake
from lab_insights.lake.fingerprint import fingerprint, fingerprint_of_file
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Kind, Manifest
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Rows, day, held, put, watched


def taken(lake: Lake, tenant: TenantId, number: int, *batches: pa.RecordBatch, kind: Kind = "snapshot") -> tuple[Manifest, int]:
    """Commit a snapshot of a day; return its manifest, and how many objects were put."""
    with watched(lake.storage.aws) as calls:
        manifest = put(lake, Partition("raw", tenant, "crm.account", day(number)), Rows(batches), kind, supersedes=kind == "snapshot")
    return manifest, calls.made.count("PutObject")


def batch(**columns: list[Any]) -> pa.RecordBatch:
    return pa.record_batch(columns)


MANY = [batch(id=[number, number + 10], note=[f"n{number}", None]) for number in range(5)]


def test_an_equal_snapshot_names_the_parts_of_the_one_before_whatever_its_order_and_cut(
    lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 4)
    first, put_first = taken(lake, tenant, 1, *MANY)
    assert (len(first.parts), put_first) == (3, 4)
    rows = pa.Table.from_batches(MANY)
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    second, put_second = taken(lake, tenant, 2, *rows.take([9, 3, 1, 7, 5, 0, 2, 4, 8, 6]).combine_chunks().to_batches(max_chunksize=3))
    assert (second.parts, second.rows, second.digest, put_second) == (first.parts, 10, first.digest, 1)
    third, put_third = taken(lake, tenant, 2, *MANY)
    assert (third.parts, put_third) == (first.parts, 1)
    assert held(lake, "raw", tenant, "crm.account").num_rows == 10


@pytest.mark.parametrize(
    "other",
    [
        MANY[:4],
        [*MANY, MANY[0]],
        [*MANY[:4], batch(id=[4, 14], note=["n4", "n4"])],
        # the same values, two of them in each other's row
        [*MANY[:3], batch(id=[3, 13], note=["n4", None]), batch(id=[4, 14], note=["n3", None])],
        [*MANY[:4], batch(id=[4, 14], note=["n4", ""])],
        [batch(id=each["id"].to_pylist(), note=each["note"].to_pylist(), more=[None, None]) for each in MANY],
        [pa.record_batch({"id": each["id"].cast(pa.int32()), "note": each["note"]}) for each in MANY],
        [],
    ],
)
def test_a_snapshot_that_differs_is_written_whole(lake: Lake, tenant: TenantId, other: list[pa.RecordBatch]) -> None:
    first, _ = taken(lake, tenant, 1, *MANY)
    second, put_second = taken(lake, tenant, 2, *other)
    assert not {part.key for part in first.parts} & {part.key for part in second.parts}
    assert put_second == len(second.parts) + 1
    assert sum(part.rows for part in second.parts) == sum(each.num_rows for each in other)


@pytest.mark.parametrize(("value", "other"), [(0.0, -0.0), (math.inf, -math.inf), (math.nan, None), (0.1, math.nextafter(0.1, 1))])
def test_numbers_that_an_engine_takes_for_equal_are_not(lake: Lake, tenant: TenantId, value: float, other: float | None) -> None:
    taken(lake, tenant, 1, batch(x=[value, 1.0]))
    assert taken(lake, tenant, 2, batch(x=[other, 1.0]))[1] == 2
    assert taken(lake, tenant, 3, batch(x=[1.0, other]))[1] == 1


def test_a_value_that_is_kept_beside_its_column_counts_wherever_it_comes_up(lake: Lake, tenant: TenantId) -> None:
    plain, late = batch(id=[1], d=["x"]), batch(id=[2], d=[None], d__text=["0000-00-00"])
    first, _ = taken(lake, tenant, 1, plain, late)
    begun = pa.record_batch({"id": [2], "d": pa.array([None], pa.string()), "d__text": ["0000-00-00"]})
    after = batch(id=[1], d=["x"], d__text=pa.array([None], pa.string()))
    rows = Rows([begun, after])
    rows.schema = pa.schema([("id", pa.int64()), ("d", pa.string())])
    of = Partition("raw", tenant, "crm.account", day(2))
    assert put(lake, of, rows, "snapshot").parts == first.parts
    base = ["id", "d"]
    assert fingerprint(plain, base) == fingerprint(after, base) != fingerprint(batch(id=[1], d=["x"], d__text=["y"]), base)


def test_a_part_that_is_gone_or_another_is_no_reason_to_write_nothing(lake: Lake, tenant: TenantId) -> None:
    first, _ = taken(lake, tenant, 1, *MANY)
    lake.storage.put("raw", first.parts[0].key, b"short")
    second, put_second = taken(lake, tenant, 2, *MANY)
    assert (put_second, second.rows) == (2, 10)
    assert not {part.key for part in first.parts} & {part.key for part in second.parts}


def test_only_a_snapshot_is_given_parts(lake: Lake, tenant: TenantId) -> None:
    taken(lake, tenant, 1, *MANY)
    assert taken(lake, tenant, 2, *MANY, kind="delta")[1] == 2


def test_rows_wait_in_files_no_longer_than_they_may_be_equal(lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(lake, tenant, 1, MANY[0])
    monkeypatch.setattr(parts, "PART_ROWS", 2)
    waited = []
    honest = parts.Writing._write

    def write(self: parts.Writing, rows: pa.RecordBatch) -> None:
        honest(self, rows)
        waited.append(len(self._waiting))

    monkeypatch.setattr(parts.Writing, "_write", write)
    taken(lake, tenant, 2, *MANY)
    assert waited == [1, 2, 1, 1, 1]


def test_nothing_is_equal_to_nothing(lake: Lake, tenant: TenantId) -> None:
    taken(lake, tenant, 1)
    assert taken(lake, tenant, 2)[0].rows == 0


EVERY: dict[str, pa.Array] = {
    **{str(kind): pa.array([1, None, 100], kind) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32())},
    "int64": pa.array([-(2**63), None, 2**63 - 1]),
    "uint64": pa.array([0, None, 2**64 - 1], pa.uint64()),
    "bool": pa.array([True, None, False]),
    "text": pa.array(["", None, "é🧪\x00b"]),
    "bytes": pa.array([b"\x00\xff", None, b""]),
    "date": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
    "instant": pa.array([datetime(1, 1, 1), None, datetime(9999, 12, 31, 23, 59, 59, 999_999)], pa.timestamp("us")),
    "nothing": pa.nulls(3),
    **{f"decimal {digits}": pa.array([Decimal("0.01"), None, Decimal("-0.99")], pa.decimal128(digits, 2)) for digits in (4, 9, 18, 38)},
}


@pytest.mark.parametrize("kind", EVERY)
def test_duckdb_reads_back_what_arrow_wrote(tmp_path: Path, kind: str) -> None:
    """Else a part would be read a second time, by Arrow: right, and three times as long."""
    rows = pa.table({"Id": [1, 2, 3], "value": EVERY[kind], "late": ["x", None, "y"]})
    pq.write_table(rows, tmp_path / "part.parquet", compression="zstd")
    [whole] = rows.to_batches()
    base = ["Id", "value"]
    assert fingerprint_of_file(f"{tmp_path}/part.parquet", rows.schema, base) == (3, fingerprint(whole, base))
    pq.write_table(rows.slice(1), tmp_path / "part.parquet")
    assert fingerprint_of_file(f"{tmp_path}/part.parquet", rows.schema, base) == (2, fingerprint(whole.slice(1), base))


def test_what_duckdb_does_not_read_bit_by_bit_is_left_to_arrow(tmp_path: Path, lake: Lake, tenant: TenantId) -> None:
    for rows in (pa.table({"x": [-0.0]}), pa.table({"Note": [1], "note": [2]})):
        pq.write_table(rows, tmp_path / "part.parquet")
        assert fingerprint_of_file(f"{tmp_path}/part.parquet", rows.schema, rows.schema.names) is None
        assert taken(lake, tenant, 1, *rows.to_batches())[1] == 2
    (tmp_path / "part.parquet").write_bytes(b"no parquet")
    assert fingerprint_of_file(f"{tmp_path}/part.parquet", pa.schema([("x", pa.int64())]), ["x"]) is None
