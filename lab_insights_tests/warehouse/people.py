"""A table of people: five days of it, and how it stands in a tenant's database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse.receipt import LoadReceipt
from lab_insights.warehouse.session import Session
from lab_insights_tests.warehouse.lake import TestLake

PEOPLE = pa.schema([("id", pa.int64()), ("name", pa.string())])
Loader = Callable[..., list[LoadReceipt]]


def live(session: Session, table: str = "PEOPLE") -> list[tuple[Any, ...]]:
    return session.execute(f'SELECT ID, NAME FROM CURATED."{table}_LIVE" ORDER BY ID')


def everything(session: Session, table: str = "PEOPLE") -> list[tuple[Any, ...]]:
    return session.execute(f'SELECT ID, NAME, IS_DELETED, SOURCE_UPDATED_AT, BATCH_ID FROM CURATED."{table}" ORDER BY ID')


def stages_left(session: Session) -> list[tuple[Any, ...]]:
    return session.execute("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME LIKE 'STAGE%'")


def history(lake: TestLake) -> list[Manifest]:
    """Five days whose outcome depends on the order of versions: snapshots that lack keys, deletes, returns, doubles."""
    return [
        lake.batch("people", 1, [{"id": n, "name": f"one{n}"} for n in range(6)], PEOPLE, kind="snapshot"),
        lake.batch(
            "people",
            2,
            [
                {"id": 1, "name": "early", "at": 1},
                {"id": 1, "name": "two"},
                {"id": 7, "name": "new"},
                {"id": 8, "name": "brief"},
            ],
            PEOPLE,
        ),
        lake.batch(
            "people",
            3,
            [{"id": n, "name": f"three{n}", "at": at} for n, at in ((0, 1), (1, 2), (2, 1), (7, 2))],
            PEOPLE,
            kind="snapshot",
        ),
        lake.batch("people", 4, [{"id": 2, "deleted": True}, {"id": 3, "name": "returned"}], PEOPLE),
        lake.batch("people", 5, [{"id": 9, "name": "last"}, {"id": 0, "name": "five"}], PEOPLE),
    ]


AFTER = [(0, "five"), (1, "three1"), (3, "returned"), (7, "three7"), (9, "last")]
