"""CPU seconds of work that shares a process."""

from __future__ import annotations

import pytest

from lab_insights.lake import meter
from lab_insights.lake.layout import Partition
from lab_insights.lake.meter import Meter
from lab_insights_tests.lake.world import FIRST, fresh_tenant, ids, make_lake, put


def test_what_the_process_used_is_split_among_those_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr(meter.time, "process_time", lambda: next(used))
    its = Meter()
    with its.metered() as one:
        with its.metered() as other:
            pass
        assert (one.seconds, other.seconds) == (4 + 3, 3)
    assert (one.seconds, other.seconds) == (8, 3)


def test_nobody_is_charged_for_what_was_used_before(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([1.0, 2.0, 100.0, 101.0])
    monkeypatch.setattr(meter.time, "process_time", lambda: next(used))
    its = Meter()
    for _ in range(2):
        with its.metered() as share:
            pass
        assert share.seconds == 1


def test_a_batch_says_what_it_used_and_how_much_of_each_column_is_missing(
    aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")
    batch = put(lake, Partition("raw", fresh_tenant(), "lis.result", FIRST), ids(1, None, 3, None))  # type: ignore[arg-type]
    assert batch.cpu_seconds is not None
    assert batch.cpu_seconds > 0
    assert [part.nulls for part in batch.parts] == [{"id": 2}]
    assert lake.storage.manifest("raw", batch.object_key) == batch
