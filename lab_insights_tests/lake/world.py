"""A lake on the AWS stand-in, rows to commit to it, and ways to kill a run at a chosen call."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.lake.commit import Draft, Facts, Lake, commit, settled_head
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.manifest import Kind, Manifest, Window
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import relation, state
from lab_insights.names import TenantId, tenant_id

FIRST = date(2026, 3, 1)


def day(number: int) -> date:
    """Return day `number` of the tests, from 1 on."""
    return FIRST + timedelta(days=number - 1)


def instant(number: int, hour: float = 0) -> datetime:
    """Return an hour of a day; hour 24 is its end."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number - 1, hours=hour)


def make_lake(endpoint: str, clock: Path, now: datetime | None = None) -> Lake:
    """Make the buckets and tables of a lake, with a clock of its own."""
    aws, prefix = Aws(endpoint_url=endpoint), f"core-{uuid.uuid4().hex[:10]}"
    for layer in (*LAYERS, "audit"):
        aws.client("s3").create_bucket(Bucket=f"{prefix}-{layer}")
    for table, names in (("bookmarks", ("pk", "sk")), ("status", ("pk", "sk")), ("tenants", ("tenant",))):
        aws.client("dynamodb").create_table(
            TableName=f"{prefix}-{table}",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            BillingMode="PAY_PER_REQUEST",
        )
    made = Lake(Storage(aws, prefix), State(aws, prefix), Clock(clock))
    made.clock.set(now or instant(1, 12))
    return made


def fresh_tenant() -> TenantId:
    """Return a tenant that no other test has."""
    return tenant_id(f"t_{uuid.uuid4().hex[:10]}")


@dataclass
class Rows:
    """Batches as they are given."""

    batches: Sequence[pa.RecordBatch]
    schema: pa.Schema = field(default_factory=lambda: pa.schema([("id", pa.int64())]))

    def __post_init__(self) -> None:
        if self.batches:
            self.schema = self.batches[0].schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self.batches

    def facts(self) -> Facts:
        return Facts()


def ids(*numbers: int) -> Rows:
    """Return rows of one column `id`."""
    return Rows([pa.record_batch({"id": pa.array(numbers, pa.int64())})])


def put(
    lake: Lake, partition: Partition, rows: Rows, kind: Kind = "delta", *, supersedes: bool = False, high: datetime | None = None
) -> Manifest:
    """Commit rows as the next batch of a partition."""
    window = Window(low=None, high=high) if high else None
    draft = Draft(partition, kind, supersedes=supersedes, window=window)
    return commit(lake, settled_head(lake, partition), draft, rows)[0]


def held(lake: Lake, layer: Layer, tenant: TenantId, table: str, as_of: date | None = None) -> pa.Table:
    """Return every row of a table's state, as its readers see it."""
    found = state(lake, layer, tenant, table, as_of)
    return relation(lake.storage, found.manifests, found.schema)


class Killed(Exception):
    """The process ended here."""


@dataclass
class Calls:
    """What was asked of AWS, and after which call the process dies."""

    limit: int | None = None
    made: list[str] = field(default_factory=list)

    def after(self, model: Any, **_: Any) -> None:
        self.made.append(model.name)
        if self.limit is not None and len(self.made) >= self.limit:
            raise Killed


@contextmanager
def watched(aws: Aws, limit: int | None = None) -> Iterator[Calls]:
    """Count the calls to S3 and DynamoDB; with a limit, every call from that one on dies once its work is done at the server."""
    calls = Calls(limit)
    clients = [aws.client(name) for name in ("s3", "dynamodb")]
    for client in clients:
        client.meta.events.register("after-call", calls.after)
    try:
        yield calls
    finally:
        for client in clients:
            client.meta.events.unregister("after-call", calls.after)


@contextmanager
def answer_lost(aws: Aws, service: str, operation: str) -> Iterator[list[str]]:
    """Let the client believe once that an operation's answer was lost: it does its work and is sent again."""
    client, sent = aws.client(service), list[str]()

    def again(**_: Any) -> int | None:
        sent.append(operation)
        return 0 if len(sent) == 1 else None

    client.meta.events.register_first(f"needs-retry.{service}.{operation}", again)
    try:
        yield sent
    finally:
        client.meta.events.unregister(f"needs-retry.{service}.{operation}", again)
