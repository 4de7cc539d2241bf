"""Everything where a patient's value must not be, as text: what systems keep beside the data, and the data of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from dagster._serdes import serialize_value

from lab_insights.lake import deadletters
from lab_insights.local.deployer import ACCOUNT
from lab_insights.names import TenantId
from lab_insights_tests.assets.world import World, told
from lab_insights_tests.listed import every

Place = tuple[str, str]
_QUEUES = ("curation", "transformation", "curation-dlq", "transformation-dlq")


def buckets(world: World) -> Iterator[Place]:
    """Keys, tags and metadata of all objects, and what is in those that are no data: manifests, journals, lists, audit records, shared pages."""
    s3 = world.resource.aws().client("s3")
    for bucket in [each["Name"] for each in every(s3, "list_buckets", "Buckets")]:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", ()):
                key, where = version["Key"], f"s3://{bucket}/{version['Key']}"
                yield f"key {where}", unquote_plus(key)
                its = {"Bucket": bucket, "Key": key, "VersionId": version["VersionId"]}
                yield f"metadata {where}", json.dumps(s3.head_object(**its), default=str)
                yield f"tags {where}", json.dumps(s3.get_object_tagging(**its)["TagSet"])
                if not key.endswith(".parquet") and (not key.endswith(".html") or "deidentified" in key):
                    yield f"object {where}", s3.get_object(**its)["Body"].read().decode(errors="replace")


def tables(world: World) -> Iterator[Place]:
    """Every item of the deployment's tables; the sources' own table is not among them."""
    db = world.resource.aws().client("dynamodb")
    for name in ("tenants", "bookmarks", "status"):
        for page in db.get_paginator("scan").paginate(TableName=f"{world.resource.prefix}-{name}"):
            for item in page["Items"]:
                yield (
                    f"dynamodb {name} {json.dumps({key: item[key] for key in ('pk', 'sk', 'tenant') if key in item})}",
                    json.dumps(item, default=str),
                )


def catalog(world: World) -> Iterator[Place]:
    """Glue databases, tables with their columns, and partitions."""
    glue = world.resource.aws().client("glue")
    for database in every(glue, "get_databases", "DatabaseList"):
        yield f"glue {database['Name']}", json.dumps(database, default=str)
        for page in glue.get_paginator("get_tables").paginate(DatabaseName=database["Name"]):
            for table in page["TableList"]:
                yield f"glue {database['Name']}.{table['Name']}", json.dumps(table, default=str)
                its = {"DatabaseName": database["Name"], "TableName": table["Name"]}
                yield f"glue {table['Name']} partitions", json.dumps(every(glue, "get_partitions", "Partitions", **its), default=str)


def messages(world: World) -> Iterator[Place]:
    """What waits in the queues, their attributes, and dead letters."""
    sqs = world.resource.aws().client("sqs")
    for name in _QUEUES:
        url = sqs.get_queue_url(QueueName=f"{world.resource.prefix}-{name}")["QueueUrl"]
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600, "MessageAttributeNames": ["All"]}
        held: list[Any] = []
        while found := sqs.receive_message(**asked).get("Messages"):
            held += found
        for each in held:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=0)
        yield f"queue {name}", json.dumps(held)
    for name in ("curation", "transformation"):
        yield f"dead letters {name}", str(deadletters.dead_letters(world.resource.aws(), world.resource.prefix, name))  # type: ignore[arg-type]


def subscribe(world: World) -> None:
    """Let a queue hear what is told to people from now on."""
    sns, sqs, name = world.resource.aws().client("sns"), world.resource.aws().client("sqs"), f"{world.resource.prefix}-heard"
    sqs.create_queue(QueueName=name)
    # what was told before is hidden; SQS empties a queue once a minute only
    for _ in alarms(world):
        pass
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{world.resource.prefix}-alarms"
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}")


def alarms(world: World) -> Iterator[Place]:
    """What people were told."""
    sqs = world.resource.aws().client("sqs")
    url = sqs.get_queue_url(QueueName=f"{world.resource.prefix}-heard")["QueueUrl"]
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
        yield "alarms", json.dumps(found)


def dagster(world: World) -> Iterator[Place]:
    """Every run with its tags and config, every event as it is stored, and the files of the instance."""
    for run in world.instance.get_runs():
        yield f"run {run.run_id}", serialize_value(run)
        for entry in world.instance.all_logs(run.run_id):
            kind = entry.dagster_event.event_type_value if entry.dagster_event else "log"
            yield f"event {kind} {entry.step_key}", serialize_value(entry)
        for each in world.materializations(run.run_id):
            yield (
                f"metadata {each.asset_key.to_user_string()}",
                json.dumps({name: str(value.value) for name, value in each.metadata.items()}),
            )
    for path in world.home.rglob("*"):
        if path.is_file():
            yield f"file {path.relative_to(world.home)}", path.read_bytes().decode("utf-8", errors="replace")


def another_tenant(world: World, tenant: TenantId) -> Iterator[Place]:
    """All that another tenant has in the lake and in its database."""
    s3, prefix = world.resource.aws().client("s3"), world.resource.prefix
    for layer in ("raw", "curated", "transformed"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=f"{prefix}-{layer}", Prefix=f"tenant={tenant}/"):
            for each in page.get("Contents", ()):
                if each["Key"].endswith(".parquet"):
                    body = s3.get_object(Bucket=f"{prefix}-{layer}", Key=each["Key"])["Body"].read()
                    yield f"{tenant} {layer} {each['Key']}", str(pq.read_table(pa.BufferReader(body)).to_pylist())
    yield from database(world, tenant, None)


def database(world: World, tenant: TenantId, schemas: tuple[str, ...] | None) -> Iterator[Place]:
    """The tables and views of schemas of a tenant's database, all schemas for None."""
    name = f"LAB_INSIGHTS_{tenant.upper()}"
    with world.warehouse.session("test") as session:
        listed = session.execute(f'SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM "{name}".INFORMATION_SCHEMA.COLUMNS')
        for schema, table in listed:
            if schema != "INFORMATION_SCHEMA" and (schemas is None or schema in schemas):
                yield f"snowflake {name}.{schema}.{table}", str(session.execute(f'SELECT * FROM "{name}"."{schema}"."{table}"'))


def statements(world: World) -> Iterator[Place]:
    """What the stand-in recorded of roles and grants."""
    with world.warehouse.session("test") as session:
        yield "recorded statements", str(session.execute("SELECT * FROM STAND_IN.RECORDED.STATEMENTS"))


def exceptions(results: list[dg.ExecuteInProcessResult]) -> Iterator[Place]:
    """What failed steps say, with reasons and the errors that caused them."""
    for result in results:
        for step, message in told(result).items():
            yield f"exception of {step} in {result.run_id}", message
        for event in result.all_events:
            yield f"event {event.event_type_value} {event.step_key}", str(event)


def insert(world: World, source: str, schema: str, table: str, **values: Any) -> None:
    """Write a row as a source's own users do."""
    url = world.laboratory.targets.url(source)  # type: ignore[arg-type]
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    target = sa.table(table, *(sa.column(name) for name in values), schema=schema)
    with engine.begin() as connection:
        connection.execute(sa.insert(target).values(**values))
