"""Traps of laboratory KPIs, each with the few rows that fall into it; those of percentiles and rates are in `test_kpis`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import tenant_id
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.kpi_tables import ZONE, Tables
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.oracle.ordered import RELEASED

MONDAY = datetime(2026, 3, 2, 15)


def _test(
    made: Tables, number: int, code: str, at: datetime = MONDAY, *, minutes: int = 90, results: Any = ("final",), **more: Any
) -> None:
    """One order with one test that is ordered at an instant and verified some minutes later."""
    end = at + timedelta(minutes=minutes)
    made.add(
        "lab_order",
        lab_order_id=str(number),
        patient_id="1",
        placer_number=str(number),
        priority="routine",
        status="completed",
        ordered_at=at,
    )
    tube = {"collected_at": at + timedelta(minutes=10), "received_at": at + timedelta(minutes=20), **more}
    of = {"lab_order_id": str(number)}
    made.add("specimen", specimen_id=str(number), status="received", **of, **tube)
    made.add("order_item", order_item_id=str(number), test_code=code, status="completed", is_add_on=False, added_at=at, **of)
    for place, norm in enumerate(results):
        its = {"status_norm": norm, "value_type": "NM", "resulted_at": end, "verified_at": end if norm in RELEASED else None}
        made.add(
            "result", result_id=f"{number}.{place}", order_item_id=str(number), lab_order_id=str(number), component_code=str(place), **its
        )


def _panels(made: Tables) -> None:
    """Tests of which the catalogue lists two components, 0 and 1."""
    for code in ("HALF", "SETTLED", "TOLD_HALF"):
        for local in "01":
            made.add("test_component", test_component_id=f"{code}.{local}", test_code=code, component_code=local)
    made.add("test_component", test_component_id="ABROAD", test_code="ABROAD", component_code="Na")
    _test(made, 13, "HALF")
    _test(made, 14, "SETTLED", results=("amended", "cancelled"))
    _test(made, 15, "ABROAD")
    _test(made, 16, "REGISTERED", results=("final", "registered"))
    # Nobody says how far a test is that messages tell of.
    _test(made, 17, "TOLD_HALF")
    made.rows["order_item"][-1]["status"] = None


def _versions(made: Tables, number: int, code: str, *said: tuple[str, str]) -> None:
    """A result of which messages told (status, value) each day anew, as they are curated: what is told again is the same version at another time."""
    _test(made, number, code, results=(said[-1][0],))
    now = made.rows["result"][-1]
    for place, (norm, value) in enumerate(said):
        at = MONDAY + timedelta(days=place)
        its = {"result_id": now["result_id"], "value_raw": value, "status_norm": norm, "resulted_at": at, "verified_at": at}
        version = f"{number}.{norm}.{value}"
        made.add("result_version", version_id=version, report_id=f"{version}.{place}", is_lower_bound=False, **its)
        now |= its


@pytest.fixture(scope="module")
def traps(account: SnowflakeSection, aws: Aws, storage: Storage) -> Iterator[Session]:
    tenant = tenant_id("kpi_traps")
    first, resent = Tables(), Tables()
    _test(first, 1, "SENT", results=("corrected",))
    # The same correction in every later message: a new version of the same result each time.
    resent.rows["result"] = first.rows["result"][:1]
    _test(first, 2, "PRELIM", results=("preliminary",))
    _test(first, 3, "NO_RESULT", results=("order_detail", "not_asked"))
    _test(first, 4, "PANEL", results=("final", "preliminary", "final"))
    _test(first, 5, "WHOLE", results=("final", "final"))
    _test(first, 6, "DATE_UTC", collected_at=datetime(2026, 3, 2))
    _test(first, 7, "DATE_LOCAL", collected_at=datetime(2026, 3, 2, 5))
    # 01:30 in New York, half an hour before its clocks jump from 02:00 to 03:00.
    _test(first, 8, "SPRING", datetime(2026, 3, 8, 6, 30), minutes=60)
    # Glucose in a panel, three hours later alone under another local code, and a day after that once more; then what shares no analyte with it.
    for code, local in (("PANEL_GLU", "GLU"), ("GLU_ALONE", "G1"), ("K_ALONE", "K")):
        loinc = None if local == "K" else "2345-7"
        first.add("test_component", test_component_id=code, test_code=code, component_code=local, loinc=loinc)
        first.add("orderable", orderable_id=code, test_code=code, department="chemistry", min_retest_hours=12)
    for number, code, hours in ((9, "PANEL_GLU", 0), (10, "GLU_ALONE", 3), (11, "K_ALONE", 4), (12, "PANEL_GLU", 27)):
        _test(first, number, code, MONDAY + timedelta(hours=hours))
    _panels(first)
    _versions(first, 18, "TWICE", ("final", "4"), ("corrected", "5"), ("corrected", "6"), ("corrected", "6"))
    _versions(first, 19, "CONFIRMED", ("final", "4"), ("corrected", "5"), ("final", "5"))
    _test(first, 20, "AMENDED", results=("amended",))
    first.rows["result"][-1] |= {"flag_norm": "critical_abnormal", "is_critical": True}
    _test(first, 21, "UNKNOWN", results=(None,))
    # Messages tell of the first order and its correction, and of one that no laboratory system has.
    for number, link in (("1", "1"), ("other", None)):
        its = {"lab_order_id": f"messages:{number}"}
        first.add("lab_order", **its, patient_id="messages:1", placer_number=number, ordered_at=MONDAY, status="completed")
        first.add("order_detail", **its, linked_order_id=link, as_of=MONDAY.date())
        item, done = f"messages:{number}^TOLD", MONDAY + timedelta(minutes=50)
        first.add("order_item", order_item_id=item, **its, test_code="TOLD")
        first.add("specimen", specimen_id=f"messages:{number}^", **its, status="received", collected_at=MONDAY, received_at=MONDAY)
        told = {"status_norm": "corrected", "status_raw": "C", "resulted_at": done, "verified_at": done}
        first.add("result", result_id=f"messages:{number}^0", order_item_id=item, **its, **told)
    with connect(account, aws, run_id="test") as session:
        provision(session, storage, tenant)
        lake = TestLake(storage, tenant, State(storage.aws, storage.prefix))
        load(session, storage, tenant, first.write(lake, 1), run_id="test")
        for day in (2, 3):
            load(session, storage, tenant, resent.write(lake, day), run_id="test")
        refresh(session, tenant, ZONE, date(2026, 3, 2))
        yield session
        session.execute('DROP DATABASE "LAB_INSIGHTS_KPI_TRAPS"')


def _facts(session: Session, code: str, *columns: str) -> tuple[Any, ...]:
    [row] = session.execute(f"SELECT {', '.join(columns)} FROM REPORTS.ORDERED_TEST WHERE TEST_CODE = ?", code)
    return row


def test_a_correction_that_is_sent_again_is_one_correction(traps: Session) -> None:
    assert traps.execute("SELECT RESULTS, CORRECTED FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE = 'SENT'") == [(1, 1)]


def test_what_came_by_message_and_from_the_laboratorys_system_counts_once(traps: Session) -> None:
    assert traps.execute("SELECT SUM(CORRECTED) FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE IN ('SENT', 'TOLD')") == [(2,)], (
        "the system's, and the one that messages alone tell of"
    )
    facts = traps.execute(
        "SELECT LAB_ORDER_ID, STATE, TOTAL_MINUTES, RECEIVE_TO_VERIFY_MINUTES FROM REPORTS.ORDERED_TEST WHERE TEST_CODE = 'TOLD'"
    )
    assert facts == [("messages:other", "complete", 50, 50)], "the tests and specimens of an order that the system has are the system's"
    assert traps.execute("SELECT SUM(SPECIMENS) FROM REPORTS.SPECIMEN_REJECTION") == [(22,)]
    assert traps.execute("SELECT SUM(CHECKED), SUM(FAILED) FROM REPORTS.DATA_QUALITY WHERE MEASURE = 'duplicate_orders'") == [(22, 0)]


def test_an_analyte_that_is_asked_for_again_too_soon_is_a_duplicate_whatever_the_test_is_called(traps: Session) -> None:
    query = "SELECT LAB_ORDER_ID FROM REPORTS.ORDERED_TEST WHERE IS_DUPLICATE"
    assert traps.execute(query) == [("10",)]


def test_a_preliminary_value_is_no_result_and_its_test_is_pending(traps: Session) -> None:
    assert _facts(traps, "PRELIM", "STATE", "VERIFIED_AT", "TOTAL_MINUTES") == ("pending", None, None)
    assert traps.execute("SELECT * FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE = 'PRELIM'") == []
    assert traps.execute("SELECT PENDING FROM REPORTS.PENDING_TEST WHERE TEST_CODE = 'PRELIM' AND EVENT_DAY = '2026-03-02'") == [(1,)]


def test_rows_of_status_o_and_n_are_no_results(traps: Session) -> None:
    assert _facts(traps, "NO_RESULT", "STATE", "VERIFIED_AT") == ("without_result", None)
    assert traps.execute("SELECT * FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE = 'NO_RESULT'") == []
    counted = "SELECT SUM(CHECKED), SUM(FAILED) FROM REPORTS.DATA_QUALITY WHERE MEASURE = 'unknown_result_status'"
    [(held,)] = traps.execute("SELECT COUNT(*) FROM CURATED.RESULT")
    # Those two, and the one that messages tell of once more.
    assert traps.execute(counted) == [(held - 3, 1)]


def test_a_panel_is_complete_when_all_of_its_parts_are_final(traps: Session) -> None:
    assert _facts(traps, "PANEL", "STATE", "TOTAL_MINUTES") == ("pending", None)
    assert _facts(traps, "WHOLE", "STATE", "TOTAL_MINUTES") == ("complete", 90)
    assert _facts(traps, "REGISTERED", "STATE", "TOTAL_MINUTES") == ("pending", None)


@pytest.mark.parametrize(
    ("code", "state"), [("HALF", "pending"), ("TOLD_HALF", "pending"), ("SETTLED", "complete"), ("ABROAD", "complete")]
)
def test_a_panel_waits_for_what_the_catalogue_lists_of_it(traps: Session, code: str, state: str) -> None:
    """A component that was cancelled is not waited for, and a list that names none of the results is of other codes."""
    assert _facts(traps, code, "STATE") == (state,)


def test_an_amended_result_is_a_result_everywhere(traps: Session) -> None:
    assert _facts(traps, "AMENDED", "STATE", "TOTAL_MINUTES") == ("complete", 90)
    assert traps.execute("SELECT RESULTS, CORRECTED FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE = 'AMENDED'") == [(1, 0)]
    assert traps.execute("SELECT TEST_CODE FROM REPORTS.CRITICAL_RESULT") == [("AMENDED",)], "a flag of AA is critical too"


def test_every_correction_counts_once_on_the_day_of_its_first_report_whatever_came_after(traps: Session) -> None:
    query = "SELECT DAYOFMONTH(EVENT_DAY), RESULTS, CORRECTED FROM REPORTS.CORRECTED_RESULT WHERE TEST_CODE = ? ORDER BY 1"
    assert traps.execute(query, "TWICE") == [(3, 0, 1), (4, 1, 1)]
    assert traps.execute(query, "CONFIRMED") == [(3, 0, 1), (4, 1, 0)]


def test_a_test_was_done_when_its_result_was_released_first_whatever_was_told_of_it_after(traps: Session) -> None:
    for code in ("TWICE", "CONFIRMED"):
        assert _facts(traps, code, "TOTAL_MINUTES", "VERIFIED_DAY") == (0, MONDAY.date())


@pytest.mark.parametrize("code", ["DATE_UTC", "DATE_LOCAL"])
def test_a_midnight_is_a_date_and_no_time(traps: Session, code: str) -> None:
    assert _facts(traps, code, "COLLECT_TO_RECEIVE_MINUTES", "COLLECT_TO_RECEIVE_ISSUE") == (None, "date_only")
    assert _facts(traps, code, "TOTAL_MINUTES", "TOTAL_ISSUE") == (90, None), "the whole has its ends all the same"


def test_a_change_of_clocks_is_in_no_duration(traps: Session) -> None:
    assert _facts(traps, "SPRING", "TOTAL_MINUTES", "START_DAY", "VERIFIED_DAY") == (60, date(2026, 3, 8), date(2026, 3, 8))
