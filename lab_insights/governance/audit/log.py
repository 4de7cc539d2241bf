"""Appending to the audit log and reading it.

A chain for each tenant, one for what concerns the whole deployment. A record is an object that is never written twice; its anchor, in the status table,
is the number and hash of the newest record. To append is to

1. move the anchor, on the condition that nobody moved it meanwhile; it carries the record until step 3, so that a writer that dies loses none,
2. put the object, on the condition that there is none of its name,
3. take the record out of the anchor again.

Whoever finds a record in the anchor puts it before going on. So two writers never fork a chain, and no record lies beyond its anchor unless somebody
else put it there. What is not guaranteed: who may write both the bucket and the table can append records in our name; CloudTrail tells who did.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lab_insights.aws import Aws
from lab_insights.errors import CommitConflict
from lab_insights.governance.audit.record import GENESIS, Event, Record, chained
from lab_insights.lake.items import Items, plain
from lab_insights.lake.storage import ObjectExists, Storage
from lab_insights.names import TenantId

BUCKET = "audit"
DEPLOYMENT = "deployment"
"""The chain of what concerns no single tenant; it also says which other chains there are."""
READERS = 16
# Two writers meet now and then; as many in a row mean that something is wrong.
_TRIES = 50
# How far the clocks of two writers may be apart.
_SKEW = timedelta(days=1)


@dataclass(frozen=True)
class Anchor:
    """The newest record of a chain by number and hash; `body` is there until its object is."""

    sequence: int = 0
    hash: str = GENESIS
    body: str | None = None


@dataclass(frozen=True)
class Log:
    """The audit log of one deployment."""

    storage: Storage

    @property
    def items(self) -> Items:
        """Where anchors lie."""
        return Items(self.storage.aws, self.storage.prefix)

    def append(self, event: Event, tenant: TenantId | None = None) -> Record:
        """Write an event as the next record of a tenant's chain, of the deployment's without a tenant; raise `CommitConflict` when others are always first."""
        if not event.actor or not event.identity:
            event = event.model_copy(update={"actor": event.actor or person(), "identity": event.identity or _identity(self.storage.aws)})
        chain = chain_of(tenant)
        for _ in range(_TRIES):
            anchor = self.settled(chain)
            if anchor.sequence == 0 and tenant is not None:
                # Said before there is a first record, so that a chain that was removed whole is missed.
                begun = Event(action="audit.chain", outcome="begun", actor=event.actor, identity=event.identity, subject=tenant)
                self.append(begun)
            record = chained(event, chain, anchor.sequence + 1, anchor.hash, datetime.now(UTC))
            if self._move(chain, anchor, record):
                self._put(record)
                return record
        raise CommitConflict(
            f"The audit log could not be written: others were first {_TRIES} times.",
            remedy="run it again; what was done stays done.",
            tenant=tenant,
        )

    def settled(self, chain: str) -> Anchor:
        """Return a chain's anchor, once the record that it may carry is an object."""
        anchor = self.anchor(chain)
        if anchor.body is not None:
            self._put(Record.model_validate_json(anchor.body))
        return anchor

    def anchor(self, chain: str) -> Anchor:
        """Return a chain's anchor; a chain that never began has number 0."""
        found = self.items.db.get_item(TableName=self.items.status, Key=_key(chain), ConsistentRead=True).get("Item")
        item = plain(found) if found else {}
        return Anchor(int(item["seq"]), item["hash"], item.get("body")) if item else Anchor()

    def record(self, chain: str, sequence: int) -> bytes | None:
        """Return the bytes of a record, or None when it is not there."""
        return self.storage.get(BUCKET, record_key(chain, sequence))

    def chains(self) -> list[str]:
        """Return every chain that has an object, the deployment's first."""
        s3, bucket = self.storage.aws.client("s3"), self.storage.bucket(BUCKET)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/")
        found = {each["Prefix"].rstrip("/") for page in pages for each in page.get("CommonPrefixes", ())}
        return sorted(found, key=lambda name: (name != DEPLOYMENT, name))

    def records(self, chain: str, first: date | None = None, last: date | None = None) -> Iterator[Record]:
        """Yield a chain's readable records of days `first` to `last` (UTC), newest first; what is broken is `verify`'s business."""
        begin = datetime.combine(first or date.min, time(), UTC)
        end = datetime.combine(last, time.max, UTC) if last else datetime.max.replace(tzinfo=UTC)
        number = self.anchor(chain).sequence
        with ThreadPoolExecutor(READERS) as pool:
            while number > 0:
                block = range(number, max(0, number - 8 * READERS), -1)
                found = [record for record in map(_parsed, pool.map(functools.partial(self.record, chain), block)) if record]
                yield from (record for record in found if begin <= record.at <= end)
                if first and found and found[-1].at < begin - _SKEW:
                    return
                number -= len(block)

    def _move(self, chain: str, anchor: Anchor, record: Record) -> bool:
        db = self.items.db
        values = {
            ":seq": {"N": str(record.sequence)},
            ":hash": {"S": record.hash},
            ":body": {"S": record.body().decode()},
            ":old": {"S": anchor.hash},
        }
        try:
            db.update_item(
                TableName=self.items.status,
                Key=_key(chain),
                UpdateExpression="SET seq = :seq, #hash = :hash, #body = :body",
                # The client sends again when an answer is lost: then what lies there is this very record.
                ConditionExpression=f"#hash = :old OR #hash = :hash{' OR attribute_not_exists(#hash)' if anchor.sequence == 0 else ''}",
                ExpressionAttributeNames={"#hash": "hash", "#body": "body"},
                ExpressionAttributeValues=values,
            )
        except db.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _put(self, record: Record) -> None:
        # It may be there, put by whoever found it in the anchor, or by ourselves with the answer lost. If it says something else, `verify` names it.
        with contextlib.suppress(ObjectExists):
            self.storage.put_new(BUCKET, record_key(record.chain, record.sequence), record.body())
        db = self.items.db
        try:
            db.update_item(
                TableName=self.items.status,
                Key=_key(record.chain),
                UpdateExpression="REMOVE #body",
                ConditionExpression="#hash = :hash",
                ExpressionAttributeNames={"#hash": "hash", "#body": "body"},
                ExpressionAttributeValues={":hash": {"S": record.hash}},
            )
        except db.exceptions.ConditionalCheckFailedException:
            return  # the chain has gone on


def chain_of(tenant: TenantId | None) -> str:
    """Return the chain of a tenant, or the deployment's; a tenant that is called `deployment` has `tenant=` in its keys."""
    return DEPLOYMENT if tenant is None else f"tenant={tenant}"


def directory(chain: str) -> str:
    """Return the key prefix of a chain."""
    return f"{chain}/"


def record_key(chain: str, sequence: int) -> str:
    """Return the key of a record."""
    return f"{directory(chain)}{sequence:010d}.json"


def person() -> str:
    """Return who runs this process: `$LAB_INSIGHTS_ACTOR`, else user and host."""
    if named := os.environ.get("LAB_INSIGHTS_ACTOR"):
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@functools.cache
def _identity(aws: Aws) -> str:
    return str(aws.client("sts").get_caller_identity()["Arn"])


def _parsed(body: bytes | None) -> Record | None:
    try:
        return Record.model_validate_json(body) if body is not None else None
    except ValueError:
        return None


def _key(chain: str) -> dict[str, dict[str, str]]:
    # No tenant's id begins so: erasing a tenant leaves its chain, and no item of a tenant can be taken for an anchor.
    return {"pk": {"S": f"@audit#{chain}"}, "sk": {"S": "anchor"}}
