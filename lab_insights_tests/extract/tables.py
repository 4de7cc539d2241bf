"""Small tables of one tenant, at a source and in the lake, for tests that compare the two."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from lab_insights.aws import Aws
from lab_insights.extract import compare
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import Declared, Known, Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lab import pipeline
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.processing import Processing
from lab_insights.lake.tables import relation
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, held, instant

STAMP = {"mysql": "DATETIME(6)", "postgresql": "TIMESTAMP(6)"}
SEQUENCE = {"mysql": "seq AS n FROM {{s}}.seq_1_to_{}", "postgresql": "n FROM generate_series(1, {}) n"}


@dataclasses.dataclass
class Table:
    """One table of one tenant, at the source and in the lake."""

    lake: Lake
    server: Server
    name: str
    key: tuple[str, ...] = ("id",)
    tenant: TenantId = dataclasses.field(default_factory=fresh_tenant)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def plan(self) -> Plan:
        its = self.server.table(self.name, tenant=Tenant(id=self.tenant, key="1"))
        late = Processing(self.lake.state.aws, self.lake.state.prefix).late(self.tenant)
        return plan(its, Declared(self.key, "updated_at"), known=Known(late={each.cursor: each for each in late}))

    def load(self, number: int, hour: float, mode: Mode = "auto", *, reload: bool = False) -> list[Manifest]:
        request, top = Request(day(number), mode, reload=reload, run_id="test"), Ceiling(instant(number, hour), "of the test")
        return load(self.lake, self.server.source(), Aws(), self.plan(), request, top, warn=self.warnings.append)

    def found(self, number: int, hour: float) -> compare.Found:
        return compare.find(self.lake, self.server.source(), Aws(), self.plan(), instant(number, hour))

    def ids(self) -> list[int]:
        """The key of every row that the lake holds, doubled ones twice."""
        return sorted(held(self.lake, "raw", self.tenant, f"lis.{self.name}")["id"].to_pylist())

    def curated(self, number: int) -> dict[Any, bool]:
        """Key and tombstone mark of what a day's curated batch says."""
        made = pipeline.curate_table(self.lake, self.tenant, f"lis.{self.name}", day(number), None, "test")
        rows = relation(self.lake.storage, [made], made.schema_())
        table = rows if isinstance(rows, pa.Table) else rows.to_table()
        return dict(zip(table[self.key[0]].to_pylist(), table["is_deleted"].to_pylist(), strict=True))

    def execute(self, *statements: str) -> None:
        self.server.execute(*(statement.replace("{t}", f"{{s}}.{self.name}") for statement in statements))


@contextmanager
def making(lake: Lake, server: Server) -> Iterator[Any]:
    """Makes tables of a definition, filled by a select from a sequence `n`."""
    made: list[Table] = []

    def table(columns: str, rows: int, values: str, key: tuple[str, ...] = ("id",)) -> Table:
        its = Table(lake, server, f"deletes_{fresh_tenant()}", key)
        made.append(its)
        filled = f"INSERT INTO {{t}} SELECT {values} FROM (SELECT {SEQUENCE[server.engine].format(rows)}) s"
        its.execute(f"CREATE TABLE {{t}} ({columns})", filled)
        return its

    yield table
    for its in made:
        its.execute("DROP TABLE {t}")


def notes(make: Any, server: Server, rows: int = 5000) -> Table:
    made: Table = make(
        f"id INT PRIMARY KEY, note VARCHAR(40), amount DOUBLE PRECISION, updated_at {STAMP[server.engine]} NOT NULL",
        rows,
        "n, concat('note ', n), n / 8.0, '2026-03-01 06:00:00'"
        if server.engine == "mysql"
        else "n, concat('note ', n), n / 8.0, timestamp '2026-03-01 06:00:00'",
    )
    return made
