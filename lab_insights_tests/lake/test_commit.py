"""The commit protocol: whoever dies or races, readers see each batch once or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab_insights.errors import CommitConflict, LandingMismatch
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import Layer, Partition, part_key
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Killed, Rows, answer_lost, day, held, ids, instant, put, watched


@pytest.fixture
def partition(tenant: TenantId) -> Partition:
    return Partition("raw", tenant, "crm.account", day(1))


def seen(lake: Lake, of: Partition) -> list[int]:
    """The ids that readers see, doubled ones twice."""
    if not partition_manifests(lake, of):
        return []
    return sorted(held(lake, of.layer, of.tenant, of.table)["id"].to_pylist())


def test_a_batch_is_what_was_given_and_says_so(lake: Lake, partition: Partition) -> None:
    manifest = put(lake, partition, ids(1, 2, 3), "snapshot", high=instant(1, 9))
    assert (manifest.rows, manifest.batch, manifest.attempt) == (3, 0, 1)
    assert lake.storage.manifest("raw", manifest.object_key) == manifest
    assert lake.storage.sha256("raw", manifest.parts[0].key) == (manifest.parts[0].sha256, manifest.parts[0].bytes)
    assert seen(lake, partition) == [1, 2, 3]
    head = lake.state.head(partition)
    assert (head.version, head.batch, head.position, head.intent) == (1, 1, instant(1, 9), None)


def test_a_batch_without_rows_is_a_batch(lake: Lake, partition: Partition) -> None:
    manifest = put(lake, partition, Rows([]), high=instant(1, 9))
    assert (manifest.parts, manifest.rows) == ((), 0)
    assert manifest.schema_() == pa.schema([("id", pa.int64())])
    assert [one.object_key for one in partition_manifests(lake, partition)] == [manifest.object_key]


@pytest.mark.parametrize("layer", ["raw", "curated"])
def test_killed_after_any_call_of_a_commit_the_next_run_ends_where_an_undisturbed_one_does(
    lake: Lake, tenant: TenantId, layer: Layer
) -> None:
    with watched(lake.storage.aws) as calls:
        put(lake, Partition(layer, tenant, "crm.clean", day(1)), ids(1, 2, 3), high=instant(1, 9))
    assert {"GetItem", "UpdateItem", "PutObject", "GetObject", "TransactWriteItems"} <= set(calls.made)
    for number in range(1, len(calls.made) + 1):
        one = Partition(layer, tenant, f"crm.killed_{number}", day(1))
        with watched(lake.storage.aws, limit=number), pytest.raises(Killed):
            put(lake, one, ids(1, 2, 3), high=instant(1, 9))
        assert seen(lake, one) in ([], [1, 2, 3])
        # what the planner does: nothing is read again when the bookmark stands at the window's end
        if settled_head(lake, one).position is None:
            put(lake, one, ids(1, 2, 3), high=instant(1, 9))
        head = lake.state.head(one)
        assert (number, seen(lake, one), head.batch, head.version, head.position) == (number, [1, 2, 3], 1, 1, instant(1, 9))
        assert head.intent is None


def test_a_run_that_was_overtaken_commits_nothing(lake: Lake, partition: Partition) -> None:
    overtaken = settled_head(lake, partition)

    class Overtaken(Rows):
        def __iter__(self) -> Iterator[pa.RecordBatch]:
            yield self.batches[0]
            put(lake, partition, ids(7, 8))

    slow = Overtaken(ids(1, 2).batches)
    with pytest.raises(CommitConflict) as raised:
        commit(lake, overtaken, Draft(partition, "delta"), slow)
    assert raised.value.tenant == partition.tenant
    assert seen(lake, partition) == [7, 8]
    written = {each.key for each in lake.storage.stored("raw", partition.directory) if each.key.endswith(".parquet")}
    assert {part_key(partition, "00000000-001", 0), part_key(partition, "00000000-002", 0)} == written
    put(lake, partition, ids(9))
    assert seen(lake, partition) == [7, 8, 9]


def test_of_two_runs_at_once_one_wins_and_the_other_is_told(lake: Lake, partition: Partition) -> None:
    head, both, told = settled_head(lake, partition), threading.Barrier(2, timeout=30), list[str]()

    def run(number: int) -> None:
        try:
            both.wait()
            commit(lake, head, Draft(partition, "delta"), ids(number))
            told.append("won")
        except CommitConflict:
            told.append("conflict")

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == ["conflict", "won"]
    assert len(seen(lake, partition)) == 1


def test_a_finished_manifest_is_adopted_and_its_rows_are_not_read_again(lake: Lake, partition: Partition) -> None:
    with watched(lake.storage.aws) as calls:
        put(lake, partition, ids(1))
    before_the_last = calls.made.index("TransactWriteItems")
    with watched(lake.storage.aws, limit=before_the_last), pytest.raises(Killed):
        put(lake, partition, ids(2), high=instant(1, 9))
    assert seen(lake, partition) == [1]
    adopted = settled_head(lake, partition)
    assert (adopted.batch, adopted.position) == (2, instant(1, 9))
    assert seen(lake, partition) == [1, 2]


def test_a_manifest_that_another_run_adopted_first_is_committed_once_and_is_no_conflict(lake: Lake, partition: Partition) -> None:
    head = settled_head(lake, partition)

    class Adopted(Storage):
        def put_new(self, layer: Layer, key: str, body: bytes) -> None:
            super().put_new(layer, key, body)
            settled_head(lake, partition)

    put(Lake(Adopted(lake.storage.aws, lake.storage.prefix), lake.state, lake.clock), partition, ids(1, 2))
    assert seen(lake, partition) == [1, 2]
    assert lake.state.head(partition).version == 1
    with pytest.raises(CommitConflict):
        commit(lake, head, Draft(partition, "delta"), ids(3))


def test_a_manifest_that_is_taken_over_while_it_is_looked_at_is_not_adopted_and_is_no_conflict(lake: Lake, partition: Partition) -> None:
    with watched(lake.storage.aws) as calls:
        put(lake, partition, ids(1))
    finished = calls.made.index("TransactWriteItems")
    with watched(lake.storage.aws, limit=finished), pytest.raises(Killed):
        put(lake, partition, ids(2))

    class TakenOver(Storage):
        def manifest(self, layer: Layer, key: str) -> Manifest | None:
            found = super().manifest(layer, key)
            if found:
                lake.state.begin(lake.state.head(partition), partition)
            return found

    head = settled_head(Lake(TakenOver(lake.storage.aws, lake.storage.prefix), lake.state, lake.clock), partition)
    assert head.intent
    assert (head.batch, head.intent.attempt) == (1, 2)
    commit(lake, head, Draft(partition, "delta"), ids(3))
    assert seen(lake, partition) == [1, 3]


def test_a_schema_that_changes_on_the_way_starts_a_new_part(lake: Lake, partition: Partition) -> None:
    plain, wider = pa.record_batch({"id": [1]}), pa.record_batch({"id": [2], "note__text": ["x"]})
    manifest = put(lake, partition, Rows([plain, wider, wider, plain]))
    assert [part.rows for part in manifest.parts] == [1, 2, 1]
    assert manifest.schema_().names == ["id", "note__text"]
    rows = held(lake, "raw", partition.tenant, partition.table).sort_by("id").to_pylist()
    assert rows[0] == {"id": 1, "note__text": None}
    assert rows[-1] == {"id": 2, "note__text": "x"}


@dataclass(frozen=True)
class Damaging(Storage):
    """An object store that keeps other bytes than it is given."""

    damage: Callable[[bytes], bytes] = bytes

    def upload(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        self.put(layer, key, self.damage(file.read()))


def _another_value(body: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    rows = pq.read_table(pa.BufferReader(body))
    pq.write_table(pa.table({"id": [number + 1 for number in rows["id"].to_pylist()]}), sink, compression="zstd")
    return bytes(sink.getvalue())


def _one_row_less(body: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(body)).slice(1), sink, compression="zstd")
    return bytes(sink.getvalue())


@pytest.mark.parametrize("damage", [_another_value, _one_row_less, lambda body: body[:-9], lambda _: b""])
def test_a_part_that_the_store_kept_otherwise_is_found_before_it_is_committed(
    lake: Lake, partition: Partition, damage: Callable[[bytes], bytes]
) -> None:
    damaging = Lake(Damaging(lake.storage.aws, lake.storage.prefix, damage), lake.state, lake.clock)
    with pytest.raises(LandingMismatch, match="not what was written") as raised:
        put(damaging, partition, ids(1, 2, 3))
    assert (raised.value.table, raised.value.partition) == ("crm.account", str(day(1)))
    assert seen(lake, partition) == []
    put(lake, partition, ids(1, 2, 3))
    assert seen(lake, partition) == [1, 2, 3]


@pytest.mark.parametrize(("service", "operation"), [("s3", "PutObject"), ("dynamodb", "UpdateItem"), ("dynamodb", "TransactWriteItems")])
def test_an_answer_that_is_lost_makes_no_conflict_with_oneself(lake: Lake, partition: Partition, service: str, operation: str) -> None:
    with answer_lost(lake.storage.aws, service, operation) as sent:
        put(lake, partition, ids(1, 2))
    assert len(sent) > 1
    assert seen(lake, partition) == [1, 2]
    assert lake.state.head(partition).version == 1


def test_an_attempt_never_writes_under_a_name_of_another(lake: Lake, partition: Partition) -> None:
    with watched(lake.storage.aws) as calls:
        put(lake, partition, ids(1))
    uploaded = calls.made.index("PutObject") + 1
    for looked_for_a_manifest in (0, 1):
        with watched(lake.storage.aws, limit=uploaded + looked_for_a_manifest), pytest.raises(Killed):
            put(lake, partition, ids(2))
    manifest = put(lake, partition, ids(2))
    assert (manifest.batch, manifest.attempt) == (1, 3)
    parts = [
        each.key for each in lake.storage.stored("raw", partition.directory) if "/00000001-" in each.key and each.key.endswith(".parquet")
    ]
    assert len(set(parts)) == 3
    assert seen(lake, partition) == [1, 2]
