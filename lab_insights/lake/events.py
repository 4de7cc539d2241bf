"""Manifest events: what an S3 event says, and what has to be done about the manifest that it names. No Dagster here.

An event is only a hint. What a manifest needs is decided from the state table each time, so events may come doubled, late or in any order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lab_insights.errors import LabInsightsError
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Layer, Partition, manifest_key, parse_manifest_key

QueueName = Literal["curation", "transformation"]
# What each queue is fed with: the layer whose manifests its consumers read.
FED_BY: dict[QueueName, Layer] = {"curation": "raw", "transformation": "curated"}
# An event of one object is about 1 kB; ten of this size still fit into one batch request of SQS (256 kB).
_LARGEST_BODY = 20_000


class PoisonousMessage(Exception):
    """A message that no retry can make usable; the text is the reason, for a person."""


@dataclass(frozen=True, order=True)
class ManifestRef:
    """One manifest in the lake, by its partition and batch id."""

    partition: Partition
    batch_id: str

    @property
    def key(self) -> str:
        """The manifest's object key, as manifests derived from it name it in `inputs`."""
        return manifest_key(self.partition, self.batch_id)

    @property
    def batch(self) -> int:
        """The batch's number in its series; one attempt at most is ever committed under a number."""
        return int(self.batch_id.partition("-")[0])


@dataclass(frozen=True)
class Event:
    """A manifest was put. Equal events are one event that was delivered twice: S3 may, and a multipart upload gives two anyway."""

    manifest: ManifestRef
    etag: str


def split(body: str) -> list[str]:
    """Return the bodies of the single records of a message; anything else than several records comes back as it is."""
    try:
        records = json.loads(body)["Records"]
    except (ValueError, TypeError, KeyError):
        return [body]
    if not isinstance(records, list) or len(records) < 2:
        return [body]
    return [json.dumps({"Records": [record]}) for record in records]


def decode(body: str, bucket: str) -> Event | None:
    """Return the event in a message of one record (SNS delivers it raw), None for the test event that S3 sends at set-up.

    Raises `PoisonousMessage` for anything that is not the event of a manifest in `bucket`.
    """
    if len(body) > _LARGEST_BODY:
        raise PoisonousMessage(f"Longer than {_LARGEST_BODY} characters: not an event of S3.")
    try:
        content = json.loads(body)
    except ValueError:
        raise PoisonousMessage("Not JSON.") from None
    try:
        if content.get("Event") == "s3:TestEvent":
            return None
        (record,) = content["Records"]
        named, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
        etag = str(record["s3"]["object"].get("eTag", ""))
        if named != bucket:
            raise PoisonousMessage(f"Not an event of the bucket {bucket}.")
        return Event(ManifestRef(*parse_manifest_key(named, key)), etag)
    except LabInsightsError as error:
        raise PoisonousMessage(error.message) from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise PoisonousMessage("Not an S3 event that names the key of a manifest.") from None


class Verdict(StrEnum):
    """What a manifest needs now."""

    WANTED = "wanted"
    CONSUMED = "consumed"
    # Superseded, or of an attempt that was abandoned: no reader will ever see it.
    OBSOLETE = "obsolete"
    # Its commit is not finished: the run is about to move the head, or died and its successor will adopt or replace the manifest.
    OPEN = "open"


# Whether the layer after it has used a live batch. May raise; the event is then looked at again later.
Consumed = Callable[[Lake, Committed], bool]


def judge(lake: Lake, manifest: ManifestRef, consumed: Consumed) -> Verdict:
    """Return what has to be done about a manifest."""
    partition = manifest.partition
    # The head first: read after the batches, a commit between the two reads would look like an abandoned attempt, and its event be dropped.
    head = lake.state.head(partition)
    live = lake.state.batches(partition.layer, partition.tenant, partition.table, partition.day, partition.day)
    for batch in live:
        if batch.manifest == manifest.key:
            return Verdict.CONSUMED if consumed(lake, batch) else Verdict.WANTED
    return Verdict.OBSOLETE if manifest.batch < head.batch else Verdict.OPEN


def put_at(lake: Lake, batch: Committed) -> datetime:
    """Return when a batch's manifest was put, by the clock of the object store; its event was sent then."""
    bucket = lake.storage.bucket(batch.partition.layer)
    found = lake.storage.aws.client("s3").head_object(Bucket=bucket, Key=batch.manifest)
    put: datetime = found["LastModified"]
    return put
