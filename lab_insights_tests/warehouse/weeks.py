"""Four weeks of generated rows in a tenant's database, with every KPI table computed from them, beside their oracle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import tenant_id
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse import kpi_oracle as oracle
from lab_insights_tests.warehouse.kpi_data import ZONE, Tables, four_weeks
from lab_insights_tests.warehouse.lake import TestLake

DAY = date(2026, 3, 10)


@dataclass
class Weeks:
    session: Session
    made: Tables
    tests: pd.DataFrame

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(float(v) if type(v).__name__ == "Decimal" else v for v in row) for row in self.session.execute(sql)]


@contextmanager
def computed(account: SnowflakeSection, aws: Aws, storage: Storage) -> Iterator[Weeks]:
    tenant = tenant_id("kpi_weeks")
    made = four_weeks()
    with connect(account, aws, run_id="test") as session:
        provision(session, storage, tenant)
        load(session, storage, tenant, made.write(TestLake(storage, tenant, State(storage.aws, storage.prefix)), 1), run_id="test")
        refresh(session, tenant, ZONE, DAY)
        yield Weeks(session, made, oracle.tests(made))
        session.execute('DROP DATABASE "LAB_INSIGHTS_KPI_WEEKS"')
