"""EMR Serverless as where Spark runs: Dagster Pipes starts a job there, which loads the table and commits it; the lake says here what it did.

Nothing but the order goes there, and nothing but log lines comes back. Another service is added the same way: a function that takes a table and a
request, returns when the table is loaded, and is named in `remote`. The other side is `lab_insights.resources.emr_job`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import dagster as dg

from lab_insights.aws import Aws
from lab_insights.config import Config, EmrSection
from lab_insights.errors import SourceError
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.land import Request

Remote = Callable[[SourceTable, Request], None]


def remote(config: Config, aws: Aws) -> Remote | None:
    """Return what loads tables that are planned with `engine: spark` elsewhere, or None where this process starts Spark itself."""
    emr = config.spark.emr
    if emr is None:
        return None

    def load(table: SourceTable, request: Request) -> None:
        context = dg.AssetExecutionContext.get()
        try:
            client(emr, aws).run(context=context, start_job_run_params=job(emr, table), extras=order(config, table, request))
        except RuntimeError:
            raise SourceError(
                "The job on EMR Serverless failed.",
                remedy="open its dashboard, whose address is in this run's log; then materialize again.",
                tenant=table.tenant,
                table=table.table_id,
                partition=str(request.day),
            ) from None

    return load


def client(section: EmrSection, aws: Aws) -> Any:
    """Return Dagster's client, which hands order and messages over in the section's bucket."""
    from dagster_aws.pipes import PipesEMRServerlessClient, PipesS3ContextInjector, PipesS3MessageReader

    s3 = aws.client("s3")
    return PipesEMRServerlessClient(
        client=aws.client("emr-serverless"),
        context_injector=PipesS3ContextInjector(bucket=section.bucket, client=s3),
        message_reader=PipesS3MessageReader(bucket=section.bucket, client=s3),
    )


def job(section: EmrSection, table: SourceTable) -> dict[str, Any]:
    """Return what EMR Serverless is asked to start; sizes and the image are those of the application, or of `parameters`."""
    return {
        "applicationId": section.application_id,
        "executionRoleArn": section.execution_role,
        "name": f"{table.tenant}/{table.table_id}"[:256],
        "jobDriver": {"sparkSubmit": {"entryPoint": section.entry_point, "sparkSubmitParameters": section.parameters}},
    }


def order(config: Config, table: SourceTable, request: Request) -> dict[str, Any]:
    """Return what the other side needs: the configuration, whose secrets are names alone, the table, and what is asked of it."""
    asked = dataclasses.asdict(request) | {"day": str(request.day)}
    return {"config": config.model_dump(mode="json", by_alias=True), "tenant": table.tenant, "table": table.table_id, "request": asked}
