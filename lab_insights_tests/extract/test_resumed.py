"""A load in ranges that broke off goes on where it was: finished ranges are kept, but for what changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab_insights.extract import readers
from lab_insights.extract.read import SourceRows
from lab_insights.extract.resume import Journal
from lab_insights.extract.snapshot import Snapshot
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_objects
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights_tests.extract.accounts import ACCOUNTS, EACH, full
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import held


class Killed(BaseException):
    """The process ended here."""


@pytest.fixture
def broken_off(lake: Lake, server: Server, accounts: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that was killed when it had written down two finished ranges of four."""
    monkeypatch.setattr(readers, "RESUMABLE_ROWS", 0)
    written, honest = list[int](), Journal.add

    def add(journal: Journal, number: int, *more: Any) -> None:
        honest(journal, number, *more)
        written.append(number)
        if len(written) == 2:
            raise Killed

    with monkeypatch.context() as planted:
        planted.setattr(Journal, "add", add)
        with pytest.raises(Killed):
            full(lake, server, accounts, tenant)
    assert len(written) == 2


def test_after_a_kill_finished_ranges_are_kept(lake: Lake, server: Server, accounts: str, tenant: TenantId, broken_off: None) -> None:
    made = full(lake, server, accounts, tenant)
    assert "4 key ranges of one snapshot, 2 kept from an attempt that broke off" in made.reason
    assert sorted({part.key.split("/")[-1].split("-")[1] for part in made.parts}) == ["001", "002"]
    assert (made.attempt, made.rows, made.ranges) == (2, ACCOUNTS, 4)
    table = held(lake, "raw", tenant, f"lis.{accounts}")
    assert sorted(table["id"].to_pylist()) == list(range(ACCOUNTS))
    assert progress(lake, made) == []
    # its digest is that of the same rows read by one reader, whose load therefore writes nothing new
    again = full(lake, server, accounts, tenant, ranges=1, number=2)
    assert again.parts == made.parts


def test_the_bounds_of_ranges_lie_beside_the_rows_of_their_tenant_and_go_with_them(lake: Lake, tenant: TenantId, broken_off: None) -> None:
    bodies = {each.key: lake.storage.get("raw", each.key) or b"" for each in lake.storage.stored("raw", "") if tenant in each.key}
    [written] = [key for key in bodies if key.endswith(".progress.json")]
    assert json.loads(bodies[written])["ranges"][1]["low"] == ["100"]
    assert {key for key in bodies if key.startswith(written.rpartition("/")[0]) and key.startswith(f"tenant={tenant}/")} == set(bodies)
    erase_objects(lake, "raw", tenant)
    assert [*lake.storage.stored("raw", f"tenant={tenant}/")] == []


def test_a_finished_range_that_changed_since_is_read_again(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, broken_off: None
) -> None:
    server.execute(
        f"UPDATE {{s}}.{accounts} SET amount = amount - 1 WHERE id = 0", f"UPDATE {{s}}.{accounts} SET amount = amount + 1 WHERE id = 399"
    )
    server.execute(
        f"UPDATE {{s}}.{accounts} SET amount = amount - 1 WHERE id = 150", f"UPDATE {{s}}.{accounts} SET amount = amount + 1 WHERE id = 250"
    )
    made = full(lake, server, accounts, tenant)
    assert "kept" not in made.reason
    assert sum(held(lake, "raw", tenant, f"lis.{accounts}")["amount"].to_pylist()) == ACCOUNTS * EACH
    assert {part.key.split("/")[-1].split("-")[1] for part in made.parts} == {"002"}


def test_a_finished_range_that_changes_before_the_snapshot_is_read_again(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, broken_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = readers.shared, list[int]()

    @contextmanager
    def later(rows: SourceRows, count: int) -> Iterator[Snapshot]:
        if not calls:
            server.execute(f"UPDATE {{s}}.{accounts} SET amount = amount + 1")
        calls.append(count)
        with honest(rows, count) as one:
            yield one

    monkeypatch.setattr(readers, "shared", later)
    made = full(lake, server, accounts, tenant)
    assert calls == [2, 4]
    assert "kept" not in made.reason
    assert sum(held(lake, "raw", tenant, f"lis.{accounts}")["amount"].to_pylist()) == ACCOUNTS * (EACH + 1)


def test_a_finished_range_whose_part_is_damaged_is_read_again(
    lake: Lake, server: Server, accounts: str, tenant: TenantId, broken_off: None
) -> None:
    parts = [each.key for each in lake.storage.stored("raw", f"tenant={tenant}/") if each.key.endswith(".parquet")]
    for key in parts:
        lake.storage.put("raw", key, b"damaged")
    made = full(lake, server, accounts, tenant)
    assert not {part.key for part in made.parts} & {*parts}
    assert held(lake, "raw", tenant, f"lis.{accounts}").num_rows == ACCOUNTS


def progress(lake: Lake, made: Manifest) -> list[str]:
    return [each.key for each in lake.storage.stored("raw", made.partition.directory) if each.key.endswith(".progress.json")]
