"""What `verify` answers: a finding for each link, tenant, table and day, in words of counts, parts and hashes of keys, never of values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from lab_insights.names import TenantId

Link = Literal["source → raw", "raw → curated", "curated → transformed", "lake → warehouse"]
# The layer that a finding is about: one of the lake's, or the tenant's database.
Held = Literal["raw", "curated", "transformed", "snowflake"]
# From best to worst. `pending`: work that is still to come. `not proven`: nothing contradicts it, and nothing proves it.
Status = Literal["ok", "pending", "not proven", "broken"]
STATUSES: tuple[Status, ...] = ("ok", "pending", "not proven", "broken")


@dataclass(frozen=True)
class Fault:
    """One reason why something is not ok, and what to do about it."""

    status: Status
    message: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One answer. `day` is None for a whole table; a Snowflake table is called `layer/table`; `rows` and `batches` lie there.

    `moved_on` counts rows that the source changed or deleted since they were read.
    """

    link: Link
    tenant: TenantId
    layer: Held
    table: str
    day: date | None
    status: Status
    message: str
    remedy: str = ""
    rows: int = 0
    batches: int = 0
    moved_on: int = 0


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of the statuses; ok when there are none."""
    return max(statuses, key=STATUSES.index, default="ok")


def summed(faults: Iterable[Fault], well: str) -> tuple[Status, str, str]:
    """Return status, sentence and remedy of a partition: of its worst faults, or `ok` and the sentence `well`."""
    found = list(faults)
    status = worst(fault.status for fault in found)
    if status == "ok":
        return status, well, ""
    chosen = [fault for fault in found if fault.status == status]
    return status, "; ".join(dict.fromkeys(fault.message for fault in chosen)), chosen[0].remedy
