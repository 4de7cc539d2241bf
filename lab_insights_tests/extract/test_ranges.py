"""Key ranges: every row of a table is in exactly one, whatever its key is made of."""

from __future__ import annotations

import dataclasses
import pickle
from collections import Counter

import pytest
import sqlalchemy as sa

from lab_insights.config import Limits
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.ranges import KeyRange
from lab_insights.extract.read import SourceRows
from lab_insights.extract.readers import ranges_of
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import Server, read
from lab_insights_tests.lake.world import fresh_tenant

HOSTILE = ("", " ", "'", "\\", "a%b", "%s", ":x", "ä", "A", "a", "a ", "Å", "ß", "ss", "Zoë 🧪", "日本", "z" * 30)


@pytest.fixture
def table() -> str:
    return f"cut_{fresh_tenant()}"


def rows_of(server: Server, its: SourceTable) -> SourceRows:
    driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[server.engine]
    return SourceRows(its, sa.make_url(server.url).set(drivername=driver), Limits())  # type: ignore[call-arg]


def cuts(server: Server, its: SourceTable, wanted: int = 4, key: tuple[str, ...] | None = None) -> list[KeyRange]:
    return ranges_of(rows_of(server, its), its.key if key is None else key, wanted)


def held(server: Server, its: SourceTable, within: KeyRange, number: str = "n") -> list[int]:
    """The numbers of a range's rows, read as a reader on another machine would read them."""
    rows = pickle.loads(pickle.dumps(dataclasses.replace(rows_of(server, its), within=within)))  # noqa: S301
    found = [each for batch in rows for each in batch.column(batch.schema.names.index(number)).to_pylist()]
    assert rows.facts().proof.rows == len(found)
    return found


def assert_each_row_once(server: Server, its: SourceTable, ranges: list[KeyRange]) -> list[int]:
    """Return how many rows are in each range."""
    parts = [held(server, its, within) for within in ranges]
    every = [number for part in parts for number in part]
    assert Counter(every) == Counter(read(its, server.url)[0]["n"].to_pylist())
    return [len(part) for part in parts]


def make(server: Server, name: str, columns: str, values: list[str], end: str = "") -> SourceTable:
    server.execute(f"CREATE TABLE {{s}}.{name} ({columns}, n INT){end}")
    if values:
        server.execute(f"INSERT INTO {{s}}.{name} VALUES " + ", ".join(f"({value}, {number})" for number, value in enumerate(values)))
    return server.table(name)


def text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def test_dense_numbers_are_cut_evenly_without_walking_them(server: Server, table: str) -> None:
    its = make(server, table, "id BIGINT PRIMARY KEY", [str(number) for number in range(-50, 50)])
    ranges = cuts(server, its)
    assert [(each.low, each.high) for each in ranges] == [(None, ("-25",)), (("-25",), ("0",)), (("0",), ("25",)), (("25",), None)]
    assert assert_each_row_once(server, its, ranges) == [25, 25, 25, 25]


def test_sparse_numbers_are_cut_by_rows_and_not_by_values(server: Server, table: str) -> None:
    its = make(server, table, "id BIGINT PRIMARY KEY", [*(str(number) for number in range(40)), str(2**62)])
    assert max(assert_each_row_once(server, its, cuts(server, its))) <= 11


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_unsigned_numbers_over_two_to_the_63rd_are_in_one_range_each(server: Server, table: str) -> None:
    values = [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]
    its = make(server, table, "id BIGINT UNSIGNED PRIMARY KEY", [str(value) for value in values])
    assert len([size for size in assert_each_row_once(server, its, cuts(server, its)) if size]) == 4
    server.execute(f"DELETE FROM {{s}}.{table}", f"INSERT INTO {{s}}.{table} SELECT 18446744073709551615 - seq, seq FROM {{s}}.seq_0_to_99")
    assert assert_each_row_once(server, its, cuts(server, its)) == [25, 25, 25, 25]


def test_keys_of_several_columns_are_cut_where_the_first_one_stays_the_same(server: Server, table: str) -> None:
    values = [f"{first}, {text(second)}, {third}" for first in (1, 2) for second in ("a", "b'", "c") for third in range(10)]
    its = make(server, table, "a INT, b VARCHAR(9), c DECIMAL(20,3), PRIMARY KEY (a, b, c)", values)
    assert assert_each_row_once(server, its, cuts(server, its)) == [15, 15, 15, 15]
    assert len(cuts(server, its)[1].low or ()) == 3


@pytest.mark.parametrize(
    "collation",
    [
        "utf8mb4_general_ci",
        "utf8mb4_unicode_ci",
        "utf8mb4_bin",
        "utf8mb4_swedish_ci",
        "latin1_swedish_ci",
        "latin1_german2_ci",
        "utf8mb4_nopad_bin",
    ],
)
@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_text_is_cut_as_its_own_collation_orders_it(server: Server, table: str, collation: str) -> None:
    values = [
        f"{text(value)}, {number}"
        for number in range(3)
        for value in HOSTILE
        if not collation.startswith("latin1") or value.isascii() or value in "äÅß"
    ]
    charset = collation.partition("_")[0]
    server.execute(
        f"CREATE TABLE {{s}}.{table} (k VARCHAR(30) CHARACTER SET {charset} COLLATE {collation} NOT NULL, m INT NOT NULL, n INT AUTO_INCREMENT, "
        "PRIMARY KEY (n), KEY (k, m))",
        f"INSERT INTO {{s}}.{table} (k, m) VALUES " + ", ".join(f"({value})" for value in values),
    )
    its = server.table(table)
    ranges = cuts(server, its, 5, ("k", "m"))
    assert len(ranges) == 5
    assert max(assert_each_row_once(server, its, ranges)) < len(values) / 2


@pytest.mark.parametrize("collation", ['"C"', '"default"', '"de-x-icu"'])
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_text_of_postgresql_is_cut_as_its_own_collation_orders_it(server: Server, table: str, collation: str) -> None:
    values = ["'" + value.replace("'", "''") + "'" for value in HOSTILE]
    its = make(server, table, f"k TEXT COLLATE {collation} PRIMARY KEY", values)
    assert max(assert_each_row_once(server, its, cuts(server, its, 5))) <= 5


def test_rows_whose_key_is_null_are_a_range_of_their_own(server: Server, table: str) -> None:
    values = ["1, 1", "1, NULL", "NULL, 1", "NULL, NULL", *(f"{number}, {number}" for number in range(2, 12))]
    its = make(server, table, "a INT NULL, b INT NULL", values)
    server.execute(f"CREATE INDEX {table}_ab ON {{s}}.{table} (a, b)")
    its = server.table(table)
    ranges = cuts(server, its, 4, ("a", "b"))
    assert [each.nulls for each in ranges] == [False, False, False, True]
    assert assert_each_row_once(server, its, ranges)[-1] == 3
    with pytest.raises(AssertionError):  # which a range of nulls that is left out turns red
        assert_each_row_once(server, its, ranges[:-1])


@pytest.mark.parametrize(
    ("server", "kind", "values"),
    [
        ("mysql", "BINARY(4)", ["x'00000000'", "x'27275c25'", "x'7f000000'", "x'80ff00ff'", "x'ffffffff'"]),
        ("mysql", "VARBINARY(9)", ["x''", "x'00'", "x'0000'", "x'27'", "x'ff'"]),
        (
            "mysql",
            "DECIMAL(38,9)",
            ["-99999999999999999999999999999.999999999", "0", "0.000000001", "99999999999999999999999999999.999999999"],
        ),
        ("mysql", "DATETIME(6)", ["'0000-00-00'", "'1000-01-01'", "'2020-02-29 12:00:00.123456'", "'9999-12-31 23:59:59.999999'"]),
        ("mysql", "TIMESTAMP(3)", ["'1970-01-01 00:00:01'", "'2020-02-29 12:00:00.123'", "'2038-01-19 03:14:07.999'"]),
        ("postgres", "UUID", [f"'{digit * 8}-0000-4000-8000-000000000000'" for digit in "0189af"]),
        ("postgres", "NUMERIC", ["'-1e300'", "0", "1e-20", "1.10", "'NaN'"]),
        ("postgres", "BYTEA", ["'\\x'", "'\\x00'", "'\\x27'", "'\\xff'"]),
        ("postgres", "TIMESTAMPTZ", ["'-infinity'", "'4000-01-01 BC'", "'2020-02-29 12:00:00.123456+02'", "'infinity'"]),
        ("postgres", "DATE", ["'-infinity'", "'2020-02-29'", "'infinity'"]),
        ("postgres", "CHAR(5)", ["'a'", "'a  b'", "'b'", "''"]),
    ],
    indirect=["server"],
)
def test_every_cuttable_type_comes_back_from_its_text(server: Server, table: str, kind: str, values: list[str]) -> None:
    if server.engine == "mysql":
        with server.own.connect() as connection:
            connection.exec_driver_sql("SET SESSION sql_mode = ''")
            rows = ", ".join(f"({value}, {number})" for number, value in enumerate(values))
            connection.exec_driver_sql(f"CREATE TABLE {server.schema}.{table} (k {kind} PRIMARY KEY, n INT)")
            connection.exec_driver_sql(f"INSERT INTO {server.schema}.{table} VALUES {rows}".replace("%", "%%"))
        its = server.table(table)
    else:
        its = make(server, table, f"k {kind} PRIMARY KEY", values)
    ranges = cuts(server, its, len(values))
    assert assert_each_row_once(server, its, ranges) == [1] * len(values)


@pytest.mark.parametrize(
    ("server", "columns"),
    [
        ("mysql", "k FLOAT PRIMARY KEY"),
        ("mysql", "k ENUM('b', 'a') PRIMARY KEY"),
        ("mysql", "k BIT(9) PRIMARY KEY"),
        ("mysql", "k INT"),
        ("postgres", "k INT[] PRIMARY KEY"),
        ("postgres", "k FLOAT8 PRIMARY KEY"),
        ("postgres", "k INT"),
    ],
    indirect=["server"],
)
def test_a_key_that_can_not_be_cut_is_one_range(server: Server, table: str, columns: str) -> None:
    its = make(server, table, columns, [])
    assert cuts(server, its) == [KeyRange(its.key)]
    assert cuts(server, its, key=("n",)) == [KeyRange(("n",))]  # no index leads with it: each reader would scan the table


def test_a_table_of_few_rows_or_none_is_still_covered(server: Server, table: str) -> None:
    its = make(server, table, "id INT PRIMARY KEY", [])
    assert assert_each_row_once(server, its, cuts(server, its)) == [0]
    server.execute(f"INSERT INTO {{s}}.{table} VALUES (7, 7)")
    assert sum(assert_each_row_once(server, its, cuts(server, its))) == 1


def test_a_tenants_rows_of_a_pooled_table_are_cut_among_themselves(server: Server, table: str) -> None:
    server.execute(
        f"CREATE TABLE {{s}}.{table} (tenant_id VARCHAR(9), id INT, n INT, PRIMARY KEY (tenant_id, id))",
        f"INSERT INTO {{s}}.{table} VALUES "
        + ", ".join(f"('{tenant}', {number * 1000}, {number})" for tenant in ("7", "8") for number in range(40)),
    )
    pooled = {"discriminator": {"schema": server.schema, "column": "tenant_id", "value": "{key}"}}
    its = server.table(table, tenant=Tenant(id=TenantId("aurora"), key="7"), tenancy=pooled)
    assert its.key == ("id",)
    assert assert_each_row_once(server, its, cuts(server, its)) == [10, 10, 10, 10]
