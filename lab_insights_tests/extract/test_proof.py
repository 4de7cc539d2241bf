"""The source's own sums: no false alarm over any value, and no changed number, instant or length that is not told by its column's name."""

from __future__ import annotations

import dataclasses
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
from lab_insights.extract import proof, read, sample
from lab_insights.extract.read import SourceRows
from lab_insights_tests.extract.tables import SEQUENCE
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
    summed = int(how.how.split(" of ")[1].split(" columns, in the statement that was read")[0])
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
    assert (found.rows, found.how) == (
        10,
        "count(*), and the exact sums of 8 of 8 columns, in the statement that was read; text hashed of every row",
    )
    counted = reading(server, made(server), proof="counts")
    landed(counted)
    only = counted.facts().proof
    assert only
    assert (only.rows, only.how) == (10, "count(*) in the statement that was read")


@pytest.mark.parametrize("proof_", ["counts", "sums"])
def test_a_session_that_is_not_in_utc_commits_nothing(server: Server, made: Callable[[Server], str], proof_: str) -> None:
    rows = reading(server, made(server), proof=proof_)
    # A pooler that hands a session on as somebody else left it.
    rows.session = ("SET time_zone = '-05:00'" if server.engine == "mysql" else "SET TIME ZONE 'America/New_York'",)
    landed(rows)
    with pytest.raises(LandingMismatch, match=r"was in the zone (-05:00|America/New_York), and not in UTC") as raised:
        rows.facts()
    assert (raised.value.tenant, raised.value.table) == (rows.table.tenant, rows.table.table_id)
    assert "pooler" in raised.value.remedy


def test_a_login_that_has_another_zone_by_default_is_read_in_utc(postgres: Server) -> None:
    postgres.execute(
        "CREATE TABLE {s}.zoned (id INT PRIMARY KEY, at timestamptz)", "INSERT INTO {s}.zoned VALUES (1, '2026-03-01 22:00:00-05')"
    )
    grants = ("GRANT USAGE ON SCHEMA {s} TO {who}", "GRANT SELECT ON {s}.zoned TO {who}", "ALTER ROLE {who} SET TimeZone = 'Asia/Tokyo'")
    with postgres.login("p", *grants) as url:
        rows = SourceRows(postgres.table("zoned"), sa.make_url(url), Limits())
        [batch] = landed(rows)
        assert batch.column("at").to_pylist() == [datetime(2026, 3, 2, 3)]
        assert rows.facts().proof


KEYS = {
    "remainder": ("id BIGINT, PRIMARY KEY (id)", "CAST(n AS DECIMAL(20)) - 100", "one row in 61"),
    "remainder of several": ("part INT, id BIGINT, PRIMARY KEY (part, id)", "3, CAST(n AS DECIMAL(20)) - 100", "one row in 61"),
    "digest": ("id VARCHAR(40), PRIMARY KEY (id)", "concat('Käse|', n)", "one row in 64"),
    "digest of several": ("part VARCHAR(9), id INT, PRIMARY KEY (part, id)", "'ñ', n", "one row in 64"),
    "no key": ("id VARCHAR(40)", "concat('Käse|', n)", "one row in 64"),
}


@pytest.fixture
def sampled(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Makes a table of 500 rows that is not hashed whole, with two columns of text."""
    monkeypatch.setattr(sample, "WHOLE_BYTES", 0)

    def make(key: str, values: str) -> str:
        name = f"sampled_{uuid.uuid4().hex[:8]}"
        columns, _, constraint = key.partition(", PRIMARY KEY")
        server.execute(
            f"CREATE TABLE {{s}}.{name} ({columns}, note VARCHAR(40), also TEXT{', PRIMARY KEY' + constraint if constraint else ''})",
            f"INSERT INTO {{s}}.{name} SELECT {values}, CASE WHEN n % 7 > 0 THEN concat('note 🧪 ', n) END, 'always' "
            f"FROM (SELECT {SEQUENCE[server.engine].format(500)}) s",
        )
        return name

    return make


@pytest.mark.parametrize("kind", KEYS)
def test_a_letter_that_changed_in_a_sampled_row_is_seen_whatever_the_key(
    server: Server, sampled: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    key, values, told = KEYS[kind]
    name = sampled(key, values)
    rows = reading(server, name, batch_rows=100)
    landed(rows)
    found = rows.facts().proof
    assert found
    assert found.how.endswith(f"; text hashed of {told}")
    honest, seen = read.cast, list[int]()

    def cast(batch: pa.RecordBatch, shipped: Any) -> pa.RecordBatch:
        """Change a letter of one row, and not its length."""
        batch = honest(batch, shipped)
        position = batch.schema.get_field_index("also")
        column = [value if number != seen[-1] else "alwayz" for number, value in enumerate(batch.column(position).to_pylist())]
        return batch.set_column(position, batch.schema.field(position), pa.array(column, pa.string()))

    def changing(number: int) -> SourceRows:
        seen.append(number)
        again = reading(server, name, batch_rows=1000)
        landed(again)
        return again

    chosen = sample.sample_of(rows.table, rows._shipped)
    assert chosen
    whole = pa.Table.from_batches(landed(reading(server, name, batch_rows=1000))).combine_chunks().to_batches()[0]
    picked = [number for number, its in enumerate(sample._mask(chosen, whole).to_pylist()) if its]
    assert 1 <= len(picked) <= 30
    monkeypatch.setattr(read, "cast", cast)
    with pytest.raises(LandingMismatch, match="hash of the sampled rows' text differs"):
        changing(picked[0]).facts()
    beside = changing(next(number for number in range(500) if number not in picked))
    assert beside.facts().proof, "which is what a sample is"


def test_text_that_arrived_otherwise_than_it_can_be_compared_is_said_not_to_be_hashed(
    server: Server, made: Callable[[Server], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = reading(server, made(server))
    honest = read.cast

    def cast(batch: pa.RecordBatch, shipped: Any) -> pa.RecordBatch:
        found = honest(batch, shipped)
        return found.append_column("v__text", pa.array(["\\xff"] + [None] * (found.num_rows - 1), pa.string()))

    monkeypatch.setattr(read, "cast", cast)
    landed(rows)
    found = rows.facts().proof
    assert found
    assert found.how.endswith("; no text hashed, since some was kept beside its column")


def test_a_table_of_more_columns_than_a_function_takes_has_all_its_sums(server: Server) -> None:
    name = f"wide_{uuid.uuid4().hex[:8]}"
    columns = [f"c{number}" for number in range(220)]
    server.execute(
        f"CREATE TABLE {{s}}.{name} ({', '.join(f'{column} {kind}' for column, kind in zip(columns, ('int', 'varchar(9)') * 110, strict=True))})",
        f"INSERT INTO {{s}}.{name} VALUES ({', '.join(map(repr, map(str, range(220))))})",
    )
    rows = reading(server, name)
    landed(rows)
    found = rows.facts().proof
    assert found
    assert "220 of 220" in found.how
    assert found.how.endswith("; text hashed of every row")


@pytest.mark.parametrize("kind", ["TINYINT UNSIGNED", "BIGINT UNSIGNED", "INT(9) UNSIGNED ZEROFILL"])
def test_every_whole_number_of_mysql_chooses_the_same_rows_on_both_sides(mysql: Server, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sample, "WHOLE_BYTES", 0)
    name, value = f"numbers_{uuid.uuid4().hex[:8]}", "18446744073709551615 - seq" if kind.startswith("BIG") else "seq"
    mysql.execute(
        f"CREATE TABLE {{s}}.{name} (part INT, id {kind}, word VARCHAR(9), note TEXT, PRIMARY KEY (id, part), UNIQUE (word, id))",
        f"INSERT INTO {{s}}.{name} SELECT -7, {value}, 'w', concat('n', seq) FROM {{s}}.seq_1_to_200",
    )
    for key, told in ((("id",), "one row in 61"), (("id", "part"), "one row in 61"), (("word", "id"), "one row in 64")):
        rows = SourceRows(dataclasses.replace(mysql.table(name), key=key), sa.make_url(mysql.url), Limits())  # type: ignore[call-arg]
        landed(rows)
        found = rows.facts().proof
        assert found
        assert found.how.endswith(f"text hashed of {told}")
        assert rows._tally._hashed


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
