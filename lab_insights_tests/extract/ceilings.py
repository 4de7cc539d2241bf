"""Ceilings of the tests' servers, and transactions that must be below them."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from lab_insights.clock import Clock
from lab_insights.config import Limits
from lab_insights.extract.window import Ceiling, ceiling
from lab_insights_tests.extract.world import Server

LIMITS = Limits.model_validate({"lag": 300})


def target(server: Server, url: str | None = None) -> sa.URL:
    driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[server.engine]
    return sa.make_url(url or server.url).set(drivername=driver)


def top(server: Server, url: str | None = None, clock: Clock | None = None) -> Ceiling:
    return ceiling(target(server, url), server.engine, LIMITS, clock or Clock())


def begun(connection: sa.Connection) -> datetime:
    """The clock of a connection's server now that its transaction is open: no ceiling may be above it until that is over."""
    clock = "UTC_TIMESTAMP(6)" if connection.dialect.name == "mysql" else "clock_timestamp() AT TIME ZONE 'UTC'"
    told: datetime = connection.exec_driver_sql(f"SELECT {clock}").scalar_one()
    return told.replace(tzinfo=UTC)


def writer(server: Server, name: str) -> sa.Connection:
    """A connection with a transaction that has written and stays open."""
    server.execute(f"DROP TABLE IF EXISTS {{s}}.{name}", f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY)")
    connection = sa.create_engine(target(server), poolclass=sa.NullPool).connect()
    connection.exec_driver_sql(f"INSERT INTO {server.schema}.{name} VALUES (1)")
    assert server.engine != "mysql" or connection.exec_driver_sql("SELECT @@in_transaction").scalar_one() == 1
    return connection
