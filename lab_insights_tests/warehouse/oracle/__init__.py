"""The KPIs once more, in pandas and plain Python, from their definitions in words: nothing of it is taken from the SQL.

Each oracle takes a laboratory's rows and its ordered tests (`ordered.tests`), and returns every column of its table by key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle import counted, ordered, quality, reporting, sales, service

Oracle = Callable[[Tables, pd.DataFrame], dict[tuple[Any, ...], Row]]
ORACLES: dict[str, Oracle] = {
    "ordered_test": ordered.ordered_test,
    "daily_activity": reporting.daily_activity,
    "turnaround": counted.turnaround,
    "test_volume": counted.volume,
    "volume_by_month": counted.months,
    "account_outreach": counted.outreach,
    "pending_test": counted.pending,
    "specimen_rejection": reporting.rejection,
    "corrected_result": reporting.corrected,
    "critical_result": reporting.critical_result,
    "critical_reporting": reporting.critical_reporting,
    "case_activity": service.cases,
    "case_cause": service.causes,
    "task_activity": service.tasks,
    "sales_pipeline": sales.pipeline,
    "sales_win": sales.wins,
    "audit_activity": service.audit,
    "data_quality": quality.data_quality,
}
