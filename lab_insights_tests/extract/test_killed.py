"""A process that is killed after any call to S3 or DynamoDB of a load: the next run ends where an undisturbed one does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.lake.commit import Lake
from lab_insights.lake.events import Verdict
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.lake.sweep import sweep
from lab_insights.lake.tables import manifests
from lab_insights.local import deployer
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.footprint import events, left, named, objects, verdicts
from lab_insights_tests.extract.killed_cases import Asked, Case, ExportCase, ItemsCase, StreamCase
from lab_insights_tests.extract.killing import killed
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import fresh_tenant, instant, watched


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of the production template, so that its manifests make events."""
    prefix = f"killed-{fresh_tenant().removeprefix('t_')}"
    deployer.deploy(aws_endpoint, prefix)
    aws, clock = Aws(endpoint_url=aws_endpoint), Clock(tmp_path_factory.mktemp("clock") / "clock")
    clock.set(instant(4))
    return Lake(Storage(aws, prefix), State(aws, prefix), clock)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    """A table with a row at 6 o'clock of each of three days and another exactly at each midnight."""
    name = f"killed_{fresh_tenant()}"
    stamp = "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"
    server.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, note VARCHAR(20), updated_at {stamp} NOT NULL)")
    for number, hour in itertools.product((1, 2, 3), (6, 24)):
        server.execute(f"INSERT INTO {{s}}.{name} VALUES ({number * 100 + hour}, 'x', '{instant(number, hour):%Y-%m-%d %H:%M:%S}')")
    yield name
    server.execute(f"DROP TABLE {{s}}.{name}")


def everywhere(case: Case | ItemsCase) -> int:
    """Kill a load after each of its calls; return how many there are."""
    lake, aws = case.lake, case.lake.storage.aws
    identifier = case.identifier

    def fresh() -> tuple[Tenant, Callable[[], None]]:
        tenant = Tenant(id=fresh_tenant(), key="1")
        case.restore()
        case.job(tenant, case.before)()
        case.change()
        return tenant, case.job(tenant, case.asked)

    tenant, job = fresh()
    with watched(aws) as calls:
        job()
    # A snapshot is taken again when it is asked for again: also when the killed run had only its last step to do, which the next run does first.
    told_twice = isinstance(case, ExportCase | StreamCase)
    forced = (isinstance(case, ItemsCase) and not told_twice) or any(mode in {"full", "reload"} for _, _, mode in case.asked)
    expected = left(lake, tenant.id, identifier, forced=forced)
    doubled = len(expected.rows) - len(set(expected.rows))
    assert doubled == 0 or isinstance(case, StreamCase)
    tenants = {tenant.id}
    for number in itertools.count(1):
        tenant, job = fresh()
        tenants.add(tenant.id)
        if not killed(job, aws, number):
            break
        visible = left(lake, tenant.id, identifier)
        # A stream tells once more what the scan before it saw; nothing else is doubled.
        assert len(visible.rows) - len(set(visible.rows)) <= doubled
        assert set(visible.rows) <= set(expected.rows)
        job()
        found = left(lake, tenant.id, identifier, forced=forced)
        if told_twice:
            # What is gone is told again by a run that follows one that died between the two batches of an export or a stream.
            assert (number, set(found.rows)) == (number, set(expected.rows))
            continue
        assert [(number, *each) for each in zip(vars(found).items(), vars(expected).items(), strict=True) if each[0] != each[1]] == []
    assert number == len(calls.made) + 1
    seen = events(aws, lake.storage.prefix)
    orphans = 0
    for each in tenants:
        live = manifests(lake, "raw", each, identifier)
        committed, told = {manifest.object_key for manifest in live}, [manifest for manifest in seen if manifest.partition.tenant == each]
        assert committed <= {manifest.key for manifest in told}
        others = [manifest for manifest in told if manifest.key not in committed]
        assert set(verdicts(lake, others).values()) <= {Verdict.OBSOLETE}
        orphans += sweep(lake, each, "raw", grace=timedelta(0)).orphans
        every = [lake.storage.manifest("raw", batch.manifest) for batch in lake.state.history("raw", each, identifier)]
        assert objects(lake, each) == named(filter(None, every))
    # each batch puts its manifest, and a part unless it is given those of an equal snapshot
    assert bool(orphans) == (calls.made.count("PutObject") > calls.made.count("TransactWriteItems"))
    return number - 1


@pytest.mark.slow
@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_killed_anywhere_in_an_incremental_load_of_two_batches(lake: Lake, server: Server, table: str) -> None:
    assert everywhere(Case(lake, server, table, ((2, 12, "incremental"),))) >= 12


@pytest.mark.soak
@pytest.mark.parametrize("dynamic", [False, True], ids=["modelled", "dynamic"])
@pytest.mark.parametrize(
    ("asked", "cursor"),
    [
        (((1, 12, "auto"), (3, 12, "incremental")), "updated_at"),
        (((2, 12, "full"),), "updated_at"),
        (((1, 20, "full"), (2, 12, "full"), (2, 20, "full")), None),
        (((3, 12, "auto"), (3, 20, "deletes")), "updated_at"),
    ],
    ids=["incremental", "full", "full, unchanged", "deletes"],
)
def test_killed_anywhere_in_every_load(
    lake: Lake, server: Server, table: str, asked: tuple[Asked, ...], cursor: str | None, dynamic: bool
) -> None:
    everywhere(Case(lake, server, table, asked, cursor=cursor, dynamic=dynamic))


@pytest.mark.soak
@pytest.mark.parametrize("journaled", [False, True], ids=["waiting", "journaled"])
@pytest.mark.parametrize("again", [12, 20], ids=["anew", "unchanged"])
def test_killed_anywhere_in_a_full_load_of_several_readers(lake: Lake, server: Server, table: str, again: float, journaled: bool) -> None:
    asked: tuple[Asked, ...] = ((1, 20, "full"), (2, again, "full"))
    everywhere(Case(lake, server, table, asked[again == 12 :], cursor=None, ranges=3, journaled=journaled))


@pytest.mark.soak
def test_killed_anywhere_when_a_closed_day_is_read_again(lake: Lake, server: Server, table: str) -> None:
    before: tuple[Asked, ...] = ((1, 12, "auto"), (3, 2, "auto"))
    assert everywhere(Case(lake, server, table, ((2, 60, "reload"),), before)) >= 12


@pytest.mark.soak
def test_killed_anywhere_in_a_scan_of_dynamodb(lake: Lake) -> None:
    everywhere(ItemsCase(lake))


@pytest.mark.soak
def test_killed_anywhere_in_a_load_of_what_a_stream_says_has_changed(lake: Lake) -> None:
    assert everywhere(StreamCase(lake)) >= 12


@pytest.mark.soak
def test_killed_anywhere_in_a_load_of_what_an_export_says_has_changed(lake: Lake) -> None:
    assert everywhere(ExportCase(lake)) >= 12
