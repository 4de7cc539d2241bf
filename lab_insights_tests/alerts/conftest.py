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
    sqs = lake.aws().client("sqs")
    url = sqs.create_queue(QueueName=f"inbox-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    its = Inbox(lake, url)
    lake.aws().client("sns").subscribe(TopicArn=its.alerts.topic, Protocol="sqs", Endpoint=arn)
    yield its
    sqs.delete_queue(QueueUrl=url)
