"""A DynamoDB table by its exports to S3: whole, as of an instant, or what changed between two. No read capacity of the table is used.

The service writes a table's export once for all tenants, since those that ask for the same instants ask with the same token. An export counts its items file
by file and gives each file's MD5; both are checked. Instants are quarters of an hour: an incremental export covers 15 minutes at least, and a day at most.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.config import Limits
from lab_insights.errors import LandingMismatch, SourceError
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.dynamodb import BATCH, THROUGH, ItemRows, unreadable
from lab_insights.extract.dynamodb_tenants import owned, owns
from lab_insights.lake.manifest import Window

if TYPE_CHECKING:
    from lab_insights.extract.dynamodb_stream import Item

STEP = timedelta(minutes=15)
# The newest instant that can be exported is about five minutes old.
BEHIND = timedelta(minutes=5)
# Point-in-time recovery reaches back 35 days; the rest is for the export itself.
RETENTION = timedelta(days=34)
# Seconds between two looks at an export, which takes minutes.
POLL = 15.0
_NEVER = datetime.max.replace(tzinfo=UTC)


def reachable(now: datetime) -> datetime:
    """Return the newest instant that can be exported, a whole quarter of an hour."""
    seconds = (now - BEHIND).timestamp()
    return datetime.fromtimestamp(seconds - seconds % STEP.total_seconds(), UTC)


def gap(known: dict[str, str], now: datetime) -> str | None:
    """Return why the changes after a position can not be exported, or None when they can."""
    through = datetime.fromisoformat(known[THROUGH]) if THROUGH in known else None
    # What a scan or a stream left behind is between two instants that can be exported.
    if through is None or through.timestamp() % STEP.total_seconds():
        return "no earlier batch of it was exported"
    if now - through > RETENTION:
        return f"point-in-time recovery reaches back 35 days, and the table was read up to {known[THROUGH][:16]} UTC"
    return None


@dataclass(frozen=True)
class Export:
    """A finished export: its files, each with the count and the MD5 that the service gives."""

    table: SourceTable
    aws: Aws
    files: tuple[dict[str, Any], ...]

    def __iter__(self) -> Iterator[Item]:
        """Yield the export's records; raise `LandingMismatch` when a file is not what the service says of it."""
        import orjson

        for each in self.files:
            found = 0
            with self._opened(each) as file, gzip.open(file) as lines:
                for line in lines:
                    if line.strip():
                        found += 1
                        yield orjson.loads(line)
            if found != each["itemCount"]:
                raise self._mismatch(f"A file of the export holds {found} items, and its manifest says {each['itemCount']}.")

    @contextmanager
    def _opened(self, each: dict[str, Any]) -> Iterator[Any]:
        with tempfile.TemporaryFile() as file, _reaching(self.table):
            digest = hashlib.md5(usedforsecurity=False)
            for block in _body(self.aws, str(self.table.export_bucket), each["dataFileS3Key"]).iter_chunks(1 << 20):
                digest.update(block)
                file.write(block)
            if base64.b64encode(digest.digest()).decode() != each["md5Checksum"]:
                raise self._mismatch("A file of the export is not the one that its manifest names.")
            file.seek(0)
            yield file

    def _mismatch(self, message: str) -> LandingMismatch:
        remedy = "materialize the partition again; nothing was committed."
        return LandingMismatch(message, remedy=remedy, tenant=self.table.tenant, table=self.table.table_id)


def export(table: SourceTable, aws: Aws, limits: Limits, kind: str, **instants: Any) -> Export:
    """Ask for an export, and return it once it is there; raise `SourceError` when it fails, or is not within `limits.transaction_timeout`."""
    import orjson

    client, bucket = aws.client("dynamodb"), str(table.export_bucket)
    with _reaching(table):
        arn = client.describe_table(TableName=table.physical)["Table"]["TableArn"]
        token = hashlib.sha256(f"{arn} {bucket} {kind} {instants}".encode()).hexdigest()[:32]
        described = client.export_table_to_point_in_time(
            TableArn=arn,
            S3Bucket=bucket,
            S3Prefix=f"{table.source}/{table.physical}",
            ExportFormat="DYNAMODB_JSON",
            ExportType=kind,
            ClientToken=token,
            **instants,
        )["ExportDescription"]
        deadline = time.monotonic() + limits.transaction_timeout
        while described["ExportStatus"] == "IN_PROGRESS":
            if time.monotonic() > deadline:
                raise _failed(
                    table, f"was not there within {limits.transaction_timeout} s", "raise `limits.transaction_timeout` of the source"
                )
            time.sleep(POLL)
            described = client.describe_export(ExportArn=described["ExportArn"])["ExportDescription"]
        if described["ExportStatus"] != "COMPLETED":
            remedy = "look at the export in the DynamoDB console, at the bucket and at this role's grants"
            raise _failed(table, f"failed ({described.get('FailureCode', 'no code')})", remedy)
        summary = orjson.loads(_body(aws, bucket, described["ExportManifest"]).read())
        listed = _body(aws, bucket, summary["manifestFilesS3Key"]).read()
    found = Export(table, aws, tuple(orjson.loads(line) for line in listed.splitlines() if line.strip()))
    if sum(each["itemCount"] for each in found.files) != summary["itemCount"]:
        raise found._mismatch("The files of the export do not add up to its items.")  # noqa: SLF001
    return found


def _body(aws: Aws, bucket: str, key: str) -> Any:
    return aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"]


def _failed(table: SourceTable, what: str, remedy: str) -> SourceError:
    return SourceError(
        f"The export of the DynamoDB table {table.physical} {what}.",
        remedy=f"{remedy}; then materialize again.",
        tenant=table.tenant,
        table=table.table_id,
    )


@contextmanager
def _reaching(table: SourceTable) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if getattr(error, "response", {}).get("Error", {}).get("Code") == "PointInTimeRecoveryUnavailableException":
            raise _failed(table, "needs point-in-time recovery", "switch it on for the table, or leave `export_bucket` out") from None
        raise unreadable(error, table.source, f"{table.physical}'s export", table.tenant, table.table_id) from None


def _read(item: Item) -> Item:
    """An item as the service's own answers have it: exports write bytes as text. Nested ones land as text anyway."""
    return {name: {"B": base64.b64decode(value["B"])} if "B" in value else value for name, value in item.items()}


def is_gone(table: SourceTable, change: Item) -> bool:
    """Whether an item of the tenant was removed, or was given to another tenant."""
    new = change.get("NewImage")
    return (new is None or not owns(table, new)) and owns(table, {**change.get("OldImage", {}), **change["Keys"]})


def _paged(items: Iterator[Item]) -> Iterator[list[Item]]:
    page: list[Item] = []
    for item in items:
        page.append(item)
        if len(page) == BATCH:
            yield page
            page = []
    yield page


@dataclass
class ExportedItems(ItemRows):
    """Every item that a tenant had at an instant."""

    limits: Limits = field(default_factory=Limits)  # type: ignore[arg-type]
    at: datetime = _NEVER
    how: str = "items of the tenant in a full export, whose files were counted and compared with their MD5"

    def pages(self) -> Iterator[list[Item]]:
        """Yield the items."""
        self._position = {THROUGH: self.at.isoformat()}
        made = export(self.table, self.aws, self.limits, "FULL_EXPORT", ExportTime=self.at)
        yield from _paged(_read(each["Item"]) for each in made if owns(self.table, each["Item"]))


@dataclass
class Exported(ItemRows):
    """Rows of an incremental export; `after` is what the batch leaves behind, nothing where another batch of the same export follows it."""

    items: Any = ()
    how: str = ""
    after: dict[str, str] = field(default_factory=dict)

    def pages(self) -> Iterator[list[Item]]:
        """Yield the items."""
        self._position = self.after
        yield from _paged(iter(self.items))


class ExportedChanges:
    """What happened to a tenant's items in a window, `[from, to)` of the service: an item is told once, as it was before and as it was at the end."""

    def __init__(self, table: SourceTable, aws: Aws, limits: Limits, known: dict[str, str], window: Window) -> None:
        low = datetime.fromisoformat(known[THROUGH])
        times = {"ExportFromTime": low, "ExportToTime": window.high, "ExportViewType": "NEW_AND_OLD_IMAGES"}
        self._table, self._aws = table, aws
        self._made = export(table, aws, limits, "INCREMENTAL_EXPORT", IncrementalExportSpecification=times)
        self.position = {THROUGH: window.high.isoformat()}
        self.gone = tuple(owned(table, _read(change["Keys"])) for change in self._made if is_gone(table, change))

    def rows(self) -> Exported:
        """Return the changed items, read from the export's files once more; their batch moves the position."""
        news = (_read(change["NewImage"]) for change in self._made if "NewImage" in change and owns(self._table, change["NewImage"]))
        how = "items that an incremental export says have changed, whose files were counted and compared with their MD5"
        return Exported(self._table, self._aws, items=news, how=how, after=self.position)

    def tombstones(self) -> Exported:
        """Return the keys of the items that are gone; their batch comes first, so that a run that dies between the two reads both again."""
        return Exported(self._table, self._aws, items=self.gone, how="keys that an incremental export says are gone")
