"""A full load that finds what the newest snapshot holds names that one's parts, however many readers take it, and wherever it is killed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from lab_insights.extract import readers
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake import parts
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.sweep import sweep
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.footprint import named, objects
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import Killed, day, fresh_tenant, held, instant, watched


@dataclasses.dataclass(frozen=True)
class Table:
    """A table without a cursor, of which every load is a full one."""

    lake: Lake
    server: Server
    name: str
    tenant: TenantId
    planned: Plan | None = None

    def plan(self) -> Plan:
        return plan(self.server.table(self.name, tenant=Tenant(id=self.tenant, key="1")))

    def of(self, tenant: TenantId) -> Table:
        """The same table as another tenant's, crawled once for all of them."""
        found = self.planned or self.plan()
        return dataclasses.replace(
            self, tenant=tenant, planned=dataclasses.replace(found, table=dataclasses.replace(found.table, tenant=tenant))
        )

    def full(self, number: int, ranges: int) -> tuple[Manifest, int]:
        """Load all of it as the snapshot of a day; return its manifest, and how many objects were put."""
        its = dataclasses.replace(self.planned or self.plan(), ranges=ranges)
        top = Ceiling(instant(number, 12), "of the test")
        with watched(self.lake.storage.aws) as calls:
            [made] = load(self.lake, self.server.source(), self.lake.storage.aws, its, Request(day(number), "full"), top)
        assert made.ranges == ranges
        return made, calls.made.count("PutObject")

    def rows(self) -> list[int]:
        """The keys that readers see."""
        return sorted(held(self.lake, "raw", self.tenant, f"lis.{self.name}")["id"].to_pylist())

    def lies(self) -> set[str]:
        return objects(self.lake, self.tenant)


@pytest.fixture
def table(lake: Lake, server: Server, tenant: TenantId) -> Iterator[Table]:
    name = f"steady_{fresh_tenant()}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, note VARCHAR(9))",
        f"INSERT INTO {{s}}.{name} VALUES " + ", ".join(f"({number}, 'n{number % 7}')" for number in range(60)),
    )
    yield Table(lake, server, name, tenant)
    server.execute(f"DROP TABLE {{s}}.{name}")


def test_a_full_load_by_any_number_of_readers_that_finds_nothing_new_puts_its_manifest_alone(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 7)
    first, _ = table.full(1, 3)
    every = [first]
    for number, ranges in enumerate((3, 4, 1, 2), 2):
        again, put = table.full(number, ranges)
        every.append(again)
        assert (put, again.parts, again.digest, again.rows) == (1, first.parts, first.digest, 60)
    assert table.lies() == named(every)


@pytest.mark.parametrize(
    ("server", "change"),
    [
        ("mysql", "UPDATE {s}.{name} SET note = 'other' WHERE id = 30"),
        ("mysql", "DELETE FROM {s}.{name} WHERE id = 59"),
        ("postgres", "UPDATE {s}.{name} SET id = id + 1000 WHERE id = 30"),
        ("postgres", "ALTER TABLE {s}.{name} ADD more INT"),
    ],
    indirect=["server"],
)
def test_one_that_finds_something_else_is_written_whole(table: Table, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if table.server.engine == "postgresql":
        monkeypatch.setattr(readers, "RESUMABLE_ROWS", 0)  # whose parts are landed before anybody knows
    first, _ = table.full(1, 3)
    table.server.execute(change.replace("{name}", table.name))
    second, put = table.full(2, 3)
    assert put >= len(second.parts) + 1
    assert not {part.key for part in first.parts} & {part.key for part in second.parts}
    assert table.lies() == named([first, second])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "resumable"),
    [
        pytest.param("postgres", True, id="landed at once"),
        pytest.param("mysql", False, id="waiting", marks=pytest.mark.soak),
    ],
    indirect=["server"],
)
def test_killed_after_any_call_of_one_that_finds_nothing_new_the_next_one_finds_nothing_new(
    table: Table, monkeypatch: pytest.MonkeyPatch, resumable: bool
) -> None:
    if resumable:
        monkeypatch.setattr(readers, "RESUMABLE_ROWS", 0)
    its = table
    for number in itertools.count(1):
        its = its.of(fresh_tenant())
        first, _ = its.full(1, 3)
        with watched(its.lake.storage.aws, limit=number) as calls, suppress(Killed):
            its.full(2, 3)
        if len(calls.made) < number:
            break
        assert its.rows() == list(range(60))
        made, _ = its.full(2, 3)
        assert (made.parts, its.rows()) == (first.parts, list(range(60)))
        sweep(its.lake, its.tenant, "raw", grace=timedelta(0))
        history = [
            its.lake.storage.manifest("raw", batch.manifest) for batch in its.lake.state.history("raw", its.tenant, f"lis.{its.name}")
        ]
        assert its.lies() == named(filter(None, history))
    assert number > (16 if resumable else 9)
