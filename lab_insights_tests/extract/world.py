"""Source servers as tests use them: a schema of their own, its tables crawled, planned and read by the product's code."""

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import Engine, Limits, Source
from lab_insights.extract import databases
from lab_insights.extract.catalog import Catalog, SourceTable, crawl
from lab_insights.extract.plan import Plan, plan
from lab_insights.extract.read import SourceRows
from lab_insights.lake.commit import Facts
from lab_insights.names import quoted
from lab_insights.tenants.registry import Tenant

AURORA = Tenant.model_validate({"id": "aurora", "key": "12"})
LONG = "12345678901234567890123456789012345.123456789012345678901234567891"
"""A number of more digits than any type of ours holds."""


@dataclass
class Server:
    """One schema of our own on a server."""

    engine: Engine
    url: str
    schema: str = field(default_factory=lambda: f"lab_insights_test_{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.own = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self.variable = f"URL_OF_{self.schema.upper()}"
        os.environ[self.variable] = self.url
        self.execute(f"CREATE SCHEMA {self.schema}{' DEFAULT CHARACTER SET utf8mb4' if self.engine == 'mysql' else ''}")

    def close(self) -> None:
        self.execute(f"DROP SCHEMA {self.schema}{' CASCADE' if self.engine == 'postgresql' else ''}")
        del os.environ[self.variable]

    def execute(self, *statements: str) -> None:
        """Run statements that may name the schema as `{s}`."""
        with self.own.connect() as connection:
            for statement in statements:
                # the cursor itself, so that no percent sign is anybody's placeholder
                connection.connection.cursor().execute(statement.replace("{s}", self.schema))

    def quoted(self, name: str) -> str:
        return quoted(name, "mysql" if self.engine == "mysql" else "postgresql")

    def source(self, **more: Any) -> Source:
        tenancy = more.pop("tenancy", {"schema": {"schema": self.schema}})
        return Source.model_validate({"engine": self.engine, "url": f"env:{self.variable}", "tenancy": tenancy, **more})

    def crawl(self, tenant: Tenant = AURORA, **more: Any) -> Catalog:
        return crawl("lis", self.source(**more), tenant, Aws())

    def table(self, name: str, **more: Any) -> SourceTable:
        [found] = [table for table in self.crawl(**{"include": [glob.escape(name)], **more}).tables if table.name == name]
        return found

    def plan(self, name: str, **more: Any) -> Plan:
        return plan(self.table(name), **more)

    def rows(self, name: str, batch_rows: int = 65_536, **more: Any) -> tuple[pa.Table, Facts]:
        """Read a whole table as a load does, and what the read says of itself."""
        return read(self.table(name, **more), self.url, batch_rows)

    @contextmanager
    def login(self, password: str, *grants: str) -> Iterator[str]:
        """A user of our own, who may do what `grants` say; yields its URL."""
        user = f"lab_t_{uuid.uuid4().hex[:10]}"
        who, end = (f"'{user}'@'%'", "DROP USER") if self.engine == "mysql" else (f'"{user}"', "DROP ROLE")
        secret = password.replace("'", "''")
        kind = "CREATE USER {} IDENTIFIED BY '{}'" if self.engine == "mysql" else "CREATE ROLE {} LOGIN PASSWORD '{}'"
        self.execute(kind.format(who, secret), *(grant.format(who=who, s=self.schema) for grant in grants))
        target = sa.make_url(self.url).set(username=user, password=password)
        try:
            yield target.render_as_string(hide_password=False)
        finally:
            databases.engine.cache_clear()
            if self.engine == "postgresql":
                self.execute(f"DROP OWNED BY {who}")
            self.execute(f"{end} {who}")


def read(table: SourceTable, url: str, batch_rows: int = 65_536) -> tuple[pa.Table, Facts]:
    """Read a crawled table as a load does."""
    driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[table.engine]
    rows = SourceRows(table, sa.make_url(url).set(drivername=driver), Limits.model_validate({"batch_rows": batch_rows}))
    batches = list(rows)
    tables = [pa.Table.from_batches([batch]) for batch in batches] or [rows.schema.empty_table()]
    return pa.concat_tables(tables, promote_options="default"), rows.facts()


def arrived(server: Server, kind: str, *literals: str) -> tuple[dict[str, list[Any]], dict[str, str], pa.Schema]:
    """Put literals into a column `v` of a type; return what arrives by column, the fidelity and the schema."""
    name = f"v_{uuid.uuid4().hex[:10]}"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, v {kind} NULL)")
    for number, literal in enumerate((*literals, "NULL")):
        server.execute(f"INSERT INTO {{s}}.{name} VALUES ({number}, {literal})")
    table, facts = server.rows(name)
    assert facts.proof
    assert facts.proof.rows == table.num_rows == len(literals) + 1
    table = table.sort_by("id").drop_columns("id")
    columns = table.to_pydict()
    assert columns["v"][-1] is None
    return {column: values[:-1] for column, values in columns.items()}, facts.fidelity, table.schema
