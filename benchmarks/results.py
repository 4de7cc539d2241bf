"""The table that is extracted: laboratory results, made by the server itself in a schema of our own that is dropped at the end.

Sixteen columns, as laboratory systems have them: ids, short texts, decimals, a flag, instants; nulls where a result is text or not yet there. Rows are a
function of their number, so both servers hold the same.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sa

Server = Literal["mariadb", "postgresql"]
TABLE = "lab_result"
# Rows of one INSERT: the server keeps what it would need to undo one.
_AT_ONCE = 500_000
_DEFAULT_URLS: dict[Server, str] = {"mariadb": "mysql://root@127.0.0.1:3306", "postgresql": "postgresql://postgres@127.0.0.1:5432/postgres"}
_COLUMNS = """
  result_id BIGINT NOT NULL PRIMARY KEY, order_id BIGINT NOT NULL, specimen_id INTEGER NOT NULL, accession VARCHAR(20) NOT NULL,
  loinc VARCHAR(10) NOT NULL, test_name VARCHAR(60) NOT NULL, value_numeric DECIMAL(12,4), value_text VARCHAR(80), unit VARCHAR(16),
  reference_low DECIMAL(12,4), reference_high DECIMAL(12,4), abnormal_flag VARCHAR(2), instrument_id SMALLINT, status VARCHAR(12) NOT NULL,
  resulted_at {instant}, updated_at {touched}
"""
# `{n}` is a row's number from 0, `{div}` the division of integers, `{text}` the type of a cast to text; `{resulted}` and `{updated}` are instants.
_ROW = """
  {n} + 1, ({n} {div} 6) + 1, ({n} {div} 3) + 1, CONCAT('A26-', LPAD(CAST(({n} {div} 6) AS {text}), 9, '0')),
  CONCAT(CAST(1000 + {n} % 89 AS {text}), '-', CAST({n} % 9 AS {text})), CONCAT('Analyte ', CAST({n} % 89 AS {text}), ' in serum or plasma'),
  CASE WHEN {n} % 10 <> 0 THEN ({n} * 7919 % 10000000) / 10000.0 END, CASE WHEN {n} % 10 = 0 THEN CONCAT('not detected at 1:', CAST({n} % 640 AS {text})) END,
  CASE WHEN {n} % 10 <> 0 THEN 'mmol/L' END, CASE WHEN {n} % 10 <> 0 THEN ({n} % 89) * 1.25 END,
  CASE WHEN {n} % 10 <> 0 THEN ({n} % 89) * 6.5 + 1 END, CASE WHEN {n} % 13 = 0 THEN 'HH' WHEN {n} % 7 = 0 THEN 'L' END,
  CASE WHEN {n} % 50 <> 0 THEN {n} % 31 END, CASE WHEN {n} % 20 = 0 THEN 'preliminary' ELSE 'final' END,
  CASE WHEN {n} % 25 <> 0 THEN {resulted} END, {updated}
"""


def servers(only: str = "") -> list[Server]:
    """Return the servers to measure: all, or the one called `only`."""
    return [name for name in _DEFAULT_URLS if only in {"", name}]


@dataclass
class World:
    """One schema of our own on one server."""

    server: Server
    schema: str = field(default_factory=lambda: f"lab_insights_bench_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        address = self.url = os.environ.get(f"BENCH_{self.server.upper()}_URL", _DEFAULT_URLS[self.server])
        driver = {"mariadb": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[self.server]
        if self.mysql:
            self.url = sa.make_url(self.url).set(database=self.schema).render_as_string(hide_password=False)
        self._engine = sa.create_engine(sa.make_url(address).set(drivername=driver), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    @property
    def mysql(self) -> bool:
        return self.server == "mariadb"

    def execute(self, *statements: str) -> None:
        with self._engine.connect() as connection:
            for statement in statements:
                connection.connection.cursor().execute(statement)

    def create(self, table: str, rows: int, first: int = 0) -> None:
        """Create a table of `rows` results, the instants of which lie before today's."""
        if self.mysql:
            touched = "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
            words = {"div": "DIV", "text": "CHAR", "resulted": "TIMESTAMPADD(SECOND, n, '2026-01-05 07:00:00')"}
            words["updated"] = "TIMESTAMPADD(MICROSECOND, n * 1001, '2026-02-01 00:00:00')"
            columns, numbers = (
                _COLUMNS.format(instant="DATETIME", touched=touched),
                f"(SELECT seq AS n FROM {self.schema}.seq_{{low}}_to_{{high}}) s",
            )
        else:
            words = {"div": "/", "text": "TEXT", "resulted": "TIMESTAMP '2026-01-05 07:00:00' + n * INTERVAL '1 second'"}
            words["updated"] = "TIMESTAMPTZ '2026-02-01 00:00:00+00' + n * INTERVAL '1001 microseconds'"
            columns = _COLUMNS.format(instant="TIMESTAMP(0)", touched="TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()")
            numbers = "(SELECT n FROM generate_series({low}::bigint, {high}::bigint) n) s"
        row = _ROW.format(n="n", **words)
        name = f"{self.schema}.{table}"
        self.execute(f"CREATE TABLE {name} ({columns})", f"CREATE INDEX {table}_updated ON {name} (updated_at)")
        for low in range(first, first + rows, _AT_ONCE):
            high = min(low + _AT_ONCE, first + rows) - 1
            self.execute(f"INSERT INTO {name} SELECT {row} FROM {numbers.format(low=low, high=high)}")

    def settle(self, table: str) -> None:
        """Let the server finish what the filling left to do, and read the table once."""
        name = f"{self.schema}.{table}"
        self.execute(f"ANALYZE TABLE {name}" if self.mysql else f"VACUUM ANALYZE {name}", *(() if self.mysql else ("CHECKPOINT",)))
        self.execute(f"SELECT count(*), max(test_name) FROM {name}")

    def change(self, table: str, percent: int, remainder: int) -> None:
        """Change so many percent of the rows as an application does: the cursor moves."""
        moved = "" if self.mysql else ", updated_at = clock_timestamp()"
        held = f"(result_id + {remainder}) % 100 < {percent}"
        self.execute(f"UPDATE {self.schema}.{table} SET value_text = 'corrected {remainder}'{moved} WHERE {held}")


@contextmanager
def world(server: Server) -> Iterator[World]:
    """Create the schema for the block, and drop it."""
    its = World(server)
    its.execute(f"CREATE SCHEMA {its.schema}")
    try:
        yield its
    finally:
        its.execute(f"DROP SCHEMA {its.schema}{'' if its.mysql else ' CASCADE'}")
