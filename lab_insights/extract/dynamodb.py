"""DynamoDB as a source: catalog by description and sampling, rows by scan (`dynamodb_stream` has their changes), nothing altered.

Text, binary and booleans land as they are, numbers as text (38 digits, any scale), everything nested as DynamoDB's own JSON. An attribute of several types
is text, NULL being none of them. The scan gives a count, no checksum: the service has none to offer.
"""

from __future__ import annotations

import base64
import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.config import Source, logical
from lab_insights.errors import SourceError
from lab_insights.extract.catalog import Catalog, Column, SourceTable
from lab_insights.extract.databases import place
from lab_insights.extract.dynamodb_tenants import asked, check
from lab_insights.extract.projection import TEXT_SUFFIX, landing_names
from lab_insights.extract.read import counted
from lab_insights.lake.commit import Facts
from lab_insights.lake.manifest import SourceProof
from lab_insights.tenants.registry import Tenant

if TYPE_CHECKING:
    import pyarrow as pa

# In a position: the instant by the service's clock through which it holds every change, and the stream that tells those after it; the other names are those
# of shards.
THROUGH, STREAM = "through", "stream"
SAMPLE = 500
BATCH = 10_000
# A scan of one segment reads a few MB a second; below this several would only cost more requests.
SEGMENTS_FROM_BYTES = 64 << 20


def crawl(name: str, source: Source, tenant: Tenant, aws: Aws) -> Catalog:
    """Describe the tables that the source lists; attributes are those of a sample of the tenant's items."""
    from botocore.exceptions import BotoCoreError, ClientError

    placement = place(name, source, tenant)
    tables = []
    for physical in source.tables:
        try:
            described = aws.client("dynamodb").describe_table(TableName=physical)["Table"]
            sample = next(_pages(aws, physical, placement.discriminator, SAMPLE), [])
            if placement.discriminator and not sample:
                check(aws, described, placement.discriminator, tenant.id)
        except (ClientError, BotoCoreError) as error:
            raise unreadable(error, name, physical, tenant.id) from None
        keys = [part["AttributeName"] for part in described["KeySchema"]]
        own_key = [part for part in keys if not placement.discriminator or part != placement.discriminator[0]] or keys
        kinds: dict[str, set[str]] = {part: {"S"} for part in keys}
        for item in sample:
            for attribute, value in item.items():
                kinds.setdefault(attribute, set()).update(value.keys() - {"NULL"})
        tables.append(
            SourceTable(
                source=name,
                engine="dynamodb",
                tenant=tenant.id,
                name=logical(physical),
                physical=physical,
                placement=placement,
                columns=tuple(
                    Column(attribute, "|".join(sorted(kinds[attribute])) or "NULL", attribute not in keys) for attribute in sorted(kinds)
                ),
                key=tuple(own_key),
                rows=described.get("ItemCount"),
                bytes=described.get("TableSizeBytes"),
                stream=None if source.export_bucket else _stream(described, placement.discriminator, keys),
                export_bucket=source.export_bucket,
            )
        )
    return Catalog(tuple(tables), {})


def _stream(described: dict[str, Any], discriminator: tuple[str, str] | None, keys: list[str]) -> str | None:
    """The stream that tells a tenant's changes from others': without old images a removed item is known by its key alone."""
    specified = described.get("StreamSpecification", {})
    view = specified.get("StreamViewType") if specified.get("StreamEnabled") else None
    told = view == "NEW_AND_OLD_IMAGES" or (view == "NEW_IMAGE" and (discriminator is None or discriminator[0] in keys))
    return described["LatestStreamArn"] if told else None


def unreadable(error: Exception, source: str, physical: str, tenant: str, table: str | None = None) -> SourceError:
    """Return what a person is told when the service refuses."""
    return SourceError(
        f"Source {source}: the DynamoDB table {physical} can not be read ({type(error).__name__}).",
        remedy="check the source's `tables`, the region, and the grants of this role.",
        tenant=tenant,
        table=table,
    )


def _pages(
    aws: Aws, table: str, discriminator: tuple[str, str] | None, limit: int | None = None, segments: int = 1
) -> Iterator[list[dict[str, Any]]]:
    operation, request = asked(aws, table, discriminator)
    request |= {"PaginationConfig": {"PageSize": limit}} if limit else {}
    paginator = aws.client("dynamodb").get_paginator(operation)
    if operation == "query" or segments == 1:
        yield from (page["Items"] for page in paginator.paginate(**request))
        return
    yield from _together([paginator.paginate(**request, Segment=number, TotalSegments=segments) for number in range(segments)])


def _together(scans: list[Iterable[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of several scans as they come, with no more than two waiting for each."""
    pages: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(2 * len(scans))
    stopped = False

    def scan(its: Iterable[dict[str, Any]]) -> None:
        try:
            for page in its:
                if stopped:
                    return
                pages.put(page["Items"])
        finally:
            pages.put(None)

    with ThreadPoolExecutor(len(scans), thread_name_prefix="segment") as pool:
        scanning = [pool.submit(scan, its) for its in scans]
        left = len(scans)
        try:
            while left:
                items = pages.get()
                if items is None:
                    left -= 1
                else:
                    yield items
        finally:
            stopped = True
            while left:
                left -= pages.get() is None
        for each in scanning:
            each.result()


@dataclass
class ItemRows:
    """Every item of a tenant in one table; a large one is scanned in `segments` at once."""

    table: SourceTable
    aws: Aws
    segments: int = 1
    how = "items that the scan returned"
    _read: int = 0
    _kept: int = 0
    _names: dict[str, str] = field(default_factory=dict)
    _beside: set[str] = field(default_factory=set)
    _position: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import pyarrow as pa

        arrow = {"B": pa.binary(), "BOOL": pa.bool_()}
        self._name([column.name for column in self.table.columns])
        self.schema: pa.Schema = pa.schema(
            [(self._names[column.name], arrow.get(column.type, pa.string())) for column in self.table.columns]
        )

    def _name(self, attributes: Sequence[str]) -> None:
        """Give attributes names in the lake that no engine takes for another's, those that have one keeping theirs."""
        every = [*self._names, *attributes]
        mine = (self.table.placement.discriminator or ())[:1]
        named = dict(zip(every, landing_names(every, (*self.table.spelled, *mine)), strict=True))
        self._names = named | self._names

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        from botocore.exceptions import BotoCoreError, ClientError

        pending: list[dict[str, Any]] = []
        try:
            for items in self.pages():
                pending += items
                self._read += len(items)
                if len(pending) >= BATCH:
                    yield self._batch(pending)
                    pending = []
        except (ClientError, BotoCoreError) as error:
            raise unreadable(error, self.table.source, self.table.physical, self.table.tenant, self.table.table_id) from None
        if pending:
            yield self._batch(pending)

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the items as the service gives them."""
        segments = self.segments if (self.table.bytes or 0) >= SEGMENTS_FROM_BYTES else 1
        self._position = {THROUGH: datetime.now(UTC).isoformat()} | ({STREAM: self.table.stream} if self.table.stream else {})
        yield from _pages(self.aws, self.table.physical, self.table.placement.discriminator, segments=segments)

    def _batch(self, items: list[dict[str, Any]]) -> pa.RecordBatch:
        import pyarrow as pa

        sampled = [(column.name, its) for column, its in zip(self.table.columns, self.schema, strict=True)]
        # An attribute that the sample did not show gets a column of its own.
        late = sorted({name for item in items for name in item} - {name for name, _ in sampled})
        self._name([name for name in late if name not in self._names])
        every = [*sampled, *((name, pa.field(self._names[name], pa.string())) for name in late)]
        columns = {its.name: pa.array([_plain(item.get(name), its.type) for item in items], its.type) for name, its in every}
        for name, its in sampled:
            # Nor did the sample show every type: what this column can not hold is kept, as text, beside it.
            misfits = [item[name] if name in item and not _fits(item[name], its.type) else None for item in items]
            if any(misfits):
                columns[f"{its.name}{TEXT_SUFFIX}"] = pa.array([_plain(value, pa.string()) for value in misfits], pa.string())
                self._beside.add(its.name)
                self._kept += sum(value is not None for value in misfits)
        return pa.RecordBatch.from_pydict(columns)

    def facts(self) -> Facts:
        """Return the count of items that the service gave, and from where the stream goes on."""
        fidelity = {self._names[column.name]: "exact" if column.type in {"S", "B", "BOOL"} else "text" for column in self.table.columns}
        fidelity |= {name: f"exact, or text in {name}{TEXT_SUFFIX}" for name in self._beside}
        return Facts(SourceProof(rows=self._read, how=self.how), counted(self._kept), fidelity, position=self._position)


def _fits(value: dict[str, Any], kind: pa.DataType) -> bool:
    """Whether a column of `kind` holds an attribute value: text holds all of them."""
    import pyarrow as pa

    return pa.types.is_string(kind) or next(iter(value)) in {"NULL", "B" if pa.types.is_binary(kind) else "BOOL"}


def _plain(value: dict[str, Any] | None, kind: pa.DataType) -> Any:
    """One attribute value as its column's type; nested ones and sets as DynamoDB JSON, so that no type is lost."""
    import orjson
    import pyarrow as pa

    if value is None or "NULL" in value:
        return None
    tag, content = next(iter(value.items()))
    if not pa.types.is_string(kind):
        return content if _fits(value, kind) else None
    if tag in {"S", "N"}:
        return content
    if tag == "BOOL":
        return "true" if content else "false"
    return orjson.dumps(value, default=lambda raw: base64.b64encode(bytes(raw)).decode()).decode()
