"""Whether the key of each KPI table tells its rows apart, as its refresh counted them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lab_insights.checks.verdicts import UNIQUE_GRAIN, Judgement, Subject
from lab_insights.names import TenantId
from lab_insights.warehouse.reports import ReportReceipt


def refreshed(tenant: TenantId, made: Iterable[ReportReceipt], asset: Callable[[str], str]) -> list[Judgement]:
    """Judge the tables that a refresh made, each under the asset that `asset` names; a row with a null in its key has none."""
    found = []
    for each in made:
        message = f"{each.rows} rows have {each.keys} keys" if each.rows != each.keys else ""
        found.append(
            Judgement(
                Subject(UNIQUE_GRAIN, asset(each.table), tenant, each.table), message, {"rows": each.rows, "distinct_keys": each.keys}
            )
        )
    return found
