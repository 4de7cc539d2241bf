"""A small laboratory of the tests' own: one MariaDB schema, two sources, lake and Snowflake of each tenant; and ways to do damage."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.extract.catalog import crawl
from lab_insights.extract.land import Request, load, safe_ceiling
from lab_insights.extract.plan import plan
from lab_insights.findings import Finding, Held
from lab_insights.lab import pipeline
from lab_insights.lab.declared import curated_from, declared
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import manifests, partition_manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.verify import Report, verify
from lab_insights.warehouse.load import load as load_warehouse
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.session import Session

FIRST = date(2026, 3, 1)
# Those of the first line have rows; the wide tables read the others as well.
TABLES = ("account", "record_host_code", "crm_case", "lab_order", "udt_note")
EMPTY = ("task", "memo", "activity_link", "patient", "result")
# All that these tables are enough for: a day that one of them lacks is pending.
WIDES = [wide for wide in WIDE_TABLES if wide.table in {"account_profile", "order_detail"}]
COLUMNS = {
    "account": "id VARCHAR(20) PRIMARY KEY, name VARCHAR(80), connection_id VARCHAR(20), host_code VARCHAR(20)",
    "record_host_code": "record_type VARCHAR(20), connection_id VARCHAR(20), host_code VARCHAR(20), record_id VARCHAR(20), "
    "PRIMARY KEY (record_type, connection_id, host_code)",
    "crm_case": "id VARCHAR(20) PRIMARY KEY, account_id VARCHAR(20), subject VARCHAR(80), status VARCHAR(20), opened_at DATETIME(6)",
    "lab_order": "id VARCHAR(20) PRIMARY KEY, connection_id VARCHAR(20), account_host_code VARCHAR(20), ordered_at DATETIME(6)",
    "task": "id VARCHAR(20) PRIMARY KEY, account_id VARCHAR(20), created_at DATETIME(6)",
    "memo": "id VARCHAR(20) PRIMARY KEY, account_id VARCHAR(20), created_at DATETIME(6)",
    "activity_link": "activity_type VARCHAR(20), activity_id VARCHAR(20), record_type VARCHAR(20), record_id VARCHAR(20), "
    "PRIMARY KEY (activity_type, activity_id, record_type, record_id)",
    "patient": "id VARCHAR(20) PRIMARY KEY, mrn VARCHAR(20)",
    "result": "id VARCHAR(20) PRIMARY KEY, lab_order_id VARCHAR(20), resulted_at DATETIME(6)",
    "udt_note": "id INT PRIMARY KEY, note VARCHAR(80), score DECIMAL(10,2)",
}


def day(number: int) -> date:
    """Return day `number` of the tests, from 1 on."""
    return FIRST + timedelta(days=number - 1)


def instant(number: int, hour: float) -> datetime:
    """Return an hour of a day; hour 24.5 is after its end."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number - 1, hours=hour)


@dataclass
class World:
    """One schema and one deployment; tenants are as many as tests ask for, and all of them read the same tables."""

    url: str
    schema: str
    lake: Lake
    aws: Aws
    session: Callable[[], Session]
    _engine: sa.Engine = field(init=False)

    def __post_init__(self) -> None:
        self._engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self.execute(f"CREATE DATABASE {self.schema}")
        for table, columns in COLUMNS.items():
            self.execute(f"CREATE TABLE {self.schema}.{table} ({columns}, updated_at DATETIME(6) NOT NULL)")

    def execute(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def happen(self, number: int, hour: int) -> None:
        """Let hour 8 or 16 of a day pass: new rows, and at 16 updates of an account of the morning and of one of the day before."""
        key, at = f"{number}{hour}", f"'{instant(number, hour):%Y-%m-%d %H:%M:%S}'"
        rows = {
            "account": f"'a{key}', 'secret clinic {key}', 'c1', 'h{key}', {at}",
            "record_host_code": f"'account', 'c1', 'h{key}', 'a{key}', {at}",
            "crm_case": f"'k{key}', 'a{key}', 'secret subject', 'open', {at}, {at}",
            "lab_order": f"'o{key}', 'c1', 'h{key}', {at}, {at}",
            "udt_note": f"{key}, 'secret note', {key}.25, {at}",
        }
        for table, values in rows.items():
            self.execute(f"INSERT INTO {self.schema}.{table} VALUES ({values})")
        if hour == 8:
            self.execute(f"INSERT INTO {self.schema}.account VALUES ('b{number}', 'secret clinic', 'c1', 'b{number}', {at})")
        else:
            self.execute(
                f"UPDATE {self.schema}.account SET name = 'secret renamed', updated_at = {at} WHERE id IN ('a{number}8', 'a{number - 1}16')"
            )

    def close(self) -> None:
        self.execute(f"DROP DATABASE {self.schema}")

    def source(self, tables: tuple[str, ...]) -> Source:
        tenancy = {"schema": {"schema": self.schema}}
        return Source.model_validate({"engine": "mysql", "url": "env:VERIFY_TEST_URL", "tenancy": tenancy, "include": tables})

    def land(self, tenant: TenantId, number: int, hour: float = 24.5, tables: tuple[str, ...] = (*TABLES, *EMPTY)) -> None:
        """Load the raw day up to an hour."""
        self.lake.clock.set(instant(number, hour))
        known = Tenant(id=tenant, key="1", layouts={"crm": "schema", "lis": "schema"})
        lis = ("lab_order", "patient", "result")
        for name in ("crm", "lis"):
            source = self.source(tuple(table for table in tables if (table in lis) == (name == "lis")))
            if source.include:
                top = safe_ceiling(self.lake, source, self.aws)
                for table in crawl(name, source, known, self.aws).tables:
                    load(self.lake, source, self.aws, plan(table, declared().get(table.table_id)), Request(day(number)), top)

    def curate(self, tenant: TenantId, number: int) -> None:
        for raw in self.lake.state.tables("raw", tenant, day(number), day(number)):
            for contract in curated_from(raw).values():
                pipeline.curate_table(self.lake, tenant, raw, day(number), contract, "test")

    def transform(self, tenant: TenantId, number: int) -> None:
        curated = pipeline.Curated(self.lake, tenant, day(number))
        for wide in WIDES:
            pipeline.transform_wide(curated, wide, "test")
        pipeline.unpivot_table(self.lake, tenant, "crm.udt_note", day(number), "test")

    def warehouse(self, tenant: TenantId, *numbers: int) -> None:
        """Load days of curated and transformed into the tenant's database."""
        with self.session() as session:
            provision(session, self.lake.storage, tenant)
            for number in numbers:
                tables = [(layer, table) for layer in LAYERS[1:] for table in self.lake.state.tables(layer, tenant)]
                batches = [manifests(self.lake, layer, tenant, table, day(number), day(number)) for layer, table in tables]
                load_warehouse(session, self.lake.storage, tenant, [batch for each in batches for batch in each], run_id="test")

    def verify(self, tenant: TenantId, **choices: Any) -> Report:
        """Verify the lake and Snowflake."""
        return verify(self.lake, [tenant], session_factory=self.session, **choices)

    def verify_lake(self, tenant: TenantId, **choices: Any) -> Report:
        """Verify the lake alone, which takes half the time."""
        return verify(self.lake, [tenant], **choices)

    def batch(self, layer: Layer, table: str, number: int, tenant: TenantId) -> Manifest:
        """Return the newest live batch of a day."""
        return partition_manifests(self.lake, Partition(layer, tenant, table, day(number)))[-1]

    @contextmanager
    def gone(self, layer: Layer, key: str) -> Iterator[None]:
        """Delete an object, and put it back afterwards."""
        body = self.lake.storage.get(layer, key)
        assert body is not None
        self.lake.storage.delete(layer, key)
        try:
            yield
        finally:
            self.lake.storage.put(layer, key, body)

    @contextmanager
    def replaced(self, layer: Layer, key: str, body: bytes) -> Iterator[None]:
        """Replace an object, and put the old one back afterwards."""
        with self.gone(layer, key):
            self.lake.storage.put(layer, key, body)
            yield

    @contextmanager
    def rewritten(self, layer: Layer, manifest: Manifest, **changes: Any) -> Iterator[None]:
        """Replace a manifest by one that says something else."""
        with self.replaced(layer, manifest.object_key, manifest.model_copy(update=changes).model_dump_json().encode()):
            yield

    def changed_part(self, manifest: Manifest, column: str) -> bytes:
        """Return a manifest's only part as other parquet, where one value of a text column is another."""
        body = self.lake.storage.get(manifest.layer, manifest.parts[0].key)
        assert body is not None
        table = pq.read_table(io.BytesIO(body))
        values = table[column].to_pylist()
        place = table.schema.get_field_index(column)
        changed = table.set_column(place, table.schema.field(place), pa.array(["changed", *values[1:]], table.schema.field(place).type))
        sink = io.BytesIO()
        pq.write_table(changed, sink, compression="zstd")
        return sink.getvalue()

    @contextmanager
    def forged(self, manifest: Manifest, column: str) -> Iterator[None]:
        """Change one value of a batch's part, and its manifest so that the part is the one it names."""
        body, part = self.changed_part(manifest, column), manifest.parts[0]
        named = part.model_copy(update={"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)})
        with self.replaced(manifest.layer, part.key, body), self.rewritten(manifest.layer, manifest, parts=(named,)):
            yield


def where(report: Report, *statuses: str) -> list[tuple[Held, str, int | None]]:
    """Return layer, table and number of the day of the findings with these statuses."""
    found = [each for each in report.findings if each.status in statuses]
    return [(each.layer, each.table, (each.day - FIRST).days + 1 if each.day else None) for each in found]


def only(report: Report, layer: Held, table: str, number: int | None) -> Finding:
    """Return the one finding of a partition."""
    [found] = [each for each in report.findings if (each.layer, each.table, each.day) == (layer, table, number and day(number))]
    return found
