"""What runs on EMR Serverless, as the entry point of a job: the load of one table, by the same code as everywhere."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from dagster_pipes import open_dagster_pipes

from lab_insights.config import Config
from lab_insights.extract.land import Request
from lab_insights.extract.sources import Sources
from lab_insights.lab.contracts import use
from lab_insights.lab.declared import declared
from lab_insights.lake.manifest import Manifest
from lab_insights.resources.lake import open_aws, open_lake
from lab_insights.tenants.registry import Registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def main() -> None:
    """Load the table that the order names, and log what was committed."""
    import boto3
    from dagster_pipes import PipesS3ContextLoader, PipesS3MessageWriter

    s3 = boto3.client("s3")
    with open_dagster_pipes(context_loader=PipesS3ContextLoader(s3), message_writer=PipesS3MessageWriter(s3)) as pipes:
        for manifest in load(pipes.extras):
            pipes.log.info(f"{manifest.partition}: {manifest.rows:,} rows, {manifest.kind}, batch {manifest.batch_id}")


def load(order: Mapping[str, Any]) -> list[Manifest]:
    """Carry an order out and return the manifests of the day."""
    config = Config.model_validate(order["config"])
    use(config.models)
    aws = open_aws(config)
    tenant = Registry(aws, config.lake.prefix).get(order["tenant"])
    sources = Sources(config, aws, open_lake(config), declared(), _session)
    request = Request(**{**order["request"], "day": date.fromisoformat(order["request"]["day"])})
    return sources.load(sources.table(tenant, order["table"]), request)


def _session() -> "SparkSession":
    """The session of the job, which the service configured and ends."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


if __name__ == "__main__":
    main()
