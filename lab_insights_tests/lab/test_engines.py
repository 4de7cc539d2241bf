"""One definition, two engines: every expression of the product gives the same rows on DuckDB and on Spark.

What is compared is taken from the registries, so a new contract or wide table is compared without a line here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from lab_insights.config import SparkSection
from lab_insights.lab import records, transform, types, unpivot
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT, Curation, contract_schema, curated
from lab_insights.lab.engine import Duck, Query
from lab_insights.lab.lineage import source_columns
from lab_insights.lab.mappings import Mapping, every
from lab_insights.lab.publish import _published
from lab_insights.lab.spark_engine import Spark
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.resources.spark import session
from lab_insights_tests.extract.spark_world import QUICK
from lab_insights_tests.lab.random_rows import STAMP, rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]
ROWS = 200
# Compared in every run: numbers, units and ranges out of text, records of messages, versions, and the wide table that joins most. The soak compares all.
EVERY_RUN = {"result", "result_version", "result_detail"}
TABLES = pytest.mark.parametrize("only", [EVERY_RUN, pytest.param(set[str](), marks=pytest.mark.soak)], ids=["every run", "all"])
# Columns that few rows would meet by otherwise.
MEETING = {"result_component_long": ("order_item_id", "test_code")}
RUN = pa.table({"tenant_id": ["t1"], "as_of": pa.array([date(2026, 3, 1)]), "batch_id": ["b9"]})
# Every type that raw tables have, with names that need quoting in one dialect or the other.
EVERY = pa.schema(
    [
        ("id", pa.int64()), ("u8", pa.uint8()), ("u64", pa.uint64()), ("i16", pa.int16()), ("flag", pa.bool_()),
        ("a`b", pa.float64()), ('x"; DROP TABLE y', pa.float32()), ("it's \\ odd", pa.decimal128(38, 9)), ("small", pa.decimal128(2, 2)),
        ("born", pa.date32()), ("seen", STAMP), ("clock", pa.time64("us")), ("picture", pa.binary()), ("occurrence", pa.string()),
        ("updated_at", STAMP), ("is_deleted", pa.bool_()),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """One session for the module; it reads as many files as there are, and shuffles into two."""
    started = session(SparkSection(master="local[2]", conf={**QUICK, "spark.sql.shuffle.partitions": "2"}))
    yield started
    started.stop()


def differences(name: str, query: Query, inputs: MappingOf[str, pa.Table], spark: SparkSession) -> list[str]:
    """Run a query on both engines, and say which columns differ."""
    with Duck(inputs) as duck:
        duck.run(query)
        ours, checksum = duck.table(), duck.checksum()
    with Spark(inputs, spark) as engine:
        engine.run(query)
        theirs = engine.table()
    with Duck({"theirs": theirs}) as duck:
        duck.run(_whole(theirs.schema))
        if (theirs.num_rows, duck.checksum()) == (ours.num_rows, checksum):
            return [] if ours.num_rows else [f"{name} has no rows to compare"]
    found = [f"{name}.{column}: {sorted(_spelt(ours, column) ^ _spelt(theirs, column))[:6]}" for column in ours.column_names]
    return [f"{name}: {ours.num_rows} and {theirs.num_rows} rows", *(line for line in found if not line.endswith("[]"))]


@functools.cache
def _whole(schema: pa.Schema) -> Query:
    import ibis

    return Query(ibis.table(ibis.Schema.from_pyarrow(schema), name="theirs"))


def _spelt(table: pa.Table, column: str) -> set[str]:
    return {repr(value) for value in table[column].to_pylist()}


def _raw(schema: pa.Schema, keys: tuple[str, ...], seed: int) -> pa.Table:
    """Raw rows of two batches, of which some are tombstones, with stamps that tie."""
    given = rows(schema, ROWS, seed, keys)
    beside = rows(pa.schema([(BATCH, pa.string()), (GONE, STAMP)]), ROWS, seed, (BATCH,))
    at_once = pa.array([datetime(2026, 3, 1, 9)] * ROWS, STAMP)
    whole = given.append_column(BATCH, beside[BATCH].fill_null("b0")).append_column(INGESTED, at_once)
    return whole.append_column(TENANT, pa.array(["t1"] * ROWS)).append_column(GONE, beside[GONE])


def _told(state: pa.Table) -> pa.Table:
    """The rows, of which messages tell every third: what they tell is linked to what others say."""
    systems = [("messages" if number % 3 == 0 else "lis") for number in range(state.num_rows)]
    return state.set_column(state.schema.get_field_index("source_system"), state.schema.field("source_system"), pa.array(systems))


def _raw_schemas(contract: Contract, mapping: Mapping) -> dict[str, pa.Schema]:
    """What a source may give for a contract: everything as text, or everything in its type."""
    if kind := mapping.source.records:
        return {"records": records.schema(kind)}
    kinds = {name: column.type for column in reversed(mapping.read(contract)) for name in column.reads if not column.id}
    names = dict.fromkeys([*mapping.source.key, mapping.source.cursor or "updated_at", *source_columns(contract, mapping)])
    packed = mapping.split.columns if mapping.split else ()
    typed = [(name, types.arrow(kinds[name]) if name in kinds and name not in packed else pa.string()) for name in names]
    return {"text": pa.schema([(name, pa.string()) for name in names]), "typed": pa.schema(typed)}


def _all(checks: list[tuple[str, Query, MappingOf[str, pa.Table]]], spark: SparkSession) -> list[str]:
    with ThreadPoolExecutor(3) as pool:
        return [line for found in pool.map(lambda check: differences(*check, spark), checks) for line in found]


@TABLES
def test_every_source_of_every_contract_is_curated_alike(spark: SparkSession, only: set[str]) -> None:
    checks = []
    for seed, (contract, mapping) in enumerate(every()):
        source = mapping.source
        curation = Curation(source.name, source.key, source.cursor, contract, mapping)
        for how, schema in _raw_schemas(contract, mapping).items() if not only or contract.table in only else ():
            checks.append(
                (f"{contract.table} from {source.name} {how}", curated(schema, curation), {"raw": _raw(schema, source.key, seed)})
            )
    assert len(checks) > len(only or contracts())
    assert _all(checks, spark) == []


@TABLES
def test_every_wide_table_and_what_a_snapshot_displaces_are_made_alike(spark: SparkSession, only: set[str]) -> None:
    checks = []
    tables = [wide for wide in WIDE_TABLES if not only or wide.table in only]
    for wide in tables:
        inputs = {"run": RUN}
        for seed, name in enumerate(wide.inputs):
            keys = contracts()[name].key
            state = _told(rows(contract_schema(contracts()[name]), ROWS, seed, (*keys, "source_updated_at", *MEETING.get(wide.table, ()))))
            inputs |= {f"state_{name}": state, f"delta_{name}": state.slice(0, 3)}
        checks.append((wide.table, transform.transformed(wide), inputs))
    for name in dict.fromkeys(name for wide in tables for name in wide.inputs) if not only else ["result"]:
        before = rows(contract_schema(contracts()[name]), ROWS, 1)
        checks.append((f"displaced {name}", transform.displaced(name), {"before": before, "now": before.slice(9)}))
    assert _all(checks, spark) == []


def test_tables_of_any_type_and_name_are_curated_turned_to_rows_and_published_alike(spark: SparkSession) -> None:
    given = rows(EVERY, ROWS, keys=("id",))
    own = EVERY.remove(len(EVERY) - 1)
    raw = _raw(own, ("id",), 0)
    kept = given.filter(pa.compute.is_valid(given["is_deleted"]))
    assert (
        _all(
            [
                ("generic", curated(own, Curation("crm", ("id",), "updated_at")), {"raw": raw}),
                ("without a key", curated(own, Curation("crm", (), None)), {"raw": raw}),
                ("long", unpivot.unpivoted(EVERY, ("id",)), {"rows": kept, "run": RUN}),
                ("published", _published(own), {"rows": given.select(own.names), "run": RUN}),
            ],
            spark,
        )
        == []
    )
