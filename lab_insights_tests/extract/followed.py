"""A DynamoDB table with a stream, and the loads of one tenant that follow it."""

from __future__ import annotations

import uuid
from typing import Any

from lab_insights.checks.rows import landed
from lab_insights.checks.verdicts import NO_CROSS_TENANT_ROW
from lab_insights.config import Source
from lab_insights.extract.catalog import SourceTable, crawl
from lab_insights.extract.land import Mode, Request, load
from lab_insights.extract.plan import plan
from lab_insights.extract.window import Ceiling
from lab_insights.lab.pipeline import curate_table
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import relation, state
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.lake.world import day, fresh_tenant, instant


def streamed(view: str) -> dict[str, Any]:
    return {"StreamEnabled": True, "StreamViewType": view}


class Followed:
    """A pooled table with a stream, and one tenant's loads of it."""

    def __init__(
        self, lake: Lake, view: str | None = "NEW_AND_OLD_IMAGES", key: tuple[str, ...] = ("tenant_id", "id"), kind: str = "S"
    ) -> None:
        self.kind = kind
        self.lake, self.aws, self.name = lake, lake.storage.aws, f"{uuid.uuid4().hex[:8]}-src-call"
        self.tenant, self.hour, self.key = fresh_tenant(), 6.0, key
        self.client = self.aws.client("dynamodb")
        self.create(view)

    def create(self, view: str | None) -> None:
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in zip(self.key, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": self.kind if name == "tenant_id" else "S"} for name in self.key],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": streamed(view)} if view else {}),
        )

    @property
    def source(self) -> Source:
        tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
        return Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": [self.name]})

    def put(self, number: int, key: str = "12", /, **attributes: dict[str, Any]) -> None:
        self.client.put_item(TableName=self.name, Item={"tenant_id": {self.kind: key}, "id": {"S": str(number)}, **attributes})

    def delete(self, number: int, key: str = "12") -> None:
        its = {"tenant_id": {self.kind: key}, "id": {"S": str(number)}}
        self.client.delete_item(TableName=self.name, Key={name: its[name] for name in self.key})

    def crawl(self) -> SourceTable:
        return crawl("calls", self.source, Tenant(id=self.tenant, key="12"), self.aws).tables[0]

    def load(self, number: int = 1, mode: Mode = "auto", *, reload: bool = False) -> list[Manifest]:
        """Load a day a quarter of an hour after the last load, and return its live batches."""
        self.hour += 0.25
        self.lake.clock.set(instant(number, self.hour))
        request = Request(day(number), mode, reload, run_id="test")
        return load(self.lake, self.source, self.aws, plan(self.crawl()), request, Ceiling(instant(number, self.hour), "of the test"))

    def live(self, number: int = 1) -> dict[str, Any]:
        """Curate the days so far, and return the note of each live item."""
        for each in range(1, number + 1):
            if self.lake.state.batches("raw", self.tenant, "calls.call", day(each), day(each)):
                curate_table(self.lake, self.tenant, "calls.call", day(each), None, "test")
        its = state(self.lake, "curated", self.tenant, "calls.call")
        rows = relation(self.lake.storage, its.manifests, its.schema).to_pylist()
        newest = {row["id"]: row for row in sorted(rows, key=lambda row: (row["source_updated_at"], row["batch_id"]))}
        return {key: row.get("note") for key, row in newest.items() if not row["is_deleted"]}


def note(text: str) -> dict[str, dict[str, Any]]:
    return {"note": {"S": text}}


def unmarked(lake: Lake, made: list[Manifest]) -> str:
    """Return what the check of a day's batches says of rows that are not marked as tenant 12's; nothing where all are."""
    [judged] = [each for each in landed(lake, "raw/calls/call", made, ("tenant_id", "12")) if each.of.check == NO_CROSS_TENANT_ROW]
    return judged.message
