"""Results with the times at which what they say was told first, from every report of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle.instants import known

RELEASED = {"final", "corrected", "amended", "appended"}


def results(made: Tables) -> list[Row]:
    """Every row of `result`, and when it was `released_at` first, as whatever it was then."""
    reports: dict[str, list[Row]] = defaultdict(list)
    for row in made.rows["result_version"]:
        if row["status_norm"] in RELEASED:
            reports[row["result_id"]].append(row)
    return [_first(row, reports[row["result_id"]]) for row in made.rows["result"]]


def _first(row: Row, reports: list[Row]) -> Row:
    alike = [each for each in reports if _said(each) == _said(row)]
    found = {name: _earliest(each.get(name) for each in alike) or row.get(name) for name in ("verified_at", "resulted_at")}
    released = _earliest(each.get("verified_at") for each in reports)
    return {**row, **found, "released_at": released or row.get("verified_at")}


def _said(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name) or "" for name in ("value_raw", "unit_raw", "flag_raw", "status_norm"))


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min(filter(None, map(known, times)), default=None)
