"""The page: what it says, what it hides when it is shared, and that it needs nothing but itself."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from lab_insights.lab.kpis.declared import KpiTile
from lab_insights.lab.report.model import HIDDEN, Measured, Share, Tile
from lab_insights.lab.report.page import render
from lab_insights.lab.report.text import change, duration, written
from lab_insights.lab.report.tiles import counted
from lab_insights.lab.report.values import Days
from lab_insights_tests.lab.report.rows import DAY, PRIORITIES, TESTS, delivered, nothing, page, rows


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def html() -> str:
    return render(page())


def test_the_page_is_one_file_below_a_megabyte_that_asks_for_nothing(html: str) -> None:
    assert len(html.encode()) < 1_000_000
    found = Elements(html).found
    assert not {"script", "iframe", "img", "object", "embed"} & {tag for tag, _ in found}
    addresses = [value for _, attributes in found for name, value in attributes.items() if name in {"href", "src", "xlink:href"}]
    assert addresses
    assert all(str(value).startswith(("#", "data:")) for value in addresses)
    assert "@import" not in html
    assert "url(http" not in html


def test_every_chart_has_a_name_and_a_table_of_its_figures(html: str) -> None:
    found = Elements(html).found
    charts = [attributes for tag, attributes in found if tag == "svg"]
    assert len(charts) >= 10
    assert all(attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20 for attributes in charts)
    assert html.count("<summary>Show the figures</summary>") == len(charts)
    ids = [attributes["id"] for _, attributes in found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for tag, attributes in found if tag == "a"} <= set(ids)  # type: ignore[index]


def test_names_from_the_data_can_not_become_markup(html: str) -> None:
    assert "<i>" not in html
    assert "Urine culture &lt;i&gt;" in html


def test_times_are_those_of_the_tenants_zone(html: str) -> None:
    assert "11 March 2026, 01:30" in html, "05:30 in UTC, after the clocks of New York changed"
    assert "Tuesday, 10 March 2026" in html
    assert "the day was not over" not in html
    assert "the day was not over" in render(replace(page(), day=DAY + timedelta(days=1)))


def test_a_laboratory_without_data_gets_a_page_that_says_so() -> None:
    html = render(nothing())
    assert "<svg" not in html
    assert html.count("Nothing in this period.") > 10
    assert "no prior period to compare" in html


def test_rates_of_a_week_are_rates_of_sums_and_snapshots_are_never_added() -> None:
    found = rows()
    week = [DAY - timedelta(days=back) for back in range(7)]
    # Rates of 1 in 1 and 0 in 99: their mean is a half, the truth one in a hundred.
    found["specimens"] = [{"DAY": DAY, "SPECIMENS": 1, "REJECTED": 1}, {"DAY": week[1], "SPECIMENS": 99, "REJECTED": 0}]
    tiles = {tile.label: tile for tile in page(found).tiles}
    assert tiles["Specimens rejected"].now == Share(1, 100)
    assert tiles["Tests pending"].now == found["pending"][-1]["PENDING"]
    assert tiles["Tests pending"].before == found["pending"][-8]["PENDING"]
    assert tiles["Tests ordered"].now == sum(row["TESTS"] for row in found["volume"] if row["DAY"] in week)


def test_a_declared_tile_adds_days_up_takes_the_last_or_divides_sums() -> None:
    days = Days([{"DAY": DAY - timedelta(days=back), "N": back + 1, "OF": 100} for back in range(14)], DAY)
    share = KpiTile(label="x", kind="share", numerator="n", denominator="of", better="up", note="why")
    assert counted(share, days) == Tile("x", "share", Share(28, 700), Share(77, 700), "why", "up")
    assert counted(KpiTile(label="x", column="n"), days) == Tile("x", "count", 28, 77)
    assert counted(KpiTile(label="x", kind="at_end", column="n"), days) == Tile("x", "count", 1, 8)


def test_corrected_results_are_given_per_ten_thousand_billable_tests_of_four_weeks() -> None:
    found = rows()
    found["corrected"] = [
        {"DAY": DAY - timedelta(days=back), "CORRECTED": 2, "BILLABLE": 500 if back < 28 else 1000, "RESULTS": 9000} for back in range(56)
    ]
    [tile] = [tile for tile in page(found).tiles if tile.label == "Results corrected"]
    assert (tile.now, tile.before) == (Share(56, 14_000), Share(56, 28_000))
    assert (written(tile.now, tile.kind), change(tile)) == ("40.0", ("▲ up 20.0", "bad"))
    assert "per 10,000 billable tests" in tile.note


def test_turnaround_has_a_trend_by_test_and_by_priority_and_by_both() -> None:
    found = rows()
    weeks = sorted({row["WEEK"] for row in found["tat_weeks"]})
    of = {(row["WEEK"], row["MEMBER"]): Measured(row["MEDIAN_MINUTES"], row["OBSERVATIONS"]) for row in found["tat_weeks"]}
    figures = {figure.title: figure for figure in page(found).sections[0].figures}
    by_priority = figures["Turnaround by week and priority"]
    assert set(list(by_priority.columns)[1:]) == set(PRIORITIES)
    assert by_priority.rows == [[week, *(of[week, name] for name in list(by_priority.columns)[1:])] for week in weeks]
    by_test = figures["Turnaround by week of the most frequent tests"]
    codes = {name: code for code, name in TESTS.items()}
    assert len(by_test.drawn) == 3
    assert by_test.rows == [[week, *(of[week, codes[name]] for name in by_test.drawn)] for week in weeks]
    both = figures["Turnaround by week, test and priority"].rows
    assert {(row[0], row[1]) for row in both} == {(name, priority) for name in codes for priority in PRIORITIES}
    for name, priority, tests, *medians, _ in both:
        expected = [of[week, f"{codes[name]} / {priority}"] for week in weeks]
        assert (tests, medians) == (sum(each.n for each in expected), expected)


def test_a_table_agrees_when_each_row_is_accounted_for_and_loaded() -> None:
    found = rows()
    found["loads"] = [
        {"TABLE_NAME": name, "STAGED": staged, "BEFORE": 2731, "DAYS": 7} for name, staged in (("result", 400), ("order", 399))
    ]
    came = [delivered("result", 400, 400), delivered("result", 401, 400), delivered("order", 400, 400), delivered("new", 7, 7)]
    *_, data = page(found, came).sections
    shown = [dict(zip(data.figures[1].columns, row, strict=True)) for row in data.figures[1].rows]
    assert [(row["Loaded"], row["Usual"], row["Read up to"], row["Agree"]) for row in shown] == [
        (400, 390, "11 Mar 00:00", "yes"),
        (400, 390, "11 Mar 00:00", "no"),  # one row is lost between the source and the lake
        (399, 390, "11 Mar 00:00", "no"),
        (0, None, "11 Mar 00:00", "no"),
    ]


@pytest.mark.parametrize(("minutes", "text"), [(0, "0 min"), (59.6, "1 h"), (61, "1 h 01 min"), (2879, "47 h 59 min"), (2880, "2.0 days")])
def test_durations_are_said_as_people_say_them(minutes: float, text: str) -> None:
    assert duration(minutes) == text


def test_a_change_says_its_way_in_words_and_whether_it_is_good() -> None:
    assert change(Tile("x", "count", 110, 100)) == ("▲ up 10%", "same")
    assert change(Tile("x", "share", Share(9, 100), Share(1, 10), better="down")) == ("▼ down 1.0 points", "good")
    assert change(Tile("x", "minutes", Measured(90.0, 20), Measured(60.0, 20), better="down")) == ("▲ up 30 min", "bad")
    assert change(Tile("x", "count", 5, 0))[0] == change(Tile("x", "share", Share(1, 2), Share(0, 0)))[0] == "no prior period to compare"
    assert change(Tile("x", "count", 100, HIDDEN))[0] == "change not shown"
    assert change(Tile("x", "count", 100, 100)) == ("unchanged", "same")


def test_what_is_not_there_is_a_dash_and_not_a_zero() -> None:
    assert [written(None, "count"), written(Share(0, 0), "share"), written(Measured(None, 3), "minutes")] == ["–"] * 3
    assert [written(0, "count"), written(Share(0, 9), "share")] == ["0", "0.0%"]


def test_text_is_dark_enough_on_its_background(html: str) -> None:
    colours = dict(re.findall(r"--(\w+): (#\w+)", html))
    backgrounds = [colours["paper"], colours["desk"]]
    for name in ("ink", "soft", "blue", "good", "bad"):
        assert min(_contrast(colours[name], background) for background in backgrounds) >= 4.5, name


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
