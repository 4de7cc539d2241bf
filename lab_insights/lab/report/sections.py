"""From rows of the KPI tables to the page: its sections and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from lab_insights.lab.kpis.quality import MEASURES
from lab_insights.lab.report.model import ChartKind, Figure, Kind, Measured, Report, Row, Section
from lab_insights.lab.report.tiles import tiles
from lab_insights.lab.report.turnaround import turnaround
from lab_insights.lab.report.values import Days, Rows, count, measured, share

_PERIODS = {"now": "last 7 days", "before": "7 days before"}


def report(rows: Rows, title: str, day: date, zone: str, made_at: datetime, delivered: Sequence[Row]) -> Report:
    """Return the page of a day; `delivered` says how many rows of each table came from the source to the warehouse on that day."""
    names = {str(row["TEST_CODE"]): str(row["NAME"]) for row in rows["names"] if row["NAME"]}
    counted = ("volume", "specimens", "corrected", "pending", "cases", "tasks", *(name for name in rows if name.startswith("own:")))
    of = {name: Days(rows[name], day) for name in counted}
    return Report(
        title,
        day,
        zone,
        made_at,
        tiles(rows, of),
        [
            Section("turnaround", "Turnaround", turnaround(rows, names)),
            Section("volume", "Volume", _volume(rows, of, names)),
            Section("pending", "Pending and overdue", _pending(rows, of, names), "At the end of the day."),
            Section("quality-of-service", "Rejections, corrections and critical values", _service(rows, of)),
            Section("activities", "Cases and tasks", _activities(rows, of)),
            Section("data", "Data quality", _quality(rows, delivered), "What is wrong is counted and shown, never repaired in silence."),
        ],
    )


def _volume(rows: Rows, of: Mapping[str, Days], names: Mapping[str, str]) -> list[Figure]:
    return [
        _by_day(
            "Tests ordered by day",
            "Tests by the day they were ordered; cancelled ones are not in the bars.",
            of["volume"],
            {"Tests": "TESTS", "Cancelled": "CANCELLED", "Repeated too early": "DUPLICATES"},
            "days",
            "tests",
            ("Tests",),
            parts=(("Tests", "Repeated too early"),),
            added=("Tests", "Cancelled", "Repeated too early"),
        ),
        _compared(rows["by_account"], "Volume by account", "Account", "Tests ordered, the twelve largest accounts of the last 7 days."),
        _compared(
            rows["by_test"], "Volume by orderable", "Orderable", "Tests ordered, the twelve most frequent of the last 7 days.", names
        ),
    ]


def _by_day(
    title: str,
    summary: str,
    days: Days,
    counts: Mapping[str, str],
    chart: ChartKind,
    unit: str,
    drawn: tuple[str, ...] = (),
    **sums: Any,
) -> Figure:
    """Return the trend of counts, by what the page calls them; `sums` are those of `Figure`."""
    columns: dict[str, Kind] = {"Day": "day", **dict.fromkeys(counts, "count")}
    return Figure(title, summary, columns, days.trend(*counts.values()), chart, drawn, unit, **sums)


def _compared(found: Sequence[Row], title: str, what: str, summary: str, names: Mapping[str, str] | None = None) -> Figure:
    table = [[(names or {}).get(str(row["MEMBER"]), str(row["MEMBER"])), int(row["NOW"]), int(row["BEFORE"])] for row in found]
    columns: dict[str, Kind] = {what: "text", "Last 7 days": "count", "7 days before": "count"}
    return Figure(title, summary, columns, table, "bars", ("Last 7 days",), added=("Last 7 days", "7 days before"))


def _pending(rows: Rows, of: Mapping[str, Days], names: Mapping[str, str]) -> list[Figure]:
    table = []
    for row in rows["pending_by_test"]:
        pending, overdue = int(row["PENDING"]), int(row["OVERDUE"])
        name = names.get(str(row["MEMBER"]), str(row["MEMBER"]))
        table.append([name, pending, overdue, pending - overdue, int(row["NOT_RECEIVED"]), Measured(float(row["OLDEST"] or 0), pending)])
    return [
        Figure(
            "Pending by test",
            "Tests not verified at the end of the day; overdue: received longer ago than the target.",
            {"Test": "text", "Pending": "count", "Overdue": "count", "In time": "count", "Not received": "count", "Oldest": "hours"},
            table,
            "stacked",
            ("In time", "Overdue"),
            unit="tests",
            parts=(("Pending", "Overdue", "In time"), ("Pending", "Not received")),
            added=("Pending", "Overdue", "In time", "Not received"),
        ),
        _by_day(
            "Pending by day",
            "Tests pending and overdue at the end of each day.",
            of["pending"],
            {"Pending": "PENDING", "Overdue": "OVERDUE"},
            "lines",
            "tests",
            parts=(("Pending", "Overdue"),),
        ),
    ]


def _service(rows: Rows, of: Mapping[str, Days]) -> list[Figure]:
    criticals = {row["PERIOD"]: row for row in rows["criticals"]}
    told = []
    for period, label in _PERIODS.items():
        row = criticals.get(period)
        documented = share(row, "DOCUMENTED", "CRITICALS")
        shares = [share(row, f"WITHIN_{limit}", "OBSERVATIONS") for limit in (15, 30, 60)]
        told.append([label, documented.total, documented, measured(row, "MEDIAN_MINUTES"), *shares, count(row, "IMPLAUSIBLE")])
    return [
        _compared(rows["by_reason"], "Rejected specimens by reason", "Reason", "Specimens, by the primary reason."),
        _by_day(
            "Corrected results by day",
            "By the day of their verification. A lower bound: versions between two loads are not seen.",
            of["corrected"],
            {"Corrected": "CORRECTED", "Results": "RESULTS", "Billable tests": "BILLABLE"},
            "days",
            "results",
            ("Corrected",),
            parts=(("Results", "Corrected"),),
            added=("Corrected", "Results", "Billable tests"),
        ),
        Figure(
            "Critical values",
            "From the verification to the first documented notification.",
            {
                "Period": "text",
                "Criticals": "count",
                "Told": "share",
                "Median": "minutes",
                "Within 15 min": "share",
                "Within 30 min": "share",
                "Within 60 min": "share",
                "Told before verified": "count",
            },
            told,
            parts=(("Within 60 min", "Within 30 min"), ("Within 30 min", "Within 15 min")),
        ),
    ]


def _activities(rows: Rows, of: Mapping[str, Days]) -> list[Figure]:
    return [
        _by_day(
            "Cases by day",
            "Cases opened and closed, and those open at the end of the day.",
            of["cases"],
            {"Opened": "OPENED", "Closed": "CLOSED", "Open at its end": "BACKLOG"},
            "lines",
            "cases",
            flow=("Open at its end", "Opened", "Closed"),
            added=("Opened", "Closed"),
        ),
        _compared(rows["by_cause"], "Closed cases by root cause", "Root cause", "Cases closed."),
        _by_day(
            "Tasks by day",
            "Tasks by the day they were due; overdue: open past their deadline at the end of the day.",
            of["tasks"],
            {"Due": "DUE", "Done on time": "ON_TIME", "Open": "OPEN_TASKS", "Overdue": "OVERDUE"},
            "lines",
            "tasks",
            ("Due", "Done on time", "Overdue"),
            parts=(("Due", "Done on time"), ("Open", "Overdue")),
            added=("Due", "Done on time"),
        ),
    ]


def _quality(rows: Rows, delivered: Sequence[Row]) -> list[Figure]:
    found = {row["MEASURE"]: row for row in rows["quality"]}
    measures = []
    for name, text in MEASURES.items():
        week = share(found.get(name), "FAILED", "CHECKED")
        on_day = share(found.get(name), "DAY_FAILED", "DAY_CHECKED")
        measures.append([text, on_day.of, on_day.total, on_day, week.of, week])
    loads = {str(row["TABLE_NAME"]): row for row in rows["loads"]}
    table = []
    for row in delivered:
        load = loads.get(row["of"], {})
        usual = Measured(float(load.get("BEFORE") or 0) / int(load["DAYS"]), 11) if load.get("DAYS") else None
        staged = count(load, "STAGED")
        agrees = row["accounted"] and staged == row["curated"]
        table.append(
            [row["table"], *(row[name] for name in ("source", "raw", "quarantined", "curated")), staged, usual and round(usual.value or 0)]
        )
        table[-1] += [row["newest"], "yes" if agrees else "no"]
    return [
        Figure(
            "Measures",
            "Rows that fail, of the rows that were looked at; what failed in the last 7 days first.",
            {
                "What fails": "text",
                "On the day": "count",
                "Looked at": "count",
                "Rate": "share",
                "Last 7 days": "count",
                "7-day rate": "share",
            },
            sorted(measures, key=lambda row: not row[4]),
            parts=(("Looked at", "On the day"), ("Last 7 days", "On the day")),
        ),
        Figure(
            "From the source to the warehouse",
            "Rows of the day: as the source counted them, landed, curated (newest per key, of all sources), loaded; and the mean of the 7 days before.",
            {
                "Table": "text",
                "Source": "count",
                "Landed": "count",
                "Quarantined": "count",
                "Curated": "count",
                "Loaded": "count",
                "Usual": "count",
                "Read up to": "text",
                "Agree": "text",
            },
            table,
            parts=(("Source", "Landed", "Quarantined"), ("Curated", "Loaded")),
        ),
    ]
