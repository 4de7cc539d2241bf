"""Ways to commit a day's rows to a tenant's table, behind one shape; this is ours, `peers` has Iceberg (PyIceberg) and Delta (delta-rs).

Each is used as its own documentation says and with its own defaults; an object of these classes can be sent to another process. A `label`, the day and
a name, is written into the commit itself, so that a run can ask whether an earlier one got through.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lab_insights.aws import Aws
from lab_insights.errors import CommitConflict
from lab_insights.lake import tables
from lab_insights.lake.commit import Draft, Facts, Lake, commit, settled_head
from lab_insights.lake.layout import Partition
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import tenant_id

SCHEMA = pa.schema([("id", pa.int64()), ("code", pa.string()), ("value", pa.float64()), ("at", pa.timestamp("us")), ("day", pa.date32())])
Table = tuple[str, str]


def rows(first: int, count: int, day: date) -> pa.Table:
    """Return `count` results of a day, their ids counted from `first`."""
    codes = [f"LOINC-{number % 97}" for number in range(count)]
    at = [datetime(day.year, day.month, day.day, number % 24) for number in range(count)]
    values = [(first + number) % 1013 / 7 for number in range(count)]
    return pa.table([range(first, first + count), codes, values, at, [day] * count], schema=SCHEMA)


class Format(Protocol):
    """What the benchmark asks of each; a table is (tenant, table)."""

    name: str

    def create(self, table: Table) -> None: ...

    def append(self, table: Table, day: date, data: pa.Table, label: str) -> int:
        """Commit a batch, however often it must be tried; return how often all of the library's own attempts had failed."""

    def has(self, table: Table, label: str) -> bool:
        """Return whether the batch of this label is committed; what a run asks that comes after a killed one."""

    def read(self, table: Table, day: date | None = None) -> pa.Table:
        """Return the rows of a day, or all, as a process does that has never seen the table."""

    def directory(self, table: Table) -> str:
        """The key prefix of everything that lies in the bucket for a table."""


@dataclass(frozen=True)
class Stream:
    """A table as the stream that `commit` takes."""

    data: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.data.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.data.to_batches())

    def facts(self) -> Facts:
        return Facts()


@dataclass(frozen=True)
class Setting:
    """Where the three write to."""

    endpoint: str
    prefix: str
    local: Path

    @property
    def bucket(self) -> str:
        """The one bucket."""
        return f"{self.prefix}-curated"


@dataclass(frozen=True)
class Manifests(Setting):
    """Ours: the curated layer, in which a partition is a series of its own."""

    name: str = "manifests"

    def _lake(self) -> Lake:
        aws = Aws(endpoint_url=self.endpoint)
        return Lake(Storage(aws, self.prefix), State(aws, self.prefix))

    def create(self, table: Table) -> None: ...

    def append(self, table: Table, day: date, data: pa.Table, label: str) -> int:
        lake, partition = self._lake(), Partition("curated", tenant_id(table[0]), table[1], day)
        draft, failures = Draft(partition, "delta", run_id=label), 0
        while True:
            try:
                # Whoever comes next adopts a finished manifest, so a run that lost may find its batch committed for it.
                if not failures or not self.has(table, label):
                    commit(lake, settled_head(lake, partition), draft, Stream(data))
            except CommitConflict:
                failures += 1
                time.sleep(random.uniform(0, 0.1) * min(2**failures, 64))
            else:
                return failures

    def has(self, table: Table, label: str) -> bool:
        lake, day = self._lake(), date.fromisoformat(label.partition("/")[0])
        partition = Partition("curated", tenant_id(table[0]), table[1], day)
        settled_head(lake, partition)
        return any(batch.run_id == label for batch in lake.state.batches("curated", partition.tenant, partition.table, day, day))

    def read(self, table: Table, day: date | None = None) -> pa.Table:
        tables._manifest.cache_clear()
        tables._part.cache_clear()
        lake = self._lake()
        found = tables.manifests(lake, "curated", tenant_id(table[0]), table[1], day, day)
        relation = tables.relation(lake.storage, found, SCHEMA)
        return relation if isinstance(relation, pa.Table) else relation.to_table()

    def directory(self, table: Table) -> str:
        return f"tenant={table[0]}/table={table[1]}/"
