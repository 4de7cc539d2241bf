"""Reading one body as the parse step does, with its records by column."""

from __future__ import annotations

from typing import Any

from lab_insights.lab.parsing import read
from lab_insights.lab.records import COMMON, FIELDS, Kind, Records


def read_one(body: str | bytes | None) -> Records:
    """Return what a row of a message store says."""
    found = Records()
    read(found, "m1", None, body)
    return found


def rows(body: str | bytes | None, kind: Kind) -> list[dict[str, Any]]:
    """Return the records of a kind; a body that is rejected has none, and fails."""
    found = read_one(body)
    assert kind == "reject" or not found.rows["reject"], found.rows["reject"]
    return [dict(zip((*COMMON, *FIELDS[kind], "remarks"), row, strict=True)) for row in found.rows[kind]]


def reasons(body: str | bytes | None) -> list[str]:
    """Return why what was rejected of a body was."""
    return [row["reason"] for row in rows(body, "reject")]


def told(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """Return these columns of a record."""
    return tuple(row[name] for name in names)
