"""Our own contenders: the path that a materialization takes, from the crawl of the catalog to the committed manifest and the status of the attempt."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from benchmarks.contender import Job, Load, Loaded
from lab_insights.aws import Aws
from lab_insights.config import Config, Source
from lab_insights.extract.land import Request
from lab_insights.extract.plan import Declared
from lab_insights.extract.sources import Sources
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import ObjectExists, Storage
from lab_insights.names import tenant_id
from lab_insights.tenants.registry import Tenant

PREFIX = "bench"


@dataclass(frozen=True)
class Files(Storage):
    """Objects as files below `root`, where the peers write theirs; bookmarks and status stay on the stand-in."""

    root: str = ""

    def _path(self, layer: Layer | str, key: str) -> Path:
        path = Path(self.root) / layer / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put_new(self, layer: Layer | str, key: str, body: bytes) -> None:
        try:
            with self._path(layer, key).open("xb") as file:
                file.write(body)
        except FileExistsError:
            raise ObjectExists(key) from None

    def put(self, layer: Layer | str, key: str, body: bytes, content_type: str = "") -> None:  # noqa: ARG002
        self._path(layer, key).write_bytes(body)

    def upload(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        with self._path(layer, key).open("wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)

    def download(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        with self._path(layer, key).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    def size(self, layer: Layer, key: str) -> int | None:
        path = self._path(layer, key)
        return path.stat().st_size if path.exists() else None

    def get(self, layer: Layer | str, key: str) -> bytes | None:
        path = self._path(layer, key)
        return path.read_bytes() if path.exists() else None

    def delete(self, layer: Layer, key: str) -> None:
        self._path(layer, key).unlink(missing_ok=True)


def sources(job: Job) -> tuple[Sources, Source, Tenant]:
    """Return a job's source as a deployment opens it, with its limits at their defaults but for the proof."""
    os.environ["BENCH_SOURCE_URL"] = job.url
    source: dict[str, Any] = {
        "engine": job.engine,
        "url": "env:BENCH_SOURCE_URL",
        "tenancy": {"schema": {"schema": job.schema}},
        "include": [job.table],
        "limits": {"proof": job.proof},
    }
    config = Config.model_validate(
        {
            "aws": {"endpoint_url": job.endpoint},
            "lake": {"prefix": PREFIX},
            "snowflake": {"account": "none", "credentials": "env:NONE"},
            "sources": {"lis": source},
            "partitions": {"start": "2026-01-01"},
        }
    )
    aws = Aws(endpoint_url=job.endpoint)
    storage = Files(aws, PREFIX, job.directory) if job.store == "local" else Storage(aws, PREFIX)
    tenant = Tenant(id=tenant_id(job.tenant), key="12")
    # The first call of a client reads its service's description; a worker has long done so.
    aws.client("dynamodb")
    aws.client("s3").list_buckets()
    declared = {f"lis.{job.table}": Declared(("result_id",), "updated_at")}
    return Sources(config, aws, Lake(storage, State(aws, PREFIX)), declared), config.sources["lis"], tenant


def _warmed(job: Job) -> None:
    """Import what a load imports, as the peers have theirs imported; pandas is asked for by pyarrow and DuckDB, who look whether a value is one of its."""
    import importlib

    reader = "connectorx" if job.engine == "mysql" else "adbc_driver_postgresql.dbapi"
    for name in (reader, "duckdb", "pandas", "pyarrow.parquet", "lab_insights.extract.readers"):
        importlib.import_module(name)


def _load(job: Job) -> Load:
    """The whole table where there is none in the lake, else its changes."""
    opened, _, tenant = sources(job)
    _warmed(job)

    def load() -> Loaded:
        return Loaded(_day(opened, tenant, job)[-1].rows)

    return load


def _day(opened: Sources, tenant: Tenant, job: Job) -> list[Manifest]:
    return opened.load(opened.table(tenant, f"lis.{job.table}"), Request(datetime.now(UTC).date()))


def _repeated(job: Job) -> Load:
    """Full loads for some seconds, each of a tenant of its own; the note is what the receipts say of limits."""
    opened, _, tenant = sources(job)
    _warmed(job)

    def load() -> Loaded:
        end, said = time.monotonic() + job.seconds, list[str]()
        while time.monotonic() < end:
            other = Tenant(id=tenant_id(f"{tenant.id}_{len(said)}"), key=tenant.key)
            said += [", ".join(f"{name} {limit}" for name, limit in made.limits.items()) for made in _day(opened, other, job)]
        return Loaded(note="; ".join(sorted(set(said))))

    return load


def _busy(job: Job) -> Load:
    """Write parquet of rows that nobody was asked for, in one thread."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.table({"id": range(200_000), "text": [f"value {number % 977}" for number in range(200_000)]})

    def load() -> Loaded:
        end = time.monotonic() + job.seconds
        while time.monotonic() < end:
            pq.write_table(rows, io.BytesIO(), compression="zstd")
        return Loaded(0)

    return load


def _many(job: Job) -> Load:
    """Every table of the schema, one after the other as a run's step does."""
    opened, _, tenant = sources(job)
    _warmed(job)

    def load() -> Loaded:
        day, tables = datetime.now(UTC).date(), opened.catalog("lis", tenant).tables
        return Loaded(sum(opened.load(table, Request(day))[-1].rows for table in tables))

    return load


def _drain(job: Job) -> Load:
    """The same projection, read by the same reader to nowhere: no cast, no proof, no file."""
    from lab_insights.extract import databases, read, streams

    opened, source, tenant = sources(job)
    _warmed(job)
    table, target = opened.table(tenant, f"lis.{job.table}"), databases.url(source, Aws())
    _, shipped = read.select(table, proof="counts")
    statement = streams.rendered(sa.select(*(column.expression.label(f"c{place}") for place, column in enumerate(shipped))), target)

    def load() -> Loaded:
        return Loaded(sum(batch.num_rows for batch in streams.fetch(statement, target, table, source.limits)))

    return load


CONTENDERS: dict[str, Callable[[Job], Load]] = {
    "ours": _load,
    "ours, many tables": _many,
    "ours, repeated": _repeated,
    "busy": _busy,
    "drain": _drain,
}
