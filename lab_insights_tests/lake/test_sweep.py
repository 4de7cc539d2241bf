"""Orphans are swept and nothing else is: by age, by token, and never a part that another batch names."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from lab_insights.clock import Clock
from lab_insights.lake import parts
from lab_insights.lake.commit import Lake, settled_head
from lab_insights.lake.layout import Layer, Partition, batch_id
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage
from lab_insights.lake.sweep import Swept, retire, sweep, sweep_all
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Killed, Rows, day, held, ids, put, watched

NOW = timedelta(0)


def keys(lake: Lake, tenant: TenantId, layer: Layer = "raw") -> set[str]:
    return {each.key for each in lake.storage.stored(layer, f"tenant={tenant}/")}


def died(lake: Lake, of: Partition, calls: int) -> None:
    """A run that ends after so many calls."""
    with watched(lake.storage.aws, limit=calls), pytest.raises(Killed):
        put(lake, of, ids(1))


def calls_until(lake: Lake, of: Partition, operation: str, nth: int = 1) -> int:
    with watched(lake.storage.aws) as calls:
        put(lake, of, ids(0))
    return [number for number, made in enumerate(calls.made, 1) if made == operation][nth - 1]


@pytest.mark.parametrize("layer", ["raw", "curated"])
def test_what_an_abandoned_attempt_left_goes_once_another_was_committed(lake: Lake, tenant: TenantId, layer: Layer) -> None:
    of = Partition(layer, tenant, "crm.account", day(1))
    uploaded = calls_until(lake, of, "PutObject")
    died(lake, of, uploaded)
    before = keys(lake, tenant, layer)
    assert sweep(lake, tenant, layer, grace=NOW).orphans == 0
    assert keys(lake, tenant, layer) == before
    put(lake, of, ids(2))
    found = sweep(lake, tenant, layer, grace=NOW)
    assert (found.orphans, found.objects, found.young, found.unknown) == (1, 5, 0, 0)
    assert found.bytes > 100
    assert len(keys(lake, tenant, layer)) == 4
    assert sorted(held(lake, layer, tenant, of.table)["id"].to_pylist()) == [0, 2]
    assert sweep(lake, tenant, layer, grace=NOW).orphans == 0


def test_attempts_at_a_batch_that_is_still_to_be_committed_stay_and_go_with_its_commit(lake: Lake, tenant: TenantId) -> None:
    of = Partition("raw", tenant, "crm.account", day(1))
    uploaded = calls_until(lake, of, "PutObject")
    died(lake, of, uploaded)
    died(lake, of, uploaded + 1)
    assert sweep(lake, tenant, "raw", grace=NOW).orphans == 0
    put(lake, of, ids(1))
    assert sweep(lake, tenant, "raw", grace=NOW).orphans == 2
    assert {key.rpartition("/")[2] for key in keys(lake, tenant) if "00000001" in key} == {
        "00000001-003-00000.parquet",
        "00000001-003.manifest.json",
    }


def test_what_a_later_attempt_kept_of_an_earlier_one_stays_also_when_an_equal_snapshot_names_it(
    lake: Lake, tenant: TenantId, clock: Clock
) -> None:
    at_first = dataclasses.replace(lake, clock=clock)
    of = Partition("raw", tenant, "crm.account", day(1))

    @dataclasses.dataclass
    class Kept(Rows):
        """Rows of which an earlier attempt had landed the first, and which an abandoned one wrote another part of."""

        def land(self, storage: Storage, intent: Intent, older: Manifest | None = None) -> parts.Landed:  # noqa: ARG002
            earlier = dataclasses.replace(intent, attempt=0)
            parts.land(storage, earlier, ids(9), reader="001")
            found = [parts.land(storage, earlier, ids(1), reader="000"), parts.land(storage, intent, ids(2), reader="001")]
            return parts.Landed(tuple(part for each in found for part in each.parts), found[0].schema, sum(each.total for each in found))

    put(at_first, of, Kept([]), "snapshot", supersedes=True)
    snapshot(at_first, of, 2, 1)
    clock.set(clock.now() + timedelta(days=31))
    found = sweep(at_first, tenant, "raw", grace=NOW)
    assert (found.retired, found.orphans, found.unknown) == (0, 1, 0)
    assert sorted(held(lake, "raw", tenant, of.table)["id"].to_pylist()) == [1, 2]
    assert len({part.key for manifest in manifests(lake, "raw", tenant, of.table) for part in manifest.parts}) == 2


def test_what_spark_left_of_an_abandoned_attempt_goes_and_what_it_committed_outlives_its_batch(
    lake: Lake, tenant: TenantId, clock: Clock
) -> None:
    at_first = dataclasses.replace(lake, clock=clock)
    of = Partition("raw", tenant, "crm.account", day(1))
    died(at_first, of, calls_until(lake, of, "PutObject"))

    class Tasks(Rows):
        """Rows that a task of Spark landed."""

        def land(self, storage: Storage, intent: Intent, older: Manifest | None = None) -> parts.Landed:  # noqa: ARG002
            abandoned = dataclasses.replace(intent, attempt=intent.attempt - 1)
            parts.land(storage, abandoned, ids(9), reader="000t12")
            storage.put("raw", f"{of.directory}/{batch_id(intent.batch, abandoned.attempt)}-0123456789ab.tasks.json", b"[]")
            return parts.land(storage, intent, ids(1), reader="000t3")

    put(at_first, of, Tasks([]), "snapshot", supersedes=True)
    snapshot(at_first, of, 1)
    clock.set(clock.now() + timedelta(days=31))
    found = sweep(at_first, tenant, "raw", grace=NOW)
    assert (found.unknown, found.orphans >= 3) == (0, True)
    named = [part.key for manifest in manifests(lake, "raw", tenant, of.table) for part in manifest.parts]
    assert [key.rpartition("/")[2].split("-")[2] for key in named] == ["000t3"]
    assert held(lake, "raw", tenant, of.table)["id"].to_pylist() == [1]


def test_a_finished_manifest_that_nobody_adopted_yet_stays_and_is_adopted(lake: Lake, tenant: TenantId) -> None:
    of = Partition("raw", tenant, "crm.account", day(1))
    died(lake, of, calls_until(lake, of, "PutObject", 2))
    assert sweep(lake, tenant, "raw", grace=NOW).orphans == 0
    assert settled_head(lake, of).batch == 2
    assert sorted(held(lake, "raw", tenant, of.table)["id"].to_pylist()) == [0, 1]


def test_what_is_young_and_what_is_not_ours_stays_and_is_counted(lake: Lake, tenant: TenantId) -> None:
    of = Partition("raw", tenant, "crm.account", day(1))
    died(lake, of, calls_until(lake, of, "PutObject"))
    put(lake, of, ids(2))
    lake.storage.put("raw", f"{of.directory}/notes.txt", b"a person's")
    before = keys(lake, tenant)
    assert sweep(lake, tenant, "raw") == Swept(tenant, "raw", objects=6, unknown=1, young=1)
    shown = sweep(lake, tenant, "raw", grace=NOW, dry_run=True)
    assert (shown.orphans, keys(lake, tenant)) == (1, before)


def test_a_commit_between_two_reads_of_the_sweep_is_no_abandoned_attempt(
    lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Partition("raw", tenant, "crm.account", day(1))
    died(lake, of, calls_until(lake, of, "PutObject", 2))
    honest = type(lake.state).head

    def head(self: object, partition: Partition) -> object:
        settled = not adopted and adopted.append(1) is None
        found = honest(lake.state, partition)
        if settled:
            settled_head(lake, partition)
        return found

    adopted: list[int] = []
    monkeypatch.setattr(type(lake.state), "head", head)
    assert sweep(lake, tenant, "raw", grace=NOW).orphans == 0
    assert sorted(held(lake, "raw", tenant, of.table)["id"].to_pylist()) == [0, 1]


def snapshot(lake: Lake, of: Partition, *numbers: int) -> None:
    put(lake, of, ids(*numbers), "snapshot", supersedes=True)


def test_what_was_replaced_long_ago_goes_unless_another_batch_names_its_parts(lake: Lake, tenant: TenantId, clock: Clock) -> None:
    at_first = dataclasses.replace(lake, clock=clock)
    of = Partition("raw", tenant, "crm.account", day(1))
    snapshot(at_first, of, 1)
    snapshot(at_first, of, 1, 2)
    snapshot(at_first, of, 2, 1)
    snapshot(at_first, of, 1, 2)
    assert retire(at_first, tenant, "raw", of.table) == 0
    clock.set(clock.now() + timedelta(days=31))
    assert sweep(at_first, tenant, "raw", grace=NOW, dry_run=True).retired == 2
    found = sweep(at_first, tenant, "raw", grace=NOW)
    # of four snapshots, the first is nobody's, the second's part is named by the fourth, the third named it too
    assert (found.retired, found.orphans) == (2, 3)
    assert {key.rpartition("/")[2] for key in keys(lake, tenant)} == {
        "00000001-001-00000.parquet",
        "00000001-001.manifest.json",
        "00000003-001.manifest.json",
    }
    assert sorted(held(lake, "raw", tenant, of.table)["id"].to_pylist()) == [1, 2]
    assert sweep(at_first, tenant, "raw", grace=NOW).retired == 0


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    made = Clock(tmp_path_factory.mktemp("clock") / "clock")
    made.set(datetime(2026, 3, 1, 12, tzinfo=UTC))
    return made


def test_every_layer_of_every_tenant_has_a_receipt_that_json_holds(lake: Lake, tenant: TenantId) -> None:
    put(lake, Partition("curated", tenant, "account", day(1)), ids(1))
    found = json.loads(json.dumps([dataclasses.asdict(each) for each in sweep_all(lake, [tenant])]))
    assert [(each["layer"], each["objects"], each["orphans"]) for each in found] == [
        ("raw", 0, 0),
        ("curated", 2, 0),
        ("transformed", 0, 0),
    ]
