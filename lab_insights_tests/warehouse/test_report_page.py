"""The page's figures, against their recomputation in pandas and plain Python on four weeks of generated rows."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from lab_insights.lab.report.model import Figure, Measured, Share
from lab_insights.lab.report.model import Report as Page
from lab_insights.warehouse.load import load
from lab_insights_tests.warehouse.lake import FIRST, TestLake
from lab_insights_tests.warehouse.oracle import counted, reporting
from lab_insights_tests.warehouse.oracle.instants import percentile
from lab_insights_tests.warehouse.weeks import DAY, TENANT, Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")
WEEK, BEFORE, MONTH = (DAY - timedelta(days=6), DAY), (DAY - timedelta(days=13), DAY - timedelta(days=7)), (DAY - timedelta(days=27), DAY)
PERIODS = {"now": WEEK, "before": BEFORE}


@pytest.fixture(scope="module")
def page(weeks: Weeks) -> Page:
    return weeks.page()


def _figure(page: Page, title: str) -> Figure:
    return next(figure for section in page.sections for figure in section.figures if figure.title == title)


def _tile(page: Page, label: str) -> tuple[Any, Any]:
    return next((tile.now, tile.before) for tile in page.tiles if tile.label == label)


def _rows(weeks: Weeks, column: str, period: tuple[date, date]) -> pd.DataFrame:
    frame = weeks.tests[weeks.tests[column].notna()]
    return frame[(frame[column] >= period[0]) & (frame[column] <= period[1])]


def _live(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~frame.state.isin(["cancelled", "rejected"])]


def _minutes(frame: pd.DataFrame) -> list[float]:
    return [value for value in frame[frame.state == "complete"].total_minutes if pd.notna(value)]


def _measured(frame: pd.DataFrame, share: float = 0.5) -> Measured:
    values = _minutes(frame)
    return Measured(percentile(values, share), len(values))


def _names(weeks: Weeks) -> dict[str, str]:
    return {row["test_code"]: row["name"] for row in weeks.made.rows["orderable"] if row["name"]}


def test_volume_is_that_of_the_week_and_of_the_one_before(weeks: Weeks, page: Page) -> None:
    counts = {name: _live(_rows(weeks, "start_day", period)) for name, period in PERIODS.items()}
    assert _tile(page, "Tests ordered") == (len(counts["now"]), len(counts["before"]))
    # There is no table of accounts here: an account is shown by its id.
    for title, column, called in (("Volume by orderable", "test_code", _names(weeks)), ("Volume by account", "account_id", {})):
        now, before = (Counter(called.get(each, each) for each in counts[name][column]) for name in PERIODS)
        shown = {row[0]: tuple(row[1:]) for row in _figure(page, title).rows}
        assert shown
        assert shown == {name: (now[name], before[name]) for name in shown}
        assert len(shown) == min(12, len({*now, *before}))
    by_day = Counter(_live(_rows(weeks, "start_day", MONTH)).start_day)
    assert {row[0]: row[1] for row in _figure(page, "Tests ordered by day").rows if row[1]} == by_day


def test_turnaround_is_of_the_intervals_of_the_week(weeks: Weeks, page: Page) -> None:
    frames = {name: _rows(weeks, "verified_day", period) for name, period in PERIODS.items()}
    assert _tile(page, "Median turnaround") == tuple(_measured(frames[name]) for name in PERIODS)
    assert _tile(page, "Within target") == tuple(_within(frames[name]) for name in PERIODS)
    for title, column, names in (
        ("Turnaround by test", "test_code", _names(weeks)),
        ("Turnaround by priority", "priority", {}),
        ("Turnaround by department", "department", {}),
    ):
        expected = {}
        for member, rows in frames["now"].groupby(column):
            if (rows.state == "complete").any():
                before = frames["before"][frames["before"][column] == member]
                values = (len(_minutes(rows)), _measured(rows), _measured(rows, 0.9), _measured(before), _within(rows))
                expected[names.get(member, member)] = values
        assert {row[0]: tuple(row[1:]) for row in _figure(page, title).rows} == expected


def _within(frame: pd.DataFrame) -> Share:
    rows = frame[(frame.state == "complete") & frame.receive_to_verify_minutes.notna() & frame.target_minutes.notna()]
    return Share(int((rows.receive_to_verify_minutes <= rows.target_minutes).sum()), len(rows))


def test_the_distribution_counts_each_test_of_the_week_once(weeks: Weeks, page: Page) -> None:
    rows = _rows(weeks, "verified_day", WEEK)
    rows = rows[(rows.state == "complete") & rows.total_minutes.notna()]
    edges = [0, 1, 2, 4, 8, 12, 24, 48, float("inf")]
    expected = []
    for low, high in itertools.pairwise(edges):
        inside = rows[(rows.total_minutes / 60 >= low) & (rows.total_minutes / 60 < high)]
        expected.append([int((inside.priority == "stat").sum()), int((inside.priority != "stat").sum())])
    assert [row[1:] for row in _figure(page, "Distribution of turnaround").rows] == expected


def test_the_trend_is_of_the_intervals_of_each_week(weeks: Weeks, page: Page) -> None:
    ends = [DAY - timedelta(days=7 * back) for back in range(3, -1, -1)]
    frames = {end: _rows(weeks, "verified_day", (end - timedelta(days=6), end)) for end in ends}
    frames = {end: rows for end, rows in frames.items() if len(rows)}
    assert len(frames) == 2
    names = _names(weeks)
    for title, column, called in (
        ("Turnaround by week and priority", "priority", {}),
        ("Turnaround by week of the most frequent tests", "test_code", names),
    ):
        figure = _figure(page, title)
        code = {called.get(each, each): each for each in set(weeks.tests[column])}
        shown = [code[name] for name in list(figure.columns)[1:]]
        assert figure.rows == [[end, *(_measured(rows[rows[column] == each]) for each in shown)] for end, rows in frames.items()]
    month = _rows(weeks, "verified_day", MONTH)
    figure = _figure(page, "Turnaround by week, test and priority")
    assert figure.rows
    for name, priority, tests, *medians, tail in figure.rows:
        of = {
            end: rows[(rows.test_code.map(lambda each: names.get(each, each)) == name) & (rows.priority == priority)]
            for end, rows in frames.items()
        }
        assert medians == [_measured(rows) for rows in of.values()]
        assert tail == _measured(of[DAY], 0.9)
        both = month[(month.test_code.map(lambda each: names.get(each, each)) == name) & (month.priority == priority)]
        assert tests == len(_minutes(both))


def test_pending_and_overdue_are_those_at_the_end_of_the_day(weeks: Weeks, page: Page) -> None:
    by_test: dict[str, Counter[str]] = {}
    for (day, test, _), its in counted.pending(weeks.made, weeks.tests).items():
        if day == DAY:
            by_test.setdefault(test, Counter()).update({name: its[name] for name in ("pending", "not_received", "overdue")})
    names = _names(weeks)
    expected = {
        names.get(test, test): (each["pending"], each["overdue"], each["pending"] - each["overdue"], each["not_received"])
        for test, each in by_test.items()
    }
    assert {row[0]: tuple(row[1:5]) for row in _figure(page, "Pending by test").rows} == expected
    assert _tile(page, "Tests pending")[0] == sum(each["pending"] for each in by_test.values())
    assert _tile(page, "Tests overdue")[0] == sum(each["overdue"] for each in by_test.values())


def test_corrected_results_are_per_billable_test_of_four_weeks(weeks: Weeks, page: Page) -> None:
    rows = [row for (day, _), row in reporting.corrected(weeks.made, weeks.tests).items() if _within_days(day, MONTH)]
    now, _ = _tile(page, "Results corrected")
    assert now == Share(sum(row["corrected"] for row in rows), sum(row["billable_tests"] for row in rows))
    assert now.of


def test_criticals_and_rejections_are_those_of_the_week(weeks: Weeks, page: Page) -> None:
    criticals = list(reporting.critical_result(weeks.made, weeks.tests).values())
    found = {name: [row for row in criticals if _within_days(row["event_day"], period)] for name, period in PERIODS.items()}
    assert found["now"]
    assert _tile(page, "Criticals told") == tuple(Share(sum(row["is_documented"] for row in rows), len(rows)) for rows in found.values())
    tubes: dict[str, Counter[bool]] = {name: Counter() for name in PERIODS}
    for (day, *_, reason), its in reporting.rejection(weeks.made, weeks.tests).items():
        for name, period in PERIODS.items():
            tubes[name][reason != "accepted"] += its["specimens"] if _within_days(day, period) else 0
    assert _tile(page, "Specimens rejected") == tuple(Share(its[True], its.total()) for its in tubes.values())
    reasons = _figure(page, "Rejected specimens by reason").rows
    assert [sum(row[place] for row in reasons) for place in (1, 2)] == [its[True] for its in tubes.values()]


@pytest.fixture
def delivered(weeks: Weeks) -> dict[str, list[Any]]:
    """Tables whose raw rows went other ways, on the day and before, as the page tells of them."""
    lake, last = TestLake(weeks.lake.storage, TENANT, weeks.lake.state), (DAY - FIRST).days + 1
    schema = pa.schema([("id", pa.string())])

    def came(table: str, day: int, rows: int, kept: int, *, loaded: bool = True) -> None:
        made = [{"id": f"{day}-{n}"} for n in range(rows)]
        source, name = {"campaign": ("crm.campaign", "campaign"), "nodes": ("crm.account_access_node", "account_access_node"),
                        "fields": ("crm.udf_definition", "udf_definition")}[table]  # fmt: skip
        lake.batch(source, day, made, schema, layer="raw")
        curated = lake.batch(name, day, made, schema, counts={"kept": kept})
        if loaded:
            load(weeks.session, weeks.lake.storage, TENANT, [curated], run_id="test")

    for before, rows in ((3, 2), (1, 5)):
        came("campaign", last - before, rows, rows)
    came("campaign", last, 3, 3)
    came("nodes", last, 3, 2)
    came("fields", last, 4, 4, loaded=False)
    figure = _figure(weeks.page(), "From the source to the warehouse")
    names = list(figure.columns)[1:]
    return {str(row[0]): [dict(zip(names, row[1:], strict=True))[name] for name in ("Source", "Curated", "Loaded", "Usual", "Read up to", "Agree")]
            for row in figure.rows}  # fmt: skip


def test_what_came_is_told_from_the_source_to_the_warehouse_with_what_is_usual_and_how_fresh_it_is(delivered: dict[str, list[Any]]) -> None:
    until = "10 Mar 20:00"  # midnight in UTC, after the clocks of New York changed
    assert delivered == {
        "campaign": [3, 3, 3, 4, until, "yes"],  # two and five on the days before
        "account_access_node": [3, 3, 3, None, until, "no"],  # curation accounts for two
        "udf_definition": [4, 4, 0, None, until, "no"],
    }


def _within_days(day: date | None, period: tuple[date, date]) -> bool:
    return day is not None and period[0] <= day <= period[1]
