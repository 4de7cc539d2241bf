"""Where things lie: `s3://<prefix>-<layer>/tenant=<t>/table=<table>/date=<day>/…`, tenant first, so that a tenant is a prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal
from urllib.parse import unquote_plus

from lab_insights.names import TenantId, tenant_id

Layer = Literal["raw", "curated", "transformed"]
LAYERS: tuple[Layer, ...] = ("raw", "curated", "transformed")
MANIFEST = ".manifest.json"


@dataclass(frozen=True, order=True)
class Partition:
    """One table's tenant-day in one layer. `table` is a path-safe table id: `lis.result` in raw, `result` once modelled."""

    layer: Layer
    tenant: TenantId
    table: str
    day: date

    @property
    def directory(self) -> str:
        """The key prefix of the partition, without a closing slash."""
        return f"tenant={self.tenant}/table={self.table}/date={self.day:%Y-%m-%d}"

    @property
    def series(self) -> str:
        """The key of the partition's table in DynamoDB: all its days share it."""
        return f"{self.tenant}#{self.layer}#{self.table}"

    @property
    def where(self) -> dict[str, str]:
        """What an error or a log line about the partition names."""
        return {"tenant": self.tenant, "table": self.table, "partition": str(self.day)}

    def __str__(self) -> str:
        return f"{self.layer}/{self.table} of {self.tenant} on {self.day}"


def batch_id(batch: int, attempt: int) -> str:
    """Return the sortable name of a batch: later batches of a table sort after earlier ones, whatever their day."""
    return f"{batch:08d}-{attempt:03d}"


def manifest_key(partition: Partition, batch: str) -> str:
    """Return the key of a batch's manifest; its suffix is what the bucket's event notification filters on."""
    return f"{partition.directory}/{batch}{MANIFEST}"


def part_key(partition: Partition, batch: str, chunk: int) -> str:
    """Return the key of a part; it carries batch and attempt, so a late writer can not touch committed parts."""
    return f"{partition.directory}/{batch}-{chunk:05d}.parquet"


_MANIFEST_KEY = re.compile(r"tenant=([^/]+)/table=([^/]+)/date=(\d{4}-\d\d-\d\d)/(\d{8}-\d{3})\.manifest\.json")


def parse_manifest_key(bucket: str, key: str) -> tuple[Partition, str]:
    """Return partition and batch of a manifest's bucket and key, as an S3 event spells it; raise ValueError for anything else."""
    layer = next((layer for layer in LAYERS if bucket.endswith(f"-{layer}")), None)
    match = _MANIFEST_KEY.fullmatch(unquote_plus(key))
    if layer is None or match is None:
        raise ValueError("not the key of a manifest")
    tenant, table, day, batch = match.groups()
    return Partition(layer, tenant_id(tenant), table, date.fromisoformat(day)), batch
