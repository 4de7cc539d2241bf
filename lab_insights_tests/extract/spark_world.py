"""Two schemas on real servers, loaded by Spark: what its tests on this machine and on a cluster share."""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa
import yaml
from pyspark.sql import SparkSession

from lab_insights.aws import Aws
from lab_insights.config import Config, Limits
from lab_insights.extract.catalog import crawl
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import Machine, plan
from lab_insights.extract.read import SourceRows
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.resources.lake import LakeResource
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.spark_faults import Faulty
from lab_insights_tests.lake.world import day, fresh_tenant, held, instant

PASSWORD = "not-to-be-seen"
# Without Java's second compiler and Spark's own, session and first read take 13 CPU seconds instead of 22.
QUICK = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.eventLog.compress": "false",
}
# A zero date first shows in the fourth row: with two rows a batch, its side column appears in the second batch.
MYSQL = """
CREATE TABLE {schema}.mixed (id BIGINT UNSIGNED PRIMARY KEY, tiny TINYINT UNSIGNED, amount DECIMAL(38,9), born DATE, seen DATETIME(6), name VARCHAR(40),
  picture BLOB, level DOUBLE, odd TIME, updated_at DATETIME(6) NOT NULL) CHARACTER SET utf8mb4;
INSERT INTO {schema}.mixed VALUES
  (1, 0, -0.000000001, '0001-01-01', '1000-01-01', '', x'', -0.0, '00:00:00', '{at}'),
  (2, 1, 1, '1899-12-31', '9999-12-31 23:59:59.999999', 'Zoë 🧪', x'00ff', 0.1, '-838:59:59', '{at}'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}'),
  (4, 1, 1, '0000-00-00', '2020-00-00', 'a''b', NULL, 1, '24:00:00', '{at}'),
  (18446744073709551615, 255, 12345678901234567890123456789.123456789, '2020-02-29', '2020-02-29 12:00:00', 'c', NULL, 1, '24:00:00', '{at}');
CREATE TABLE {schema}.nothing (id INT PRIMARY KEY, amount DECIMAL(10,2))
"""
POSTGRESQL = """
CREATE TABLE {schema}.mixed (id BIGINT PRIMARY KEY, amount NUMERIC(20,4), free NUMERIC, born DATE, seen TIMESTAMPTZ, doc JSONB, raw BYTEA, level REAL,
  flags INT[], updated_at TIMESTAMP NOT NULL);
INSERT INTO {schema}.mixed VALUES
  (1, 'NaN', 1e40, '4000-01-01 BC', 'infinity', '[1.10]', '\\x00ff', 'NaN', ARRAY[ARRAY[1, 2], ARRAY[3, 4]], '{at}'),
  (2, 1234567890123456.7891, 1.10, '2020-02-29', '2020-02-29 12:00:00.123456+02', '[]', '', -0.0, NULL, '{at}'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}');
CREATE TABLE {schema}.nothing (id INT PRIMARY KEY, amount NUMERIC(10,2))
"""


PLANNED = ("mixed", "nothing", "leaving", "accounts", "steady")


class World:
    """Two schemas on real servers; each is a source twice, once for each engine."""

    def __init__(self, urls: dict[str, sa.URL], lake: Lake, home: Path, spark: dict[str, Any]) -> None:
        self.urls, self.lake, self.home, self.spark = urls, lake, home, spark
        self.schema = f"lab_insights_test_{uuid.uuid4().hex[:10]}"
        self.tenant = fresh_tenant()
        self.events = home / "events"
        self.events.mkdir()

    def execute(self, server: str, script: str) -> None:
        engine = sa.create_engine(self.urls[server], isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            if server == "mysql":
                connection.exec_driver_sql("SET sql_mode = ''")
            for statement in script.format(schema=self.schema, at="2026-03-01 06:00:00.000001").split(";\n"):
                connection.exec_driver_sql(statement)

    def configure(self) -> None:
        sources: dict[str, Any] = {}
        for server, url in self.urls.items():
            os.environ[f"SPARK_TEST_{server.upper()}"] = url.render_as_string(hide_password=False)
            source = {
                "engine": server,
                "url": f"env:SPARK_TEST_{server.upper()}",
                "tenancy": {"schema": {"schema": self.schema}},
                "limits": {"batch_rows": 2},
            }
            sources[server] = source
            sources[f"{server}_spark"] = {
                **source,
                "overrides": {name: {"engine": "spark", "ranges": 2} for name in PLANNED},
            }
        content = {
            "aws": {"endpoint_url": self.lake.storage.aws.endpoint_url},
            "lake": {"prefix": self.lake.storage.prefix},
            "snowflake": {"account": "none", "credentials": "env:NONE"},
            "sources": sources,
            "partitions": {"start": date(2026, 1, 1)},
            "clock": {"file": str(self.lake.clock.file)},
            "spark": self.spark
            | {"conf": {**QUICK, "spark.eventLog.enabled": "true", "spark.eventLog.dir": str(self.events), **self.spark.get("conf", {})}},
        }
        (self.home / "lab_insights.yaml").write_text(yaml.safe_dump(content))

    @property
    def resource(self) -> LakeResource:
        return LakeResource(config_path=str(self.home / "lab_insights.yaml"))

    @property
    def config(self) -> Config:
        return self.resource.config()

    @property
    def customer(self) -> Tenant:
        return Tenant(id=self.tenant, key="1", layouts={})

    def load(self, source: str, table: str, number: int, hour: float) -> list[Manifest]:
        """Load a table's day up to an hour, as a raw asset does."""
        self.lake.clock.set(instant(number, hour))
        sources = self.resource.sources()
        return sources.load(sources.table(self.customer, f"{source}.{table}"), Request(day(number)))

    def both(self, server: str, table: str, number: int, hour: float) -> tuple[Manifest, Manifest]:
        """Load a table by each engine, and return the newest manifests."""
        return self.load(server, table, number, hour)[-1], self.load(f"{server}_spark", table, number, hour)[-1]

    def rows(self, source: str, table: str = "mixed") -> pa.Table:
        found = held(self.lake, "raw", self.tenant, f"{source}.{table}")
        return found.sort_by("id")

    def live(self, source: str, table: str, number: int) -> list[Manifest]:
        """The manifests of a table's day."""
        return partition_manifests(self.lake, Partition("raw", self.tenant, f"{source}.{table}", day(number)))

    def parts(self, manifest: Manifest) -> list[str]:
        return [part.key for part in manifest.parts]

    def reader(self, source: str, table: str = "mixed") -> SourceRows:
        sources = self.resource.sources()
        return SourceRows(sources.table(self.customer, f"{source}.{table}"), self.urls[source], Limits.model_validate({"batch_rows": 2}))

    def close(self) -> None:
        self.execute("mysql", "DROP DATABASE IF EXISTS {schema}")
        self.execute("postgresql", "DROP SCHEMA IF EXISTS {schema} CASCADE")
        for server in self.urls:
            os.environ.pop(f"SPARK_TEST_{server.upper()}", None)


@contextmanager
def opened(urls: dict[str, sa.URL], lake: Lake, home: Path, spark: dict[str, Any]) -> Iterator[World]:
    """The two schemas, dropped afterwards."""
    made = World(urls, lake, home, spark)
    try:
        made.execute("mysql", "CREATE DATABASE {schema};\n" + MYSQL)
        made.execute("postgresql", "CREATE SCHEMA {schema};\n" + POSTGRESQL)
        made.configure()
        yield made
    finally:
        made.close()


def broken(
    world: World, spark: SparkSession, tmp_path: Path, server: str, fault: Literal["fails", "is killed", "loses its executor"]
) -> Manifest:
    """Load a table in two ranges, of which one task is broken off once; every row must be there once."""
    tenant = Tenant(id=fresh_tenant(), key="1", layouts={})
    storage = Faulty(world.lake.storage.aws, world.lake.storage.prefix, fault, f"{tmp_path}/fault")
    source = world.config.sources[f"{server}_spark"]
    [its] = [table for table in crawl(f"{server}_spark", source, tenant, Aws()).tables if table.name == "mixed"]
    planned = plan(its, None, source.overrides["mixed"], machine=Machine(connections=4))
    lake, top = dataclasses.replace(world.lake, storage=storage), Ceiling(instant(1, 12), "of the test")
    [made] = load(lake, source, Aws(), planned, Request(day(1), "full"), top, lambda: spark)
    assert held(world.lake, "raw", tenant.id, f"{server}_spark.mixed").num_rows == {"mysql": 5, "postgresql": 3}[server] == made.rows
    return made
