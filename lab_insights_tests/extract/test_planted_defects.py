"""The faults that lose, double or alter rows in loaders, planted one at a time: with each the invariant fails that holds without it."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from lab_insights.errors import LabInsightsError
from lab_insights.extract import read, readers
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import Declared, Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake import commit as protocol
from lab_insights.lake import parts
from lab_insights.lake.commit import Lake, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import Head, Intent, State
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.verify.raw import verify_raw
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import Killed, day, fresh_tenant, held, instant, watched

pytestmark = pytest.mark.slow
Planted = Callable[[pytest.MonkeyPatch], None]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of one tenant at a source, and what became of it in the lake."""

    lake: Lake
    server: Server
    name: str
    tenant: TenantId
    ranges: int = 1

    def plan(self) -> Plan:
        declared = Declared(("id",), None if self.ranges > 1 else "updated_at")
        found = plan(self.server.table(self.name, tenant=Tenant(id=self.tenant, key="1")), declared, None)
        return dataclasses.replace(found, engine="arrow", ranges=self.ranges)

    def load(self, number: int, hour: float, mode: Mode = "auto") -> None:
        ceiling = Ceiling(instant(number, hour), "of the test")
        load(self.lake, self.server.source(), self.lake.storage.aws, self.plan(), Request(day(number), mode), ceiling)

    def partition(self, number: int = 1) -> Partition:
        return Partition("raw", self.tenant, f"lis.{self.name}", day(number))

    def at_source(self) -> list[tuple[int | None, str]]:
        with self.server.own.connect() as connection:
            found = connection.exec_driver_sql(f"SELECT id, note FROM {self.server.schema}.{self.name}").fetchall()
        return sorted(((row[0], row[1]) for row in found), key=str)

    def check(self) -> None:
        """Every row of the source is in the lake once, as it is there, and what lies there is what was committed."""
        rows = held(self.lake, "raw", self.tenant, f"lis.{self.name}")
        landed = sorted(zip(rows["id"].to_pylist(), rows["note"].to_pylist(), strict=True), key=str)
        assert landed == self.at_source()
        assert {finding.status for finding in verify_raw(self.lake, self.tenant, f"lis.{self.name}", None)} == {"ok"}


@pytest.fixture
def table(lake: Lake, server: Server, tenant: TenantId) -> Iterator[Table]:
    """Four rows: two within the first day, one at the instant at which the next begins, and one within that."""
    name = f"planted_{fresh_tenant()}"
    stamp = "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT, note VARCHAR(9), updated_at {stamp} NOT NULL)")
    for number, (at, note) in enumerate((("01 06:00:00", "a"), ("01 12:00:00", "b"), ("02 00:00:00", "c"), ("02 06:00:00", "d")), 1):
        server.execute(f"INSERT INTO {{s}}.{name} VALUES ({number}, '{note}', '2026-03-{at}')")
    yield Table(lake, server, name, tenant)
    server.execute(f"DROP TABLE {{s}}.{name}")


def holds(planted: bool, scenario: Callable[[], None]) -> None:
    """A scenario ends well, and when the defect is planted it does not."""
    if not planted:
        scenario()
        return
    with pytest.raises((AssertionError, LabInsightsError)):
        scenario()


def windows(table: Table) -> None:
    for number, hour in ((1, 8), (1, 12), (1, 24), (2, 12)):
        table.load(number, hour)
    table.check()


def last_row_of_a_batch_dropped_by_the_reader(patch: pytest.MonkeyPatch) -> None:
    honest = read.SourceRows._heard
    patch.setattr(read.SourceRows, "_heard", lambda self, batch: (rows := honest(self, batch)).slice(0, max(rows.num_rows - 1, 0)))


def last_row_of_a_batch_dropped_by_the_writer(patch: pytest.MonkeyPatch) -> None:
    honest = parts.Writing._write
    patch.setattr(
        parts.Writing, "_write", lambda self, batch: honest(self, batch.slice(0, batch.num_rows - 1)) if batch.num_rows > 1 else None
    )


def _compared(patch: pytest.MonkeyPatch, honest: Any, planted: Any) -> None:
    """Compare the cursor otherwise than the windows say; the count of the source is wrong alike."""
    conditions = read.conditions

    def other(*given: Any, **more: Any) -> list[sa.ColumnElement[bool]]:
        found = conditions(*given, **more)
        return [planted(each.left, each.right) if getattr(each, "operator", None) is honest else each for each in found]

    patch.setattr(read, "conditions", other)


def less_for_less_or_equal(patch: pytest.MonkeyPatch) -> None:
    _compared(patch, operator.le, operator.lt)


def greater_or_equal_for_greater(patch: pytest.MonkeyPatch) -> None:
    _compared(patch, operator.gt, operator.ge)


def a_value_altered_on_the_way(patch: pytest.MonkeyPatch) -> None:
    honest = read.cast

    def cast(batch: pa.RecordBatch, shipped: Any) -> pa.RecordBatch:
        found = honest(batch, shipped)
        return found.set_column(0, found.schema.field(0), pa.array([0] * found.num_rows, found.schema.field(0).type))

    patch.setattr(read, "cast", cast)


@pytest.mark.parametrize(
    "defect",
    [
        None,
        last_row_of_a_batch_dropped_by_the_reader,
        last_row_of_a_batch_dropped_by_the_writer,
        less_for_less_or_equal,
        greater_or_equal_for_greater,
        a_value_altered_on_the_way,
    ],
)
def test_windows_that_touch(table: Table, monkeypatch: pytest.MonkeyPatch, defect: Planted | None) -> None:
    table.server.execute(f"INSERT INTO {{s}}.{table.name} SELECT id + 10, note, updated_at FROM {{s}}.{table.name}")
    if defect:
        defect(monkeypatch)
    holds(defect is not None, lambda: windows(table))


@pytest.mark.parametrize("planted", [False, True], ids=["clean", "planted"])
def test_rows_whose_key_is_null(table: Table, monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    table.server.execute(f"CREATE INDEX {table.name}_id ON {{s}}.{table.name} (id)")
    ranged = dataclasses.replace(table, ranges=3)
    for note in "ef":
        table.server.execute(f"INSERT INTO {{s}}.{table.name} VALUES (NULL, '{note}', '2026-03-01 07:00:00')")
    honest, cuts = readers.ranges_of, list[int]()

    def ranges_of(*given: Any) -> Any:
        found = honest(*given)
        cuts.append(len(found))
        return [each for each in found if not each.nulls] if planted else found

    monkeypatch.setattr(readers, "ranges_of", ranges_of)

    def scenario() -> None:
        ranged.load(2, 24, "full")
        ranged.check()

    holds(planted, scenario)
    assert cuts[0] > 1


def bookmark_before_manifest(patch: pytest.MonkeyPatch) -> None:
    put, committed, waiting = protocol._put_manifest, State.commit, list[tuple[Lake, Manifest]]()

    def commit(self: State, head: Head, intent: Intent, manifest: Manifest) -> Head:
        moved = committed(self, head, intent, manifest)
        while waiting:
            put(*waiting.pop())
        return moved

    patch.setattr(protocol, "_put_manifest", lambda lake, manifest: waiting.append((lake, manifest)))
    patch.setattr(State, "commit", commit)


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
@pytest.mark.parametrize("planted", [False, True], ids=["clean", "planted"])
def test_a_run_that_dies_after_any_call(table: Table, monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    with watched(table.lake.storage.aws) as calls:
        table.load(1, 12)
    if planted:
        bookmark_before_manifest(monkeypatch)

    def scenario() -> None:
        for number in range(1, len(calls.made) + 1):
            killed = dataclasses.replace(table, tenant=fresh_tenant())
            with watched(table.lake.storage.aws, limit=number), suppress(Killed):
                killed.load(1, 12)
            for again in ((1, 12), (2, 12)):
                killed.load(*again)
            killed.check()

    holds(planted, scenario)


def shared_staging(patch: pytest.MonkeyPatch) -> None:
    honest = parts.part_key
    patch.setattr(parts, "part_key", lambda partition, name, chunk: honest(partition, name.partition("-")[0], chunk))


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
@pytest.mark.parametrize("planted", [False, True], ids=["clean", "planted"])
def test_a_writer_that_was_overtaken(table: Table, monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    if planted:
        shared_staging(monkeypatch)
    settled_head(table.lake, table.partition())
    honest = parts._PartWriter.land
    slow = [True]

    def land(self: Any, storage: Any, partition: Partition) -> Any:
        if slow.pop() if slow else False:
            # meanwhile another run takes the window over, and its rows have changed
            table.server.execute(f"UPDATE {{s}}.{table.name} SET note = 'new' WHERE id = 1")
            table.load(2, 12)
        return honest(self, storage, partition)

    monkeypatch.setattr(parts._PartWriter, "land", land)

    def scenario() -> None:
        with suppress(LabInsightsError):
            table.load(2, 12)
        table.check()

    holds(planted, scenario)
