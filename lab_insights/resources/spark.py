"""Spark as a Dagster resource, and the session that the Spark engine reads with: started when a plan asks for it, one for a process."""

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from lab_insights import config as configuration
from lab_insights.config import SparkSection
from lab_insights.errors import ConfigError

_QUIET = Path(__file__).with_name("spark_log4j2.properties").resolve()

if TYPE_CHECKING:
    from dagster_pyspark import LazyPySparkResource
    from pyspark.sql import SparkSession


class SparkFactory(dg.ConfigurableResource[Any]):
    """Gives assets a `LazyPySparkResource` as `lab_insights.yaml` configures it; annotate it `dg.ResourceParam[LazyPySparkResource]`."""

    config_path: str = ""

    def create_resource(self, context: dg.InitResourceContext) -> "LazyPySparkResource":  # noqa: ARG002
        """Read the configuration; no session is started before its `spark_session` is used."""
        return lazy(configuration.load(Path(self.config_path) if self.config_path else None).spark)


def lazy(section: SparkSection) -> "LazyPySparkResource":
    """Return Dagster's PySpark resource with the settings of a configuration."""
    from dagster_pyspark import LazyPySparkResource

    # Workers must unpickle what this interpreter pickles.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return LazyPySparkResource(spark_config=settings(section))


def settings(section: SparkSection) -> dict[str, str]:
    """Return Spark's settings: nothing listens beyond this machine unless a cluster is configured, and what `conf` says wins; Java gets both's options."""
    ours = {
        "spark.app.name": "lab-insights",
        "spark.master": section.master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # From its first line on: what it warns of while it starts would be written into progress bars and run logs.
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_QUIET.as_uri()}",
    }
    if section.master.startswith("local"):
        ours |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    java = "spark.driver.extraJavaOptions"
    return ours | section.conf | {java: " ".join(filter(None, (ours[java], section.conf.get(java))))}


def session(section: SparkSection) -> "SparkSession":
    """Return this process's session, which is stopped when the process ends; raise `ConfigError` when Spark can not start."""
    if section.master.startswith("local"):
        # Before Java starts, or it binds to whatever address this machine's name resolves to.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    try:
        started: SparkSession = lazy(section).spark_session
    except Exception as error:  # noqa: BLE001 (PySpark's, Py4J's and Java's own)
        raise ConfigError(
            f"Spark can not start on {section.master} ({type(error).__name__}).",
            remedy="install Java 17 or 21 and put it on PATH or JAVA_HOME, check `spark:` in lab_insights.yaml, or plan the table with `engine: arrow`.",
        ) from None
    # Once, however often it is asked for.
    atexit.unregister(started.stop)
    atexit.register(started.stop)
    return started
