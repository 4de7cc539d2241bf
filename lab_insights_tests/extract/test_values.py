"""Values that their column's type does not hold, of any server: kept as text beside it, in one schema, whenever they come."""

from __future__ import annotations

import itertools
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from lab_insights.config import Limits
from lab_insights.extract.projection import parse
from lab_insights.extract.read import SourceRows
from lab_insights_tests.extract.world import Server, read


def test_sparse_misfits_leave_every_later_batch_in_one_schema(mysql: Server) -> None:
    mysql.execute("CREATE TABLE {s}.sparse (id INT PRIMARY KEY, d DATE, e DATE, n INT)")
    with mysql.own.connect() as connection:
        connection.exec_driver_sql("SET sql_mode = ''")
        for number in range(40):
            d, e = ("0000-00-00" if number in {5, 25} else "2026-01-01"), ("0000-00-00" if number in {15, 35} else "2026-01-01")
            connection.exec_driver_sql(f"INSERT INTO {mysql.schema}.sparse VALUES ({number}, '{d}', '{e}', {number})")
    rows = SourceRows(
        mysql.table("sparse"), sa.make_url(mysql.url).set(drivername="mysql+pymysql"), Limits.model_validate({"batch_rows": 5})
    )
    schemas = [batch.schema.names for batch in rows]
    assert len(schemas) > 4
    changes = [after for before, after in itertools.pairwise(schemas) if before != after]
    assert changes[-1:] == [["id", "d", "e", "n", "d__text", "e__text"]]
    assert len(changes) <= 2


def test_a_column_that_was_widened_after_the_crawl_stops_nothing(server: Server) -> None:
    server.execute("DROP TABLE IF EXISTS {s}.widened", "CREATE TABLE {s}.widened (id INT PRIMARY KEY, v SMALLINT)")
    crawled = server.table("widened")
    server.execute(
        "ALTER TABLE {s}.widened MODIFY v BIGINT" if server.engine == "mysql" else "ALTER TABLE {s}.widened ALTER v TYPE bigint",
        "INSERT INTO {s}.widened VALUES (1, 7), (2, 70000), (3, NULL)",
    )
    table, facts = read(crawled, server.url)
    assert table.sort_by("id").to_pydict() == {"id": [1, 2, 3], "v": [7, None, None], "v__text": [None, "70000", None]}
    assert facts.counts["kept_as_text"] == 1


@pytest.mark.parametrize(
    ("text", "kind", "typed", "misfits"),
    [
        (["1.10", None], pa.decimal128(5, 2), [Decimal("1.10"), None], None),
        (["1.101", "1.1"], pa.decimal128(5, 2), [None, Decimal("1.10")], ["1.101", None]),
        (["12345.6"], pa.decimal128(5, 2), [None], ["12345.6"]),
        (["-Infinity", "1e2"], pa.decimal128(5, 2), [None, Decimal(100)], ["-Infinity", None]),
        (["2026-02-30", "2026-02-28"], pa.date32(), [None, date(2026, 2, 28)], ["2026-02-30", None]),
        (["2026-02-28 24:00:00", None], pa.timestamp("us"), [None, None], ["2026-02-28 24:00:00", None]),
    ],
)
def test_a_text_is_parsed_exactly_or_not_at_all(
    text: list[str | None], kind: pa.DataType, typed: list[Any], misfits: list[str | None] | None
) -> None:
    got, beside = parse(pa.array(text, pa.string()), kind)
    assert got.to_pylist() == typed
    assert (None if beside is None else beside.to_pylist()) == misfits
