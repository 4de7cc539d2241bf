"""Runs of a load in processes of their own, which are killed after a chosen call to S3 or DynamoDB, or held there.

A server process that has imported everything forks each of them: a fork costs some hundredths of a second, where a new Python costs two. The hooks are in
the child alone; the product knows nothing of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

from lab_insights.aws import Aws
from lab_insights.config import Config, Source
from lab_insights.extract import land
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.plan import Declared
from lab_insights.extract.sources import Sources
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "pytest",
        "adbc_driver_postgresql.dbapi",
        "boto3.s3.transfer",
        "connectorx",
        "duckdb",
        "psycopg2",
        "pyarrow.dataset",
        "pyarrow.parquet",
        "pymysql",
        "sqlalchemy.dialects.mysql.pymysql",
        "sqlalchemy.dialects.postgresql.psycopg2",
        "lab_insights.extract.dynamodb",
        "lab_insights.extract.read",
        "lab_insights.extract.streams",
        __name__,
    ]
)


class _Reached(Sources):
    """Sources that are safe to read up to an instant that the test chose."""

    top: Ceiling

    def ceiling(self, name: str) -> Ceiling:  # noqa: ARG002
        return self.top


@dataclass(frozen=True)
class Job:
    """Loads of one table, one after the other, each as an asset has it done: with the plan and the status that are kept of it."""

    lake: Lake
    source: Source
    table: SourceTable
    declared: Declared | None
    loads: Sequence[tuple[land.Request, Ceiling]]

    def __call__(self) -> None:
        aws = self.lake.storage.aws
        config = Config.model_validate(
            {
                "aws": {"endpoint_url": aws.endpoint_url},
                "lake": {"prefix": self.lake.storage.prefix},
                "snowflake": {"account": "none", "credentials": "env:NONE"},
                "sources": {self.table.source: self.source},
                "partitions": {"start": "2026-01-01"},
            }
        )
        declared = {self.table.table_id: self.declared} if self.declared else {}
        for request, ceiling in self.loads:
            sources = _Reached(config, aws, self.lake, declared)
            sources.top = ceiling
            sources.load(self.table, request)


def _hooked(aws: Aws, event: str, hook: Callable[..., None]) -> None:
    for service in ("s3", "dynamodb"):
        aws.client(service).meta.events.register(event, hook)


def _killed_after(job: Callable[[], None], aws: Aws, limit: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server that forked it may be older than what tests have set since
    made = 0

    def after(**_: Any) -> None:
        nonlocal made
        made += 1
        if made == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    _hooked(aws, "after-call", after)
    job()


def killed(job: Callable[[], None], aws: Aws, limit: int) -> bool:
    """Run a job in a process that is killed after its call number `limit`; return whether it came so far."""
    child = FORK.Process(target=_killed_after, args=(job, aws, limit, dict(os.environ)))
    child.start()
    child.join(60)
    assert child.exitcode in {0, -signal.SIGKILL}, child.exitcode
    return child.exitcode == -signal.SIGKILL


class Held:
    """A job in a process that waits after its first `operation` until it is let go."""

    def __init__(self, job: Callable[[], None], aws: Aws, operation: str) -> None:
        self._reached, self._go, self._answer = FORK.Event(), FORK.Event(), FORK.SimpleQueue()
        self._child = FORK.Process(target=_held, args=(job, aws, operation, self._reached, self._go, self._answer, dict(os.environ)))
        self._child.start()

    def wait(self) -> Held:
        """Wait until it is held."""
        assert self._reached.wait(60)
        return self

    def let_go(self) -> None:
        """Let it go on."""
        self._go.set()

    def told(self) -> Exception | None:
        """Return what it raised in the end."""
        error: Exception | None = self._answer.get()
        self._child.join(60)
        return error


def _held(
    job: Callable[[], None],
    aws: Aws,
    operation: str,
    reached: Event,
    go: Event,
    answer: SimpleQueue[Exception | None],
    environment: dict[str, str],
) -> None:
    os.environ.update(environment)

    def hook(model: Any, **_: Any) -> None:
        if model.name == operation and not reached.is_set():
            reached.set()
            go.wait(60)

    _hooked(aws, "after-call", hook)
    try:
        job()
    except Exception as error:  # noqa: BLE001 (whatever it is, the test judges it)
        answer.put(error)
    else:
        answer.put(None)
