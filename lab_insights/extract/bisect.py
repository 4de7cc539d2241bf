"""Where source and lake differ: checksums of key ranges, halved by a thousand at a time, until what is left is small enough to read.

Every row has a position: the key itself where it is one integer, so that the key's index serves each range, else 60 bits of the key's MD5, since no other order
is the same at the source and here (collations). Ranges are aligned to powers of two, so that those of one level lie within those of the level before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_insights.config import Engine
from lab_insights.extract.canonical import DIGITS, Canonical, source_digest

if TYPE_CHECKING:
    import sqlalchemy as sa

    from lab_insights.extract.catalog import SourceTable

# Ranges that one range is cut into: a table of a million rows is in pieces of a thousand after one scan at the source.
FANOUT = 1024
# A range of no more rows than this is read instead of being cut again.
LEAF_ROWS = 2048
# Ranges in one statement: its text, and the server's plan of it, stay small.
_TOGETHER = 200
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")

Span = tuple[int, int]
"""Positions from the first to the last, both in it."""


@dataclass(frozen=True)
class Position:
    """How rows are ordered on both sides. `source` gives the SQL of a row's position from a relation, `lake` that of a landed row."""

    source: Callable[[Any], sa.ColumnElement[Any]]
    lake: str
    hashed: bool


@dataclass(frozen=True)
class Sum:
    """The rows of one range: how many, and the sum of their digests."""

    rows: int
    digest: int


Sums = Callable[[Sequence[Span], int], dict[int, Sum]]
"""Gives what lies in spans, by bucket: `(position - first position of all) // width`."""


@dataclass(frozen=True)
class Spans:
    """Rows whose position is in any of these spans, as `SourceRows` is told which rows to read."""

    by: Position
    spans: tuple[Span, ...]

    def condition(self, table: SourceTable, relation: Any) -> sa.ColumnElement[bool]:  # noqa: ARG002 (as any condition on a table)
        """Return the condition that a row of `relation` satisfies when it is in one of the spans."""
        return within(self.by.source(relation), self.spans)


def within(position: sa.ColumnElement[Any], spans: Iterable[Span]) -> sa.ColumnElement[bool]:
    """Return the condition that a position lies in one of the spans."""
    import sqlalchemy as sa

    return sa.or_(sa.false(), *(position.between(_whole(low), _whole(high)) for low, high in spans))


def _whole(number: int) -> Any:
    import sqlalchemy as sa

    return sa.literal_column(str(int(number)))


def position_of(table: SourceTable, key: Sequence[str], texts: Callable[[Any], Sequence[Canonical]]) -> Position:
    """Return how rows are ordered by their key; `texts` gives the canonical texts of the key's columns in a relation."""
    column = table.column(key[0])
    if len(key) == 1 and column is not None and column.type.split("(")[0].split(" ")[0] in _INTEGERS:
        return Position(lambda relation: relation.c[key[0]], "CAST(k0 AS HUGEINT)", hashed=False)
    engine: Engine = table.engine
    return Position(lambda relation: source_digest(texts(relation), engine), "p", hashed=True)


def whole(position: Position, bounds: Iterable[int]) -> Span | None:
    """Return the span that holds every row; `bounds` are the least and the greatest positions known, none where there is no row."""
    if position.hashed:
        return 0, 16**DIGITS - 1
    known = list(bounds)
    return (min(known), max(known)) if known else None


def differing(source: Sums, lake: Sums, span: Span, most: int) -> Iterator[Span]:
    """Yield the spans in which the two sides differ, each small enough to be read.

    Raises `TooDifferentError` once those that must be read hold more than `most` rows.
    """
    low, high = span
    width = 1 << max((high - low).bit_length() - FANOUT.bit_length() + 1, 0)
    todo, found = [span], 0
    while todo:
        deeper: list[Span] = []
        for start in range(0, len(todo), _TOGETHER):
            some = todo[start : start + _TOGETHER]
            theirs, ours = source(some, width), lake(some, width)
            for bucket in sorted(theirs.keys() | ours.keys()):
                one, other = theirs.get(bucket, Sum(0, 0)), ours.get(bucket, Sum(0, 0))
                if one == other:
                    continue
                rows, its = max(one.rows, other.rows), (low + bucket * width, min(low + (bucket + 1) * width - 1, high))
                if rows > LEAF_ROWS and width > 1:
                    deeper.append(its)
                    continue
                found += rows
                if found > most:
                    raise TooDifferentError
                yield its
        todo, width = deeper, max(width // FANOUT, 1)


class TooDifferentError(Exception):
    """So much differs that reading the whole table costs less."""
