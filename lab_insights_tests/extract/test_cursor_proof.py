"""A cursor that stood still while its row changed is disqualified by the next whole load, durably, and told without a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from lab_insights.aws import Aws
from lab_insights.config import Override
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import Declared, Known, Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.processing import Disqualified, Processing
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, instant


@dataclasses.dataclass
class Loaded:
    """A table of five rows that was landed whole, then loaded again as it is then."""

    lake: Lake
    server: Server
    name: str
    tenant: TenantId
    warnings: list[str] = dataclasses.field(default_factory=list)

    def plan(self, override: Override | None = None) -> Plan:
        its = self.server.table(self.name, tenant=Tenant(id=self.tenant, key="1"))
        proofs = {proof.cursor: proof for proof in self.proofs()}
        return plan(its, Declared(("id",), "updated_at"), override, Known(disqualified=proofs))

    def load(self, number: int, hour: float, mode: Mode = "full") -> None:
        request, top = Request(day(number), mode, run_id="test"), Ceiling(instant(number, hour), "of the test")
        load(self.lake, self.server.source(), Aws(), self.plan(), request, top, warn=self.warnings.append)

    def proofs(self) -> list[Disqualified]:
        return Processing(self.lake.state.aws, self.lake.state.prefix).disqualified(self.tenant)

    def execute(self, *statements: str) -> None:
        self.server.execute(*(statement.replace("{t}", f"{{s}}.{self.name}") for statement in statements))


@pytest.fixture
def table(lake: Lake, server: Server) -> Iterator[Loaded]:
    made = Loaded(lake, server, f"proof_{fresh_tenant()}", fresh_tenant())
    stamp = "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"
    rows = ", ".join(f"({number}, 'note {number}', 0.1, '2026-03-01 0{number}:00:00')" for number in range(1, 6))
    made.execute(
        f"CREATE TABLE {{t}} (id INT PRIMARY KEY, note VARCHAR(40), amount DOUBLE PRECISION, updated_at {stamp} NOT NULL)",
        f"INSERT INTO {{t}} VALUES {rows}",
    )
    made.load(1, 12)
    yield made
    made.execute("DROP TABLE {t}")


def test_a_row_that_changed_under_its_cursor_disqualifies_it_and_the_table_is_loaded_whole_from_then_on(table: Loaded) -> None:
    table.execute("UPDATE {t} SET note = 'secret' WHERE id IN (1, 2)", "UPDATE {t} SET amount = 0.2 WHERE id = 3")
    table.load(1, 13)
    [proof] = table.proofs()
    assert (proof.table, proof.cursor, proof.rows, proof.how) == (f"lis.{table.name}", "updated_at", 3, "a full load")
    [warning] = table.warnings
    assert "3 rows changed and it did not move" in warning
    assert "secret" not in warning
    later = table.plan()
    assert (later.load, later.cursor) == ("full", None)
    assert later.reason.startswith("cursor updated_at is disqualified: 3 rows changed")
    table.load(2, 12, "auto")
    [snapshot] = partition_manifests(table.lake, Partition("raw", table.tenant, f"lis.{table.name}", day(2)))
    assert (snapshot.kind, snapshot.reason.startswith("cursor updated_at is disqualified")) == ("snapshot", True)


def test_rows_whose_cursor_moved_or_that_are_gone_prove_nothing(table: Loaded) -> None:
    table.execute(
        "UPDATE {t} SET note = 'seen', updated_at = '2026-03-01 12:30:00' WHERE id = 1",
        "DELETE FROM {t} WHERE id = 2",
        "INSERT INTO {t} VALUES (6, 'new', 1, '2026-03-01 12:30:00')",
    )
    table.load(1, 13)
    assert (table.proofs(), table.warnings) == ([], [])


def test_a_row_that_is_new_by_an_instant_that_had_been_read_is_told_as_late(table: Loaded) -> None:
    table.execute(
        "INSERT INTO {t} VALUES (6, 'secret', 1, '2026-03-01 11:59:50.25')",
        "UPDATE {t} SET note = 'secret', updated_at = '2026-03-01 11:59:58' WHERE id = 1",
    )
    table.load(1, 13)
    [late] = Processing(table.lake.state.aws, table.lake.state.prefix).late(table.tenant)
    assert (late.table, late.cursor, late.rows, late.seconds, late.lag) == (f"lis.{table.name}", "updated_at", 2, 10, 11)
    [warning] = table.warnings
    assert "2 rows came late by cursor updated_at, up to 0:00:10 (a full load, " in warning
    assert "windows end 11 s earlier. Remedy: keep the clocks of application hosts by NTP" in warning
    assert "secret" not in warning
    assert table.proofs() == []


def test_what_was_seen_by_its_window_is_the_state_that_the_next_snapshot_is_compared_with(table: Loaded) -> None:
    table.execute("UPDATE {t} SET note = 'seen', updated_at = '2026-03-01 12:30:00' WHERE id = 1")
    table.load(1, 13, "incremental")
    table.load(1, 14)
    assert table.proofs() == []
    table.execute("UPDATE {t} SET note = 'unseen' WHERE id = 1")
    table.load(1, 15)
    assert [proof.rows for proof in table.proofs()] == [1]


def test_a_column_that_came_or_changed_its_type_proves_nothing(table: Loaded) -> None:
    table.execute("ALTER TABLE {t} ADD COLUMN extra INT DEFAULT 7")
    kind = "MODIFY amount DECIMAL(10, 4)" if table.server.engine == "mysql" else "ALTER COLUMN amount TYPE NUMERIC(10, 4)"
    table.execute(f"ALTER TABLE {{t}} {kind}")
    table.load(1, 13)
    assert table.proofs() == []


def test_a_person_may_use_a_disqualified_cursor_and_is_told_what_it_costs(table: Loaded) -> None:
    table.execute("UPDATE {t} SET note = 'x' WHERE id = 1")
    table.load(1, 13)
    its = table.plan(Override(load="incremental"))
    assert (its.load, its.cursor) == ("incremental", "updated_at")
    assert "although cursor updated_at is disqualified" in its.reason
    [warning] = table.warnings
    assert "declare `load: incremental`" in warning
