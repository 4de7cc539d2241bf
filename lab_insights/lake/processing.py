"""Processing status: what became of every attempt at a source or table, which cursors are proven unsafe, and which come late. Never a row's value.

It lies beside the commits of `lake.state` and is no part of them: what is committed is told by heads and batches alone.

- `<prefix>-status`, `<tenant>#processing`: the last attempt of each source (`<source>`) and of each table (`<source>.<table>`).
- `<prefix>-status`, `<tenant>#processing#<what>`: every attempt, by instant; DynamoDB drops them after `KEPT`.
- `<prefix>-bookmarks`, `<tenant>#cursors`: cursors that stood still while their row changed, by table and column.
- `<prefix>-bookmarks`, `<tenant>#late`: cursors whose rows came late, by table and column.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lab_insights.lake.items import Item, Items
from lab_insights.names import TenantId

KEPT = timedelta(days=90)
Outcome = Literal["ok", "failed"]


class Measured(BaseModel):
    """What a batch took: rows, parquet bytes, seconds, and how many readers of which engine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: int
    bytes: int
    seconds: float
    engine: str = "arrow"
    ranges: int = 1


class Attempt(BaseModel):
    """What became of one attempt at `what`: a source (its crawl and ceiling) or a table of it (its load).

    `reason` is the error's own sentence, and empty when all is well. `lagging` says that open transactions could not be seen, so that the declared
    lag was kept back. `whole` and `changes` are the receipts of the newest snapshot and delta.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    what: str
    at: datetime
    outcome: Outcome
    run_id: str = ""
    day: str = ""
    reason: str = ""
    ceiling: str = ""
    lagging: bool = False
    tables: int | None = None
    load: str = ""
    rows: int | None = None
    whole: Measured | None = None
    changes: Measured | None = None
    ahead: int | None = None
    """Rows whose cursor lies so far ahead that no window reaches them, when the whole table was looked at last."""
    failures: int = 0
    """Failed attempts since the last that went well."""
    succeeded_at: datetime | None = None


@dataclass(frozen=True)
class Disqualified:
    """A cursor that did not move while its row changed: how many rows the newest proof found, when, and by which comparison."""

    table: str
    cursor: str
    rows: int
    at: datetime
    how: str

    def __str__(self) -> str:
        return f"cursor {self.cursor} is disqualified: {self.rows:,} rows changed and it did not move ({self.how}, {self.at:%Y-%m-%d %H:%M} UTC)"


@dataclass(frozen=True)
class Late:
    """A cursor whose rows came when it had been read already: how many and by how many seconds the newest comparison found, which one, and when.

    Windows of the table end `lag` seconds earlier since.
    """

    table: str
    cursor: str
    rows: int
    lag: int
    seconds: int
    at: datetime
    how: str

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows came late by cursor {self.cursor}, up to {timedelta(seconds=self.seconds)} "
            f"({self.how}, {self.at:%Y-%m-%d %H:%M} UTC): windows end {self.lag:,} s earlier"
        )


@dataclass(frozen=True)
class Processing(Items):
    """Processing status of one deployment."""

    def record(self, tenant: TenantId, attempt: Attempt, before: Attempt | None) -> Attempt:
        """Keep an attempt, newest and in the history; what it does not know of the table is taken over from the one `before` it."""
        if attempt.outcome == "ok":
            attempt = attempt.model_copy(update={"succeeded_at": attempt.at})
        if before:
            failures = before.failures + 1 if attempt.outcome == "failed" else 0
            kept = {name: getattr(before, name) for name in ("whole", "changes", "ahead", "succeeded_at") if getattr(attempt, name) is None}
            attempt = attempt.model_copy(update={"failures": failures, **kept})
        elif attempt.outcome == "failed":
            attempt = attempt.model_copy(update={"failures": 1})
        body = {"S": attempt.model_dump_json(exclude_defaults=True)}
        current = {"pk": {"S": f"{tenant}#processing"}, "sk": {"S": attempt.what}, "attempt": body}
        log = {
            "pk": {"S": f"{tenant}#processing#{attempt.what}"},
            "sk": {"S": f"{attempt.at.isoformat()}#{attempt.run_id}"},
            "attempt": body,
            "expires_at": {"N": str(int((attempt.at + KEPT).timestamp()))},
        }
        self.write(self.status, [{"PutRequest": {"Item": item}} for item in (current, log)])
        return attempt

    def latest(self, tenant: TenantId) -> dict[str, Attempt]:
        """Return the last attempt of each source and table of a tenant, by what it was."""
        return {item["sk"]: _attempt(item) for item in self.query(self.status, f"{tenant}#processing")}

    def history(self, tenant: TenantId, what: str) -> list[Attempt]:
        """Return every attempt at a source or table that is still kept, oldest first."""
        return [_attempt(item) for item in self.query(self.status, f"{tenant}#processing#{what}")]

    def disqualify(self, tenant: TenantId, found: Disqualified) -> None:
        """Keep the proof that a cursor is unsafe; a newer proof replaces an older one."""
        item = {
            "pk": {"S": f"{tenant}#cursors"},
            "sk": {"S": f"{found.table}#{found.cursor}"},
            "rows": {"N": str(found.rows)},
            "at": {"S": found.at.isoformat()},
            "how": {"S": found.how},
        }
        self.db.put_item(TableName=self.bookmarks, Item=item)

    def disqualified(self, tenant: TenantId) -> list[Disqualified]:
        """Return the cursors of a tenant's tables that are proven unsafe."""
        found = []
        for item in self.query(self.bookmarks, f"{tenant}#cursors"):
            table, _, cursor = item["sk"].partition("#")
            found.append(Disqualified(table, cursor, int(item["rows"]), datetime.fromisoformat(item["at"]), item["how"]))
        return found

    def came_late(self, tenant: TenantId, found: Late) -> None:
        """Keep how late a cursor's rows come; what is newer replaces what is older."""
        item = {
            "pk": {"S": f"{tenant}#late"},
            "sk": {"S": f"{found.table}#{found.cursor}"},
            **{name: {"N": str(getattr(found, name))} for name in ("rows", "lag", "seconds")},
            "at": {"S": found.at.isoformat()},
            "how": {"S": found.how},
        }
        self.db.put_item(TableName=self.bookmarks, Item=item)

    def late(self, tenant: TenantId) -> list[Late]:
        """Return the cursors of a tenant's tables whose rows come late."""
        found = []
        for item in self.query(self.bookmarks, f"{tenant}#late"):
            table, _, cursor = item["sk"].partition("#")
            rows, lag, seconds = (int(item[name]) for name in ("rows", "lag", "seconds"))
            found.append(Late(table, cursor, rows, lag, seconds, datetime.fromisoformat(item["at"]), item["how"]))
        return found


def _attempt(item: Item) -> Attempt:
    return Attempt.model_validate_json(item["attempt"])
