"""What messages tell again with another time of verification moves no figure: from the messages to the KPIs, in whatever order days are loaded."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest

from lab_insights.clock import Clock
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import Session
from lab_insights_tests.lab.telling import TOLD, made, message, oru, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.warehouse.kpi_tables import ZONE

FIRST, AGAIN = "20260301150000+0000", "20260320150000+0000"


def _said(placer: str, value: str, status: str, reported: str) -> str:
    """A test that was ordered on 1 March at 13:00, with its result."""
    return oru("M1", placer, "", value, status).replace("|BMP\r", f"|BMP||20260301130000+0000{'|' * 16}{reported}|||{status}\r")


@pytest.mark.parametrize("order", [(1, 20), (20, 1)], ids=["as told", "the later day first"])
def test_a_resend_moves_neither_a_turnaround_nor_a_correction(
    session: Session, storage: Storage, tenant: TenantId, tmp_path: Path, order: tuple[int, int]
) -> None:
    lab = Lab(Lake(storage, State(storage.aws, storage.prefix), Clock(tmp_path / "clock")), tenant)
    days = {
        1: [_said("P1", "4.0", "F", FIRST), _said("P2", "5.0", "F", FIRST), _said("P2", "5.5", "C", FIRST.replace("15", "16"))],
        20: [_said("P1", "4.0", "F", AGAIN), _said("P2", "5.5", "C", AGAIN)],
    }
    for number in order:
        tell(lab, number, *(message(number * 10 + place, body, number) for place, body in enumerate(days[number])))
        load(session, storage, tenant, [made(lab, number, table) for table in TOLD], run_id="test")
    refresh(session, tenant, ZONE, date(2026, 3, 20))
    assert session.execute("SELECT DISTINCT VERIFIED_AT FROM CURATED.RESULT") == [(datetime(2026, 3, 20, 15),)], (
        "the newest statement is what it is"
    )
    tests = session.execute("SELECT STATE, TOTAL_MINUTES, VERIFIED_DAY FROM REPORTS.ORDERED_TEST")
    assert tests == [("complete", 120, date(2026, 3, 1))] * 2
    corrected = session.execute("SELECT EVENT_DAY, RESULTS, CORRECTED FROM REPORTS.CORRECTED_RESULT")
    assert corrected == [(date(2026, 3, 1), 2, 1)]
    daily = session.execute("SELECT EVENT_DAY, RESULTS_FINAL, RESULTS_CORRECTED FROM REPORTS.DAILY_ACTIVITY WHERE RESULTS_FINAL > 0")
    assert daily == [(date(2026, 3, 1), 1, 1)]
