"""Each way in which a value of the patient could get out, planted: so that the search is seen to find it."""

from __future__ import annotations

import json
from collections.abc import Callable

import dagster as dg

from lab_insights.local.deployer import ACCOUNT
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD
from lab_insights_tests.governance.patient import ADDRESS, EMAIL, FAMILY, GIVEN, MRN, NOTE, PHONE
from lab_insights_tests.governance.scene import Scene


def _log(scene: Scene) -> None:
    scene.said.append(("captured logs", f"lab_insights read {NOTE}"))


def _key(scene: Scene) -> None:
    scene.world.lake.storage.put("reports", f"tenant={AURORA}/{FAMILY}.html", b"")


def _body(scene: Scene) -> None:
    scene.world.lake.storage.put("raw", "tenant=x/y.manifest.json", json.dumps({"reason": MRN}).encode())


def _item(scene: Scene) -> None:
    name = f"{scene.world.resource.prefix}-status"
    scene.world.resource.aws().client("dynamodb").put_item(TableName=name, Item={"pk": {"S": "x"}, "sk": {"S": EMAIL}})


def _column(scene: Scene) -> None:
    glue = scene.world.resource.aws().client("glue")
    name = glue.get_databases()["DatabaseList"][0]["Name"]
    glue.create_table(
        DatabaseName=name, TableInput={"Name": "leak", "StorageDescriptor": {"Columns": [{"Name": GIVEN.lower(), "Type": "int"}]}}
    )


def _event(scene: Scene) -> None:
    @dg.op
    def leak() -> None:
        dg.OpExecutionContext.get().log_event(dg.AssetMaterialization("leak", metadata={"reason": PHONE}))

    @dg.job
    def leaking() -> None:
        leak()

    leaking.execute_in_process(instance=scene.world.instance, tags={"note": ADDRESS})


def _neighbour(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        session.execute(f'CREATE TABLE "LAB_INSIGHTS_{BIRCHWOOD.upper()}"."OPS"."LEAK" AS SELECT \'{MRN}\' AS "X"')


def _deidentified(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        place = f'"LAB_INSIGHTS_{AURORA.upper()}"."DEIDENTIFIED"."LEAK"'
        session.execute(f"CREATE VIEW {place} AS SELECT '{FAMILY}' AS \"X\", '{scene.pseudonym_key}' AS \"Y\"")


def _message(scene: Scene) -> None:
    sqs = scene.world.resource.aws().client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{scene.world.resource.prefix}-curation-dlq")["QueueUrl"], MessageBody=NOTE)


def _alarm(scene: Scene) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:{scene.world.resource.prefix}-alarms"
    scene.world.resource.aws().client("sns").publish(TopicArn=arn, Message=GIVEN)


_OWN = f"snowflake LAB_INSIGHTS_{AURORA.upper()}.DEIDENTIFIED.LEAK"
_NEIGHBOUR = f"snowflake LAB_INSIGHTS_{BIRCHWOOD.upper()}.OPS.LEAK"
# What plants a value, where it is found then, and which.
PLANTED: tuple[tuple[Callable[[Scene], None], str, str], ...] = (
    (_log, "captured logs", NOTE),
    (_key, "key s3://", FAMILY),
    (_body, "object s3://", MRN),
    (_item, "dynamodb status", EMAIL),
    (_column, "glue ", GIVEN),
    (_event, "metadata leak", PHONE),
    (_event, "run ", ADDRESS),
    (_event, "file storage", ADDRESS),
    (_neighbour, _NEIGHBOUR, MRN),
    (_deidentified, _OWN, FAMILY),
    (_deidentified, _OWN, "the key of pseudonyms"),
    (_message, "dead letters curation", NOTE),
    (_alarm, "alarms", GIVEN),
)
