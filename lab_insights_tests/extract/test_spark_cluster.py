"""The Spark engine on a standalone cluster: a master and two workers on the loopback, of this test."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.sql import SparkSession

from lab_insights.local import processes
from lab_insights.resources.spark import session
from lab_insights_tests.extract.spark_world import World, broken, opened
from lab_insights_tests.lake.world import make_lake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]

WORKERS = 2


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster whose workers are there."""
    home = tmp_path_factory.mktemp("cluster")
    spec = importlib.util.find_spec("pyspark")
    assert spec
    assert spec.origin
    spark_class = str(Path(spec.origin).parent / "bin" / "spark-class")
    # An executor has one core and little memory: two ranges are on two of them.
    lean = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "SPARK_NO_DAEMONIZE": "1", "PYSPARK_PYTHON": sys.executable}
    port, log = processes.free_port(), home / "master.log"
    address = f"spark://127.0.0.1:{port}"
    with ExitStack() as started:
        command = [spark_class, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
        handle = processes.start("Spark master", command, address=address, log=log, ready=lambda: listens(port), env=lean)
        started.callback(processes.stop, handle)
        for number in range(WORKERS):
            command = [spark_class, "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g"]
            handle = processes.start(
                f"Spark worker {number}",
                [*command, "--webui-port", "0", "--work-dir", str(home / f"worker-{number}"), address],
                address=address,
                log=home / f"worker-{number}.log",
                ready=lambda at=number + 1: log.read_text().count("Registering worker") >= at,  # type: ignore[misc]
                env=lean,
            )
            started.callback(processes.stop, handle)
        yield address


@pytest.fixture(scope="module")
def world(master: str, aws_endpoint: str, mysql_url: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("spark_cluster")
    conf = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.executor.cores": "1",
        "spark.executorEnv.PYTHONPATH": str(Path(__file__).resolve().parents[2]),  # the faults that tests plant are not installed
    }
    urls = {"mysql": sa.make_url(mysql_url), "postgresql": sa.make_url(postgres_url)}
    with opened(urls, make_lake(aws_endpoint, home / "clock"), home, {"master": master, "conf": conf}) as made:
        yield made


@pytest.fixture(scope="module")
def spark(world: World) -> Iterator[SparkSession]:
    started = session(world.config.spark)
    yield started
    started.stop()


@pytest.mark.parametrize("server", ["mysql", "postgresql"])
def test_a_cluster_lands_the_rows_that_this_machine_lands(world: World, spark: SparkSession, server: str) -> None:
    assert spark.sparkContext.master.startswith("spark://")
    arrow, by_spark = world.both(server, "mixed", 1, 12)
    assert (by_spark.engine, by_spark.ranges, by_spark.rows) == ("spark", 2, arrow.rows), by_spark.reason
    assert by_spark.digest == arrow.digest
    assert by_spark.schema_() == arrow.schema_()


def test_an_executor_that_is_lost_after_it_has_written_leaves_no_orphan_and_no_double(
    world: World, spark: SparkSession, tmp_path: Path
) -> None:
    made = broken(world, spark, tmp_path, "postgresql", "loses its executor")
    assert made.ranges == 2
    lies = {each.key for each in world.lake.storage.stored("raw", made.partition.directory)}
    assert lies == {part.key for part in made.parts} | {made.object_key}
    assert Path(f"{tmp_path}/fault.part").read_text() not in lies
