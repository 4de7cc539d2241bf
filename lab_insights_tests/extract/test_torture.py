"""Every value of the torture tables is the server's own, whoever reads it back: Arrow, DuckDB, Spark, and the warehouse."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from lab_insights.config import SparkSection
from lab_insights.extract.projection import TEXT_SUFFIX
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation
from lab_insights.resources.spark import session
from lab_insights.warehouse.ddl import AS_TEXT
from lab_insights.warehouse.names import table_name
from lab_insights_tests.extract.journey import Journey
from lab_insights_tests.extract.torture import Torture, same, tortured

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]


@pytest.fixture(scope="module", params=["mysql", "postgres"])
def tables(request: pytest.FixtureRequest) -> Torture:
    """The torture tables, one server after the other."""
    return tortured(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def landed(journey: Journey, tables: Torture) -> Manifest:
    """The table as the Arrow engine landed it."""
    return journey.land(tables.server, journey.plan(tables.server, tables.name))


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    started = session(SparkSection(master="local[1]", conf={"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}))
    yield started
    started.stop()


def by_id(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {int(row["id"]): row for row in rows}


def test_arrow_and_duckdb_read_back_what_the_server_holds(journey: Journey, tables: Torture, landed: Manifest, tmp_path: Path) -> None:
    files = [str(path) for path in journey.files(landed, tmp_path)]
    assert tables.differences(by_id(pq.read_table(files).to_pylist())) == []
    with duckdb.connect() as connection:
        cursor = connection.execute("SELECT * FROM read_parquet($1, union_by_name = true)", [files])
        names = [column[0] for column in cursor.description or ()]
        assert tables.differences(by_id([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])) == []


def test_the_warehouse_holds_what_the_server_holds(journey: Journey, tables: Torture, landed: Manifest) -> None:
    curated = journey.curate(landed.table)
    columns = [name for name in landed.schema_().names if name == "id" or name.removesuffix(TEXT_SUFFIX) in tables.columns]
    rows = [dict(zip(columns, row, strict=True)) for row in journey.warehoused(curated, columns)]
    assert tables.differences(by_id(rows)) == []
    marked = "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'CURATED' AND TABLE_NAME = ? AND COMMENT = ?"
    said = {str(name) for (name,) in journey.session.execute(marked, table_name(curated.table), AS_TEXT)}
    assert said == {name.upper() for name, how in landed.fidelity.items() if how == "text"} != set()


def test_spark_lands_the_same_and_reads_back_what_the_server_holds(
    journey: Journey, tables: Torture, landed: Manifest, spark: SparkSession, tmp_path: Path
) -> None:
    planned = dataclasses.replace(journey.plan(tables.server, tables.name), engine="spark")
    by_spark = journey.land(tables.server, planned, "full", lambda: spark)
    assert by_spark.engine == "spark"
    assert (by_spark.rows, by_spark.fidelity, by_spark.counts) == (landed.rows, landed.fidelity, landed.counts)
    assert by_spark.schema_() == landed.schema_()
    one, other = (relation(journey.lake.storage, [each], landed.schema_()).sort_by("id").to_pylist() for each in (landed, by_spark))
    assert [str(row) for row in one] == [str(row) for row in other]
    frame = spark.read.parquet(*(path.as_uri() for path in journey.files(landed, tmp_path)))
    assert tables.differences(by_id([row.asDict() for row in frame.collect()])) == []


def test_the_fidelity_report_has_a_line_for_every_column_and_the_receipt_counts_what_was_kept_as_text(
    tables: Torture, landed: Manifest
) -> None:
    assert set(landed.fidelity) == {"id", *tables.columns}
    beside = {name.removesuffix(TEXT_SUFFIX) for name in landed.schema_().names if name.endswith(TEXT_SUFFIX)}
    assert beside
    assert {name for name, how in landed.fidelity.items() if "or text in" in how} == beside
    assert {how for name, how in landed.fidelity.items() if name not in beside} <= {"exact", "widened", "text"}
    assert landed.counts == {"quarantined": 0, "kept_as_text": 5 if tables.server.engine == "mysql" else 8}


@pytest.mark.parametrize(
    ("value", "text", "single"),
    [
        (1, "2", False),
        (None, "", False),
        ("", None, False),
        (0.1, "0.2", False),
        (float(np.float32(0.1)), "0.1", False),
        (0.0, "1e-300", False),
        (math.inf, "1e308", False),
        (1e39, "1e40", False),
        (0.1, "0.10001", True),
        (0.0, "1.5e-30", True),
        (math.inf, "3.4028235e38", True),
        (datetime(2026, 1, 1), "2026-01-01 00:00:00.000001", False),
        (date(1, 1, 1), "0002-01-01", False),
        (b"a", "62", False),
    ],
)
def test_the_comparison_of_these_tests_can_fail(value: Any, text: str | None, single: bool) -> None:
    assert not same(value, text, single=single)


def test_only_a_float_of_32_bits_may_be_written_with_its_few_digits(tables: Torture) -> None:
    assert len(tables.singles) == 1
    assert same(float(np.float32(0.1)), "0.1", single=True)
    assert same(0.1, "0.1")
