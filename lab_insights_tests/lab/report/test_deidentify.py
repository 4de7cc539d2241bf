"""The page to share: it names nobody, and no cell under 11 is shown or can be told from those that are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab_insights.lab.report.deidentify import deidentified
from lab_insights.lab.report.model import HIDDEN, Figure, Hidden, Measured, Report, Section, Share, Tile
from lab_insights.lab.report.page import render
from lab_insights_tests.lab.report.rows import ACCOUNTS, delivered, page, rows

SUMS = {
    "Tests ordered by day": [("Tests", "Repeated too early")],
    "Pending by test": [("Pending", "Overdue", "In time"), ("Pending", "Not received")],
    "Pending by day": [("Pending", "Overdue")],
    "Corrected results by day": [("Results", "Corrected")],
    "Tasks by day": [("Due", "Done on time"), ("Open", "Overdue")],
    "Critical values": [("Within 60 min", "Within 30 min"), ("Within 30 min", "Within 15 min")],
    "Measures": [("Looked at", "On the day"), ("Last 7 days", "On the day")],
    "From the source to the warehouse": [("Source", "Landed", "Quarantined"), ("Curated", "Loaded")],
}
"""What whoever knows a laboratory knows of the page: in a row the first is the others and a rest that is not shown."""
TOTALS = {
    **dict.fromkeys(["Volume by account", "Volume by orderable", "Rejected specimens by reason"], ("Last 7 days", "7 days before")),
    "Closed cases by root cause": ("Last 7 days", "7 days before"),
    **dict.fromkeys(["Turnaround by test", "Turnaround by priority", "Turnaround by department"], ("Tests",)),
    "Distribution of turnaround": ("STAT", "Other"),
    "Pending by test": ("Pending", "Overdue", "In time", "Not received"),
    "Tests ordered by day": ("Tests", "Cancelled", "Repeated too early"),
    "Corrected results by day": ("Corrected", "Results", "Billable tests"),
    "Cases by day": ("Opened", "Closed"),
    "Tasks by day": ("Due", "Done on time"),
}
"""Columns whose total another part of the page, or another report, tells: of days by week."""


def test_the_shared_page_names_nobody() -> None:
    html = render(deidentified(page()))
    assert not [name for name in (*ACCOUNTS, "Aurora") if name in html]
    assert "Account 1" in html
    assert "De-identified" in html


def test_small_cells_are_hidden_in_tiles_tables_and_charts() -> None:
    for figure in _figures(deidentified(page())).values():
        for row in figure.rows:
            for value in row[1:]:
                assert not (isinstance(value, int) and 0 < value < 11), figure.title
                assert not (isinstance(value, Share) and (0 < value.of < 11 or 0 < value.total - value.of < 11)), figure.title
                assert not (isinstance(value, Measured) and 0 < value.n < 11), figure.title
    assert "under 11" in render(deidentified(page()))


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([50, 12, 3], [50, HIDDEN, HIDDEN]),
        ([50, 8, 3], [50, HIDDEN, HIDDEN]),
        ([50, 4, 3], [HIDDEN, HIDDEN, HIDDEN]),  # the two are seven
        ([50, 0, 12], [50, 0, 12]),
        ([Share(3, 400), Share(397, 400), Share(30, 400)], [HIDDEN, HIDDEN, Share(30, 400)]),
        ([Measured(50.0, 10), Measured(None, 0), Measured(1.0, 11)], [HIDDEN, Measured(None, 0), Measured(1.0, 11)]),
        ([None, "x"], [None, "x"]),
    ],
)
def test_a_cell_that_the_total_of_its_column_would_give_away_is_hidden_with_others(column: list[Any], shown: list[Any]) -> None:
    assert [
        row[1] for row in _shared(Figure("f", "", {"x": "text", "n": "count"}, [["r", each] for each in column], added=("n",)))
    ] == shown


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ((22, 8, 14), (22, HIDDEN, HIDDEN)),
        ((40, 20, 20), (40, 20, 20)),
        ((20, 20, 0), (20, 20, 0)),
        ((8, 8, 0), (HIDDEN, HIDDEN, 0)),
        ((40, 17, 15), (40, 17, HIDDEN)),  # eight are neither
    ],
)
def test_a_cell_that_its_row_would_give_away_is_hidden_with_another(row: tuple[int, ...], shown: tuple[Any, ...]) -> None:
    figure = Figure("f", "", {"x": "text", "all": "count", "a": "count", "b": "count"}, [["r", *row]], parts=(("all", "a", "b"),))
    assert tuple(_shared(figure)[0][1:]) == shown


def test_a_rate_is_hidden_with_the_count_that_it_tells() -> None:
    figure = Figure(
        "f",
        "",
        {"x": "text", "n": "count", "of": "count", "rate": "share"},
        [["r", 30, 400, Share(30, 400)], ["s", 3, 400, Share(3, 400)]],
        added=("n",),
    )
    assert [row[1:] for row in _shared(figure)] == [[HIDDEN, 400, HIDDEN], [HIDDEN, 400, HIDDEN]]


def test_a_tile_that_tells_the_rest_of_another_is_hidden() -> None:
    pending, overdue = Tile("pending", "count", 40, 40), Tile("overdue", "count", 35, 20, of="pending")
    assert [(tile.now, tile.before) for tile in deidentified(Report(**_EMPTY, tiles=[pending, overdue])).tiles] == [(40, 40), (HIDDEN, 20)]


_EMPTY: Any = {name: getattr(page(), name) for name in ("title", "day", "zone", "made_at")}


def _shared(figure: Figure) -> list[list[Any]]:
    return _figures(deidentified(Report(**_EMPTY, tiles=[], sections=[Section("s", "S", [figure])])))["f"].rows


def _figures(report: Report) -> dict[str, Figure]:
    return {figure.title: figure for section in report.sections for figure in section.figures}


@pytest.mark.parametrize("seed", range(12))
def test_nobody_tells_a_small_cell_from_those_that_are_shown(seed: int) -> None:
    whole = page(_small_laboratory(seed), [delivered("result", 400 + seed, 400, seed), delivered("patient", 30, 30)])
    shared = deidentified(whole)
    sums = [each for title, figure in _figures(whole).items() for each in _known(figure, _figures(shared)[title])]
    tiles = {tile.label: (tile, shared.tiles[place]) for place, tile in enumerate(whole.tiles)}
    for period in ("now", "before"):
        cells = [
            _cell("tile", name, period, *(getattr(each, period) for each in tiles[name])) for name in ("Tests pending", "Tests overdue")
        ]
        sums.append(_with_rest([(1, cells[0]), (-1, cells[1])]))
    assert _told(sums) == []


Cell = tuple[Any, int, bool]
"""What it is, how many it counts, and whether it is shown."""


def _cell(*of: Any) -> Cell:
    *name, value, shown = of
    amount = value.of if isinstance(value, Share) else value
    return tuple(name), amount if isinstance(amount, int) else 0, not isinstance(shown, Hidden)


def _with_rest(terms: list[tuple[int, Cell]]) -> list[tuple[int, Cell]]:
    rest = sum(sign * amount for sign, (_, amount, _) in terms)
    return [*terms, (-1, (("rest", terms), rest, not rest))]


def _known(figure: Figure, shown: Figure) -> Iterator[list[tuple[int, Cell]]]:
    """Yield what adds up on a figure, as terms that are nought together or have a total that is known."""
    columns = list(figure.columns)

    def cell(row: int, name: str) -> Cell:
        place = columns.index(name)
        return _cell(figure.title, row, name, figure.rows[row][place], shown.rows[row][place])

    every = range(len(figure.rows))
    for row in every:
        for whole, *parts in SUMS.get(figure.title, []):
            yield _with_rest([(1, cell(row, whole)), *((-1, cell(row, part)) for part in parts)])
        if figure.title == "Cases by day" and row:
            end, before, opened, closed = (
                cell(row, "Open at its end"),
                cell(row - 1, "Open at its end"),
                cell(row, "Opened"),
                cell(row, "Closed"),
            )
            yield _with_rest([(1, end), (-1, before), (-1, opened), (1, closed)])
    weeks = [every[end - 7 : end] for end in range(len(every), 6, -7)] if figure.columns[columns[0]] == "day" else [every]
    added = [[(1, cell(row, name)) for row in week] for week in weeks for name in TOTALS.get(figure.title, ())]
    yield from (terms for terms in added if sum(amount for _, (_, amount, _) in terms) >= 11)  # a total under 11 is shown nowhere


def _told(sums: list[list[tuple[int, Cell]]]) -> list[Any]:
    """Return the cells under 11, or sums of cells, that follow from those shown: one unknown of a sum does, and is known to all others."""
    found: set[Any] = set()
    small: list[Any] = []
    while True:
        follows = []
        for terms in sums:
            unknown = [(sign, name, amount) for sign, (name, amount, shown) in terms if not shown and str(name) not in found]
            if len(unknown) == 1:
                follows.append(unknown[0])
            signs = {sign * (1 if amount > 0 else -1) for sign, _, amount in unknown if amount}
            if len(signs) == 1 and 0 < abs(sum(sign * amount for sign, _, amount in unknown)) < 11:
                small.append(unknown)
        if not follows:
            return small
        small += [each for each in follows if 0 < abs(each[2]) < 11]
        found |= {str(name) for _, name, _ in follows}


def _small_laboratory(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Counts about the threshold, which add up as a laboratory's do."""
    rng, found = random.Random(seed), rows(seed)

    def some(most: int = 60) -> int:
        return min(most, rng.choice([0, 0, 2, 8, 11, 14, 19, 35, 60]))

    for row in found["pending_by_test"]:
        row["OVERDUE"], row["NOT_RECEIVED"], rest = some(), some(), some()
        row["PENDING"] = row["OVERDUE"] + row["NOT_RECEIVED"] + rest
    for name, whole, part in (("volume", "TESTS", "DUPLICATES"), ("pending", "PENDING", "OVERDUE"), ("tasks", "DUE", "ON_TIME"),
                              ("tasks", "OPEN_TASKS", "OVERDUE"), ("corrected", "RESULTS", "CORRECTED")):  # fmt: skip
        for row in found[name]:
            row[whole] = some()
            row[part] = some(row[whole])
    found["pending"][-1] |= {"PENDING": 40, "OVERDUE": 33}
    _activities(found["cases"], some)
    for row in found["tat"]:
        row["OBSERVATIONS"] = some()
    for name in ("by_account", "by_test", "by_reason", "by_cause"):
        for row in found[name]:
            row["NOW"], row["BEFORE"] = some(), some()
    for row in found["criticals"]:
        row["WITHIN_60"] = some(row["OBSERVATIONS"])
        row["WITHIN_30"] = some(row["WITHIN_60"])
        row["WITHIN_15"] = some(row["WITHIN_30"])
    for row in found["quality"]:
        row["DAY_CHECKED"], row["FAILED"] = some() + 20, some()
        row["DAY_FAILED"] = some(min(row["DAY_CHECKED"], row["FAILED"]))
    return found


def _activities(days: list[dict[str, Any]], some: Callable[..., int]) -> None:
    backlog = 20
    for row in days:
        row["OPENED"] = some()
        row["CLOSED"] = some(backlog + row["OPENED"])
        backlog = row["BACKLOG"] = backlog + row["OPENED"] - row["CLOSED"]
