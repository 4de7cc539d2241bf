"""Changes of a DynamoDB table since its last batch, from its stream: the newest image of each changed item, and the keys of those that are gone.

The position, the stream and a sequence number for each shard, is in the manifest of the batch, so that one transaction moves it with the bookmark. A stream
keeps 24 h and tells nothing from before it was switched on: whoever comes later, or from another stream, is told so, and the table is scanned. A scan leaves
no sequence number behind; what follows it reads all that the stream still has, which ends in the same state, since the last image of each item is what counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.extract import dynamodb_export
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.dynamodb import STREAM, THROUGH, ItemRows, unreadable
from lab_insights.extract.dynamodb_tenants import owned, owns
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.state import Head
from lab_insights.lake.tables import manifests

if TYPE_CHECKING:
    from lab_insights.lake.manifest import Manifest

# The service keeps 24 h; the rest is for the reading.
RETENTION = timedelta(hours=23, minutes=45)
# A shard that is open never ends: so many empty answers in a row are its end for now, and what they hid comes with the next batch. A closed one is read to
# its end, however many there are: what it hid would come after the newer changes of the shards that follow it.
_EMPTY_ANSWERS = 3
Item = dict[str, Any]


def position(lake: Lake, partition: Partition, head: Head) -> dict[str, str]:
    """Return where the stream of a table goes on, by its newest batch; empty when it has none that says so."""
    told = (manifest for manifest in _newest(lake, partition, head) if manifest.position)
    last = max(told, key=lambda manifest: manifest.batch_id, default=None)
    return last.position if last else {}


def spelled(lake: Lake, partition: Partition, head: Head, table: SourceTable) -> SourceTable:
    """Return a table of DynamoDB with the columns that its newest batches have, so that each attribute goes on under its name there; any other as it is."""
    if table.engine != "dynamodb":
        return table
    names = dict.fromkeys(name for manifest in _newest(lake, partition, head) for name in manifest.schema_().names)
    return replace(table, spelled=(*names, *table.spelled))


def _newest(lake: Lake, partition: Partition, head: Head) -> list[Manifest]:
    if head.position is None:
        return []
    return manifests(lake, "raw", partition.tenant, partition.table, head.position.date() - timedelta(days=1))


def followed(lake: Lake, aws: Aws, table: SourceTable, partition: Partition, head: Head) -> tuple[dict[str, str], str]:
    """Return the position from which the stream of a table, or its exports, can be read on, or none and why it can not."""
    known = position(lake, partition, head)
    if table.export_bucket:
        why = dynamodb_export.gap(known, lake.clock.now())
        return ({}, why) if why else (known, "")
    with _reaching(table):
        why = gap(table, aws, known)
    return ({}, why) if why else (known, "")


@contextmanager
def _reaching(table: SourceTable) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise unreadable(error, table.source, f"{table.physical}'s stream", table.tenant, table.table_id) from None


def gap(table: SourceTable, aws: Aws, known: dict[str, str]) -> str | None:
    """Return why the stream can not be read from a position on, or None when it can."""
    if known.get(STREAM) != table.stream:
        # It begins when it is switched on: what was changed before that, and after the last batch, it does not tell.
        return "its last batch does not name this stream, which may have been switched on since"
    if datetime.now(UTC) - datetime.fromisoformat(known[THROUGH]) > RETENTION:
        return f"its stream keeps 24 h, and was read up to {known[THROUGH][:16]} UTC"
    client = aws.client("dynamodbstreams")
    try:
        present = {shard["ShardId"] for shard in _shards(table, aws)}
        for shard in present & set(known):
            _iterator(client, table, shard, known)
    except (client.exceptions.TrimmedDataAccessException, client.exceptions.ResourceNotFoundException):
        return "its stream no longer has what followed the last batch"
    return None


def _shards(table: SourceTable, aws: Aws) -> list[Item]:
    """Return the shards of a table's stream, each after the one that it came from."""
    client, found, start = aws.client("dynamodbstreams"), list[Item](), dict[str, str]()
    while True:
        page = client.describe_stream(StreamArn=table.stream, **start)["StreamDescription"]
        found += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            break
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}
    parents = {shard["ShardId"]: shard.get("ParentShardId") for shard in found}

    def depth(shard: str | None) -> int:
        return 1 + depth(parents[shard]) if shard in parents else 0

    return sorted(found, key=lambda shard: (depth(shard["ShardId"]), shard["ShardId"]))


def _iterator(client: Any, table: SourceTable, shard: str, known: dict[str, str]) -> str:
    where = (
        {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": known[shard]}
        if shard in known
        else {"ShardIteratorType": "TRIM_HORIZON"}
    )
    return str(client.get_shard_iterator(StreamArn=table.stream, ShardId=shard, **where)["ShardIterator"])


@dataclass
class Changes:
    """What happened to a tenant's items after a position, up to an instant of the service's clock (None: up to now)."""

    table: SourceTable
    aws: Aws
    after: dict[str, str]
    until: datetime | None
    items: dict[str, Item] = field(default_factory=dict)
    gone: dict[str, Item] = field(default_factory=dict)

    def __post_init__(self) -> None:
        read_at = datetime.now(UTC)
        with _reaching(self.table):
            self._read(read_at)

    def _read(self, read_at: datetime) -> None:
        shards = _shards(self.table, self.aws)
        # Shards live for some hours: those that are gone from the stream need no place in it.
        self.position = {shard["ShardId"]: self.after[shard["ShardId"]] for shard in shards if shard["ShardId"] in self.after}
        self.position |= {THROUGH: min(self.until or read_at, read_at).isoformat(), STREAM: self.after[STREAM]}
        for shard in shards:
            for record in self._records(shard["ShardId"], closed="EndingSequenceNumber" in shard["SequenceNumberRange"]):
                self._take(record["dynamodb"])

    def rows(self) -> ChangedItems:
        """Return the changed items; their batch moves the position."""
        how = "items that the stream says have changed, the newest image of each"
        return ChangedItems(self.table, self.aws, items=tuple(self.items.values()), how=how, position=self.position)

    def tombstones(self) -> ChangedItems:
        """Return the keys of the items that are gone; their batch comes first, so that a run that dies between the two reads both again."""
        return ChangedItems(self.table, self.aws, items=tuple(self.gone.values()), how="keys that the stream says are gone")

    def _records(self, shard: str, *, closed: bool) -> Iterator[Item]:
        client = self.aws.client("dynamodbstreams")
        iterator: str | None = _iterator(client, self.table, shard, self.position)
        empty = 0
        while iterator and (closed or empty < _EMPTY_ANSWERS):
            page = client.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                at = record["dynamodb"]["ApproximateCreationDateTime"]
                if self.until is not None and at > self.until:
                    return
                self.position[shard] = record["dynamodb"]["SequenceNumber"]
                yield record
            empty = 0 if page["Records"] else empty + 1
            iterator = page.get("NextShardIterator")

    def _take(self, change: Item) -> None:
        key, new, old = change["Keys"], change.get("NewImage"), change.get("OldImage")
        name = repr(sorted(key.items()))
        if new is not None and owns(self.table, new):
            self.items[name] = new
            self.gone.pop(name, None)
        # One that was given to another tenant is gone for this one.
        elif owns(self.table, {**(old or {}), **key}):
            self.gone[name] = owned(self.table, key)
            self.items.pop(name, None)


@dataclass
class ChangedItems(ItemRows):
    """Items of a stream as rows; `position` is what the batch leaves behind, nothing where another batch of the same changes follows it."""

    items: tuple[Item, ...] = ()
    how: str = ""
    position: dict[str, str] = field(default_factory=dict)

    def pages(self) -> Iterator[list[Item]]:
        """Yield the items."""
        self._position = self.position
        yield list(self.items)
