"""Loads that are killed: of a table of a database, and of a table of DynamoDB by scans, its stream or exports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pytest

from lab_insights.config import Source
from lab_insights.extract import dynamodb_export, readers
from lab_insights.extract.catalog import crawl
from lab_insights.extract.land import Mode, Request
from lab_insights.extract.plan import Declared
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.exports import Exporting
from lab_insights_tests.extract.killing import Job
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, instant

# What is asked: number of the day, hour of the ceiling, and mode, or that a closed day is read again.
Asked = tuple[int, float, Mode | Literal["reload"]]
BEFORE: tuple[Asked, ...] = ((1, 12, "auto"),)


@dataclass
class Case:
    """One load of one table, undisturbed or killed, each time of another tenant."""

    lake: Lake
    server: Server
    table: str
    asked: tuple[Asked, ...]
    before: tuple[Asked, ...] = BEFORE
    cursor: str | None = "updated_at"
    dynamic: bool = False
    ranges: int = 1
    journaled: bool = False

    @property
    def identifier(self) -> str:
        return f"lis.{self.table}"

    @property
    def again(self) -> bool:
        """A closed day is read again, and lacks a row that was deleted since."""
        return any(mode == "reload" for _, _, mode in self.asked)

    def restore(self) -> None:
        """Let the source be as it was before anything was loaded."""
        if self.again:
            self.server.execute(f"DELETE FROM {{s}}.{self.table} WHERE id = 206")
            self.server.execute(f"INSERT INTO {{s}}.{self.table} VALUES (206, 'x', '{instant(2, 6):%Y-%m-%d %H:%M:%S}')")

    def change(self) -> None:
        """Let the source be as the loads find it that are killed."""
        if self.again:
            self.server.execute(f"DELETE FROM {{s}}.{self.table} WHERE id = 206")

    def job(self, tenant: Tenant, asked: tuple[Asked, ...]) -> Job | JournaledJob:
        its = self.server.table(self.table, tenant=tenant)
        source = self.server.source(overrides={self.table: {"ranges": self.ranges}} if self.ranges > 1 else {})
        job = Job(self.lake, source, its, Declared(("id",), self.cursor) if self.cursor else None, requests(asked, dynamic=self.dynamic))
        return JournaledJob(job) if self.journaled else job


def requests(asked: tuple[Asked, ...], *, dynamic: bool = False) -> list[tuple[Request, Ceiling]]:
    """What is asked, as loads are asked for it."""
    return [
        (
            Request(day(number), "auto" if mode == "reload" else mode, reload=mode == "reload", dynamic=dynamic, run_id="test"),
            Ceiling(instant(number, hour), "of the test"),
        )
        for number, hour, mode in asked
    ]


@dataclass(frozen=True)
class JournaledJob:
    """Loads whose readers write down what they have finished, as those of large tables do."""

    job: Job

    def __call__(self) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(readers, "RESUMABLE_ROWS", 0)
            self.job()


@dataclass
class ItemsCase:
    """A table of DynamoDB, scanned twice."""

    lake: Lake
    asked: tuple[Asked, ...] = ((1, 20, "auto"), (2, 12, "auto"))
    before: tuple[Asked, ...] = BEFORE
    stream: dict[str, Any] = field(default_factory=dict)
    identifier = "notifications.killed"

    def __post_init__(self) -> None:
        self.aws, self.name = self.lake.storage.aws, f"{fresh_tenant()}-killed"
        names = (("tenant_id", "HASH"), ("id", "RANGE"))
        self.aws.client("dynamodb").create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in names],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in names],
            BillingMode="PAY_PER_REQUEST",
            **self.stream,
        )
        for number in range(3):
            self.put(number)

    def put(self, number: int, **more: dict[str, str]) -> None:
        self.aws.client("dynamodb").put_item(TableName=self.name, Item={"tenant_id": {"S": "1"}, "id": {"S": str(number)}, **more})

    def restore(self) -> None:
        """Let the source be as it was before anything was loaded."""

    def change(self) -> None:
        """Let the source be as the loads find it that are killed."""

    def job(self, tenant: Tenant, asked: tuple[Asked, ...]) -> Job | ExportJob:
        tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
        source = Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": [self.name]})
        [its] = crawl("notifications", source, tenant, self.aws).tables
        return Job(self.lake, source, its, None, requests(asked))


@dataclass
class StreamCase(ItemsCase):
    """A table of DynamoDB that was scanned, and is followed by its stream: an item is gone, another changed, a third is new."""

    asked: tuple[Asked, ...] = ((1, 13, "auto"), (1, 14, "auto"))
    stream: dict[str, Any] = field(
        default_factory=lambda: {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    )

    def restore(self) -> None:
        for number in range(3):
            self.put(number, note={"S": "old"})
        self.aws.client("dynamodb").delete_item(TableName=self.name, Key={"tenant_id": {"S": "1"}, "id": {"S": "3"}})

    def change(self) -> None:
        self.aws.client("dynamodb").delete_item(TableName=self.name, Key={"tenant_id": {"S": "1"}, "id": {"S": "0"}})
        self.put(1, note={"S": "changed"})
        self.put(3, note={"S": "new"})


@dataclass(frozen=True)
class ExportJob:
    """Loads from exports, which are stood in for in the process that runs them: `history` says what the table held from which instant on."""

    job: Job
    bucket: str
    history: tuple[tuple[datetime, tuple[str, ...]], ...]

    def __call__(self) -> None:
        with pytest.MonkeyPatch.context() as patched:
            Exporting(self.job.lake.storage.aws, self.bucket, self._at).install(patched)
            patched.setattr(dynamodb_export, "POLL", 0)
            self.job()

    def _at(self, when: datetime) -> dict[str, dict[str, Any]]:
        held = next((notes for since, notes in reversed(self.history) if since <= when), ())
        return {str(key): {"tenant_id": {"S": "1"}, "id": {"S": str(key)}, "note": {"S": note}} for key, note in enumerate(held) if note}


@dataclass
class ExportCase(ItemsCase):
    """A table of DynamoDB, exported whole, and then what changed: an item is gone, another changed, a third is new."""

    asked: tuple[Asked, ...] = ((1, 8.75, "auto"),)
    before: tuple[Asked, ...] = ((1, 7.75, "auto"),)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bucket = f"{fresh_tenant().replace('_', '-')}-exports"
        self.aws.client("s3").create_bucket(Bucket=self.bucket)

    def job(self, tenant: Tenant, asked: tuple[Asked, ...]) -> ExportJob:
        tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
        told = {"engine": "dynamodb", "tenancy": tenancy, "tables": [self.name], "export_bucket": self.bucket}
        source = Source.model_validate(told)
        [its] = crawl("notifications", source, tenant, self.aws).tables
        history = ((instant(1, 6), ("a", "b", "c")), (instant(1, 8), ("a", "", "x", "d")))
        return ExportJob(Job(self.lake, source, its, None, requests(asked)), self.bucket, history)
