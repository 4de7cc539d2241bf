"""What a page is made of: tiles and figures whose values still know what they were counted from, so that small cells can be hidden."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

Kind = Literal["text", "day", "count", "share", "per 10,000", "minutes", "hours"]
Better = Literal["up", "down"]
ChartKind = Literal["days", "lines", "bars", "columns", "ranges", "stacked"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """A rate: it stays its numerator and denominator, since rates of rates would be wrong."""

    of: int
    total: int

    @property
    def value(self) -> float | None:
        """The rate, None of nothing."""
        return self.of / self.total if self.total else None


@dataclass(frozen=True)
class Measured:
    """A percentile (None below ten observations) of `n` observations."""

    value: float | None
    n: int


@dataclass(frozen=True)
class Hidden:
    """A cell that was suppressed."""


HIDDEN = Hidden()


@dataclass(frozen=True)
class Tile:
    """One number with that of the prior period; `better` says which way is good, where one is, and `of` which tile it is a part of."""

    label: str
    kind: Kind
    now: Any
    before: Any
    note: str = ""
    better: Better | None = None
    of: str = ""


@dataclass(frozen=True)
class Figure:
    """A table, and the chart that is drawn from it: `columns` are names with kinds, the first is the axis.

    Its other fields say which cells tell of each other: in a row the first of `parts` is the sum of the others, or more; a row's first of `flow` is that of
    the row before, and the second, less the third; columns of `added` have sums that may be known, those of a week where rows are days.
    """

    title: str
    summary: str
    columns: dict[str, Kind]
    rows: list[list[Any]]
    chart: ChartKind | None = None
    drawn: tuple[str, ...] = ()
    unit: str = ""
    note: str = ""
    parts: tuple[tuple[str, ...], ...] = ()
    flow: tuple[str, str, str] | None = None
    added: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading."""

    id: str
    title: str
    figures: list[Figure]
    lead: str = ""


@dataclass(frozen=True)
class Report:
    """The whole page of a tenant's day."""

    title: str
    day: date
    zone: str
    made_at: datetime
    tiles: list[Tile]
    sections: list[Section] = field(default_factory=list)
    deidentified: bool = False
