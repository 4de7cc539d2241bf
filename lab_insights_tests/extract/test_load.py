"""Landing real tables: nothing lost, nothing twice, whoever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.config import Override
from lab_insights.errors import LandingMismatch, SourceError
from lab_insights.extract import streams
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import Declared, Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests, relation
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, held, instant


@dataclass
class Loading:
    """One table of one tenant on its way into the lake."""

    lake: Lake
    server: Server
    table: str
    tenant: TenantId = field(default_factory=fresh_tenant)
    cursor: str | None = "updated_at"

    def plan(self) -> Plan:
        its = self.server.table(self.table, tenant=Tenant(id=self.tenant, key="1"))
        return plan(its, Declared(("id",), self.cursor) if self.cursor else None, None)

    def load(self, number: int, hour: float, mode: Mode = "auto", *, planned: Plan | None = None, reload: bool = False) -> list[Manifest]:
        """Load a day as if its ceiling were at an hour of day `number`, or of the next when it is over 24."""
        request = Request(day(number), mode, reload, run_id="test")
        return load(self.lake, self.server.source(), Aws(), planned or self.plan(), request, Ceiling(instant(number, hour), "of the test"))

    def rows(self) -> list[tuple[int, str]]:
        """Every row that was landed, doubled ones twice."""
        if not self.lake.state.batches("raw", self.tenant, f"lis.{self.table}"):
            return []
        table = held(self.lake, "raw", self.tenant, f"lis.{self.table}")
        return sorted(zip(table["id"].to_pylist(), table["note"].to_pylist(), strict=True))

    def batches(self) -> list[tuple[int, str, bool, int]]:
        """Day, kind, whether it is reconstructed, and rows of the live batches."""
        found = [
            manifest
            for number in range(1, 6)
            for manifest in partition_manifests(self.lake, Partition("raw", self.tenant, f"lis.{self.table}", day(number)))
        ]
        return [(each.day.day, each.kind, each.reconstructed, each.rows) for each in found]


@pytest.fixture
def loading(lake: Lake, server: Server) -> Iterator[Loading]:
    """A table with a row at 6 o'clock of each of five days, another exactly at each midnight, and none between."""
    made = Loading(lake, server, f"load_{fresh_tenant()}")
    stamp = "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"
    server.execute(f"CREATE TABLE {{s}}.{made.table} (id INT PRIMARY KEY, note VARCHAR(20), updated_at {stamp} NOT NULL)")
    for number in range(1, 6):
        change(made, number, "at six", number, 6)
        change(made, 10 + number, "at midnight", number, 24)
    yield made
    server.execute(f"DROP TABLE IF EXISTS {{s}}.{made.table}")


def change(loading: Loading, key: int, note: str, number: int, hour: float) -> None:
    """Write a row with the stamp of an hour of a day."""
    at = f"{instant(number, hour):%Y-%m-%d %H:%M:%S}"
    loading.server.execute(
        f"DELETE FROM {{s}}.{loading.table} WHERE id = {key}", f"INSERT INTO {{s}}.{loading.table} VALUES ({key}, '{note}', '{at}')"
    )


def test_a_day_is_read_in_windows_that_touch(loading: Loading) -> None:
    [first] = loading.load(1, 12)
    assert (first.kind, first.load, first.rows, first.window and first.window.low) == ("snapshot", "full", 1, None)
    _, second = loading.load(1, 30)
    assert (second.kind, second.load, second.rows) == ("delta", "incremental", 1)
    assert loading.load(1, 30) == [first, second]
    [third] = loading.load(2, 12)
    assert third.rows == 1
    assert loading.rows() == [(1, "at six"), (2, "at six"), (11, "at midnight")]
    assert all(each.proof and each.proof.rows == each.rows for each in (first, second, third))


def test_a_gap_of_days_is_filled_each_day_with_its_own_rows(loading: Loading) -> None:
    loading.load(1, 12)
    [last] = loading.load(4, 12)
    assert last.day == day(4)
    assert loading.batches() == [
        (1, "snapshot", False, 1),
        (1, "delta", False, 1),
        (2, "delta", False, 2),
        (3, "delta", False, 2),
        (4, "delta", False, 1),
    ]
    assert len(loading.rows()) == len(set(loading.rows())) == 7


def test_days_that_are_asked_for_backwards_hold_the_same_rows(loading: Loading) -> None:
    for number in (3, 1, 2):
        loading.load(number, 24 if number == 3 else 96)
    assert loading.batches() == [(1, "delta", True, 2), (2, "delta", True, 2), (3, "snapshot", False, 6)]
    assert loading.lake.state.head(Partition("raw", loading.tenant, f"lis.{loading.table}", day(1))).position == instant(3, 24)


def test_a_reload_sees_what_came_late_and_keeps_what_came_before_it(loading: Loading) -> None:
    loading.load(1, 24)
    loading.load(2, 24)
    change(loading, 77, "came late", 1, 10)
    assert (77, "came late") not in loading.rows()
    [again] = loading.load(1, 96, reload=True)
    assert again.supersedes
    assert (77, "came late") in loading.rows()
    loading.load(2, 96, reload=True)
    loading.load(3, 24)
    assert len(loading.rows()) == len(set(loading.rows())) == 7
    assert loading.batches()[0] == (1, "snapshot", False, 3)


def test_a_forced_full_load_is_all_there_is_and_the_next_window_begins_at_its_ceiling(loading: Loading) -> None:
    loading.load(1, 12)
    [full] = loading.load(1, 20, "full")
    # rows of later days are in the source of this test already
    assert (full.kind, full.supersedes, full.rows) == ("snapshot", True, 10)
    loading.load(1, 24)
    assert loading.lake.state.head(full.partition).position == instant(1, 24)
    assert loading.batches() == [(1, "snapshot", False, 10), (1, "delta", False, 1)]


@pytest.mark.parametrize("planted", ["nothing", "last row of a batch dropped", "every row dropped", "a row twice"])
def test_what_the_source_counted_is_what_must_arrive(loading: Loading, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    honest = streams.opened
    change(loading, 1, "only one", 1, 6)

    def stream(*given: object) -> Iterator[pa.RecordBatch]:
        for batch in honest(*given):
            if planted == "last row of a batch dropped":
                yield batch.slice(0, max(batch.num_rows - 1, 0))
            elif planted != "every row dropped":
                yield from [batch, batch.slice(0, 1)][: 2 if planted == "a row twice" else 1]

    monkeypatch.setattr(streams, "opened", stream)
    for hour in (5, 6, 96):  # windows of no row, one row and two
        if planted == "nothing" or (planted, hour) == ("a row twice", 5):
            loading.load(1, hour, reload=True)
            continue
        with pytest.raises(LandingMismatch, match="The source counted"):
            loading.load(1, hour)
        assert loading.rows() == []


def test_a_source_that_breaks_off_leaves_nothing_behind_that_readers_see(loading: Loading) -> None:
    planned = loading.plan()
    loading.load(1, 12, planned=planned)
    loading.server.execute(f"DROP TABLE {{s}}.{loading.table}")
    with pytest.raises(SourceError, match="gone since it was crawled"):
        loading.load(2, 12, planned=planned)
    assert len(loading.rows()) == 1


def test_rows_whose_cursor_is_null_are_not_lost(lake: Lake, server: Server) -> None:
    made = Loading(lake, server, f"nulls_{fresh_tenant()}")
    stamp = "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"
    server.execute(
        f"CREATE TABLE {{s}}.{made.table} (id INT PRIMARY KEY, note VARCHAR(20), updated_at {stamp} NULL)",
        f"INSERT INTO {{s}}.{made.table} VALUES (1, 'stamped', '2026-03-01 06:00:00'), (2, 'never stamped', NULL)",
    )
    made.load(1, 12)
    server.execute(f"INSERT INTO {{s}}.{made.table} VALUES (3, 'nor this', NULL)")
    made.load(1, 24)
    assert made.rows() == [(1, "stamped"), (2, "never stamped"), (3, "nor this")]
    server.execute(f"DROP TABLE {{s}}.{made.table}")


def test_a_table_without_a_key_is_a_snapshot_that_replaces_the_last(lake: Lake, server: Server) -> None:
    made = Loading(lake, server, f"keyless_{fresh_tenant()}", cursor=None)
    server.execute(
        f"CREATE TABLE {{s}}.{made.table} (id INT, note VARCHAR(20))", f"INSERT INTO {{s}}.{made.table} VALUES (1, 'x'), (1, 'x'), (2, 'y')"
    )
    made.load(1, 12)
    server.execute(f"DELETE FROM {{s}}.{made.table} WHERE id = 2")
    [only] = made.load(1, 24)
    assert (only.kind, only.key, only.rows) == ("snapshot", (), 2)
    assert made.rows() == [(1, "x"), (1, "x")]
    server.execute(f"DROP TABLE {{s}}.{made.table}")


def test_a_column_that_came_later_is_null_in_what_was_landed_before(loading: Loading) -> None:
    [before] = loading.load(1, 24)
    loading.server.execute(f"ALTER TABLE {{s}}.{loading.table} ADD COLUMN extra VARCHAR(9) DEFAULT 'new'")
    [after] = loading.load(2, 24)
    for manifest, value in ((before, None), (after, "new")):
        rows = relation(loading.lake.storage, [manifest], after.schema_())
        assert rows.to_pydict()["extra"] == [value] * manifest.rows
        assert manifest.rows


def test_a_persons_word_about_a_table_reaches_its_load(loading: Loading) -> None:
    its = plan(loading.server.table(loading.table, tenant=Tenant(id=loading.tenant, key="1")), None, Override(load="full"))
    [made] = loading.load(1, 12, planned=its)
    assert (made.kind, made.rows) == ("snapshot", 10)
    assert made.reason == "declared: full; of the test"
