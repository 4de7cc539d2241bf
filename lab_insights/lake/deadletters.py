"""Dead letters: what was given up and why, and how to try it again or throw it away. No Dagster here.

Redriving is receive, send, delete: it works on every SQS, keeps the order of loss and doubling right, and can choose single messages.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from lab_insights.aws import Aws
from lab_insights.lake import queue
from lab_insights.lake.events import FED_BY, ManifestRef, PoisonousMessage, QueueName, decode

# Long enough to walk a thousand dead letters, short enough that a killed walk hides them only for a moment.
_HIDDEN_SECONDS = 120
_UNEXPLAINED = "Received too often without an answer: its sensor stopped each time while it had this message."


@dataclass(frozen=True)
class DeadLetter:
    """One message of a dead-letter queue; `manifest` is None where the message does not name one."""

    queue: QueueName
    id: str
    manifest: ManifestRef | None
    reason: str
    sent_at: datetime
    body: str


def dead_letters(aws: Aws, prefix: str, name: QueueName, limit: int = 1000) -> list[DeadLetter]:
    """Return up to `limit` dead letters of a queue, oldest first, and leave all of them there."""
    found: list[DeadLetter] = []
    with _walk(aws, prefix, name) as messages:
        for message in messages:
            found.append(_letter(message, prefix, name))
            if len(found) >= limit:
                break
    return sorted(found, key=lambda letter: letter.sent_at)


def redrive(aws: Aws, prefix: str, name: QueueName, ids: frozenset[str] | None = None) -> int:
    """Send dead letters (those of `ids`, else all) to their queue again, as if nothing had been tried; return how many."""
    source = queue.manifest_queue(aws, prefix, name)
    # A run key is good for one run: without a name of its own, the second life of a message would ask for runs that failed in its first.
    redriven = uuid.uuid4().hex[:12]
    return _remove(aws, prefix, name, ids, lambda message: source.send([message.body], redriven=redriven))


def purge(aws: Aws, prefix: str, name: QueueName, ids: frozenset[str]) -> int:
    """Delete the dead letters of `ids` for good; return how many were there."""
    return _remove(aws, prefix, name, ids, lambda _: None)


def _remove(aws: Aws, prefix: str, name: QueueName, ids: frozenset[str] | None, before: Callable[[queue.Message], None]) -> int:
    dead = queue.manifest_queue(aws, prefix, name).dead_letters
    removed = 0
    with _walk(aws, prefix, name) as messages:
        for message in messages:
            if ids is None or message.id in ids:
                before(message)
                dead.delete([message])
                removed += 1
            if ids is not None and removed == len(ids):
                break
    return removed


@contextmanager
def _walk(aws: Aws, prefix: str, name: QueueName) -> Iterator[Iterator[queue.Message]]:
    """Give each dead letter once, and show all of them to others again at the end."""
    dead = queue.manifest_queue(aws, prefix, name).dead_letters
    taken: list[queue.Message] = []

    def each() -> Iterator[queue.Message]:
        while batch := dead.receive(_HIDDEN_SECONDS):
            taken.extend(batch)
            yield from batch

    try:
        yield each()
    finally:
        # Showing a message that was deleted meanwhile is refused for that one alone.
        dead.show(taken)


def _letter(message: queue.Message, prefix: str, name: QueueName) -> DeadLetter:
    try:
        event = decode(message.body, f"{prefix}-{FED_BY[name]}")
    except PoisonousMessage:
        event = None
    return DeadLetter(
        name,
        message.id,
        event.manifest if event else None,
        message.reason or _UNEXPLAINED,
        message.sent_at,
        message.body,
    )
