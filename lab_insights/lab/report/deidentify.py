"""The de-identified page, for sharing: no names of laboratory, accounts or providers, and no cell under 11, nor one that can be told from those shown.

Each figure says which of its cells add up (`Figure.parts`, `flow` and `added`). Where all but one of such a sum are shown, the smallest of these is hidden
too, until no sum gives a cell away. This holds within one page: two pages of overlapping weeks can be subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab_insights.lab.report.model import HIDDEN, Figure, Hidden, Measured, Report, Section, Share, Tile
from lab_insights.lab.report.queries import PERIOD_DAYS

# The threshold of the Centers for Medicare & Medicaid Services' cell size suppression policy.
SMALLEST = 11
ACCOUNTS = "Volume by account"


def deidentified(report: Report) -> Report:
    """Return the page without names and small cells; a cell that could be told from others is hidden with them."""
    sections = [Section(each.id, each.title, [_figure(figure) for figure in each.figures], each.lead) for each in report.sections]
    return replace(report, title="A laboratory", tiles=_tiles(report.tiles), sections=sections, deidentified=True)


def _tiles(tiles: Sequence[Tile]) -> list[Tile]:
    """A tile of both periods is a row; those that are part of another one are beside it in both."""
    places = {tile.label: place for place, tile in reversed(list(enumerate(tiles)))}
    pairs = [(places[tile.of], place) for place, tile in enumerate(tiles) if tile.of in places]
    sums = [_Sum({(whole, period): 1, (part, period): -1}) for whole, part in pairs for period in range(2)]
    shown = suppressed([[tile.now, tile.before] for tile in tiles], sums)
    return [replace(tile, now=now, before=before) for tile, (now, before) in zip(tiles, shown, strict=True)]


def _figure(figure: Figure) -> Figure:
    rows = [list(row) for row in figure.rows]
    if figure.title == ACCOUNTS:
        for number, row in enumerate(rows, start=1):
            row[0] = f"Account {number}"
    shown = suppressed([row[1:] for row in rows], list(_sums(figure)))
    return replace(figure, rows=[[row[0], *values] for row, values in zip(rows, shown, strict=True)])


Cell = tuple[int, int]


@dataclass(frozen=True)
class _Sum:
    """Cells with their signs. They add up to a total that a reader may know, or (where not `known`) to a cell that nobody shows."""

    signs: dict[Cell, int]
    known: bool = False


def _sums(figure: Figure) -> Iterator[_Sum]:
    """Yield the sums of a figure: in its rows, from a row to the next, and down its columns, of days by the week that a tile adds up."""
    place = {name: index for index, name in enumerate(list(figure.columns)[1:])}
    for row in range(len(figure.rows)):
        for whole, *parts in figure.parts:
            yield _Sum({(row, place[whole]): 1, **{(row, place[part]): -1 for part in parts}})
        if figure.flow and row:
            at_end, came, went = (place[name] for name in figure.flow)
            yield _Sum({(row, at_end): 1, (row - 1, at_end): -1, (row, came): -1, (row, went): 1})
    length = PERIOD_DAYS if next(iter(figure.columns.values())) == "day" else len(figure.rows)
    for end in range(len(figure.rows), 0, -length or -1):
        for name in figure.added:
            yield _Sum({(row, place[name]): 1 for row in range(max(end - length, 0), end)}, known=True)


def suppressed(rows: Sequence[Sequence[Any]], sums: Sequence[_Sum] = ()) -> list[list[Any]]:
    """Return cells with the small ones hidden, and as many others as the `sums` need that none of them gives away what is hidden."""
    hidden = {(row, place) for row, values in enumerate(rows) for place, value in enumerate(values) if _small(value)}
    while more := {cell for each in sums for cell in _giving_away(each, rows, hidden)}:
        hidden |= more
    shown = [[HIDDEN if (row, place) in hidden else value for place, value in enumerate(values)] for row, values in enumerate(rows)]
    return [_without_rates(values, before) for values, before in zip(shown, rows, strict=True)]


def _giving_away(each: _Sum, rows: Sequence[Sequence[Any]], hidden: set[Cell]) -> Iterator[Cell]:
    """Yield the smallest cell shown where those shown tell the one that is not, or that the hidden ones are under 11 together."""
    amounts = {cell: _amount(rows[cell[0]][cell[1]]) for cell in each.signs}
    rest = 0 if each.known else sum(sign * amounts[cell] for cell, sign in each.signs.items())
    unknown = [sign * amounts[cell] for cell, sign in each.signs.items() if cell in hidden] + ([-rest] if rest else [])
    shown = sorted((amount, cell) for cell, amount in amounts.items() if amount and cell not in hidden)
    together = abs(sum(unknown)) if min(unknown, default=0) * max(unknown, default=0) > 0 else SMALLEST
    alone = len(unknown) == 1 and not rest
    if alone or 0 < together < SMALLEST:
        yield from (cell for _, cell in shown[:1])


def _without_rates(shown: list[Any], row: Sequence[Any]) -> list[Any]:
    """A rate tells the count that it is of: hide it with that."""
    counts = {value for value, now in zip(row, shown, strict=True) if isinstance(now, Hidden) and type(value) is int}
    return [HIDDEN if isinstance(value, Share) and counts & {value.of, value.total, value.total - value.of} else value for value in shown]


def _amount(value: Any) -> int:
    if isinstance(value, Share):
        return value.of
    return value if type(value) is int else 0


def _small(value: Any) -> bool:
    if isinstance(value, Share):
        return any(0 < part < SMALLEST for part in (value.of, value.total, value.total - value.of))
    if isinstance(value, Measured):
        return 0 < value.n < SMALLEST
    return isinstance(value, int) and 0 < value < SMALLEST
