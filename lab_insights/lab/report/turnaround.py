"""The section of turnaround: by day and week, how it is distributed, and by test, priority and department."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import date
from typing import Any

from lab_insights.lab.report.model import Figure, Row
from lab_insights.lab.report.queries import BINS
from lab_insights.lab.report.text import day_text
from lab_insights.lab.report.values import Rows, count, measured, share

# As many lines as colours tell apart; rows of tests at priorities.
_SERIES, _PAIRS = 3, 20


def turnaround(rows: Rows, names: Mapping[str, str]) -> list[Figure]:
    """Return the section's figures; `names` are those of orderables by their codes."""
    by_day: dict[date, dict[str, Row]] = {}
    for row in rows["tat_days"]:
        by_day.setdefault(row["DAY"], {})[row["MEMBER"]] = row
    measures = (("all", "MEDIAN_MINUTES"), ("all", "P90_MINUTES"), ("stat", "MEDIAN_MINUTES"))
    trend = [[day, *(measured(found.get(member), name) for member, name in measures)] for day, found in sorted(by_day.items())]
    bins = {int(row["BIN"]): row for row in rows["tat_bins"]}
    labels = [f"< {BINS[0]} h", *(f"{low}–{high} h" for low, high in itertools.pairwise(BINS)), f"≥ {BINS[-1]} h"]
    spread = [[label, count(bins.get(n), "STAT"), count(bins.get(n), "OTHER")] for n, label in enumerate(labels)]
    return [
        Figure(
            "Turnaround by day",
            "Median and 90th percentile from order to verification, of the tests verified on each day.",
            {"Day": "day", "Median": "minutes", "90th percentile": "minutes", "STAT median": "minutes"},
            trend,
            "lines",
            unit="hours",
            note="Given from ten observations on.",
        ),
        Figure(
            "Distribution of turnaround",
            "Tests verified in the last 7 days by hours from order to verification.",
            {"Hours": "text", "STAT": "count", "Other": "count"},
            spread if bins else [],
            "columns",
            unit="tests",
            added=("STAT", "Other"),
        ),
        _by_week(rows, "priority", "Turnaround by week and priority", {}),
        _by_week(rows, "test", "Turnaround by week of the most frequent tests", names),
        _by_test_and_priority(rows, names),
        _by_dimension(rows, "test", "Turnaround by test", names, chart=True),
        _by_dimension(rows, "priority", "Turnaround by priority", {}),
        _by_dimension(rows, "department", "Turnaround by department", {}),
    ]


def _by_dimension(rows: Rows, dimension: str, title: str, names: Mapping[str, str], *, chart: bool = False) -> Figure:
    found: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows["tat"]:
        if row["DIMENSION"] == dimension:
            found.setdefault(str(row["MEMBER"]), {})[row["PERIOD"], row["STAGE"]] = row
    table: list[list[Any]] = []
    for member, of in found.items():
        now, lab, before = of.get(("now", "total")), of.get(("now", "receive_to_verify")), of.get(("before", "total"))
        if now:
            values = [measured(now, "MEDIAN_MINUTES"), measured(now, "P90_MINUTES"), measured(before, "MEDIAN_MINUTES")]
            within = share(lab, "WITHIN_TARGET", "WITH_TARGET")
            table.append([names.get(member, member), int(now["OBSERVATIONS"]), *values, within])
    table.sort(key=lambda row: (-row[1], row[0]))
    return Figure(
        title,
        "Order to verification, tests verified in the last 7 days; target: receipt to verification.",
        {
            dimension.capitalize(): "text",
            "Tests": "count",
            "Median": "minutes",
            "90th percentile": "minutes",
            "Median 7 days before": "minutes",
            "Within target": "share",
        },
        table[:15],
        "ranges" if chart else None,
        ("Median", "90th percentile"),
        unit="hours",
        added=("Tests",),
    )


def _by_week(rows: Rows, dimension: str, title: str, names: Mapping[str, str]) -> Figure:
    """Return the medians of the weeks of the most frequent members, a column each."""
    weeks, found = _weeks(rows, dimension)
    labels = {member: names.get(member, member) for member in list(found)[:_SERIES]}
    unique = [label if list(labels.values()).count(label) == 1 else f"{label} ({member})" for member, label in labels.items()]
    table = [[week, *(measured(found[member].get(week), "MEDIAN_MINUTES") for member in labels)] for week in weeks]
    return Figure(
        title,
        "Median from order to verification, of the tests verified in the 7 days up to each day.",
        {"Up to": "day", **dict.fromkeys(unique, "minutes")},
        table,
        "lines",
        tuple(unique),
        unit="hours",
    )


def _by_test_and_priority(rows: Rows, names: Mapping[str, str]) -> Figure:
    """Return the medians of the weeks of each test at each priority."""
    weeks, found = _weeks(rows, "test_priority")
    table: list[list[Any]] = []
    for member, by_week in list(found.items())[:_PAIRS]:
        test, _, priority = member.rpartition(" / ")
        medians = [measured(by_week.get(week), "MEDIAN_MINUTES") for week in weeks]
        table.append([names.get(test, test), priority, _tests(by_week), *medians, measured(by_week.get(weeks[-1]), "P90_MINUTES")])
    return Figure(
        "Turnaround by week, test and priority",
        "Median from order to verification in the 7 days up to each day, and the 90th percentile of the last 7; the most frequent ones.",
        {
            "Test": "text",
            "Priority": "text",
            "Tests": "count",
            **dict.fromkeys((f"To {day_text(week)}" for week in weeks), "minutes"),
            "90th percentile": "minutes",
        },
        table,
        added=("Tests",),
    )


def _weeks(rows: Rows, dimension: str) -> tuple[list[date], dict[str, dict[date, Row]]]:
    """Return the weeks' last days, and the weeks of each member of a dimension, the most frequent first."""
    found: dict[str, dict[date, Row]] = {}
    for row in rows["tat_weeks"]:
        if row["DIMENSION"] == dimension:
            found.setdefault(str(row["MEMBER"]), {})[row["WEEK"]] = row
    ordered = sorted(found, key=lambda member: (-_tests(found[member]), member))
    return sorted({row["WEEK"] for row in rows["tat_weeks"]}), {member: found[member] for member in ordered}


def _tests(by_week: Mapping[date, Row]) -> int:
    return sum(count(row, "OBSERVATIONS") for row in by_week.values())
