"""What an audit record may hold: names of ours, days and counts. There is no field that a value of a row fits into."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Action = Literal[
    "audit.chain",
    "tenant.register",
    "tenant.suspend",
    "tenant.resume",
    "tenant.offboard",
    "materialize",
    "crawl",
    "schema.change",
    "schema.sync",
    "lake.compact",
    "lake.sweep",
    "runs.prune",
    "deadletters.redrive",
    "report.read",
    "dataset.read",
    "catalog.scan",
]
Outcome = Literal["begun", "done", "failed"]
GENESIS = "0" * 64
_DIGEST = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_OTHER = re.compile(r"[^\w@.:/+=,-]+", re.ASCII)


def _name(text: str) -> str:
    """A name of ours: no blanks, no quotes, not long. What else comes is made so, since a record must not fail for its label."""
    return _OTHER.sub("_", text)[:200]


Name = Annotated[str, AfterValidator(_name)]


class Event(BaseModel):
    """What happened: `subject` is a step, table or queue; `days` one day or `first..last`; `actor` who asked, as far as that process knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    outcome: Outcome = "done"
    actor: Name = ""
    identity: Name = ""
    """Who the object store says that the writer is: an ARN."""
    subject: Name = ""
    days: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d(\.\.\d{4}-\d\d-\d\d)?)?$")] = ""
    run_id: Name = ""
    counts: dict[Name, int] = {}


class Record(Event):
    """An event in its chain. `hash` is of everything else in the record, `previous` is the hash of the record before it."""

    chain: str
    sequence: int = Field(ge=1)
    previous: _DIGEST
    at: datetime
    hash: _DIGEST

    def body(self) -> bytes:
        """Return the bytes that lie in the bucket; the same record has one spelling."""
        return self.model_dump_json().encode()

    def whole(self) -> bool:
        """Return whether the hash is that of the record."""
        return self.hash == _hash(self)


def chained(event: Event, chain: str, sequence: int, previous: str, at: datetime) -> Record:
    """Return an event as record `sequence` of a chain."""
    bare = Record(**event.model_dump(), chain=chain, sequence=sequence, previous=previous, at=at, hash=GENESIS)
    return bare.model_copy(update={"hash": _hash(bare)})


def _hash(record: Record) -> str:
    return hashlib.sha256(record.model_dump_json(exclude={"hash"}).encode()).hexdigest()
