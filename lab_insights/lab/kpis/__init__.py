"""KPIs as pure SQL over a tenant's curated tables, by event day in the tenant's zone. Snowflake's dialect.

Conventions: volume belongs to the day of its start, turnaround to the day of its end; an interval needs both ends and 0
≤ minutes ≤ 365 days, else it is excluded and counted; percentiles are nearest rank, and none is given under ten
observations; what is cancelled is not counted; durations are differences of instants, so no change of clocks is in them.
Facts (`ordered_test`, `critical_result`) come first, and what is counted from them after.
"""

from __future__ import annotations

from lab_insights.lab.kpis.daily import DAILY_ACTIVITY
from lab_insights.lab.kpis.inputs import INPUTS
from lab_insights.lab.kpis.insight import INSIGHT
from lab_insights.lab.kpis.model import Column, Input, Report
from lab_insights.lab.kpis.ordered_tests import ORDERED_TEST
from lab_insights.lab.kpis.quality import QUALITY
from lab_insights.lab.kpis.reporting import CORRECTED, CRITICAL_REPORTING, CRITICAL_RESULT, REJECTION
from lab_insights.lab.kpis.sales import PIPELINE, WINS
from lab_insights.lab.kpis.service import AUDIT, CASES, CAUSES, TASKS
from lab_insights.lab.kpis.turnaround import TURNAROUND
from lab_insights.lab.kpis.workload import MONTHS, OUTREACH, PENDING, VOLUME

__all__ = ["INPUTS", "REPORTS", "Column", "Input", "Report"]
REPORTS: tuple[Report, ...] = (
    ORDERED_TEST,
    DAILY_ACTIVITY,
    TURNAROUND,
    VOLUME,
    MONTHS,
    OUTREACH,
    PENDING,
    REJECTION,
    CORRECTED,
    CRITICAL_RESULT,
    CRITICAL_REPORTING,
    CASES,
    CAUSES,
    TASKS,
    PIPELINE,
    WINS,
    AUDIT,
    QUALITY,
    INSIGHT,
)
"""Every KPI table, each after those that it is counted from."""
