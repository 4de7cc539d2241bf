"""A row's life as dated versions, and what of it falls into one window of time.

Rows carry their whole future from birth: a day's changes are the versions dated in it. That makes the simulator
stateless: a later day regenerates the rows born up to `LIFE` days before it and writes only what happens to them then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

Values = Mapping[str, Any]
Operation = Literal["insert", "update", "delete"]
LIFE = 3
LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Row:
    """A row's versions by instant: the first is complete, later ones hold what changed, None is a hard delete."""

    table: str
    versions: list[tuple[datetime, Values | None]] = field(default_factory=list)

    @classmethod
    def born(cls, table: str, at: datetime, values: Values) -> Row:
        """Return a row whose first version is written at `at`."""
        return cls(table, [(at, values)])

    @classmethod
    def existing(cls, table: str, key: Values, at: datetime, changes: Values | None) -> Row:
        """Return a change at `at` of a row that was written on an earlier day."""
        return cls(table, [(LONG_AGO, key), (at, changes)])

    def then(self, at: datetime, **changes: Any) -> Row:
        """Add a version that moves the cursor: `updated_at` becomes `at`."""
        self.versions.append((at, {**changes, "updated_at": at}))
        return self

    def deleted(self, at: datetime) -> Row:
        """Add a hard delete."""
        self.versions.append((at, None))
        return self


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `first` holds the key; `values` is the whole row, the changed columns, or empty for a delete."""

    table: str
    operation: Operation
    first: Values
    values: Values


@dataclass(frozen=True)
class Window:
    """The half-open span of instants `[start, end)`; the first day's begins long ago, so that history is in it."""

    start: datetime
    end: datetime

    @classmethod
    def of_day(cls, first_day: date, index: int) -> Window:
        """Return the window of day `first_day + index`."""
        midnight = datetime.combine(first_day, time(), UTC) + timedelta(days=index)
        return cls(LONG_AGO + timedelta(days=1) if index == 0 else midnight, midnight + timedelta(days=1))


def changes(rows: Iterable[Row], window: Window) -> Iterator[Change]:
    """Yield what `rows` do within `window`: versions between two looks at a row are folded into one write."""
    for row in rows:
        inside = [values for at, values in row.versions if window.start <= at < window.end]
        if not inside:
            continue
        born, first = row.versions[0]
        existed, gone = born < window.start, inside[-1] is None
        folded: dict[str, Any] = {}
        for values in inside:
            folded.update(values or {})
        if not gone:
            yield Change(row.table, "update" if existed else "insert", first or {}, folded)
        elif existed:
            yield Change(row.table, "delete", first or {}, {})
