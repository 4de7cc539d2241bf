"""One tenant's database beside its lake, for tests of what is brought into line between them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse.load import load
from lab_insights.warehouse.reconcile import reconcile
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import pending, sync
from lab_insights_tests.warehouse.lake import TestLake

ID = ("id", pa.int64())


class Client:
    """One tenant's database beside its lake."""

    def __init__(self, session: Session, lake: Lake, tenant: TenantId) -> None:
        self.session, self.lake, self.tenant = session, lake, tenant

    def load(self, *batches: Manifest) -> None:
        load(self.session, self.lake.storage, self.tenant, batches, run_id="test")

    def sync(self) -> list[str]:
        """Sync, and return what was done, without views; a second sync has nothing to do."""
        done = sync(self.session, self.lake, self.tenant, "test")
        assert [str(change) for change in pending(self.session, self.lake, self.tenant)] == []
        return [f"{change.what} {change.column}" for change in done if change.what != "view"]

    def live(self, *columns: str, table: str = "T_LIVE") -> list[tuple[Any, ...]]:
        return self.session.execute(f"SELECT {', '.join(f'{chr(34)}{name}{chr(34)}' for name in columns)} FROM CURATED.{table} ORDER BY ID")

    def columns(self) -> set[str]:
        rows = self.session.execute("SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'T'")
        return {str(name) for (name,) in rows}

    def proven(self) -> None:
        assert [finding.message for finding in reconcile(self.session, self.lake, self.tenant) if not finding.ok] == []


@pytest.fixture
def client(session: Session, storage: Storage, tenant: TenantId) -> Client:
    return Client(session, Lake(storage, State(storage.aws, storage.prefix)), tenant)


def named(lake: TestLake, day: int, rows: dict[int, str], column: str = "name", **more: Any) -> Manifest:
    schema = pa.schema([ID, (column, pa.string())])
    return lake.batch("t", day, [{"id": key, column: value} for key, value in rows.items()], schema, **more)
