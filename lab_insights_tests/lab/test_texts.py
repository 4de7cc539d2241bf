"""Texts as numbers: what is read in 64 bits and widened is what the wide type reads."""

from __future__ import annotations

import random

import ibis
import pyarrow as pa

from lab_insights.lab.engine import Duck, Query
from lab_insights.lab.texts import as_decimal

EDGES = [
    *("0", "-0", "+7", ".5", "5.", "00012.50", "1e9", "-1E-9", "9e28", "9e29", "1_000", "1,5", "", " 1 ", "x", "NaN", "Infinity", "0x10"),
    *("999999999.999999999", "999999999.9999999995", "-999999999.9999999995", "1000000000", "9223372036.854775807", "9223372036854775808"),
    *("0.0000000005", "0.00000000049999999999999999999", "1.0000000015", "12345678901234567890123456789.123456789", "9" * 29, "9" * 30),
]


def test_a_text_is_the_number_that_the_wide_type_reads() -> None:
    rng = random.Random(7)
    texts = EDGES + [f"{rng.choice(['', '-', '+'])}{rng.randrange(10 ** rng.randrange(1, 32))}" for _ in range(500)]
    texts += [f"{number}.{rng.randrange(10 ** rng.randrange(1, 15))}" for number in texts[len(EDGES) :]]
    rows = ibis.table({"told": "string"}, name="rows")
    query = Query(
        rows.select(
            "told", read=as_decimal(rows.told, 38, 9), wide=rows.told.try_cast("decimal(38, 9)"), narrow=as_decimal(rows.told, 10, 2)
        )
    )
    with Duck({"rows": pa.table({"told": texts})}) as engine:
        engine.run(query)
        found = engine.table().to_pylist()
    assert [row["told"] for row in found if row["read"] != row["wide"]] == []
    assert sum(row["wide"] is not None for row in found) > 900
    assert {row["told"]: row["narrow"] for row in found}["00012.50"] is not None
