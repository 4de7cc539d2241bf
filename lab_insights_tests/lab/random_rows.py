"""Random rows of any schema: nulls, ties, texts that are almost numbers or dates, and values at the ends of their types."""

from __future__ import annotations

import random
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

STAMP = pa.timestamp("us")
_DAY = datetime(2026, 3, 1, 8)
# Few, so that keys repeat and joins meet; codes of the contracts and of the wide tables among them.
TEXTS = (
    *(
        "k1",
        "k2",
        "k3",
        "k4",
        "A1",
        "A2",
        "lis",
        "A1^B1",
        "lis^fin",
        "patient",
        "final",
        "corrected",
        "closed",
        "open",
        "F",
        "C",
        "X",
        "HH",
        "M",
    ),
    *(
        "12.10",
        " 7 ",
        "-0.5",
        "+1",
        "<5",
        "1e3",
        "1_000",
        "neg",
        "",
        "1,5",
        "1.",
        "f12",
        "12\n",
        "\v12",
        "9" * 40,
        "0.1234567895",
        "true",
        "No",
        "1",
    ),
    *("2026-03-01 08:00:00", "2026-03-01T08:00:00.5Z", "2026-03-01", "2026", "03/01/2026", "2026-02-30", "0000-00-00", "infinity", "8:00"),
    *("HH~A", "CWE", "DT", "=5"),
    *("Zoë 🧪", "a'b\\c", "x"),
)
_DOUBLES = (0.0, -0.0, 0.1, 1.5, 1e-7, 1e7, 1e16, 123456789.123, 5e-324, 1.7976931348623157e308, float("nan"), float("inf"), 2.5, 8.41e21)
_INSTANTS = (
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    _DAY,
    _DAY + timedelta(microseconds=1),
    _DAY + timedelta(hours=2),
)


def rows(schema: pa.Schema, number: int, seed: int = 0, keys: tuple[str, ...] = ()) -> pa.Table:
    """Return rows of a schema; the columns `keys` are seldom null and take few values."""
    draw = random.Random(f"{seed}{schema.names}")
    return pa.table([_column(draw, each.type, number, key=each.name in keys) for each in schema], schema=schema)


def _column(draw: random.Random, kind: pa.DataType, number: int, *, key: bool) -> pa.Array:
    nulls = 0.02 if key else 0.2
    return pa.array([None if draw.random() < nulls else _value(draw, kind, key=key) for _ in range(number)], kind)


def _value(draw: random.Random, kind: pa.DataType, *, key: bool) -> Any:
    if pat.is_string(kind):
        return draw.choice(TEXTS[:4] if key else TEXTS)
    if pat.is_boolean(kind):
        return draw.random() < 0.2
    if pat.is_integer(kind):
        high = 2 ** (kind.bit_width - (0 if pat.is_unsigned_integer(kind) else 1)) - 1
        return (
            draw.randrange(4)
            if key
            else draw.choice([0, 1, 7, high, high - 1] if pat.is_unsigned_integer(kind) else [0, -1, 7, high, -high - 1])
        )
    if pat.is_decimal(kind):
        most = 10**kind.precision - 1
        digits = draw.choice([0, 1, -1, most, -most, most // 3])
        return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -kind.scale))
    if pat.is_floating(kind):
        return draw.choice(_DOUBLES)
    if pat.is_timestamp(kind):
        return draw.choice(_INSTANTS[1:] if key else _INSTANTS)
    if pat.is_date(kind):
        return draw.choice([date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29), date(1980, 5, 6)])
    if pat.is_time(kind):
        return draw.choice([time(0), time(8, 30), time(23, 59, 59, 999999)])
    return draw.choice([b"", b"\x00\xff", b"abc"])
