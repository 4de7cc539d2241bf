"""Two processes that load the same partition at once: one wins, the other stops with a clear message, and nothing is doubled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from lab_insights.errors import CommitConflict
from lab_insights.extract.land import Request
from lab_insights.extract.plan import Declared
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.killing import Held, Job, killed
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, fresh_tenant, held, instant, watched


@pytest.fixture
def job(lake: Lake, mysql: Server, tenant: TenantId) -> Iterator[Job]:
    """The first load of a table of three rows."""
    name = f"together_{fresh_tenant()}"
    mysql.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL)")
    for number in (1, 2, 3):
        mysql.execute(f"INSERT INTO {{s}}.{name} VALUES ({number}, '2026-03-01 0{number}:00:00')")
    its = mysql.table(name, tenant=Tenant(id=tenant, key="1"))
    yield Job(lake, mysql.source(), its, Declared(("id",), "updated_at"), [(Request(day(1)), Ceiling(instant(1, 12), "of the test"))])
    mysql.execute(f"DROP TABLE {{s}}.{name}")


def partition(job: Job) -> Partition:
    return Partition("raw", job.table.tenant, job.table.table_id, day(1))


def ids(job: Job) -> list[int]:
    of = partition(job)
    return sorted(held(job.lake, "raw", of.tenant, of.table)["id"].to_pylist())


def committed_once(job: Job) -> bool:
    head = job.lake.state.head(partition(job))
    return (ids(job), head.version, head.intent) == ([1, 2, 3], 1, None)


def of(error: Exception | None) -> tuple[str | None, str | None, str | None]:
    """Where a conflict says that it happened."""
    assert isinstance(error, CommitConflict)
    assert "Another run took over" in str(error)
    return error.tenant, error.table, error.partition


def test_of_two_that_read_the_same_head_one_wins_and_the_other_is_told(job: Job) -> None:
    runs = [Held(job, job.lake.storage.aws, "GetItem") for _ in range(2)]
    for run in runs:
        run.wait()
    for run in runs:
        run.let_go()
    told = [run.told() for run in runs]
    assert told.count(None) == 1
    [lost] = filter(None, told)
    assert of(lost) == (partition(job).tenant, partition(job).table, str(day(1)))
    assert committed_once(job)


def test_one_that_was_overtaken_at_work_is_told_and_has_doubled_nothing(job: Job) -> None:
    slow = Held(job, job.lake.storage.aws, "PutObject").wait()
    job()
    assert committed_once(job)
    slow.let_go()
    assert of(slow.told()) == (partition(job).tenant, partition(job).table, str(day(1)))
    assert committed_once(job)


def test_several_that_adopt_the_same_manifest_at_once_all_go_on(job: Job) -> None:
    with watched(job.lake.storage.aws) as calls:
        job()
    last = calls.made.index("TransactWriteItems")
    again = dataclasses.replace(job, loads=[(Request(day(1)), Ceiling(instant(1, 18), "of the test"))])
    assert killed(again, job.lake.storage.aws, last)
    runs = [Held(again, job.lake.storage.aws, "GetObject").wait() for _ in range(3)]
    for run in runs:
        run.let_go()
    assert [run.told() for run in runs] == [None] * 3
    head = job.lake.state.head(partition(job))
    assert (head.version, head.position, head.intent) == (2, instant(1, 18), None)
    assert ids(job) == [1, 2, 3]
