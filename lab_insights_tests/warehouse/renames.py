"""Columns that are renamed while their types differ, as batches of a table."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lab_insights.lake.manifest import Manifest
from lab_insights_tests.warehouse.client import ID
from lab_insights_tests.warehouse.lake import TestLake

# Of a column that loads met under its new name first: what it was at first and a value of that, what it was before and after the rename, and what is shown.
MET_FIRST: dict[str, tuple[pa.DataType, Any, pa.DataType, list[Any], Any]] = {
    "text": (pa.string(), "a", pa.int32(), [10, 20], "a"),
    "real": (pa.float64(), 0.5, pa.int32(), [10, 20], 0.5),
    "more decimals": (pa.decimal128(12, 4), Decimal("0.1234"), pa.decimal128(8, 2), [Decimal("0.25"), Decimal("2.50")], Decimal("0.1234")),
    "more digits": (pa.int64(), 2**40, pa.int16(), [10, 20], 2**40),
    "instant": (pa.timestamp("us"), datetime(2026, 2, 3, 4, 5, 6, 7), pa.string(), ["x", "y"], "2026-02-03 04:05:06.000007"),
    "truth": (pa.bool_(), False, pa.string(), ["x", "y"], "false"),
    "time": (pa.time64("us"), time(4, 5, 6, 7), pa.string(), ["x", "y"], "04:05:06.000007"),
    "no truth": (pa.date32(), date(2026, 2, 3), pa.bool_(), [True, False], "2026-02-03"),
    "real beside text": (pa.float64(), 0.5, pa.string(), ["x", "y"], "4503599627370496p-53"),
}


def renamed_after(lake: TestLake, cases: dict[str, tuple[pa.DataType, Any, pa.DataType, list[Any], Any]]) -> list[Manifest]:
    """Return three batches of a table of `cases`: the old types, the newer types, and these under new names."""
    kinds = list(cases.values())

    def batch(day: int, name: str, types: list[pa.DataType], rows: dict[int, list[Any]]) -> Manifest:
        named = [f"{name}{number}" for number in range(len(types))]
        schema = pa.schema([ID, *zip(named, types, strict=True)])
        return lake.batch("t", day, [{"id": key} | dict(zip(named, values, strict=True)) for key, values in rows.items()], schema)

    newer = {1: [kind[3][0] for kind in kinds], 2: [kind[3][1] for kind in kinds]}
    return [
        batch(1, "name", [kind[0] for kind in kinds], {7: [None] * len(kinds), 8: [kind[1] for kind in kinds]}),
        batch(2, "name", [kind[2] for kind in kinds], newer),
        batch(3, "label", [kind[2] for kind in kinds], newer),
    ]
