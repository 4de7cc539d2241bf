"""One table on each server with every type and edge that has ever broken a reader, and the server's own text of each value."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from lab_insights.extract.projection import TEXT_SUFFIX
from lab_insights_tests.extract.world import Server

# (type, the SQL of the server's own text where it is not a plain cast, values as SQL)
# FLOAT is cast to six digits, and YEAR 0 to `0000`.
Case = tuple[str, str, tuple[str, ...]]
_LONG = "12345678901234567890123456789012345.123456789012345678901234567891"
MYSQL: tuple[Case, ...] = (
    ("TINYINT(1)", "", ("2", "-128", "0")),
    ("TINYINT UNSIGNED", "", ("255",)),
    ("SMALLINT", "", ("-32768", "32767")),
    ("MEDIUMINT", "", ("-8388608",)),
    ("INT UNSIGNED", "", ("4294967295",)),
    ("BIGINT", "", ("-9223372036854775808", "9223372036854775807")),
    ("BIGINT UNSIGNED", "", ("18446744073709551615", "9223372036854775808", "0")),
    ("DECIMAL(65,30)", "", (_LONG, f"-{_LONG}", "0")),
    ("DECIMAL(38,10)", "", ("-1234567890123456789012345678.0123456789", "0.0000000001")),
    ("DECIMAL(10,0)", "", ("-7",)),
    ("FLOAT", "CAST(CAST({c} AS DOUBLE) AS CHAR)", ("0.1", "16777216", "-1.5e-30")),
    ("DOUBLE", "", ("0.1", "1e308", "-2.5")),
    ("BIT(64)", "CAST({c} + 0 AS CHAR)", ("0xFFFFFFFFFFFFFFFF", "b'1'")),
    ("BIT(1)", "CAST({c} + 0 AS CHAR)", ("b'1'", "b'0'")),
    ("YEAR", "CAST({c} + 0 AS CHAR)", ("1901", "2155", "0")),
    ("DATE", "", ("'0000-00-00'", "'2020-00-00'", "'2020-02-29'", "'9999-12-31'")),
    ("DATETIME", "", ("'0000-00-00 00:00:00'", "'2020-05-00 10:00:00'", "'1000-01-01 00:00:00'")),
    ("DATETIME(6)", "", ("'9999-12-31 23:59:59.999999'", "'2026-03-01 10:11:12.000001'")),
    ("TIMESTAMP(6) NULL", "", ("'2026-03-01 22:00:00.5'", "'1971-01-01 00:00:00'", "0")),
    ("TIME", "", ("'838:59:59'", "'-838:59:59'", "'00:00:00'")),
    ("TIME(6)", "", ("'-00:00:00.000001'",)),
    ("CHAR(5)", "", ("'ab'", "''")),
    ("VARCHAR(40) CHARACTER SET latin1", "", ("'Müller ÿ€'", "' padded '")),
    ("VARCHAR(40) CHARACTER SET utf8mb4", "", ("'🧪 ñ \\\\ '", r"'line\nbreak\ttab'", "'\\0nul'")),
    ("VARCHAR(40) CHARACTER SET utf16", "", ("'🧪'",)),
    ("LONGTEXT", "", ("REPEAT('x', 70000)",)),
    ("ENUM('a','ü','')", "", ("'ü'", "''")),
    ("SET('a','b','ü')", "", ("'a,ü'", "''")),
    ("JSON", "", ('\'{"a": 1.10, "a": 2}\'', "'null'")),
    ("POINT", "HEX({c})", ("ST_GeomFromText('POINT(1 2)')",)),
    ("GEOMETRY", "HEX({c})", ("ST_GeomFromText('LINESTRING(0 0,1 1)')",)),
    ("BLOB", "HEX({c})", ("0x00FF27", "''")),
    ("BINARY(3)", "HEX({c})", ("0x01",)),
    ("VARBINARY(9)", "HEX({c})", ("0xE9",)),
    ("UUID", "", ("'6ccd780c-baba-1026-9564-5b8c656024db'",)),
    ("INET6", "HEX({c})", ("'2001:db8::ff00:42:8329'",)),
)
POSTGRESQL: tuple[Case, ...] = (
    ("smallint", "", ("-32768",)),
    ("integer", "", ("2147483647",)),
    ("bigint", "", ("-9223372036854775808",)),
    ("boolean", "", ("true", "false")),
    ("real", "", ("0.1", "'NaN'", "'-Infinity'")),
    ("double precision", "", ("0.1", "'NaN'", "'Infinity'", "1e-300")),
    ("numeric", "", ("1.10", "'NaN'", _LONG, "'-Infinity'")),
    ("numeric(60,2)", "", ("1.10",)),
    ("numeric(38,10)", "", ("-1234567890123456789012345678.0123456789",)),
    ("numeric(10,2)", "", ("'NaN'", "1.10")),
    ("numeric(5,-2)", "", ("12345",)),
    ("money", "", ("1234.50", "-0.01")),
    ("text", "", ("'🧪'", "''", r"'\N'", "E'line\\nbreak'")),
    ("varchar(9)", "", ("'a''b'",)),
    ("char(5)", "", ("'ab'",)),
    ('"char"', "", ("'x'",)),
    ("name", "", ("'it'",)),
    ("bytea", "upper(encode({c}, 'hex'))", (r"'\x00ff27'", "''")),
    ("date", "", ("'infinity'", "'0001-01-01'", "'4713-01-01 BC'", "'5874897-12-31'")),
    ("timestamp", "", ("'infinity'", "'2026-03-01 10:11:12.000001'", "'0044-03-15 BC'")),
    ("timestamp(0)", "", ("'2026-03-01 10:11:12.6'",)),
    ("timestamptz", "({c} AT TIME ZONE 'UTC')::text", ("'2026-03-01 22:00:00-05'", "'-infinity'", "'20260-03-01 00:00:00+00'")),
    ("time", "", ("'24:00:00'", "'10:11:12.000001'")),
    ("timetz", "", ("'10:00:00-05'",)),
    ("interval", "", ("'1 mon 2 days 03:00:00.5'", "'-1 year'")),
    ("uuid", "", ("'6ccd780c-baba-1026-9564-5b8c656024db'",)),
    ("json", "", ('\'{"a":  1.10, "a":2}\'',)),
    ("jsonb", "", ("'{\"a\": 1.10}'", "'[1e400]'")),
    ("xml", "", ("'<a>1</a>'",)),
    ("inet", "", ("'10.1.2.3/8'", "'2001:db8::1'")),
    ("cidr", "", ("'10.0.0.0/8'",)),
    ("macaddr", "", ("'08:00:2b:01:02:03'",)),
    ("bit(4)", "", ("B'0101'",)),
    ("varbit", "", ("B'1'",)),
    ("integer[]", "", ("'{{1,2},{3,NULL}}'", "'{}'")),
    ("text[]", "", ("""'{"a,b","c""d",NULL}'""".replace('""', '\\"'),)),
    ("timestamptz[]", "", ("'{2026-03-01 22:00:00-05}'",)),
    ("int4range", "", ("'[1,5)'", "'empty'")),
    ("tstzrange", "", ("'[2026-03-01 00:00:00+00,infinity)'",)),
    ("nummultirange", "", ("'{[1.5,2.5),[7,8)}'",)),
    ("point", "", ("'(1,2)'",)),
    ("tsvector", "", ("'a b'",)),
    ("oid", "", ("4294967295",)),
)


@dataclass(frozen=True)
class Torture:
    """The table, its columns, which of them hold floats of 32 bits, and the server's own text of every value by id and column."""

    server: Server
    name: str
    columns: tuple[str, ...]
    singles: frozenset[str]
    texts: dict[int, dict[str, str | None]]

    def differences(self, rows: dict[int, dict[str, Any]]) -> list[str]:
        """Return which cells of rows, by id, are not what the server said."""
        assert set(rows) == set(self.texts)
        found = []
        for key, texts in self.texts.items():
            for column, text in texts.items():
                value = rows[key][column]
                if value is None:
                    value = rows[key].get(f"{column}{TEXT_SUFFIX}")
                if not same(value, text, single=column in self.singles):
                    found.append(f"{column} of row {key}: {value!r} is not {text!r}")
        return found


def tortured(server: Server) -> Torture:
    """Make the table on a server."""
    cases = MYSQL if server.engine == "mysql" else POSTGRESQL
    name = f"torture_{uuid.uuid4().hex[:8]}"
    columns = tuple(f"c{number:02}" for number in range(len(cases)))
    declared = ", ".join(f"{column} {kind}" for column, (kind, _, _) in zip(columns, cases, strict=True))
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, {declared})")
    with server.own.connect() as connection:
        cursor = connection.connection.cursor()
        if server.engine == "mysql":
            # zero dates are refused by default, and a zone of its own must not move what the server holds
            cursor.execute("SET sql_mode = '', time_zone = '-05:00'")
        for number in range(max(len(values) for _, _, values in cases) + 1):
            row = ", ".join(values[number] if number < len(values) else "NULL" for _, _, values in cases)
            cursor.execute(f"INSERT INTO {server.schema}.{name} VALUES ({number}, {row})")
        plain = "CAST({c} AS CHAR)" if server.engine == "mysql" else "{c}::text"
        cursor.execute("SET time_zone = '+00:00'" if server.engine == "mysql" else "SET TIME ZONE 'UTC'")
        texts = ", ".join((text or plain).format(c=column) for column, (_, text, _) in zip(columns, cases, strict=True))
        cursor.execute(f"SELECT id, {texts} FROM {server.schema}.{name}")
        found = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in cursor.fetchall()}
    singles = frozenset(column for column, (kind, _, _) in zip(columns, cases, strict=True) if kind in {"FLOAT", "real"})
    return Torture(server, name, columns, singles, found)


def same(value: Any, text: str | None, *, single: bool = False) -> bool:
    """Whether a value, of whatever type a reader gives, is what the server wrote as `text`; of a `single` the server writes as few digits as 32 bits need."""
    if value is None or text is None:
        return value is None and text is None
    if isinstance(value, bool):
        return text in ({"1", "true"} if value else {"0", "false"})
    if isinstance(value, int):
        return str(value) == text
    if isinstance(value, Decimal):
        return value == Decimal(text)
    if isinstance(value, float):
        if text == "NaN":
            return math.isnan(value)
        return bool(np.float32(value) == np.float32(text)) if single else value == float(text)
    if isinstance(value, datetime):
        whole, _, fraction = text.partition(".")
        return value.isoformat(sep=" ", timespec="microseconds") == f"{whole}.{fraction.ljust(6, '0')}"
    if isinstance(value, date):
        return value.isoformat() == text
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex().upper() == text
    return bool(value == text)
