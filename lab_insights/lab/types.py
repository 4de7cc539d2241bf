"""The contract types, and what each is in Arrow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)")
NAMES = ("string", "int64", "float64", "bool", "date", "timestamp", "json")


def valid(name: str) -> bool:
    """Return whether `name` is a contract type: one of `NAMES`, or `decimal(p,s)` with p ≤ 38."""
    match = _DECIMAL.fullmatch(name)
    return name in NAMES or bool(match and int(match[2]) <= int(match[1]) <= 38)


def arrow(name: str) -> pa.DataType:
    """Return the Arrow type: instants are naive microseconds in UTC, JSON is text."""
    import pyarrow as pa

    if match := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(match[1]), int(match[2]))
    return {
        "string": pa.string(),
        "json": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
    }[name]
