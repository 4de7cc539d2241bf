"""What a killed load of several key ranges had finished, and whether it still holds.

A range whose parts are landed is listed in an object beside them, with the source's own checksum of the range in that attempt's snapshot. The next attempt
takes the same ranges, and keeps the parts of one when the source's checksum in its own snapshot is the same: then the rows are. Nothing reads the
object but the next attempt; what remains of one is swept like any object that no manifest names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from lab_insights.extract.projection import Shipped, ship
from lab_insights.extract.ranges import KeyRange
from lab_insights.extract.read import SourceRows, conditions, relation_of, select
from lab_insights.extract.streams import rendered
from lab_insights.lake.commit import Facts
from lab_insights.lake.layout import batch_id
from lab_insights.lake.manifest import Part, decode_schema, encode_schema
from lab_insights.lake.parts import Landed
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage

if TYPE_CHECKING:
    import sqlalchemy as sa


class Finished(BaseModel):
    """A range that is landed: the source's checksum of it, its parts, and what is known of its rows."""

    model_config = ConfigDict(frozen=True)

    number: int
    source: str
    parts: tuple[Part, ...]
    arrow_schema: str
    total: str
    facts: Facts

    def landed(self) -> Landed:
        """Return the parts as the range's reader landed them."""
        return Landed(self.parts, decode_schema(self.arrow_schema), int(self.total, 16))


class Progress(BaseModel):
    """The ranges of an attempt, and those that it has finished; `projection` is the same when columns and their types are."""

    projection: str
    ranges: tuple[KeyRange, ...]
    finished: tuple[Finished, ...] = ()


def projection(rows: SourceRows) -> str:
    """Return a digest of how the table's columns travel and land."""
    text = rendered(select(rows.table)[0], rows.target) + encode_schema(rows.schema)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Journal:
    """Where the attempt `intent` writes its progress, and finds that of the attempts before it."""

    storage: Storage
    intent: Intent
    _now: Progress | None = field(default=None, init=False)

    def _key(self, attempt: int) -> str:
        return f"{self.intent.partition.directory}/{batch_id(self.intent.batch, attempt)}.progress.json"

    def found(self, projected: str) -> Progress | None:
        """Return what the last attempt with any progress had finished and still lies in the lake, or None."""
        for attempt in range(self.intent.attempt - 1, 0, -1):
            body = self.storage.get(self.intent.partition.layer, self._key(attempt))
            if body is not None:
                there = Progress.model_validate_json(body)
                kept = tuple(each for each in there.finished if self._lies(each))
                return there.model_copy(update={"finished": kept}) if kept and there.projection == projected else None
        return None

    def _lies(self, finished: Finished) -> bool:
        layer = self.intent.partition.layer
        return all(self.storage.sha256(layer, part.key) == (part.sha256, part.bytes) for part in finished.parts)

    def begin(self, progress: Progress) -> None:
        """Go on from `progress`; nothing is written before a range is finished."""
        self._now = progress

    def add(self, number: int, source: str, landed: Landed, facts: Facts) -> None:
        """Write down that a range is landed."""
        if self._now is None:
            raise RuntimeError("a journal is begun before it is written")
        done = Finished(
            number=number,
            source=source,
            parts=landed.parts,
            arrow_schema=encode_schema(landed.schema),
            total=f"{landed.total:x}",
            facts=facts,
        )
        self._now = self._now.model_copy(update={"finished": (*self._now.finished, done)})
        self.storage.put(
            self.intent.partition.layer, self._key(self.intent.attempt), self._now.model_dump_json().encode(), "application/json"
        )

    def clear(self) -> None:
        """Remove what this attempt and the ones before it wrote down: every range is landed."""
        if self._now is not None and self._now.finished:
            for attempt in range(1, self.intent.attempt + 1):
                self.storage.delete(self.intent.partition.layer, self._key(attempt))


def checksum(rows: SourceRows, within: KeyRange) -> sa.Select[Any]:
    """Return the statement of a range's count and checksum at the source: 60 bits of each row's MD5, added up.

    It costs the source about as much as reading the range, so it is for ranges that are long to read.
    """
    import sqlalchemy as sa

    relation = relation_of(rows.table, "t")
    shipped = [ship(column, rows.table.engine, relation.c[column.name]) for column in rows.table.columns]
    texts = [_field(column, rows.table.engine) for column in shipped]
    held = conditions(rows.table, relation, rows.cursor, rows.window, within)
    return (
        sa.select(sa.func.count(), _sum(sa.func.md5(sa.func.concat_ws(",", *texts)), rows.table.engine)).select_from(relation).where(*held)
    )


def _field(column: Shipped, engine: str) -> sa.ColumnElement[str]:
    """A value's text with its length before it, so that no two rows look alike; of long values the MD5, since MariaDB's concatenation is bounded."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    value: Any = column.expression
    if engine == "postgresql":
        value = sa.cast(value, sa.Text)
    elif column.arrow in {"float", "double"}:
        value = sa.cast(value, mysql.DOUBLE)
    elif column.arrow in {"string", "binary"}:
        value = sa.func.md5(value)
    return sa.func.coalesce(sa.func.concat(sa.func.length(value), ":", value), "-")


def _sum(digest: sa.ColumnElement[str], engine: str) -> sa.ColumnElement[Any]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql

    digits: sa.ColumnElement[str] = sa.func.substr(digest, 1, 15)
    if engine == "postgresql":
        return sa.func.sum(sa.cast(sa.cast(sa.func.concat("x", digits), postgresql.BIT(60)), sa.BigInteger))
    return sa.func.sum(sa.cast(sa.func.conv(digits, 16, 10), mysql.INTEGER(unsigned=True)))


def still_held(progress: Progress, sums: Callable[[KeyRange], str]) -> Iterator[Finished]:
    """Yield the finished ranges whose checksum at the source, as `sums` tells it, is what it was."""
    for each in progress.finished:
        if sums(progress.ranges[each.number]) == each.source:
            yield each
