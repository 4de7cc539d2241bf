"""The Spark engine against the Arrow engine: the same tables of real servers, loaded by both, are the same rows in the lake."""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import dagster as dg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from dagster_pyspark import LazyPySparkResource
from pyspark.sql import SparkSession

from lab_insights.config import SparkSection
from lab_insights.errors import ConfigError, LandingMismatch, SourceError
from lab_insights.extract import spark_tasks
from lab_insights.extract.land import Request
from lab_insights.extract.read import SourceRows
from lab_insights.extract.resume import Finished
from lab_insights.extract.sources import Sources
from lab_insights.extract.spark_tasks import Order, enveloped
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest, encode_schema
from lab_insights.lake.state import Intent
from lab_insights.resources.spark import SparkFactory, session, settings
from lab_insights_tests.extract.spark_world import PASSWORD, World, broken, opened
from lab_insights_tests.lake.world import day, fresh_tenant, instant, make_lake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]


@pytest.fixture(scope="module")
def world(aws_endpoint: str, mysql_url: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("spark")
    # A server that trusts the loopback takes any password.
    urls = {"mysql": sa.make_url(mysql_url), "postgresql": sa.make_url(postgres_url).set(password=PASSWORD)}
    with opened(urls, make_lake(aws_endpoint, home / "clock"), home, {"master": "local[2,3]"}) as made:
        yield made


@pytest.fixture(scope="module")
def spark(world: World) -> Iterator[SparkSession]:
    """The session that every load here shares, since a process has one."""
    started = session(world.config.spark)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def mixed(world: World, spark: SparkSession) -> dict[str, list[tuple[Manifest, Manifest]]]:
    """What both engines landed of the table `mixed` of each server: its snapshot, equal to the other's, then a change."""
    found = {}
    for server in ("mysql", "postgresql"):
        snapshots = world.both(server, "mixed", 1, 12)
        _equal(world, server)
        world.execute(server, f"UPDATE {{schema}}.mixed SET amount = 7.5, updated_at = '{instant(1, 13):%Y-%m-%d %H:%M:%S}' WHERE id = 2")
        found[server] = [snapshots, world.both(server, "mixed", 1, 18)]
    return found


@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_both_engines_land_equal_rows_and_later_equal_changes(
    world: World, mixed: dict[str, list[tuple[Manifest, Manifest]]], server: str
) -> None:
    (arrow, by_spark), changes = mixed[server]
    assert (arrow.engine, by_spark.engine) == ("arrow", "spark")
    assert (arrow.kind, arrow.rows) == (by_spark.kind, by_spark.rows) == ("snapshot", {"mysql": 5, "postgresql": 3}[server])
    assert by_spark.proof
    assert arrow.proof
    assert by_spark.proof.rows == arrow.proof.rows
    assert by_spark.fidelity == arrow.fidelity
    assert "text in born__text" in by_spark.fidelity["born"]
    assert [(change.kind, change.rows) for change in changes] == [("delta", 1), ("delta", 1)]
    _equal(world, server)


def _equal(world: World, server: str) -> None:
    arrow, by_spark = world.rows(server), world.rows(f"{server}_spark")
    assert by_spark.schema == arrow.schema
    # The text of a float tells -0.0 from 0.0, and finds NaN equal to itself.
    assert [str(row) for row in by_spark.to_pylist()] == [str(row) for row in arrow.to_pylist()]


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_a_window_in_which_nothing_changed_starts_no_spark_job(world: World, server: str) -> None:
    _, quiet = world.both(server, "mixed", 2, 12)
    assert (quiet.kind, quiet.rows, quiet.engine) == ("delta", 0, "arrow")
    assert "nothing changed, so no Spark job was started" in quiet.reason


@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_an_empty_table_is_an_empty_batch_by_both_engines(world: World, spark: SparkSession, server: str) -> None:
    arrow, by_spark = world.both(server, "nothing", 1, 12)
    assert (arrow.rows, by_spark.rows) == (0, 0)
    assert (arrow.engine, by_spark.engine) == ("arrow", "spark")
    assert by_spark.digest == arrow.digest
    assert by_spark.schema_() == arrow.schema_()


def test_a_table_in_ranges_lands_a_part_a_range_and_a_change_is_read_by_one_task(
    world: World, mixed: dict[str, list[tuple[Manifest, Manifest]]]
) -> None:
    """The override of `mixed` says two ranges: the snapshot was taken in two, the delta in one."""
    for (_, snapshot), (_, delta) in mixed.values():
        assert (snapshot.ranges, delta.ranges) == (2, 1), snapshot.reason
        assert "2 key ranges of one snapshot" in snapshot.reason
        assert {key.rpartition("/")[2].split("-")[2][:3] for key in world.parts(snapshot)} == {"000", "001"}


@pytest.mark.usefixtures("mixed")
def test_values_that_no_type_holds_cross_spark_as_text(world: World) -> None:
    found = {row["id"]: row for row in world.rows("mysql_spark").to_pylist()}
    assert (found[4]["born"], found[4]["born__text"], found[4]["seen__text"]) == (None, "0000-00-00", "2020-00-00 00:00:00.000000")
    assert (str(found[2**64 - 1]["amount"]), found[2**64 - 1]["tiny"]) == ("12345678901234567890123456789.123456789", 255)
    assert (found[2]["odd"], found[2]["picture"], found[2]["name"]) == ("-838:59:59", b"\x00\xff", "Zoë 🧪")


@pytest.mark.parametrize("planted", ["nothing", "a batch is lost", "the facts are lost"])
def test_what_a_reader_read_is_what_must_be_landed(world: World, planted: str) -> None:
    reader = world.reader("mysql")
    partition = Partition("raw", fresh_tenant(), "mysql.mixed", day(1))
    order = Order(world.lake.storage, Intent(partition, 0, 1, "token"), encode_schema(reader.schema), 1, "told")
    envelopes = [*enveloped(reader)]
    dropped = {"nothing": envelopes, "a batch is lost": envelopes[1:], "the facts are lost": envelopes[:-1]}[planted]
    if planted == "nothing":
        assert Finished.model_validate_json(spark_tasks.landed(order, iter(dropped))).facts.proof == reader.facts().proof
        return
    with pytest.raises(LandingMismatch, match="not all that its reader read"):
        spark_tasks.landed(order, iter(dropped))
    assert [*world.lake.storage.stored("raw", partition.directory)] == []


def test_a_job_is_committed_with_every_range_once(world: World) -> None:
    reader = world.reader("mysql")
    partition = Partition("raw", fresh_tenant(), "mysql.mixed", day(1))
    order = Order(world.lake.storage, Intent(partition, 0, 1, "token"), encode_schema(reader.schema), 2, f"{partition.directory}/told")
    first = spark_tasks.landed(order, enveloped(reader))
    for bodies in ([first], [first, first], []):
        with pytest.raises(LandingMismatch, match="were to be"):
            order.tell(bodies)
    assert len([*world.lake.storage.stored("raw", partition.directory)]) == 2  # a value that no type holds begins a new part
    order.discard([first])
    assert [*world.lake.storage.stored("raw", partition.directory)] == []


def test_what_a_task_says_of_the_source_reaches_the_driver(world: World, spark: SparkSession) -> None:
    world.execute("mysql", "CREATE TABLE {schema}.leaving (id INT PRIMARY KEY)")
    world.lake.clock.set(instant(1, 12))
    sources = world.resource.sources()
    its = sources.table(world.customer, "mysql_spark.leaving")
    world.execute("mysql", "DROP TABLE {schema}.leaving")
    with pytest.raises(SourceError, match="gone since it was crawled") as caught:
        sources.load(its, Request(day(1)))
    assert (caught.value.tenant, caught.value.table) == (world.tenant, "mysql_spark.leaving")


def test_a_task_never_raises_the_text_of_a_driver(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: SourceRows) -> Iterator[pa.RecordBatch]:
        raise ValueError("invalid date for patient Jane Doe")

    monkeypatch.setattr(SourceRows, "__iter__", broken)
    with pytest.raises(SourceError, match=r"Spark task \(ValueError\)") as caught:
        list(enveloped(world.reader("mysql")))
    assert caught.value.__suppress_context__
    assert "Jane" not in str(caught.value)


@pytest.mark.usefixtures("mixed")
def test_the_password_of_a_source_is_in_no_event_of_spark(world: World, spark: SparkSession) -> None:
    request = spark_tasks.packed([world.reader("postgresql")])
    logged = "".join(path.read_text() for path in world.events.rglob("*") if path.is_file())
    assert logged.count("SparkListenerSQLExecutionStart") > 0
    assert PASSWORD not in logged
    assert base64.b64encode(PASSWORD.encode()).decode()[:-4] not in logged
    assert request[:200] not in logged


@pytest.mark.parametrize("fault", ["fails", "is killed"])
@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_a_task_that_ends_after_it_has_written_leaves_no_orphan_and_no_double(
    world: World, spark: SparkSession, tmp_path: Path, server: str, fault: Literal["fails", "is killed"]
) -> None:
    made = broken(world, spark, tmp_path, server, fault)
    lies = {each.key for each in world.lake.storage.stored("raw", made.partition.directory)}
    lost = Path(f"{tmp_path}/fault.part").read_text()
    assert lost not in lies
    assert lies == {part.key for part in made.parts} | {made.object_key}
    if server == "postgresql":
        # The task was tried again, in the same snapshot.
        assert (made.ranges, made.attempt) == (2, 1)
        assert lost.rpartition("-")[0] not in {part.key.rpartition("-")[0] for part in made.parts}
    else:
        assert made.ranges == 1
        assert "one reader: a task had to be tried again" in made.reason


@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_spark_reads_one_snapshot_while_amounts_are_moved(world: World, spark: SparkSession, server: str) -> None:
    keys = ", ".join(f"({number}, 100)" for number in range(100))
    world.execute(
        server, "CREATE TABLE {schema}.accounts (id INT PRIMARY KEY, amount INT NOT NULL);\nINSERT INTO {schema}.accounts VALUES " + keys
    )
    stop, done, engine = threading.Event(), [0], sa.create_engine(world.urls[server])

    def move() -> None:
        with engine.connect() as connection:
            while not stop.is_set():
                connection.exec_driver_sql(f"UPDATE {world.schema}.accounts SET amount = amount - 1 WHERE id = {done[0] % 20}")
                connection.exec_driver_sql(f"UPDATE {world.schema}.accounts SET amount = amount + 1 WHERE id = {80 + done[0] % 20}")
                connection.commit()
                done[0] += 1

    thread = threading.Thread(target=move)
    thread.start()
    try:
        [made] = world.load(f"{server}_spark", "accounts", 1, 12)
    finally:
        stop.set()
        thread.join()
        engine.dispose()
    assert (made.ranges, done[0] > 10) == (2, True)
    assert sum(world.rows(f"{server}_spark", "accounts")["amount"].to_pylist()) == 100 * 100


@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_a_full_load_by_tasks_that_finds_nothing_new_leaves_no_new_part(world: World, spark: SparkSession, server: str) -> None:
    world.execute(server, "CREATE TABLE {schema}.steady (id INT PRIMARY KEY);\nINSERT INTO {schema}.steady VALUES (1), (2), (3), (4)")
    table = f"{server}_spark.steady"
    [first] = world.load(f"{server}_spark", "steady", 1, 12)
    [again] = world.load(f"{server}_spark", "steady", 2, 12)
    assert (first.ranges, again.ranges, again.parts, again.digest) == (2, 2, first.parts, first.digest)
    world.execute(server, "INSERT INTO {schema}.steady VALUES (5)")
    [third] = world.load(f"{server}_spark", "steady", 3, 12)
    assert not {part.key for part in third.parts} & {part.key for part in first.parts}
    lies = {each.key for each in world.lake.storage.stored("raw", f"tenant={world.tenant}/table={table}/")}
    assert lies == {key for made in (first, again, third) for key in (made.object_key, *(part.key for part in made.parts))}


def test_a_plan_that_says_spark_fails_where_nothing_starts_it(world: World) -> None:
    resource = world.resource
    world.lake.clock.set(instant(1, 12))
    sources = Sources(resource.config(), resource.aws(), resource.open(), {})
    with pytest.raises(ConfigError, match="nothing here starts Spark"):
        sources.load(sources.table(world.customer, "mysql_spark.nothing"), Request(day(1)))


def test_an_asset_gets_the_configured_session_as_dagsters_own_resource(world: World, spark: SparkSession) -> None:
    @dg.asset
    def counted(spark: dg.ResourceParam[LazyPySparkResource]) -> int:
        return int(spark.spark_session.range(3).count())

    result = dg.materialize([counted], resources={"spark": SparkFactory(config_path=world.resource.config_path)})
    assert result.output_for_node("counted") == 3


def test_without_java_the_error_says_what_to_install() -> None:
    program = "from lab_insights.config import SparkSection; from lab_insights.resources.spark import session; session(SparkSection())"
    environment = {**os.environ, "JAVA_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "ConfigError: Spark can not start on local[*]" in done.stderr
    assert "install Java 17 or 21" in done.stderr


def test_a_cluster_is_configuration_alone_and_only_a_local_session_is_bound_to_the_loopback() -> None:
    cluster = settings(SparkSection(master="spark://head:7077", conf={"spark.executor.memory": "8g", "spark.ui.enabled": "true"}))
    assert (cluster["spark.master"], cluster["spark.executor.memory"], cluster["spark.ui.enabled"]) == ("spark://head:7077", "8g", "true")
    assert "spark.driver.host" not in cluster
    assert settings(SparkSection())["spark.driver.bindAddress"] == "127.0.0.1"


def test_options_of_java_are_added_to_those_that_keep_spark_quiet() -> None:
    told = settings(SparkSection(conf={"spark.driver.extraJavaOptions": "-Xss4m"}))["spark.driver.extraJavaOptions"]
    assert told.startswith("-Dlog4j2.configurationFile=")
    assert told.endswith(" -Xss4m")
