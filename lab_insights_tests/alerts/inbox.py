"""A deployment whose alarm topic has a reader: an SQS queue subscribes to the topic of a deployed stack, and receives what was published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import dagster as dg

from lab_insights.alerts import Alerts, Fact
from lab_insights.config import AlertsSection
from lab_insights.names import TenantId
from lab_insights.resources.lake import LakeResource
from lab_insights.sensors.alerts import alert_sensors

AURORA, GHOST = TenantId("aurora_clinic"), TenantId("ghost_lab")
FACTS = [Fact(AURORA, "raw 2026-03-02: the source does not answer", "one"), Fact(GHOST, "raw 2026-03-02: no schema", "two")]


@dataclass
class Inbox:
    """A deployment whose alarm topic has a reader."""

    lake: LakeResource
    url: str

    @property
    def alerts(self) -> Alerts:
        return Alerts(
            self.lake.aws(),
            self.lake.prefix,
            AlertsSection(ui_url="https://dagster.example/", runbooks_url="https://docs.example/runbooks/"),
        )

    def read(self) -> list[dict[str, Any]]:
        """Return what has come, each once: SNS' own envelope with Subject and Message."""
        sqs, found = self.lake.aws().client("sqs"), []
        while got := sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", ()):
            for each in got:
                found.append(json.loads(each["Body"]))
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return found

    def tick(self, name: str = "alert_conditions") -> str:
        """Evaluate the sensor of conditions, and return why it skipped."""
        [sensor] = [each for each in alert_sensors() if each.name == name]
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(instance=instance, resources={"lake": self.lake}) as context,
        ):
            return str(sensor.evaluate_tick(context).skip_message)
