"""The event log of the local stack: Dagster's own files, written a batch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from lab_insights import event_log
from lab_insights.event_log import EventLog
from lab_insights.local import settings

KEY = dg.AssetKey("table")
DAYS = [f"2026-03-0{day}" for day in range(1, 6)]


@dg.asset(name="table", partitions_def=dg.StaticPartitionsDefinition(DAYS), backfill_policy=dg.BackfillPolicy.single_run())
def table() -> None:
    """All days in one run, so that their materializations are one batch."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    (tmp_path / "dagster.yaml").write_text(str(settings.dagster(tmp_path)))
    return tmp_path


def _materialize(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions([table]).resolve_implicit_global_asset_job_def()
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
    return job.execute_in_process(instance=instance, tags=tags).run_id


def _days(log: SqliteEventLogStorage) -> list[str]:
    found = log.fetch_materializations(KEY, limit=100).records
    return sorted(str(record.partition_key) for record in found)


def test_a_batch_is_what_dagsters_own_storage_reads(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = _materialize(instance)
        told = [(event.dagster_event_type, event.message) for event in instance.all_logs(run)]
    (home / "dagster.yaml").write_text(str({"storage": {"sqlite": {"base_dir": str(home / "storage")}}}))
    with dg.DagsterInstance.from_config(str(home)) as plain:
        assert not isinstance(plain.event_log_storage, EventLog)
        assert [(event.dagster_event_type, event.message) for event in plain.all_logs(run)] == told
        assert _days(plain.event_log_storage) == DAYS
        [record] = plain.get_asset_records([KEY])
        newest = record.asset_entry.last_materialization_record
        assert newest
        assert newest.storage_id == plain.event_log_storage.fetch_materializations(KEY, limit=1).records[0].storage_id
        assert record.asset_entry.last_run_id == run


def test_what_is_newest_of_an_asset_is_written_once_a_batch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    values = SqliteEventLogStorage._get_asset_entry_values

    def counted(self: EventLog, event: Any, *more: Any) -> Any:
        written.append(event.dagster_event_type)
        return values(self, event, *more)

    monkeypatch.setattr(SqliteEventLogStorage, "_get_asset_entry_values", counted)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        _materialize(instance)
    assert written.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 1


def test_a_batch_that_fails_half_way_leaves_nothing_and_dagster_stores_its_events_one_by_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    store = EventLog._store_asset_event

    def third_fails(self: EventLog, connection: Any, event: Any, number: int) -> None:
        if event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            seen.append(event)
            if len(seen) == 3:
                raise RuntimeError("the disk is full")
        store(self, connection, event, number)

    monkeypatch.setattr(EventLog, "_store_asset_event", third_fails)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        _materialize(instance)
        assert _days(instance.event_log_storage) == DAYS
    assert len(seen) == 3 + len(DAYS)
    assert "the disk is full" in capsys.readouterr().err


def test_whether_a_table_is_there_is_asked_once_for_all_events(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = SqliteEventLogStorage.has_table

    def counted(self: SqliteEventLogStorage, name: str) -> bool:
        asked.append(name)
        return real(self, name)

    monkeypatch.setattr(SqliteEventLogStorage, "has_table", counted)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        _materialize(instance)
        assert sorted(asked) == sorted(set(asked))
        asked.clear()
        assert not instance.event_log_storage.has_table("to_come")
        assert not instance.event_log_storage.has_table("to_come")
        assert asked == ["to_come", "to_come"], "a table that is not there may come"


def test_tenants_are_seen_at_once_where_they_are_added_and_a_second_later_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(event_log.time, "monotonic", lambda: now)
    with dg.DagsterInstance.from_config(str(home)) as here, dg.DagsterInstance.from_config(str(home)) as there:
        assert here.get_dynamic_partitions("tenants") == there.get_dynamic_partitions("tenants") == []
        here.add_dynamic_partitions("tenants", ["birchwood", "cedar"])
        assert here.get_dynamic_partitions("tenants") == ["birchwood", "cedar"]
        here.delete_dynamic_partition("tenants", "birchwood")
        assert here.get_dynamic_partitions("tenants") == ["cedar"]
        assert there.get_dynamic_partitions("tenants") == []
        now += 1.1
        assert there.get_dynamic_partitions("tenants") == ["cedar"]
