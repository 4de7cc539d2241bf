"""Other ways to bring a table to zstd parquet files, each as its own documentation says and with its own defaults but for the compression.

A contender takes a job, imports and connects what it needs, and returns the load to be measured, which returns the rows or something that stops.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contender import Job, Load, Loaded

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a chunk of pandas, for which its documentation suggests nothing.
_CHUNK = 100_000
_BATCH = 65_536
# Debian's libmariadb-java and libpostgresql-jdbc-java put them here.
_JARS = {"mysql": "mariadb-java-client.jar", "postgresql": "postgresql.jar"}
_JAR_DIRECTORY = "/usr/share/java"
_DRIVERS = {"mysql": "org.mariadb.jdbc.Driver", "postgresql": "org.postgresql.Driver"}


def missing(contender: str, engine: str) -> str | None:
    """Return why a contender can not be measured here, with the remedy, or None."""
    import importlib.util

    if contender.startswith("dlt") and importlib.util.find_spec("dlt") is None:
        return "dlt is not installed: uv venv build/bench; uv pip install --python build/bench/bin/python -e '.[bench]' (docs/how-to/develop.md)"
    if contender == "Spark JDBC" and not _jar(engine).exists():
        return f"no driver {_jar(engine)}: apt install libmariadb-java libpostgresql-jdbc-java, or name their directory in BENCH_JARS"
    return None


def _jar(engine: str) -> Path:
    return Path(os.environ.get("BENCH_JARS", _JAR_DIRECTORY)) / _JARS[engine]


def _dlt(job: Job, backend: str) -> Load:
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL", "DATA_WRITER__COMPRESSION": "zstd"}
    import dlt
    import sqlalchemy as sa
    from dlt.destinations import filesystem
    from dlt.sources.sql_database import sql_table

    url = sa.make_url(job.url).set(drivername={"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[job.engine])
    more = {"backend_kwargs": {"conn": job.url}} if backend == "connectorx" else {}

    def load() -> Loaded:
        pipeline = dlt.pipeline(
            "bench", destination=filesystem(f"file://{job.directory}/out"), dataset_name="raw", pipelines_dir=f"{job.directory}/working"
        )
        table = sql_table(
            url.render_as_string(hide_password=False),
            table=job.table,
            schema=job.schema,
            backend=backend,
            query_adapter_callback=None if job.first is None else lambda query, its: query.where(its.c.result_id <= job.first),
            **more,
        )
        pipeline.run(table, loader_file_format="parquet", write_disposition="replace")
        # Its working copy is no result.
        pipeline.drop()
        return Loaded()

    return load


def _connectorx(job: Job, kind: str) -> Load:
    import connectorx
    import pyarrow.parquet as pq

    def load() -> Loaded:
        statement, target = f"SELECT * FROM {job.schema}.{job.table}", f"{job.directory}/part.parquet"
        if kind == "arrow":
            pq.write_table(connectorx.read_sql(job.url, statement, return_type="arrow"), target, compression="zstd")
            return Loaded()
        stream = connectorx.read_sql(job.url, statement, return_type="arrow_stream", batch_size=_BATCH)
        with pq.ParquetWriter(target, stream.schema, compression="zstd") as writer:
            for batch in stream:
                writer.write_batch(batch)
        return Loaded()

    return load


def _pandas(job: Job) -> Load:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    import sqlalchemy as sa

    url = sa.make_url(job.url).set(drivername={"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[job.engine])
    engine = sa.create_engine(url)

    def tables(connection: sa.Connection) -> Iterator[pa.Table]:
        statement = sa.text(f"SELECT * FROM {job.schema}.{job.table} WHERE result_id <= {job.first or job.rows}")
        schema: pa.Schema | None = None
        for frame in pd.read_sql(statement, connection, chunksize=_CHUNK):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            # A chunk of nulls has no type, and a decimal of fewer digits another one.
            schema = schema or table.schema
            yield table if table.schema == schema else table.cast(schema)

    def load() -> Loaded:
        with engine.connect().execution_options(stream_results=True) as connection:
            every = tables(connection)
            first = next(every)
            with pq.ParquetWriter(f"{job.directory}/part.parquet", first.schema, compression="zstd") as writer:
                writer.write_table(first)
                for table in every:
                    writer.write_table(table)
        return Loaded()

    return load


def _spark(job: Job) -> Load:
    """Two connections over the key, as many as cores; a fetch size, without which PostgreSQL's driver reads all rows into memory."""
    import sqlalchemy as sa
    from pyspark.sql import SparkSession

    url = sa.make_url(job.url)
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", str(_jar(job.engine)))
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    session.range(1000).selectExpr("sum(id)").collect()
    options = {
        "url": f"jdbc:{job.engine}://{url.host}:{url.port}/{url.database}",
        "dbtable": f"{job.schema}.{job.table}",
        "driver": _DRIVERS[job.engine],
        "user": url.username or "",
        "password": url.password or "",
        "partitionColumn": "result_id",
        "lowerBound": "1",
        "upperBound": str(job.rows),
        "numPartitions": "2",
        "fetchsize": "10000",
    }

    def load() -> Loaded:
        session.read.format("jdbc").options(**options).load().write.option("compression", "zstd").parquet(f"{job.directory}/out")
        gateway: Any = session.sparkContext._gateway
        return Loaded(helper=gateway.proc.pid, stop=session.stop)

    return load


def _repeated(job: Job) -> Load:
    """Read again and again for some seconds."""
    load = _connectorx(job, "arrow_stream")

    def again() -> Loaded:
        end = time.monotonic() + job.seconds
        while time.monotonic() < end:
            load()
        return Loaded()

    return again


CONTENDERS: dict[str, Callable[[Job], Load]] = {
    "connectorx, streamed": partial(_connectorx, kind="arrow_stream"),
    "connectorx, whole table": partial(_connectorx, kind="arrow"),
    "dlt, connectorx": partial(_dlt, backend="connectorx"),
    "Spark JDBC": _spark,
    "pandas": _pandas,
    "dlt, default": partial(_dlt, backend="sqlalchemy"),
}
BESIDE: dict[str, Callable[[Job], Load]] = {"connectorx, repeated": _repeated}
