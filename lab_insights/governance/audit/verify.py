"""Verifying the audit log: every record that was changed, removed or inserted is named.

A chain is read from its first record to its anchor. Where the bucket keeps versions, a record that was overwritten or deleted and put back is found by
them too, whatever the new one says. What can not be found: records that somebody appended who may write both the bucket and the table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lab_insights.governance.audit.log import BUCKET, DEPLOYMENT, READERS, Anchor, Log, chain_of, directory, record_key
from lab_insights.governance.audit.record import GENESIS, Record
from lab_insights.names import tenant_id

_NAME = re.compile(r"(\d{10})\.json")


@dataclass(frozen=True)
class Finding:
    """What is wrong with one record; `sequence` is None for what is no record, or a whole chain."""

    chain: str
    sequence: int | None
    what: Literal["changed", "removed", "inserted"]
    message: str

    def __str__(self) -> str:
        return f"{self.chain}{f' record {self.sequence}' if self.sequence else ''} was {self.what}: {self.message}"


@dataclass(frozen=True)
class Verified:
    """One chain: how many records it should have, the hash of the newest one, and what is wrong with it."""

    chain: str
    records: int
    head: str
    findings: tuple[Finding, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"ok": not self.findings}


def verify(log: Log, chains: Sequence[str] | None = None, each: Callable[[Sequence[str]], Iterable[str]] = iter) -> list[Verified]:
    """Return the state of every chain (or of those given, the deployment's included), in order; `each` goes through their names."""
    announced = _announced(log)
    names = list(dict.fromkeys([DEPLOYMENT, *(chains if chains is not None else [*log.chains(), *sorted(announced)])]))
    return [_chain(log, name, announced=name in announced) for name in each(names)]


def _chain(log: Log, chain: str, *, announced: bool) -> Verified:
    # The anchor before the listing says what must be there, the one after it what may be.
    before, stored = log.anchor(chain), _stored(log, chain)
    after = log.anchor(chain)
    if announced and not after.sequence and not stored:
        gone = Finding(chain, None, "removed", "the deployment's chain says that it began, and there is no record of it.")
        return Verified(chain, 0, GENESIS, (gone,))
    numbers = sorted(number for name in stored if (number := _number(name)) is not None)
    with ThreadPoolExecutor(READERS) as pool:
        bodies = dict(zip(numbers, pool.map(functools.partial(log.record, chain), numbers), strict=True))
    found = [*_misplaced(chain, stored, after), *_broken(chain, bodies, before, after)]
    unique = {(each.sequence, each.what): each for each in reversed(found)}
    return Verified(chain, after.sequence, after.hash, tuple(sorted(unique.values(), key=lambda each: (each.sequence or 0, each.what))))


def _misplaced(chain: str, stored: dict[str, int], after: Anchor) -> Iterator[Finding]:
    for name, versions in stored.items():
        number = _number(name)
        if number is None or number == 0:
            yield Finding(chain, None, "inserted", f"{record_key(chain, 0).rpartition('/')[0]}/ holds an object that is no record.")
        elif number > after.sequence:
            yield Finding(chain, number, "inserted", f"the newest record by the anchor is {after.sequence}.")
        elif versions > 1:
            yield Finding(chain, number, "changed", f"its object has {versions} versions, and a record is written once.")


def _broken(chain: str, bodies: dict[int, bytes | None], before: Anchor, after: Anchor) -> Iterator[Finding]:
    previous: Record | None = None
    for number in range(1, after.sequence + 1):
        body = bodies.get(number)
        if body is None:
            if number < before.sequence or (number == before.sequence and before.body is None):
                yield Finding(chain, number, "removed", "its object is not there.")
            previous = None
            continue
        record = _read(body)
        if record is None or (record.chain, record.sequence) != (chain, number) or not record.whole():
            yield Finding(chain, number, "changed", "what lies there is not what its hash is of.")
            # whoever follows it may still be right about what it was
            previous = None
            continue
        if number == 1 and record.previous != GENESIS:
            yield Finding(chain, number, "changed", "it is the first record and names one before it.")
        if previous is not None and record.previous != previous.hash:
            yield Finding(chain, number - 1, "changed", f"record {number} follows one with another hash.")
        previous = record
    last = _read(bodies.get(after.sequence))
    if last is not None and last.hash != after.hash:
        yield Finding(chain, after.sequence, "changed", "the anchor has another hash of it.")


def _stored(log: Log, chain: str) -> dict[str, int]:
    """Return the names of a chain's objects, each with how many versions it has, marks of deletion included."""
    s3, bucket, prefix = log.storage.aws.client("s3"), log.storage.bucket(BUCKET), directory(chain)
    found: dict[str, int] = {}
    there: set[str] = set()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            name = version["Key"].removeprefix(prefix)
            found[name] = found.get(name, 0) + 1
        there |= {version["Key"].removeprefix(prefix) for version in page.get("Versions", ()) if version["IsLatest"]}
    return {name: versions for name, versions in found.items() if name in there}


def _announced(log: Log) -> set[str]:
    every = log.records(DEPLOYMENT)
    return {chain_of(tenant_id(each.subject)) for each in every if each.action == "audit.chain"}


def _number(name: str) -> int | None:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def _read(body: bytes | None) -> Record | None:
    try:
        record = Record.model_validate_json(body) if body is not None else None
    except ValueError:
        return None
    return record if record is None or record.body() == body else None
