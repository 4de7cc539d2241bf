"""What a KPI table is, and the pieces of SQL that its definition is made of. Snowflake's dialect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lab_insights.config import Phi
from lab_insights.lab.mappings import told_by_messages
from lab_insights.lab.terminology import REPORTED
from lab_insights.names import quoted

# Percentiles of fewer observations are not given.
OBSERVATIONS = 10
YEAR_MINUTES = 365 * 24 * 60
# What sources write for a time that they do not know; no laboratory reports on the year that it stands for.
_EPOCH_ENDS = "1971-01-01"

Types = Mapping[str, str]
Relations = Mapping[str, str]
Build = Callable[[Relations, str], str]


@dataclass(frozen=True)
class Input:
    """A table of the curated or transformed layer that KPIs read, with the columns that they need and their types.

    Of `counted_once` rows those are left out whose order messages tell of and a laboratory system has: the system's own row is the one that counts.
    Of an `own` table all rows are left out that messages tell of: what is read of it only a system's own database says.
    A source need not have an `optional` table: what is made of it is empty then.
    """

    table: str
    columns: Types
    layer: Literal["curated", "transformed"] = "curated"
    counted_once: bool = False
    own: bool = False
    optional: bool = False

    def select(self, view: str, held: Sequence[str], linked: str | None = None) -> str:
        """Return the SELECT of the declared columns over `view`, which has the columns `held`; a column that is not there is null.

        `linked` is the relation of orders with their `LINKED_ORDER_ID`, where there is one.
        """
        there = {name.upper() for name in held}
        listed = []
        for name, kind in self.columns.items():
            value = quoted(name.upper(), "snowflake") if name.upper() in there else "NULL"
            listed.append(f"CAST({value} AS {kind}) AS {name.upper()}")
        if self.own and "SOURCE_SYSTEM" in there:
            told = ", ".join(f"'{name}'" for name in sorted(told_by_messages()))
            return f"SELECT {', '.join(listed)} FROM {view} WHERE COALESCE(SOURCE_SYSTEM, '') NOT IN ({told})"
        once = f" WHERE COALESCE(LAB_ORDER_ID, '') NOT IN (SELECT LAB_ORDER_ID FROM {linked} WHERE LINKED_ORDER_ID IS NOT NULL)"
        return f"SELECT {', '.join(listed)} FROM {view}{once if self.counted_once and linked else ''}"

    def nothing(self) -> str:
        """Return the SELECT that stands for the table where a tenant does not have it."""
        return f"SELECT {', '.join(f'CAST(NULL AS {kind}) AS {name.upper()}' for name, kind in self.columns.items())} WHERE FALSE"


@dataclass(frozen=True)
class Column:
    """A column of a KPI table: its type, its definition in a sentence, and its PHI class."""

    type: str
    definition: str
    phi: Phi = "none"


@dataclass(frozen=True)
class Report:
    """One KPI table. `build` returns its SELECT over relations, in an IANA zone; `inputs` and `after` (older KPI tables) name the relations that it takes.

    `key` is its grain, and begins with the day unless the table holds facts; `day` is the column that says which day a row belongs to.
    A `personal` one has rows of persons, and lies where only those who may see these read. One that has instants has `TIME_ZONE`, which `select` fills.
    """

    name: str
    description: str
    source: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    inputs: tuple[str, ...]
    build: Build
    after: tuple[str, ...] = ()
    day: str = "event_day"
    personal: bool = False

    def select(self, relations: Relations, zone: str) -> str:
        """Return the statement that computes the table, with the declared columns in their order and types."""
        listed = ", ".join(
            f"CAST({_literal(zone) if name == TIME_ZONE else name.upper()} AS {column.type}) AS {name.upper()}"
            for name, column in self.columns.items()
        )
        return f"SELECT {listed} FROM ({self.build(relations, zone)})"

    @property
    def version(self) -> str:
        """A digest of the statement: figures of another digest were defined otherwise."""
        statement = self.select({name: name for name in (*self.inputs, *self.after)}, "UTC")
        return hashlib.sha256(statement.encode()).hexdigest()[:12]


COUNT = "NUMBER(19,0)"
MINUTES = "NUMBER(12,2)"
INSTANT = "TIMESTAMP_NTZ"
TIME_ZONE = "time_zone"
ZONED = {TIME_ZONE: Column("VARCHAR", "The tenant's zone (IANA), for whoever reads the instants, which are in UTC.")}
"""What a table that has instants has beside them."""


def _literal(zone: str) -> str:
    return f"'{zone.replace(chr(39), '')}'"


def in_zone(instant: str, zone: str) -> str:
    """Return an instant (naive, UTC) as the clock of `zone` shows it."""
    return f"CONVERT_TIMEZONE('UTC', {_literal(zone)}, {instant})"


def day(instant: str, zone: str) -> str:
    """Return the day of an instant in `zone`."""
    return f"TO_DATE({in_zone(instant, zone)})"


def day_ends(of: str, zone: str) -> str:
    """Return the instant (naive, UTC) at which a day of `zone` ends: 23 or 25 hours after it began where clocks change."""
    return f"CONVERT_TIMEZONE({_literal(zone)}, 'UTC', CAST(DATEADD('day', 1, {of}) AS TIMESTAMP_NTZ))"


def one_of(column: str, values: Sequence[str]) -> str:
    """Return whether a column is one of `values`; null where it is null."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


def reported(alias: str = "R") -> str:
    """Return whether a row of `result` was released: nothing else is counted as a result."""
    return one_of(f"{alias}.STATUS_NORM", REPORTED)


def known(instant: str) -> str:
    """Return an instant, or null where the source wrote the epoch for "not known"."""
    return f"CASE WHEN {instant} >= '{_EPOCH_ENDS}' THEN {instant} END"


def date_only(instant: str, zone: str) -> str:
    """Return whether an instant is a midnight, of UTC or of `zone`: a date that was written into a column of times."""
    local = in_zone(instant, zone)
    return f"({instant} = DATE_TRUNC('day', {instant}) OR {local} = DATE_TRUNC('day', {local}))"


def minutes(start: str, end: str) -> str:
    """Return the minutes between two instants, to the hundredth."""
    return f"CAST(DATEDIFF('second', {start}, {end}) / 60 AS {MINUTES})"


def percentile(share: str, of: str, where: str = "TRUE") -> str:
    """Return the nearest-rank percentile of the values `of` that are not null, null below `OBSERVATIONS` of them."""
    value = of if where == "TRUE" else f"CASE WHEN {where} THEN {of} END"
    return f"CASE WHEN COUNT({value}) >= {OBSERVATIONS} THEN PERCENTILE_DISC({share}) WITHIN GROUP (ORDER BY {value}) END"


def count_if(condition: str) -> str:
    """Return how many rows of a group fulfil a condition."""
    return f"COUNT(CASE WHEN {condition} THEN 1 END)"
