"""Who read which tables of the client databases, by a table of the shape of Snowflake's own view."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.errors import ConfigError
from lab_insights.governance.audit.reads import Read
from lab_insights.names import TenantId
from lab_insights.warehouse.access_history import reads
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.access import history, read

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 3)
PATIENT = read("LAB_INSIGHTS_ACME.CURATED.PATIENT", "Table", "MRN")
DOTTED = read('LAB_INSIGHTS_ACME_EAST.CURATED."CRM.NOTE"', "Table", "TEXT")
QUERIES = [
    ("q1", "2026-03-02 00:00:00", "ADA", [PATIENT, DOTTED]),
    ("q2", "2026-03-03 23:59:59", "ADA", [PATIENT]),
    ("q3", "2026-03-03 10:00:00", "LAB_INSIGHTS", [PATIENT]),
    ("q4", "2026-03-03 11:00:00", "LAB_INSIGHTS", [PATIENT]),
    # before and after the days, another database, and what no row is read from
    ("q5", "2026-03-01 23:59:59", "EVE", [PATIENT]),
    ("q6", "2026-03-04 00:00:00", "EVE", [PATIENT]),
    ("q7", "2026-03-02 10:00:00", "EVE", [read("FINANCE.PUBLIC.BILL", "Table", "SUM")]),
    ("q8", "2026-03-02 10:00:00", "EVE", [read("LAB_INSIGHTS_ACME.OPS.MASK", "FUNCTION")]),
]


@pytest.fixture
def alone(account: SnowflakeSection, aws: Aws) -> Iterator[Session]:
    """A session of no tenant."""
    with connect(account, aws) as opened:
        yield opened


def test_who_read_which_table_is_told_by_user_and_day_with_the_number_of_queries(alone: Session) -> None:
    def its(user: str, on: str, tenant: str = "acme", table: str = "patient") -> Read:
        return Read(tenant, "snowflake", "curated", table, "", user, on)

    first, last = str(FIRST), str(LAST)
    east = its("ADA", first, "acme_east", "crm.note")
    with history(alone, QUERIES):
        found = reads(alone, FIRST, LAST)
        assert found == {its("ADA", first): 1, its("ADA", last): 1, its("LAB_INSIGHTS", last): 2, east: 1}
        assert reads(alone, FIRST, LAST, TenantId("acme_east")) == {east: 1}
        assert reads(alone, FIRST, FIRST, TenantId("acme")) == {its("ADA", first): 1}
        assert reads(alone, date(2026, 3, 2), date(2026, 3, 2), TenantId("nobody")) == {}
        with pytest.raises(ConfigError, match="no query of these days"):
            reads(alone, date(2026, 5, 1), date(2026, 5, 2))


def test_days_on_which_only_others_were_read_are_known(alone: Session) -> None:
    with history(alone, QUERIES[6:]):
        assert reads(alone, FIRST, LAST) == {}


def test_where_the_view_is_not_shown_nothing_is_known_and_the_grant_is_named(alone: Session) -> None:
    with pytest.raises(ConfigError, match="not known") as refused:
        reads(alone, FIRST, LAST)
    assert "GOVERNANCE_VIEWER" in str(refused.value)
