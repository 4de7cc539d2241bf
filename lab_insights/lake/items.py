"""The two DynamoDB tables of a deployment, `<prefix>-bookmarks` and `<prefix>-status`: consistent reads of every page, and transactions that get through.

What an item means is said by who writes it: `lake.state` and `lake.committed`, `lake.processing`, `lake.compact` and `governance.history`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab_insights.aws import Aws

Item = dict[str, Any]
_TRANSACTIONS = 5
# The most that one call takes.
_BATCH = 25


@dataclass(frozen=True)
class Items:
    """The items of one deployment."""

    aws: Aws
    prefix: str

    @property
    def db(self) -> Any:
        """The client."""
        return self.aws.client("dynamodb")

    @property
    def bookmarks(self) -> str:
        """The table of heads and of cursors."""
        return f"{self.prefix}-bookmarks"

    @property
    def status(self) -> str:
        """The table of committed batches, attempts, compacted states and schemas."""
        return f"{self.prefix}-status"

    def query(self, table: str, pk: str, between: tuple[str, str] | None = None) -> Iterator[Item]:
        """Yield the items of a key, in order, as plain values."""
        asked = _asked(table, pk)
        if between:
            asked["KeyConditionExpression"] += " AND sk BETWEEN :first AND :last"
            asked["ExpressionAttributeValues"] |= {":first": {"S": between[0]}, ":last": {"S": between[1]}}
        for page in self.db.get_paginator("query").paginate(**asked):
            yield from map(plain, page["Items"])

    def newest(self, table: str, pk: str) -> Item | None:
        """Return the last item of a key as plain values, or None."""
        found = self.db.query(**_asked(table, pk), ScanIndexForward=False, Limit=1)["Items"]
        return plain(found[0]) if found else None

    def write(self, table: str, requests: list[Item]) -> None:
        """Put or delete items, in no order and not as one; what a throttled table left undone is sent again, ever later."""
        for start in range(0, len(requests), _BATCH):
            todo, pause = requests[start : start + _BATCH], 0.05
            while todo := self.db.batch_write_item(RequestItems={table: todo})["UnprocessedItems"].get(table, []):
                time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (keeps writers apart, nothing secret)
                pause = min(2 * pause, 5)

    def transact(self, writes: list[Item]) -> None:
        """Run a transaction; one that only met another in flight on the same items is sent again, up to half a second later."""
        for attempt in range(_TRANSACTIONS):
            try:
                self.db.transact_write_items(TransactItems=writes)
            except self.db.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
                if "TransactionConflict" not in codes or "ConditionalCheckFailed" in codes or attempt == _TRANSACTIONS - 1:
                    raise
                time.sleep(random.uniform(0, 0.03 * 2**attempt))  # noqa: S311 (keeps two writers apart, nothing secret)
            else:
                return


def plain(item: Item) -> Item:
    """Return an item's values without the names of their types; a number stays its text."""
    return {name: None if "NULL" in typed else next(iter(typed.values())) for name, typed in item.items()}


def _asked(table: str, pk: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "ConsistentRead": True,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
    }
