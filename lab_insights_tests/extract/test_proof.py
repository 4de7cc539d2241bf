"""The source's own sums: no false alarm over any value, and no changed number, instant or length that is not told by its column's name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from lab_insights.config import Limits
from lab_insights.errors import LandingMismatch
from lab_insights.extract import proof, read
from lab_insights.extract.read import SourceRows
from lab_insights_tests.extract.torture import tortured
from lab_insights_tests.extract.world import Server

COLUMNS = {
    "i": ("int", 7, 8),
    "b": ("bigint", (1 << 63) - 1, (1 << 63) - 2),
    "n": ("numeric(38,10)", Decimal("1234567890123456789012345678.0123456789"), Decimal("1234567890123456789012345678.0123456788")),
    "f": ("double precision", 0.1, 0.1 + 2**-19),
    "t": ("timestamp(6)", datetime(2026, 3, 1, 10, 11, 12, 1), datetime(2026, 3, 1, 10, 11, 12, 2)),
    "d": ("date", date(9999, 12, 31), date(9999, 12, 30)),
    "v": ("varchar(9)", "ñü🧪", "ñü"),
}


def reading(server: Server, name: str, **limits: Any) -> SourceRows:
    return SourceRows(server.table(name), sa.make_url(server.url), Limits.model_validate({"batch_rows": 3, **limits}))


def landed(rows: SourceRows) -> list[pa.RecordBatch]:
    return list(rows)


@pytest.fixture(scope="module")
def made() -> Callable[[Server], str]:
    """Makes a table of ten rows on a server."""
    names: dict[str, str] = {}

    def make(server: Server) -> str:
        if server.engine not in names:
            name = names[server.engine] = f"sums_{uuid.uuid4().hex[:8]}"
            stamp = {"timestamp(6)": "datetime(6)"} if server.engine == "mysql" else {}
            declared = ", ".join(f"{column} {stamp.get(kind, kind)}" for column, (kind, _, _) in COLUMNS.items())
            server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, {declared})")
            values = ", ".join(f"{value!r}" if isinstance(value, int | float) else f"'{value}'" for _, value, _ in COLUMNS.values())
            for number in range(9):
                server.execute(f"INSERT INTO {{s}}.{name} VALUES ({number}, {values})")
            server.execute(f"INSERT INTO {{s}}.{name} (id) VALUES (9)")
        return names[server.engine]

    return make


def test_every_type_and_edge_is_summed_alike_on_both_sides(server: Server) -> None:
    rows = reading(server, tortured(server).name)
    batches = landed(rows)
    how = rows.facts().proof
    assert how
    assert how.rows == sum(batch.num_rows for batch in batches)
    kept = {name.removesuffix("__text") for name in batches[-1].schema.names if name.endswith("__text")}
    # only where the server sums what is kept as text here, a column has no sum
    assert how.how.startswith("count(*), and the exact sums of ")
    summed = int(how.how.split(" of ")[1].removesuffix(" columns, in the statement that was read"))
    assert len(rows._shipped) - len(kept) <= summed <= len(rows._shipped)


@pytest.mark.parametrize("column", COLUMNS)
def test_one_value_that_changed_on_the_way_is_told_by_its_column(
    server: Server, made: Callable[[Server], str], monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    rows = reading(server, made(server))
    honest, changed = read.cast, list[int]()

    def cast(batch: pa.RecordBatch, shipped: Any) -> pa.RecordBatch:
        found = honest(batch, shipped)
        if changed:
            return found
        changed.append(1)
        position = found.schema.get_field_index(column)
        values = [COLUMNS[column][2], *found.column(position).to_pylist()[1:]]
        return found.set_column(position, found.schema.field(position), pa.array(values, found.schema.field(position).type))

    monkeypatch.setattr(read, "cast", cast)
    landed(rows)
    with pytest.raises(LandingMismatch, match=f"differ from those of what arrived in {column}[.]") as raised:
        rows.facts()
    assert (raised.value.tenant, raised.value.table) == (rows.table.tenant, rows.table.table_id)
    only_counted = reading(server, made(server), proof="counts")
    changed.clear()
    landed(only_counted)
    assert only_counted.facts().proof


def test_what_is_not_changed_is_proven(server: Server, made: Callable[[Server], str]) -> None:
    rows = reading(server, made(server))
    landed(rows)
    found = rows.facts().proof
    assert found
    assert (found.rows, found.how) == (10, "count(*), and the exact sums of 8 of 8 columns, in the statement that was read")
    counted = reading(server, made(server), proof="counts")
    landed(counted)
    only = counted.facts().proof
    assert only
    assert (only.rows, only.how) == (10, "count(*) in the statement that was read")


def test_a_table_of_more_columns_than_a_function_takes_has_all_its_sums(server: Server) -> None:
    name = f"wide_{uuid.uuid4().hex[:8]}"
    columns = [f"c{number}" for number in range(220)]
    server.execute(
        f"CREATE TABLE {{s}}.{name} ({', '.join(f'{column} int' for column in columns)})",
        f"INSERT INTO {{s}}.{name} VALUES ({', '.join(map(str, range(220)))})",
    )
    rows = reading(server, name)
    landed(rows)
    found = rows.facts().proof
    assert found
    assert "220 of 220" in found.how


def test_a_date_that_only_the_server_takes_for_one_is_no_false_alarm(mysql: Server) -> None:
    mysql.execute("CREATE TABLE {s}.invalid (id INT PRIMARY KEY, d DATE, t DATETIME)")
    with mysql.own.connect() as connection:
        connection.exec_driver_sql("SET sql_mode = 'ALLOW_INVALID_DATES'")
        connection.exec_driver_sql(
            f"INSERT INTO {mysql.schema}.invalid VALUES (1, '2026-02-31', '2026-02-31 10:00:00'), (2, '2026-02-01', NULL)"
        )
    rows = reading(mysql, "invalid")
    landed(rows)
    found = rows.facts().proof
    assert found
    assert "exact sums of 1 of 3 columns" in found.how


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([(1 << 63) - 1] * 5 + [None], pa.int64(), 5 * ((1 << 63) - 1)),
        ([-(1 << 63)] * 3, pa.int64(), -3 * (1 << 63)),
        ([(1 << 64) - 1] * 3, pa.uint64(), 3 * ((1 << 64) - 1)),
        ([Decimal("9" * 38)] * 3, pa.decimal128(38, 0), 3 * int("9" * 38)),
        ([0.1, 1e308, float("nan"), float("-inf"), -0.5, None], pa.float64(), 104857 - 524288),
        ([datetime(9999, 12, 31), datetime(999, 12, 31), None], pa.timestamp("us"), 253_402_214_400_000_000),
        ([date(1000, 1, 1), date(999, 12, 31)], pa.date32(), -354_285),
        ([True, False, None, True], pa.bool_(), 2),
        (["ñ", "", None, "🧪x"], pa.string(), 3),
        ([b"\x00\xff", None], pa.binary(), 2),
        ([], pa.int64(), 0),
        ([None], pa.timestamp("us"), 0),
    ],
)
def test_sums_are_exact_whatever_their_size(values: list[Any], kind: pa.DataType, expected: int) -> None:
    assert proof._sum(pa.array(values, kind)) == expected


@pytest.mark.parametrize(("precision", "scale"), [(12, 4), (38, 0), (38, 10), (33, 4)])
def test_sums_of_decimals_are_exact_at_their_greatest(precision: int, scale: int) -> None:
    greatest = Decimal((0, (9,) * precision, -scale))
    values = pa.array([greatest] * 1000, pa.decimal128(precision, scale))
    assert proof._sum(values) == Fraction(1000 * int("9" * precision), 10**scale)
