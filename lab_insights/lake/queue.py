"""A manifest queue and its dead-letter queue in SQS.

SQS counts every receive, also one that only found a run still at work, so a message that has to wait is put back as a copy: sent first,
then the original is deleted, so that a death between the two doubles a message and never loses one. The copy carries what was tried for
it. SQS's own count then means what it is good for: a message that kills its consumer reaches the dead-letter queue by itself.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lab_insights.aws import Aws
from lab_insights.lake.events import QueueName

_BATCH = 10
# Long polling asks all of SQS's hosts; a short poll often says that a small queue is empty when it is not.
WAIT_SECONDS = 1


@dataclass(frozen=True)
class Message:
    """A received message. `requested` is the run key of attempt number `attempt`; 0 and empty before the first one.

    `redriven` tells the attempts after a redrive from those before it.
    """

    id: str
    receipt: str
    body: str
    attempt: int = 0
    requested: str = ""
    redriven: str = ""
    reason: str = ""
    sent_at: datetime = field(default=datetime.min.replace(tzinfo=UTC), compare=False)


@dataclass(frozen=True)
class Queue:
    """One queue by its name."""

    aws: Aws
    name: str

    @functools.cached_property
    def url(self) -> str:
        """The queue's URL."""
        return str(self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"])

    @functools.cached_property
    def _redrive(self) -> dict[str, Any]:
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
        policy: dict[str, Any] = json.loads(found["Attributes"]["RedrivePolicy"])
        return policy

    @property
    def limit(self) -> int:
        """The number of attempts after which a message is given up: the queue's `maxReceiveCount`."""
        return int(self._redrive["maxReceiveCount"])

    @property
    def dead_letters(self) -> Queue:
        """The queue for messages that were given up."""
        return Queue(self.aws, self._redrive["deadLetterTargetArn"].rsplit(":", 1)[-1])

    @property
    def _sqs(self) -> Any:
        return self.aws.client("sqs")

    def receive(self, hidden_seconds: int | None = None) -> list[Message]:
        """Return up to ten messages and hide them from others, for the queue's visibility timeout unless told."""
        hidden = {} if hidden_seconds is None else {"VisibilityTimeout": hidden_seconds}
        found = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=WAIT_SECONDS,
            AttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
            **hidden,
        )
        return [_message(item) for item in found.get("Messages", ())]

    def send(self, bodies: Iterable[str], **attributes: str) -> None:
        """Send new messages."""
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=_texts(attributes))

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete received messages."""
        for chunk in _chunks(messages):
            entries = [{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(chunk)]
            # One that could not be deleted comes again, and is found consumed or put back then.
            self._sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)

    def put_back(self, messages: Sequence[Message], seconds: int) -> None:
        """Put messages back with the attempts that they carry, to be received again in `seconds` at the earliest."""
        for chunk in _chunks(messages):
            entries = [
                {
                    "Id": str(index),
                    "MessageBody": message.body,
                    "DelaySeconds": seconds,
                    "MessageAttributes": _attributes(message),
                }
                for index, message in enumerate(chunk)
            ]
            sent = self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
            self.delete([chunk[int(entry["Id"])] for entry in sent.get("Successful", ())])

    def bury(self, message: Message, reason: str) -> None:
        """Move a message to the dead-letter queue, with the reason as an attribute."""
        self.dead_letters.send([message.body], reason=reason)
        self.delete([message])

    def show(self, messages: Sequence[Message]) -> None:
        """Make received messages visible to everybody again, at once."""
        for chunk in _chunks(messages):
            entries = [{"Id": str(index), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0} for index, message in enumerate(chunk)]
            self._sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


def manifest_queue(aws: Aws, prefix: str, name: QueueName) -> Queue:
    """Return the queue of a deployment that feeds curation or transformation."""
    return Queue(aws, f"{prefix}-{name}")


def _chunks(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (messages[start : start + _BATCH] for start in range(0, len(messages), _BATCH))


def _attributes(message: Message) -> dict[str, Any]:
    attempt = str(message.attempt) if message.attempt else ""
    return _texts({"attempt": attempt, "requested": message.requested, "redriven": message.redriven})


def _texts(attributes: Mapping[str, str]) -> dict[str, Any]:
    # SQS refuses empty attributes.
    return {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items() if text}


def _message(item: dict[str, Any]) -> Message:
    said = {name: value.get("StringValue", "") for name, value in item.get("MessageAttributes", {}).items()}
    attempt = said.get("attempt", "")
    return Message(
        item["MessageId"],
        item["ReceiptHandle"],
        item["Body"],
        int(attempt) if attempt.isdecimal() else 0,
        said.get("requested", ""),
        said.get("redriven", ""),
        said.get("reason", ""),
        datetime.fromtimestamp(int(item["Attributes"]["SentTimestamp"]) / 1000, UTC),
    )
