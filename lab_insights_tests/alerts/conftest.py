"""The inbox of a fresh deployment."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_insights.lake import queue
from lab_insights.resources.lake import LakeResource
from lab_insights_tests.alerts.inbox import Inbox
from lab_insights_tests.sensors.world import write_config


@pytest.fixture
def inbox(aws_endpoint: str, deployed_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)
    write_config(tmp_path / "lab_insights.yaml", aws_endpoint, deployed_prefix)
    lake = LakeResource(config_path=str(tmp_path / "lab_insights.yaml"))
    sqs, sns = lake.aws().client("sqs"), lake.aws().client("sns")
    url = sqs.create_queue(QueueName=f"inbox-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    [topic] = [each["TopicArn"] for each in sns.list_topics()["Topics"] if each["TopicArn"].endswith(f":{deployed_prefix}-alarms")]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    yield Inbox(lake, url)
    sqs.delete_queue(QueueUrl=url)
