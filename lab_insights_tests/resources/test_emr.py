"""EMR Serverless as where Spark runs: what the service is asked, and what the job there does, with a service that runs the job here."""

import shlex
import uuid
from collections.abc import Iterator, Mapping
from datetime import date
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from lab_insights.aws import LOCAL_KEY, Aws
from lab_insights.config import Config
from lab_insights.errors import SourceError
from lab_insights.extract.land import Request
from lab_insights.extract.sources import Sources
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.resources import emr, emr_job
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights_tests.lake.world import day, fresh_tenant, instant, make_lake


class Service:
    """Starts a job by running its entry point in this process, with the environment that its driver would have."""

    def __init__(self, patch: pytest.MonkeyPatch, state: str = "SUCCESS") -> None:
        self.patch, self.state = patch, state
        self.asked: dict[str, Any] = {}

    def start_job_run(self, **asked: Any) -> dict[str, str]:
        self.asked = asked
        words = shlex.split(asked["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
        for word in words:
            if word.startswith("spark.emr-serverless.driverEnv."):
                self.patch.setenv(*word.removeprefix("spark.emr-serverless.driverEnv.").split("=", 1))
        if self.state == "SUCCESS":
            emr_job.main()
        return {"jobRunId": "1", "applicationId": asked["applicationId"]}

    def get_job_run(self, **_: Any) -> dict[str, Any]:
        return {"jobRun": {"state": self.state, "applicationId": "app", "jobRunId": "1", "stateDetails": "said by Spark"}}

    def get_dashboard_for_job_run(self, **_: Any) -> dict[str, str]:
        return {"url": "https://dashboard"}

    def get_application(self, **_: Any) -> dict[str, Any]:
        return {"application": {"type": "Spark"}}


@pytest.fixture
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("emr") / "clock", instant(1, 12))


@pytest.fixture
def config(lake: Lake, aws_endpoint: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A source with one table that is declared for Spark, and an application of EMR Serverless."""
    schema, engine = f"lab_insights_test_{uuid.uuid4().hex[:10]}", sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    for name, value in {"URL": aws_endpoint, "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{'ENDPOINT_URL' if name == 'URL' else 'DEFAULT_REGION'}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, LOCAL_KEY)
    monkeypatch.setenv("EMR_TEST", postgres_url)
    bucket = f"orders-{uuid.uuid4().hex[:10]}"
    lake.storage.aws.client("s3").create_bucket(Bucket=bucket)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        connection.exec_driver_sql(f"CREATE TABLE {schema}.big (id INT PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO {schema}.big VALUES (1), (2), (3)")
        yield Config.model_validate(
            {
                "aws": {"endpoint_url": aws_endpoint},
                "lake": {"prefix": lake.storage.prefix},
                "snowflake": {"account": "none", "credentials": "env:NONE"},
                "sources": {
                    "lis": {
                        "engine": "postgresql",
                        "url": "env:EMR_TEST",
                        "tenancy": {"schema": {"schema": schema}},
                        "overrides": {"big": {"engine": "spark"}},
                    }
                },
                "partitions": {"start": date(2026, 1, 1)},
                "clock": {"file": str(lake.clock.file)},
                "spark": {
                    "emr": {
                        "application_id": "app",
                        "execution_role": "arn:aws:iam::1:role/emr",
                        "bucket": bucket,
                        "entry_point": "local:///usr/lib/emr_job.py",
                        "parameters": "--conf spark.executor.memory=8g",
                    }
                },
            }
        )
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def tenant(lake: Lake) -> Tenant:
    made = Tenant(id=fresh_tenant(), key="1", layouts={})
    Registry(lake.storage.aws, lake.storage.prefix).put(made)
    return made


def materialize(config: Config, lake: Lake, tenant: Tenant) -> list[Manifest]:
    """Load the table in an asset, as the raw assets do."""
    found: list[Manifest] = []

    @dg.asset
    def big(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        remote = emr.remote(config, lake.storage.aws)
        sources = Sources(config, lake.storage.aws, lake, {}, remote=remote)
        found.extend(sources.load(sources.table(tenant, "lis.big"), Request(day(1), run_id=context.run.run_id)))
        return dg.MaterializeResult()

    dg.materialize([big])
    return found


def test_the_job_loads_the_table_and_the_lake_says_what_it_did(
    config: Config, lake: Lake, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, honest = Service(monkeypatch), emr_job.load

    def carried_out(order: Mapping[str, Any]) -> list[Manifest]:
        # Everything but Spark itself, which test_spark has.
        order["config"]["sources"]["lis"]["overrides"]["big"]["engine"] = "arrow"
        return honest(order)

    monkeypatch.setattr(emr_job, "load", carried_out)
    aws = SimpleNamespace(client=lambda name: service if name == "emr-serverless" else lake.storage.aws.client(name))
    monkeypatch.setattr(emr, "client", lambda section, _, made=emr.client: made(section, aws))
    [made] = materialize(config, lake, tenant)
    assert (made.rows, made.kind, made.run_id != "") == (3, "snapshot", True)
    assert [made] == partition_manifests(lake, Partition("raw", tenant.id, "lis.big", day(1)))
    asked = service.asked
    assert (asked["applicationId"], asked["executionRoleArn"]) == ("app", "arn:aws:iam::1:role/emr")
    assert asked["name"] == f"{tenant.id}/lis.big"
    assert asked["jobDriver"]["sparkSubmit"]["entryPoint"] == "local:///usr/lib/emr_job.py"
    assert asked["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"].startswith("--conf spark.executor.memory=8g --conf ")
    assert asked["tags"]["dagster/run-id"] == made.run_id


def test_a_job_that_fails_is_an_error_of_the_table(config: Config, lake: Lake, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, "FAILED")
    aws = SimpleNamespace(client=lambda name: service if name == "emr-serverless" else lake.storage.aws.client(name))
    monkeypatch.setattr(emr, "client", lambda section, _, made=emr.client: made(section, aws))
    with pytest.raises(SourceError, match="job on EMR Serverless failed") as caught:
        materialize(config, lake, tenant)
    assert (caught.value.tenant, caught.value.table, caught.value.partition) == (tenant.id, "lis.big", str(day(1)))


def test_the_order_holds_names_of_secrets_and_no_secret(config: Config, lake: Lake, tenant: Tenant, postgres_url: str) -> None:
    sources = Sources(config, lake.storage.aws, lake, {})
    told = str(emr.order(config, sources.table(tenant, "lis.big"), Request(day(1))))
    assert "env:EMR_TEST" in told
    assert postgres_url not in told


def test_without_an_application_this_process_starts_spark_itself(config: Config) -> None:
    local = config.model_copy(update={"spark": config.spark.model_copy(update={"emr": None})})
    assert emr.remote(local, Aws()) is None
