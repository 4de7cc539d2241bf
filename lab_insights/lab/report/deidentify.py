"""The de-identified page, for sharing: no names of laboratory, accounts or providers, and no cell under 11."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lab_insights.lab.report.model import HIDDEN, Figure, Hidden, Measured, Report, Section, Share, Tile

# The threshold of the Centers for Medicare & Medicaid Services' cell size suppression policy.
SMALLEST = 11
ACCOUNTS = "Volume by account"


def deidentified(report: Report) -> Report:
    """Return the page without names and small cells; a cell that could be found from its neighbours is hidden with them."""
    sections = [Section(each.id, each.title, [_figure(figure) for figure in each.figures], each.lead) for each in report.sections]
    return replace(report, title="A laboratory", tiles=[_tile(tile) for tile in report.tiles], sections=sections, deidentified=True)


def _tile(tile: Tile) -> Tile:
    now, before = suppressed([tile.now]), suppressed([tile.before])
    return replace(tile, now=now[0], before=before[0])


def _figure(figure: Figure) -> Figure:
    rows = [list(row) for row in figure.rows]
    if figure.title == ACCOUNTS:
        for number, row in enumerate(rows, start=1):
            row[0] = f"Account {number}"
    for place, kind in enumerate(figure.columns.values()):
        if kind not in {"text", "day"}:
            for row, value in zip(rows, suppressed([row[place] for row in rows]), strict=True):
                row[place] = value
    return replace(figure, rows=rows)


def suppressed(column: list[Any]) -> list[Any]:
    """Return the values of a column with small cells hidden; when one count alone is hidden, the next smallest is, too."""
    hidden = [HIDDEN if _small(value) else value for value in column]
    counts = [(value, place) for place, value in enumerate(hidden) if type(value) is int and value > 0]
    if sum(isinstance(value, Hidden) for value in hidden) == 1 and counts:
        hidden[min(counts)[1]] = HIDDEN
    return hidden


def _small(value: Any) -> bool:
    if isinstance(value, Share):
        return any(0 < part < SMALLEST for part in (value.of, value.total, value.total - value.of))
    if isinstance(value, Measured):
        return 0 < value.n < SMALLEST
    return isinstance(value, int) and 0 < value < SMALLEST
