"""The peers behind the shape of `formats`: Iceberg through PyIceberg, Delta through delta-rs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from benchmarks.formats import SCHEMA, Format, Manifests, Setting, Table
from lab_insights.aws import LOCAL_KEY


@dataclass(frozen=True)
class Iceberg(Setting):
    """PyIceberg with its SQL catalog on SQLite."""

    name: str = "iceberg"

    def _catalog(self) -> Any:
        from pyiceberg.catalog.sql import SqlCatalog

        s3 = {"s3.endpoint": self.endpoint, "s3.access-key-id": LOCAL_KEY, "s3.secret-access-key": LOCAL_KEY, "s3.region": "us-east-1"}
        # Without the timeout eight writers see "database is locked", which is SQLite's matter and not Iceberg's.
        place = {"uri": f"sqlite:///{self.local}/catalog.db?timeout=60", "warehouse": f"s3://{self.bucket}/iceberg"}
        return SqlCatalog("lake", **place, **s3)

    def create(self, table: Table) -> None:
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.schema import Schema
        from pyiceberg.transforms import IdentityTransform
        from pyiceberg.types import DateType, DoubleType, LongType, NestedField, StringType, TimestampType

        types = {"id": LongType(), "code": StringType(), "value": DoubleType(), "at": TimestampType(), "day": DateType()}
        fields = [NestedField(number, name, type_, required=False) for number, (name, type_) in enumerate(types.items(), 1)]
        spec = PartitionSpec(PartitionField(source_id=5, field_id=1000, transform=IdentityTransform(), name="day"))
        catalog = self._catalog()
        catalog.create_namespace_if_not_exists(table[0])
        catalog.create_table(
            table, Schema(*fields), partition_spec=spec, location=f"s3://{self.bucket}/{self.directory(table).rstrip('/')}"
        )

    def append(self, table: Table, day: date, data: pa.Table, label: str) -> int:  # noqa: ARG002
        from pyiceberg.exceptions import CommitFailedException

        failures = 0
        while True:
            try:
                self._catalog().load_table(table).append(data, snapshot_properties={"label": label})
            except CommitFailedException:
                failures += 1
            else:
                return failures

    def has(self, table: Table, label: str) -> bool:
        found = self._catalog().load_table(table)
        return any(snapshot.summary and snapshot.summary.get("label") == label for snapshot in found.snapshots())

    def read(self, table: Table, day: date | None = None) -> pa.Table:
        scan = self._catalog().load_table(table).scan(**({"row_filter": f"day = '{day}'"} if day else {}))
        return scan.to_arrow()

    def directory(self, table: Table) -> str:
        return f"iceberg/{table[0]}/{table[1]}/"


@dataclass(frozen=True)
class Delta(Setting):
    """delta-rs with S3's conditional put."""

    name: str = "delta"

    def _options(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": LOCAL_KEY, "AWS_SECRET_ACCESS_KEY": LOCAL_KEY, "AWS_REGION": "us-east-1"}
        return keys | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true", "aws_conditional_put": "etag"}

    def _open(self, table: Table) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(f"s3://{self.bucket}/{self.directory(table)}", storage_options=self._options())

    def create(self, table: Table) -> None:
        from deltalake import DeltaTable

        uri = f"s3://{self.bucket}/{self.directory(table)}"
        DeltaTable.create(uri, pa.schema(SCHEMA), partition_by=["day"], storage_options=self._options())

    def append(self, table: Table, day: date, data: pa.Table, label: str) -> int:  # noqa: ARG002
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        properties, failures = CommitProperties(app_transactions=[Transaction(label, 1)]), 0
        while True:
            try:
                write_deltalake(self._open(table), data, mode="append", commit_properties=properties)
            except CommitFailedError:
                failures += 1
            else:
                return failures

    def has(self, table: Table, label: str) -> bool:
        return self._open(table).transaction_version(label) is not None

    def read(self, table: Table, day: date | None = None) -> pa.Table:
        return self._open(table).to_pyarrow_table(partitions=[("day", "=", str(day))] if day else None)

    def directory(self, table: Table) -> str:
        return f"delta/{table[0]}/{table[1]}/"


def installed(setting: Setting) -> tuple[list[Format], list[str]]:
    """Return the formats whose libraries are here, and a line for each that is not."""
    found: list[Format] = [Manifests(setting.endpoint, setting.prefix, setting.local)]
    missing = []
    for library, peer in (("pyiceberg", Iceberg), ("deltalake", Delta)):
        if importlib.util.find_spec(library):
            found.append(peer(setting.endpoint, setting.prefix, setting.local))
        else:
            missing.append(f"{library} is not installed: left out (see docs/adr/manifests-over-parquet.md)")
    return found, missing
