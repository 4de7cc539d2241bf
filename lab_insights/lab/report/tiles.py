"""The numbers on top of the page: a period beside the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lab_insights.lab.report.model import Better, Kind, Measured, Share, Tile
from lab_insights.lab.report.values import Days, Period, Rows, measured, share

_AT_END = "at the end of the day"


def tiles(rows: Rows, of: Mapping[str, Days]) -> list[Tile]:
    """Return the tiles of a day from the rows and its counts by day."""
    tat = {(row["PERIOD"], row["STAGE"]): row for row in rows["tat"] if row["DIMENSION"] == "all"}
    criticals = {row["PERIOD"]: row for row in rows["criticals"]}

    def median(period: Period) -> Measured:
        return measured(tat.get((period, "total")), "MEDIAN_MINUTES")

    def within(period: Period) -> Share:
        return share(tat.get((period, "receive_to_verify")), "WITHIN_TARGET", "WITH_TARGET")

    def told(period: Period) -> Share:
        return share(criticals.get(period), "DOCUMENTED", "CRITICALS")

    def tile(label: str, kind: Kind, take: Callable[[Period], Any], note: str = "", better: Better | None = None, of: str = "") -> Tile:
        return Tile(label, kind, take("now"), take("before"), note, better, of)

    return [
        tile("Tests ordered", "count", partial(of["volume"].total, "TESTS")),
        tile("Median turnaround", "minutes", median, "order to verification", "down"),
        tile("Within target", "share", within, "receipt to verification", "up"),
        tile("Specimens rejected", "share", partial(of["specimens"].share, "REJECTED", "SPECIMENS"), "", "down"),
        tile("Results corrected", "share", partial(of["corrected"].share, "CORRECTED", "RESULTS"), "at least", "down"),
        tile("Criticals told", "share", told, "with a documented notification", "up"),
        tile("Tests pending", "count", partial(of["pending"].at_end, "PENDING"), _AT_END, "down"),
        tile("Tests overdue", "count", partial(of["pending"].at_end, "OVERDUE"), _AT_END, "down", "Tests pending"),
        tile("Open cases", "count", partial(of["cases"].at_end, "BACKLOG"), _AT_END, "down"),
        tile("Tasks on time", "share", partial(of["tasks"].share, "ON_TIME", "DUE"), "of those due", "up"),
    ]
