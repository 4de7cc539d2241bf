"""Each way in which a value of the patient could get out, planted: so that the search is seen to find it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from lab_insights.local.deployer import ACCOUNT
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD
from lab_insights_tests.governance.patient import ADDRESS, EMAIL, FAMILY, GIVEN, MRN, NOTE, PHONE
from lab_insights_tests.governance.scene import SHARED, Heard, Scene


def _client(scene: Scene, service: str) -> Any:
    return scene.world.resource.aws().client(service)


def _log(scene: Scene) -> None:
    handler, logger = Heard(), logging.getLogger("lab_insights")
    logger.addHandler(handler)
    logger.error("read %s", NOTE)
    logger.removeHandler(handler)
    scene.said += handler.said


def _key(scene: Scene) -> None:
    scene.world.lake.storage.put("reports", f"tenant={AURORA}/{FAMILY}.html", b"")


def _body(scene: Scene) -> None:
    scene.world.lake.storage.put("raw", "tenant=x/y.manifest.json", json.dumps({"reason": MRN}).encode())


def _labels(scene: Scene) -> None:
    bucket = scene.world.lake.storage.bucket("reports")
    _client(scene, "s3").put_object(Bucket=bucket, Key="leak.html", Metadata={"reason": ADDRESS}, Tagging=f"note={MRN}")


def _parquet(scene: Scene) -> None:
    written = io.BytesIO()
    pq.write_table(pa.table({"note": [NOTE]}), written)
    scene.world.lake.storage.put("curated", f"tenant={BIRCHWOOD}/leak.parquet", written.getvalue())


def _item(scene: Scene) -> None:
    name = f"{scene.world.resource.prefix}-status"
    _client(scene, "dynamodb").put_item(TableName=name, Item={"pk": {"S": "x"}, "sk": {"S": EMAIL}})


def _catalog(scene: Scene) -> None:
    glue = _client(scene, "glue")
    its = {"DatabaseName": glue.get_databases()["DatabaseList"][0]["Name"]}
    described = {"Columns": [{"Name": GIVEN.lower(), "Type": "int"}]}
    glue.create_table(
        **its, TableInput={"Name": "leak", "StorageDescriptor": described, "PartitionKeys": [{"Name": "x", "Type": "string"}]}
    )
    glue.create_partition(**its, TableName="leak", PartitionInput={"Values": [PHONE], "StorageDescriptor": described})


def _event(scene: Scene) -> None:
    @dg.op
    def leak() -> None:
        dg.OpExecutionContext.get().log_event(dg.AssetMaterialization("leak", metadata={"reason": PHONE}))

    @dg.job
    def leaking() -> None:
        leak()

    leaking.execute_in_process(instance=scene.world.instance, tags={"note": ADDRESS})


def _exception(scene: Scene) -> None:
    @dg.op
    def failing() -> None:
        raise ValueError(EMAIL)

    @dg.job
    def failed() -> None:
        failing()

    scene.results.append(failed.execute_in_process(instance=scene.world.instance, raise_on_error=False))


def _neighbour(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        session.execute(f'CREATE TABLE "LAB_INSIGHTS_{BIRCHWOOD.upper()}"."OPS"."LEAK" AS SELECT \'{MRN}\' AS "X"')


def _shared(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        for schema in SHARED:
            place = f'"LAB_INSIGHTS_{AURORA.upper()}"."{schema}"."LEAK"'
            session.execute(f"CREATE VIEW {place} AS SELECT '{FAMILY}' AS \"X\", '{scene.pseudonym_key}' AS \"Y\"")


def _statement(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        session.execute(f'CREATE ROLE "{FAMILY}"')


def _send(scene: Scene, queue: str, *bodies: str) -> None:
    sqs = _client(scene, "sqs")
    url = sqs.get_queue_url(QueueName=f"{scene.world.resource.prefix}-{queue}")["QueueUrl"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)


def _waiting(scene: Scene) -> None:
    # behind more than SQS gives at once
    _send(scene, "transformation", *["{}"] * 10, PHONE)


def _dead(scene: Scene) -> None:
    _send(scene, "curation-dlq", NOTE)


def _alarm(scene: Scene) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:{scene.world.resource.prefix}-alarms"
    _client(scene, "sns").publish(TopicArn=arn, Message=GIVEN)


_OWN = f"snowflake LAB_INSIGHTS_{AURORA.upper()}"
_NEIGHBOUR = f"snowflake LAB_INSIGHTS_{BIRCHWOOD.upper()}.OPS.LEAK"
# What plants a value, where it is found then, and which.
PLANTED: tuple[tuple[Callable[[Scene], None], str, str], ...] = (
    (_log, "captured logs", NOTE),
    (_key, "key s3://", FAMILY),
    (_body, "object s3://", MRN),
    (_labels, "metadata s3://", ADDRESS),
    (_labels, "tags s3://", MRN),
    (_parquet, f"{BIRCHWOOD} curated", NOTE),
    (_item, "dynamodb status", EMAIL),
    (_catalog, "glue ", GIVEN),
    (_catalog, "glue leak partitions", PHONE),
    (_event, "metadata leak", PHONE),
    (_event, "event ASSET_MATERIALIZATION", PHONE),
    (_event, "run ", ADDRESS),
    (_event, "file storage", ADDRESS),
    (_exception, "exception of failing", EMAIL),
    (_neighbour, _NEIGHBOUR, MRN),
    *((_shared, f"{_OWN}.{schema}.LEAK", leaked) for schema in SHARED for leaked in (FAMILY, "the key of pseudonyms")),
    (_statement, "recorded statements", FAMILY),
    (_waiting, "queue transformation", PHONE),
    (_dead, "queue curation-dlq", NOTE),
    (_dead, "dead letters curation", NOTE),
    (_alarm, "alarms", GIVEN),
)
