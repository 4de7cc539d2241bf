"""Stage schemas: gone with their load, taken away later where it died, and never the reason why a failure is not told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import stages
from lab_insights.warehouse.load import load
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import sync
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.people import PEOPLE, stages_left


def test_what_a_load_left_that_died_long_ago_is_swept_and_what_may_still_run_is_not(
    session: Session, aws: Aws, storage: Storage, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Before(datetime):
        ago = timedelta()

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - cls.ago

    with monkeypatch.context() as then:
        then.setattr(stages, "datetime", Before)
        for hours in (25, 23):
            Before.ago = timedelta(hours=hours)
            session.execute(stages.create(young := stages.name()))
    sync(session, Lake(storage, State(aws, storage.prefix)), tenant)
    assert stages_left(session) == [(young,)]
    session.execute(stages.drop(young))


def test_a_stage_that_can_not_be_dropped_does_not_hide_why_the_load_failed(
    session: Session, storage: Storage, tenant: TenantId, lake: TestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session.execute

    def failing(self: Session, sql: str, *binds: Any) -> Any:
        if sql.startswith(("COPY", "DROP SCHEMA")):
            raise WarehouseError(sql.split(maxsplit=1)[0], remedy="")
        return real(self, sql, *binds)

    monkeypatch.setattr(Session, "execute", failing)
    with pytest.raises(WarehouseError, match="COPY") as raised:
        load(session, storage, tenant, [lake.batch("people", 1, [{"id": 1, "name": "a"}], PEOPLE)], run_id="test")
    assert (raised.value.tenant, raised.value.table) == (tenant, "people")
    monkeypatch.undo()
    for (left,) in stages_left(session):
        session.execute(stages.drop(left))
