"""Rows as the queries of the page give them: four weeks of a small laboratory, made from a seed."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lab_insights.lab.kpis.quality import MEASURES
from lab_insights.lab.report.model import Report
from lab_insights.lab.report.sections import report

DAY = date(2026, 3, 10)
ZONE = "America/New_York"
TESTS = {"BMP": "Basic metabolic panel", "CBC": "Complete blood count", "UCX": "Urine culture <i>&\"'", "TROP": "Troponin I"}
PRIORITIES = ("routine", "stat")
ACCOUNTS = ("Exampleton Family Practice of the Very Long Name", "Sampleburg Clinic", "Testville Hospital")


def rows(seed: int = 3) -> dict[str, list[dict[str, Any]]]:
    rng = random.Random(seed)
    days = [DAY - timedelta(days=back) for back in range(27, -1, -1)]

    def daily(**bounds: int) -> list[dict[str, Any]]:
        return [{"DAY": day, **{name: rng.randint(bound // 2, bound) for name, bound in bounds.items()}} for day in days]

    def percentiles() -> dict[str, Any]:
        median = rng.randint(60, 600)
        return {"OBSERVATIONS": rng.randint(20, 90), "MEDIAN_MINUTES": median, "P90_MINUTES": median * 2.5, "P95_MINUTES": median * 3}

    def windows(dimension: str, member: str) -> list[dict[str, Any]]:
        base = {
            "DIMENSION": dimension,
            "MEMBER": member,
            "TESTS": 90,
            "WITH_TARGET": 80,
            "WITHIN_TARGET": rng.randint(50, 80),
            "NO_TARGET": 10,
        }
        return [
            {"PERIOD": period, "STAGE": stage, **base, **percentiles()}
            for period in ("now", "before")
            for stage in ("total", "receive_to_verify")
        ]

    def top(*members: str) -> list[dict[str, Any]]:
        return [{"MEMBER": member, "NOW": 120 - 35 * place, "BEFORE": 110 - 35 * place} for place, member in enumerate(members)]

    criticals = {"CRITICALS": 40, "DOCUMENTED": 36, "OBSERVATIONS": 36, "MEDIAN_MINUTES": 18.0, "IMPLAUSIBLE": 1}
    return {
        "volume": daily(TESTS=120, CANCELLED=6, DUPLICATES=4, ADD_ONS=8),
        "specimens": daily(SPECIMENS=60, REJECTED=6),
        "corrected": daily(CORRECTED=3, BILLABLE=110, RESULTS=400),
        "pending": daily(PENDING=40, OVERDUE=12),
        "cases": daily(OPENED=8, CLOSED=8, BACKLOG=30, REOPENED=2),
        "tasks": daily(DUE=9, ON_TIME=6, OPEN_TASKS=20, OVERDUE=5),
        "tat_days": [{"DAY": day, "MEMBER": member, **percentiles()} for day in days for member in ("all", "stat")],
        "tat": [
            *windows("all", "all"),
            *(row for test in TESTS for row in windows("test", test)),
            *(row for priority in PRIORITIES for row in windows("priority", priority)),
        ],
        "tat_weeks": [
            {"WEEK": DAY - timedelta(days=7 * back), "DIMENSION": dimension, "MEMBER": member, **percentiles()}
            for back in range(3, -1, -1)
            for dimension, members in (
                ("priority", PRIORITIES),
                ("test", TESTS),
                ("test_priority", (f"{t} / {p}" for t in TESTS for p in PRIORITIES)),
            )
            for member in members
        ],
        "tat_bins": [{"BIN": n, "STAT": rng.randint(0, 30), "OTHER": rng.randint(5, 90)} for n in range(8)],
        "by_account": top(*ACCOUNTS),
        "by_test": top(*TESTS),
        "by_reason": top("Hemolyzed", "Clotted"),
        "by_cause": top("Courier delay", "not given"),
        "pending_by_test": [
            {"MEMBER": test, "PENDING": 30 - 8 * n, "OVERDUE": 12 - 4 * n, "NOT_RECEIVED": n, "OLDEST": 71.5}
            for n, test in enumerate(TESTS)
        ],
        "criticals": [{"PERIOD": period, **criticals, "WITHIN_15": 14, "WITHIN_30": 25, "WITHIN_60": 36} for period in ("now", "before")],
        "quality": [{"MEASURE": name, "CHECKED": 700, "FAILED": 7, "DAY_CHECKED": 100, "DAY_FAILED": 1} for name in MEASURES],
        "names": [{"TEST_CODE": code, "NAME": name} for code, name in TESTS.items()],
        "loads": [{"TABLE_NAME": "result", "STAGED": 400, "BEFORE": 2800, "DAYS": 7}],
    }


def delivered(table: str, source: int, raw: int, quarantined: int = 0) -> dict[str, Any]:
    counts = {"source": source, "raw": raw, "quarantined": quarantined, "curated": raw}
    return {"table": table, "of": table, **counts, "newest": "11 Mar 00:00", "accounted": source == raw + quarantined}


DELIVERED = [delivered("result", 400, 400), delivered("account", 5, 4)]


def page(found: dict[str, list[dict[str, Any]]] | None = None, came: list[dict[str, Any]] = DELIVERED) -> Report:
    return report(found or rows(), "Aurora Clinic", DAY, ZONE, datetime(2026, 3, 11, 5, 30, tzinfo=UTC), came)


def nothing() -> Report:
    """A page of a laboratory that has no data at all."""
    return report({name: [] for name in rows()}, "Aurora Clinic", DAY, ZONE, datetime(2026, 3, 11, 5, 30, tzinfo=UTC), [])
