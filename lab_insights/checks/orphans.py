"""Whether rows of a tenant's database refer to rows that are there, by what the quality report has counted over all its days."""

from __future__ import annotations

from lab_insights.checks.verdicts import NO_ORPHANS, Judgement, Subject
from lab_insights.lab.kpis.quality import MEASURES, QUALITY
from lab_insights.names import TenantId
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session

REFERENCES = ("orders_without_patient", "orders_without_account", "results_without_order")
_COUNTED = f"""
SELECT MEASURE, SUM(CHECKED), SUM(FAILED) FROM REPORTS.{QUALITY.name.upper()}
WHERE MEASURE IN ({", ".join("?" for _ in REFERENCES)}) GROUP BY 1"""


def unreferred(session: Session, tenant: TenantId, asset: str) -> list[Judgement]:
    """Judge each reference of a tenant's database as a whole, after its report was refreshed: a row that came late mends what stood."""
    use(session, tenant)
    counted = {str(measure): (int(checked or 0), int(failed or 0)) for measure, checked, failed in session.execute(_COUNTED, *REFERENCES)}
    found = []
    for measure in REFERENCES:
        checked, failed = counted.get(measure, (0, 0))
        message = f"{failed} of {checked}: {MEASURES[measure]}" if failed else ""
        found.append(Judgement(Subject(NO_ORPHANS, asset, tenant, measure), message, {"rows": checked, "orphans": failed}))
    return found
