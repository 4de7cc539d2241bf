"""Values of MySQL arrive exact, or as the server's own text: typed where the type holds them, beside the column where it does not."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.errors import SourceError
from lab_insights_tests.extract.world import LONG, Server, arrived


@pytest.mark.parametrize(
    ("kind", "literals", "arrow", "expected"),
    [
        ("TINYINT(1)", ("2", "-128"), pa.int8(), [2, -128]),
        ("TINYINT UNSIGNED", ("255",), pa.uint8(), [255]),
        ("SMALLINT", ("-32768",), pa.int16(), [-32768]),
        ("SMALLINT UNSIGNED", ("65535",), pa.uint16(), [65535]),
        ("MEDIUMINT UNSIGNED", ("16777215",), pa.uint32(), [16777215]),
        ("INT", ("-2147483648",), pa.int32(), [-(1 << 31)]),
        ("INT(5) UNSIGNED ZEROFILL", ("42", "4294967295"), pa.uint32(), [42, (1 << 32) - 1]),
        ("BIGINT", ("-9223372036854775808",), pa.int64(), [-(1 << 63)]),
        ("BIGINT UNSIGNED", ("18446744073709551615", "0"), pa.uint64(), [(1 << 64) - 1, 0]),
        (
            "DECIMAL(38,10)",
            ("-1234567890123456789012345678.0123456789",),
            pa.decimal128(38, 10),
            [Decimal("-1234567890123456789012345678.0123456789")],
        ),
        ("DECIMAL(5,0)", ("-7",), pa.decimal128(5, 0), [Decimal(-7)]),
        ("DOUBLE", ("0.1", "1e308", "-0.0"), pa.float64(), [0.1, 1e308, -0.0]),
        ("FLOAT", ("16777216", "0.5"), pa.float32(), [16777216.0, 0.5]),
        ("BIT(64)", ("b'1'", "0xFFFFFFFFFFFFFFFF"), pa.uint64(), [1, (1 << 64) - 1]),
        ("YEAR", ("1901", "2155"), pa.int32(), [1901, 2155]),
        (
            "DATETIME(6)",
            ("'2026-03-01 10:11:12.000001'", "'9999-12-31 23:59:59.999999'"),
            pa.timestamp("us"),
            [datetime(2026, 3, 1, 10, 11, 12, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)],
        ),
        ("DATETIME", ("'1969-12-31 23:59:59'",), pa.timestamp("us"), [datetime(1969, 12, 31, 23, 59, 59)]),
        ("DATE", ("'1000-01-01'",), pa.date32(), [date(1000, 1, 1)]),
        ("VARCHAR(40) CHARACTER SET latin1", ("'Müller ÿ'", "''"), pa.string(), ["Müller ÿ", ""]),
        ("VARCHAR(40) CHARACTER SET utf8mb4", ("'🧪 ñ'",), pa.string(), ["🧪 ñ"]),
        ("VARCHAR(9) CHARACTER SET cp1251", ("'Ж'", "CONVERT(X'98' USING cp1251)"), pa.string(), ["Ж", "?"]),  # a byte without a character
        ("LONGTEXT", ("REPEAT('x', 70000)",), pa.string(), ["x" * 70000]),
        ("ENUM('a','ü')", ("'ü'",), pa.string(), ["ü"]),
        ("SET('a','b')", ("'a,b'",), pa.string(), ["a,b"]),
        ("BLOB", ("0x00FF27", "''"), pa.binary(), [b"\x00\xff'", b""]),
        ("BINARY(3)", ("0x0100",), pa.binary(), [b"\x01\x00\x00"]),
        ("VARBINARY(9)", ("0xE9",), pa.binary(), [b"\xe9"]),
    ],
)
def test_what_mysql_holds_arrives_exactly(
    mysql: Server, kind: str, literals: tuple[str, ...], arrow: pa.DataType, expected: list[Any]
) -> None:
    columns, fidelity, schema = arrived(mysql, kind, *literals)
    assert columns == {"v": expected}
    assert schema.field("v").type == arrow
    assert fidelity["v"] in {"exact", "widened"}


@pytest.mark.parametrize(
    ("kind", "literals", "expected"),
    [
        ("DECIMAL(65,30)", (LONG,), [LONG]),
        ("TIME", ("'838:59:59'", "'-838:59:59'"), ["838:59:59", "-838:59:59"]),
        ("TIME(6)", ("'10:00:00.000001'",), ["10:00:00.000001"]),
        ("JSON", ('\'{"a": 1.10, "a": 2}\'',), ['{"a": 1.10, "a": 2}']),
        # types that SQLAlchemy does not know arrive as their bytes
        ("POINT", ("ST_GeomFromText('POINT(1 2)')",), ["000000000101000000000000000000F03F0000000000000040"]),
        ("UUID", ("'6ccd780c-baba-1026-9564-5b8c656024db'",), ["6ccd780c-baba-1026-9564-5b8c656024db"]),
        ("INET6", ("'2001:db8::ff00:42:8329'",), ["20010DB8000000000000FF0000428329"]),
    ],
)
def test_what_no_type_of_ours_holds_arrives_as_mysqls_own_text(
    mysql: Server, kind: str, literals: tuple[str, ...], expected: list[str]
) -> None:
    columns, fidelity, _ = arrived(mysql, kind, *literals)
    assert columns == {"v": expected}
    assert fidelity["v"] == "text" or kind == "JSON"  # MariaDB's is a LONGTEXT


def test_mysqls_zero_dates_are_text_beside_their_column(mysql: Server) -> None:
    mysql.execute(
        "CREATE TABLE {s}.zero (id INT PRIMARY KEY, d DATE, t DATETIME)",
        "SET sql_mode = ''",
    )
    with mysql.own.connect() as connection:
        connection.exec_driver_sql("SET sql_mode = ''")
        connection.exec_driver_sql(
            f"INSERT INTO {mysql.schema}.zero VALUES (1, '0000-00-00', '0000-00-00'), (2, '2020-00-00', '2020-05-00 10:00:00'), "
            "(3, '2020-05-06', '2020-05-06 07:08:09'), (4, NULL, NULL)"
        )
    table, facts = mysql.rows("zero")
    table = table.sort_by("id")
    assert table["d"].to_pylist() == [None, None, date(2020, 5, 6), None]
    assert table["d__text"].to_pylist() == ["0000-00-00", "2020-00-00", None, None]
    assert table["t"].to_pylist() == [None, None, datetime(2020, 5, 6, 7, 8, 9), None]
    assert table["t__text"].to_pylist() == ["0000-00-00 00:00:00", "2020-05-00 10:00:00", None, None]
    assert facts.fidelity["d"] == "exact, or text in d__text"
    assert facts.fidelity["id"] == "exact"


def test_a_timestamp_is_utc_whatever_the_servers_zone(mysql: Server) -> None:
    with mysql.own.connect() as connection:
        connection.exec_driver_sql("SET time_zone = '-05:00'")
        connection.exec_driver_sql(f"CREATE TABLE {mysql.schema}.zoned (id INT PRIMARY KEY, at TIMESTAMP(6) NOT NULL)")
        connection.exec_driver_sql(f"INSERT INTO {mysql.schema}.zoned VALUES (1, '2026-03-01 22:00:00.5')")
    table, _ = mysql.rows("zoned")
    assert table["at"].to_pylist() == [datetime(2026, 3, 2, 3, 0, 0, 500000)]


def test_a_text_that_is_longer_than_the_server_sends_is_said_to_be_and_stops_nothing(mysql: Server) -> None:
    """Of one above max_allowed_packet, which is that of UTF-8 or of hexadecimal digits here, MySQL's functions make null without an error."""
    with mysql.own.connect() as connection:
        most = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar() or 0)
    points, letters = most * 11 // 20 // 16, most * 11 // 20
    line = f"CONCAT(X'000000000102000000', X'{points.to_bytes(4, 'little').hex()}', REPEAT(X'00', {16 * points}))"
    mysql.execute(
        "CREATE TABLE {s}.longer (id INT PRIMARY KEY, shape GEOMETRY, note LONGTEXT CHARACTER SET latin1)",
        f"INSERT INTO {{s}}.longer VALUES (1, {line}, REPEAT(X'E9', {letters})), (2, POINT(0, 0), 'é'), (3, NULL, NULL)",
    )
    table, facts = mysql.rows("longer")
    assert table["note"].to_pylist() == [None, "é", None]
    assert [None if shape is None else len(shape) for shape in table["shape"].to_pylist()] == [None, 50, None]
    said = "not sent: {} bytes, as text more than max_allowed_packet"
    assert table["note__text"].to_pylist() == [said.format(letters), None, None]
    assert table["shape__text"].to_pylist() == [said.format(13 + 16 * points), None, None]
    assert facts.counts["kept_as_text"] == 2
    assert (facts.fidelity["note"], facts.fidelity["shape"]) == ("exact, or text in note__text", "text, or text in shape__text")
    mysql.execute("DROP TABLE {s}.longer")


def test_a_row_that_is_longer_than_the_server_sends_is_an_error_that_says_so(mysql: Server) -> None:
    with mysql.own.connect() as connection:
        half = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar() or 0) * 11 // 20
    mysql.execute(
        "CREATE TABLE {s}.wider (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB)",
        f"INSERT INTO {{s}}.wider VALUES (1, REPEAT('a', {half}), REPEAT('b', {half}))",
    )
    with pytest.raises(SourceError, match="longer than the server's max_allowed_packet") as raised:
        mysql.rows("wider")
    assert "raise max_allowed_packet" in raised.value.remedy
    mysql.execute("DROP TABLE {s}.wider")
