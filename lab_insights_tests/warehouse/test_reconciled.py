"""What a comparison of every row does to the verdict `reconciled`: it passes, fails, or is none."""

from __future__ import annotations

from typing import Any

import pytest

from lab_insights.assets.snowflake import asset_of
from lab_insights.aws import Aws
from lab_insights.checks import loads
from lab_insights.checks.verdicts import RECONCILED, Judgement, Verdicts
from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.test_reconcile import PEOPLE, days


@pytest.fixture
def judged(session: Session, storage: Storage, tenant: TenantId, lake: Any, account: Any, aws: Aws) -> Any:
    """A tenant whose days are loaded; called, it compares and settles, and returns what stands."""
    load(session, storage, tenant, days(lake), run_id="t")
    its, verdicts = Lake(storage, State(storage.aws, storage.prefix)), Verdicts(aws, storage.prefix)

    def compare(connected: Any = lambda: connect(account, aws)) -> list[Judgement]:
        verdicts.settle(loads.by_every_row(its, tenant, connected, asset_of))
        return [each for each in verdicts.standing(RECONCILED) if each.of.tenant == tenant]

    return compare


def test_a_database_that_does_not_answer_is_an_error_and_no_verdict_that_nobody_could_settle(judged: Any) -> None:
    def down() -> Session:
        raise WarehouseError("Snowflake does not answer.", remedy="wait")

    with pytest.raises(WarehouseError, match="does not answer"):
        judged(down)
    assert judged() == []


def test_what_differs_stands_until_it_was_compared_to_the_end(
    judged: Any, session: Session, lake: Any, storage: Storage, tenant: TenantId
) -> None:
    assert judged() == []
    session.execute("DELETE FROM CURATED.PEOPLE WHERE ID = 7")
    [failed] = judged()
    assert failed.of.table == "curated/people"
    older = lake.batch("people", 2, [{"id": 60, "name": "late"}], PEOPLE)
    assert judged() == [failed], "an older day that is not loaded yet hides what differs, and mends nothing"
    load(session, storage, tenant, [older], run_id="t")
    assert [each.of for each in judged()] == [failed.of]
