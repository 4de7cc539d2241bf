"""The numbers on top of the page: a period beside the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lab_insights.lab.kpis.declared import KpiTile, tiled
from lab_insights.lab.report.model import Better, Kind, Measured, Share, Tile
from lab_insights.lab.report.queries import TREND_DAYS
from lab_insights.lab.report.values import Days, Period, Rows, measured, share

_AT_END = "at the end of the day"
COUNTED = {
    "ordered": ("volume", KpiTile(label="Tests ordered", column="tests")),
    "rejected": (
        "specimens",
        KpiTile(label="Specimens rejected", kind="share", numerator="rejected", denominator="specimens", better="down"),
    ),
    "pending": ("pending", KpiTile(label="Tests pending", kind="at_end", column="pending", better="down", note=_AT_END)),
    "overdue": ("pending", KpiTile(label="Tests overdue", kind="at_end", column="overdue", better="down", note=_AT_END)),
    "cases": ("cases", KpiTile(label="Open cases", kind="at_end", column="backlog", better="down", note=_AT_END)),
    "tasks": (
        "tasks",
        KpiTile(label="Tasks on time", kind="share", numerator="on_time", denominator="due", better="up", note="of those due"),
    ),
}
"""Tiles that are counted by day, of the rows that they are counted from; declared as those of a deployment's own KPIs are."""


def tiles(rows: Rows, of: Mapping[str, Days]) -> list[Tile]:
    """Return the tiles of a day from the rows and its counts by day: those of the package, then those of the deployment's own KPIs."""
    tat = {(row["PERIOD"], row["STAGE"]): row for row in rows["tat"] if row["DIMENSION"] == "all"}
    criticals = {row["PERIOD"]: row for row in rows["criticals"]}

    def median(period: Period) -> Measured:
        return measured(tat.get((period, "total")), "MEDIAN_MINUTES")

    def within(period: Period) -> Share:
        return share(tat.get((period, "receive_to_verify")), "WITHIN_TARGET", "WITH_TARGET")

    def told(period: Period) -> Share:
        return share(criticals.get(period), "DOCUMENTED", "CRITICALS")

    def tile(label: str, kind: Kind, take: Callable[[Period], Any], note: str, better: Better) -> Tile:
        return Tile(label, kind, take("now"), take("before"), note, better)

    def day_tile(name: str, part_of: str = "") -> Tile:
        rows_of, declared = COUNTED[name]
        return counted(declared, of[rows_of], part_of)

    corrected = partial(of["corrected"].share, "CORRECTED", "BILLABLE", days=TREND_DAYS)
    return [
        day_tile("ordered"),
        tile("Median turnaround", "minutes", median, "order to verification", "down"),
        tile("Within target", "share", within, "receipt to verification", "up"),
        day_tile("rejected"),
        tile("Results corrected", "per 10,000", corrected, f"at least, per 10,000 billable tests of {TREND_DAYS} days", "down"),
        tile("Criticals told", "share", told, "with a documented notification", "up"),
        day_tile("pending"),
        day_tile("overdue", "Tests pending"),
        day_tile("cases"),
        day_tile("tasks"),
        *(counted(declared, of[f"own:{kpi.name}"]) for kpi, declared in tiled()),
    ]


def counted(declared: KpiTile, days: Days, part_of: str = "") -> Tile:
    """Return a declared tile of counts by day."""
    take: dict[str, Callable[..., Any]] = {"count": days.total, "at_end": days.at_end, "share": days.share}
    now, before = (take[declared.kind](*map(str.upper, declared.columns), period=period) for period in ("now", "before"))
    kind: Kind = "share" if declared.kind == "share" else "count"
    return Tile(declared.label, kind, now, before, declared.note, declared.better, part_of)
