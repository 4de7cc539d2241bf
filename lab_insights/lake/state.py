"""Bookmarks, intents and processing status in DynamoDB: what is committed, by whom, and how far.

Two tables. `<prefix>-bookmarks` has one *head* a series (raw: a table of a tenant; derived layers: a table's day) with its version, position, fencing
token and the intent of whoever wrote last, and a log item for each version. `<prefix>-status` has one item a committed batch; the batches of a
day count from the newest one that `supersedes`. One transaction moves both, conditioned on the head that was read and on the token.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import date, datetime

from lab_insights.errors import CommitConflict
from lab_insights.lake.committed import History, index_of, row_of
from lab_insights.lake.items import Item, plain
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest, Window


@dataclass(frozen=True)
class Head:
    """Where a series stands: `batch` is the number of the next batch, and `position` the bookmark (raw only): up to where rows were read.

    `pending` is the manifest of a batch of which something is still to be done (`extract.reloaded`): whoever comes next does it first.
    `columns` were read of every row, in the source's order (raw only): the newest snapshot and each batch since have them. None where no batch told its own.
    """

    series: str
    sort: str
    version: int = 0
    batch: int = 0
    position: datetime | None = None
    intent: Intent | None = None
    pending: str | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Intent:
    """What a run is about to write; a later run that finds it adopts its manifest, or takes over as the next attempt."""

    partition: Partition
    batch: int
    attempt: int
    token: str
    window: Window | None = None
    pending: bool = False
    """Its batch leaves something to be done: the head names it until the next commit, or until that is settled."""


def _sort(partition: Partition) -> str:
    return "head" if partition.layer == "raw" else f"head#{partition.day}"


@dataclass(frozen=True)
class State(History):
    """What is committed of one deployment, and how far its bookmarks stand."""

    def head(self, partition: Partition) -> Head:
        """Return the head that `partition` belongs to; a series never written has version 0 and no position."""
        key = {"pk": {"S": partition.series}, "sk": {"S": _sort(partition)}}
        item = self.db.get_item(TableName=self.bookmarks, Key=key, ConsistentRead=True).get("Item")
        return _head(partition, plain(item)) if item else Head(partition.series, _sort(partition))

    def begin(self, head: Head, partition: Partition, window: Window | None = None, *, pending: bool = False) -> Intent:
        """Persist the intent to write the next batch of `partition`; whoever begins later takes over, with a new token and attempt."""
        attempt = head.intent.attempt + 1 if head.intent else 1
        intent = Intent(partition, head.batch, attempt, uuid.uuid4().hex, window, pending)
        values: Item = {
            ":version": {"N": str(head.version)},
            ":token": {"S": intent.token},
            ":attempt": {"N": str(attempt)},
            ":day": {"S": str(partition.day)},
            ":window": {"S": window.model_dump_json()} if window else {"NULL": True},
            ":pending": {"BOOL": pending},
        }
        condition = "(attribute_not_exists(#version) OR #version = :version) AND attribute_not_exists(#token)"
        if head.intent:
            values[":old"] = {"S": head.intent.token}
            condition = "#version = :version AND #token = :old"
        # The client sends again when an answer is lost: then the token that lies there is this one.
        condition = f"({condition}) OR #token = :token"
        try:
            self.db.update_item(
                TableName=self.bookmarks,
                Key={"pk": {"S": head.series}, "sk": {"S": head.sort}},
                UpdateExpression="SET #version = :version, #token = :token, attempt = :attempt, intent_day = :day, intent_window = :window, "
                "intent_pending = :pending",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#version": "version", "#token": "token"},
                ExpressionAttributeValues=values,
            )
        except self.db.exceptions.ConditionalCheckFailedException:
            raise _conflict(partition) from None
        return intent

    def commit(self, head: Head, intent: Intent, manifest: Manifest) -> Head:
        """Move the head and record the batch in one transaction, and return the new head; raise `CommitConflict` when another run owns it by now.

        The bookmark of a raw series moves to the end of the manifest's window, and never back.
        """
        partition, version = intent.partition, head.version + 1
        high = manifest.window.high if manifest.window else None
        position = max(filter(None, (head.position, high)), default=None)
        columns = _of_every_row(head, manifest)
        moved: Item = {
            ":new": {"N": str(version)},
            ":old": {"N": str(head.version)},
            ":token": {"S": intent.token},
            ":batch": {"N": str(intent.batch + 1)},
        }
        assign = "SET #version = :new, #batch = :batch"
        if position is not None:
            moved[":position"] = {"S": position.isoformat()}
            assign += ", #position = :position"
        pending = manifest.object_key if intent.pending else None
        if pending:
            moved[":pending"] = {"S": pending}
            assign += ", pending = :pending"
        done = ["#token", "attempt", "intent_day", "intent_window", "intent_pending", *([] if pending else ["pending"])]
        if columns is not None:
            moved[":columns"] = {"S": json.dumps(columns)}
            assign += ", #columns = :columns"
        row = row_of(partition, manifest)
        names = {"#version": "version", "#token": "token", "#batch": "batch"}
        names |= {f"#{name}": name for name in ("position", "columns") if f":{name}" in moved}
        log = {
            "pk": {"S": head.series},
            "sk": {"S": f"log#{head.sort}#{version:010d}"},
            "manifest": row["manifest"],
            "run_id": row["run_id"],
        }
        if position is not None:
            log["position"] = {"S": position.isoformat()}
        try:
            self.transact(
                [
                    {
                        "Update": {
                            "TableName": self.bookmarks,
                            "Key": {"pk": {"S": head.series}, "sk": {"S": head.sort}},
                            "UpdateExpression": f"{assign} REMOVE {', '.join(done)}",
                            "ConditionExpression": "#version = :old AND #token = :token",
                            "ExpressionAttributeNames": names,
                            "ExpressionAttributeValues": moved,
                        }
                    },
                    {"Put": {"TableName": self.bookmarks, "Item": log, "ConditionExpression": "attribute_not_exists(pk)"}},
                    {"Put": {"TableName": self.status, "Item": row, "ConditionExpression": "attribute_not_exists(pk)"}},
                    {"Put": {"TableName": self.status, "Item": index_of(partition)}},
                ]
            )
        except self.db.exceptions.TransactionCanceledException:
            # Our own transaction whose answer was lost, or a run that adopted this very manifest: either way it is committed once.
            there = self.db.get_item(TableName=self.bookmarks, Key={"pk": log["pk"], "sk": log["sk"]}, ConsistentRead=True)
            if there.get("Item", {}).get("manifest") != log["manifest"]:
                raise _conflict(partition) from None
        return Head(head.series, head.sort, version, intent.batch + 1, position, pending=pending, columns=columns)

    def settle(self, head: Head, partition: Partition) -> Head:
        """Say that nothing is left to be done of the head's pending batch, and return the head; raise `CommitConflict` when another run was there first."""
        try:
            self.db.update_item(
                TableName=self.bookmarks,
                Key={"pk": {"S": head.series}, "sk": {"S": head.sort}},
                UpdateExpression="REMOVE pending",
                ConditionExpression="#version = :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={":version": {"N": str(head.version)}},
            )
        except self.db.exceptions.ConditionalCheckFailedException:
            raise _conflict(partition) from None
        return replace(head, pending=None)


def _conflict(partition: Partition) -> CommitConflict:
    return CommitConflict(
        f"Another run took over this batch of {partition.layer}; this run wrote nothing that readers see.",
        remedy="let the other run finish; materialize again only if it failed.",
        **partition.where,
    )


def _of_every_row(head: Head, manifest: Manifest) -> tuple[str, ...] | None:
    """Return the columns that are read of every row once `manifest` is committed. What is kept stays in its old order, so that another one is seen."""
    if not manifest.columns:
        return head.columns
    reached = manifest.window and (head.position is None or manifest.window.high >= head.position)
    if head.columns is None or (manifest.kind == "snapshot" and reached):
        return manifest.columns
    return tuple(name for name in head.columns if name in manifest.columns)


def _head(partition: Partition, item: Item) -> Head:
    intent = None
    if "token" in item:
        window = item["intent_window"]
        intent = Intent(
            Partition(partition.layer, partition.tenant, partition.table, date.fromisoformat(item["intent_day"])),
            int(item.get("batch", 0)),
            int(item["attempt"]),
            item["token"],
            Window.model_validate_json(window) if window else None,
            item.get("intent_pending", False),
        )
    position = item.get("position")
    return Head(
        partition.series,
        _sort(partition),
        int(item["version"]),
        int(item.get("batch", 0)),
        datetime.fromisoformat(position) if position else None,
        intent,
        item.get("pending"),
        tuple(json.loads(item["columns"])) if "columns" in item else None,
    )
