"""A generated laboratory in a tenant's database, with every KPI table computed from them, beside their oracle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.lab.kpis import Report
from lab_insights.lab.report import model
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.report_page import read
from lab_insights.warehouse.reports import ReportReceipt, refresh, table
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.warehouse.kpi_orders import laboratory
from lab_insights_tests.warehouse.kpi_tables import ZONE, Row, Tables
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.oracle.ordered import tests

DAY = date(2026, 3, 10)
TENANT = tenant_id("kpi_weeks")


@dataclass
class Weeks:
    session: Session
    tenant: TenantId
    receipts: list[ReportReceipt]
    made: Tables
    tests: pd.DataFrame
    lake: Lake

    def page(self) -> model.Report:
        return read(self.session, self.lake, TENANT, ZONE, DAY)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(float(v) if isinstance(v, Decimal) else v for v in row) for row in self.session.execute(sql)]

    def table(self, report: Report) -> dict[tuple[Any, ...], Row]:
        """Return every row of a KPI table by its key."""
        names = list(report.columns)
        rows = [dict(zip(names, row, strict=True)) for row in self.rows(f"SELECT {', '.join(names)} FROM {table(report.name)}")]
        return {tuple(row[name] for name in report.key): {name: row[name] for name in names if name not in report.key} for row in rows}


@contextmanager
def computed(account: SnowflakeSection, aws: Aws, storage: Storage) -> Iterator[Weeks]:
    made = laboratory()
    with connect(account, aws, run_id="test") as session:
        provision(session, storage, TENANT)
        load(session, storage, TENANT, made.write(TestLake(storage, TENANT, State(storage.aws, storage.prefix)), 1), run_id="test")
        receipts = refresh(session, TENANT, ZONE, DAY)
        yield Weeks(session, TENANT, receipts, made, tests(made), Lake(storage, State(storage.aws, storage.prefix)))
        session.execute('DROP DATABASE "LAB_INSIGHTS_KPI_WEEKS"')
