"""A tenant-day's page: its figures read from the KPI tables, rendered, and put into the lake's bucket of reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from lab_insights.errors import WarehouseError
from lab_insights.lab.declared import read_by
from lab_insights.lab.derive import accounted_for
from lab_insights.lab.report.deidentify import deidentified
from lab_insights.lab.report.model import Report
from lab_insights.lab.report.page import render
from lab_insights.lab.report.queries import queries
from lab_insights.lab.report.sections import report as page_of
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.reports import relations, table
from lab_insights.warehouse.session import Session

LAYER = "reports"
_WEEK = 7 * 24 * 3600


@dataclass(frozen=True)
class Pages:
    """Where a tenant-day's two pages lie, as links for a browser too, and the size of the larger in bytes."""

    uri: str
    url: str
    deidentified_url: str
    bytes: int


def key(tenant: TenantId, day: date, *, shared: bool = False) -> str:
    """Return the object key of a tenant-day's page, or of the de-identified one that may be `shared`."""
    return f"tenant={tenant}/date={day:%Y-%m-%d}/{'report-deidentified' if shared else 'report'}.html"


def publish(session: Session, lake: Lake, tenant: TenantId, zone: str, day: date) -> Pages:
    """Write both pages of a tenant-day, replacing older ones. Run it after `warehouse.reports.refresh`."""
    page = read(session, lake, tenant, zone, day)
    bodies = {False: render(page).encode(), True: render(deidentified(page)).encode()}
    for shared, body in bodies.items():
        lake.storage.put(LAYER, key(tenant, day, shared=shared), body, "text/html; charset=utf-8")
    urls = {shared: _url(lake.storage, key(tenant, day, shared=shared)) for shared in bodies}
    return Pages(lake.storage.uri(LAYER, key(tenant, day)), urls[False], urls[True], max(map(len, bodies.values())))


def _url(storage: Storage, object_key: str) -> str:
    """A local lake is opened by a link that is signed for a week; a real one by AWS' console, since a signed link lets in whoever reads it."""
    bucket, aws = storage.bucket(LAYER), storage.aws
    if aws.endpoint_url:
        named = {"Bucket": bucket, "Key": object_key}
        return str(aws.client("s3").generate_presigned_url("get_object", Params=named, ExpiresIn=_WEEK))
    return f"https://{aws.region}.console.aws.amazon.com/s3/object/{bucket}?prefix={object_key}"


def published(lake: Lake, tenant: TenantId, day: date, *, shared: bool) -> bytes:
    """Return a page that was published; raise `WarehouseError` when there is none."""
    body = lake.storage.get(LAYER, key(tenant, day, shared=shared))
    if body is None:
        raise WarehouseError(
            "There is no report of this day.",
            remedy="materialize reports for this tenant and day first.",
            tenant=tenant,
            partition=str(day),
        )
    return body


def read(session: Session, lake: Lake, tenant: TenantId, zone: str, day: date) -> Report:
    """Return the page of a tenant-day as figures, read from its KPI tables."""
    use(session, tenant)
    held = relations(session)
    asked = queries(table, held["account"], held["orderable"], day)
    rows = {name: _rows(session, sql) for name, sql in asked.items()}
    return page_of(rows, tenant.replace("_", " ").title(), day, zone, lake.clock.now(), _delivered(lake, tenant, day, zone))


def _rows(session: Session, sql: str) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = session.arrow(sql).to_pylist()
    return found


def _delivered(lake: Lake, tenant: TenantId, day: date, zone: str) -> list[dict[str, Any]]:
    """Return for each modelled raw table what the lake has of the day: rows by the source's count, landed, and curated, and up to when it was read.

    A curated table may have several sources; its rows are counted as a whole.
    """
    found = []
    for raw_table, [(contract, mapping), *_] in read_by().items():
        raw = partition_manifests(lake, Partition("raw", tenant, raw_table, day))
        curated = partition_manifests(lake, Partition("curated", tenant, contract.table, day))
        if raw:
            name = contract.table if mapping.is_own else f"{contract.table} ({mapping.source.name})"
            found.append({"table": name, "of": contract.table, **_row(mapping.source.name, raw, curated, zone)})
    return found


def _row(of: str, raw: Sequence[Manifest], curated: Sequence[Manifest], zone: str) -> dict[str, Any]:
    landed, quarantined = sum(each.rows for each in raw), sum(each.counts.get("quarantined", 0) for each in raw)
    source = sum(each.proof.rows if each.proof else each.rows for each in raw)
    # a batch of several sources counts the rows of each apart
    several = any(count.startswith(("kept_", "superseded_", "excluded_")) for each in curated for count in each.counts)
    taken = sum(accounted_for(each.counts, of if several else "") for each in curated)
    highs = [each.window.high for each in raw if each.window]
    newest = f"{max(highs).astimezone(ZoneInfo(zone)):%d %b %H:%M}" if highs else "–"
    accounted = source == landed + quarantined and taken == landed
    counts = {"source": source, "raw": landed, "quarantined": quarantined, "curated": sum(each.rows for each in curated)}
    return {**counts, "newest": newest, "accounted": accounted}
