"""A table of accounts that together hold the same amount at every instant, and a load of it by several readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, instant

ACCOUNTS, EACH = 400, 100


@contextmanager
def filled(server: Server) -> Iterator[str]:
    """A table of accounts with a hundred each, wide enough to take some time to read."""
    name = f"accounts_{fresh_tenant()}"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, amount INT NOT NULL, filler VARCHAR(3000))")
    rows = ", ".join(f"({number}, {EACH}, REPEAT('x', 3000))" for number in range(ACCOUNTS))
    server.execute(f"INSERT INTO {{s}}.{name} VALUES {rows}")
    yield name
    server.execute(f"DROP TABLE IF EXISTS {{s}}.{name}")


def full(lake: Lake, server: Server, table: str, tenant: TenantId, ranges: int = 4, number: int = 1) -> Manifest:
    """Load a whole table with so many readers."""
    its = dataclasses.replace(plan(server.table(table, tenant=Tenant(id=tenant, key="1"))), ranges=ranges)
    [made] = load(lake, server.source(), Aws(), its, Request(day(number)), Ceiling(instant(number, 12), "of the test"))
    return made


def target_of(server: Server) -> sa.URL:
    return sa.make_url(server.url).set(drivername="mysql+pymysql" if server.engine == "mysql" else "postgresql+psycopg2")
