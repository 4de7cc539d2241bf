"""The load planner: full or incremental, by which key and cursor, on which engine, and why. Readable before it runs.

Its inputs are the catalog, what a contract or a person declares, and what earlier loads left behind (`Known`): their receipts, and cursors that were
seen to stand still while their row changed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab_insights.config import Override
from lab_insights.errors import ConfigError
from lab_insights.extract import cursors
from lab_insights.extract.catalog import SourceTable
from lab_insights.lake.manifest import Kind
from lab_insights.lake.processing import Disqualified, Late, Measured

# What the slower of the two Arrow readers did on two quiet cores with 16 columns: 373–558k rows/s (MySQL), 355–613k (PostgreSQL).
READER_ROWS_PER_SECOND = 350_000
# Where one reader took 3.0–3.2 s, two took 2.6–3.0: cutting the key, and opening one snapshot for several readers, has to pay first.
RANGES_FROM_SECONDS = 20.0
# What is left to each reader by then.
RANGE_SECONDS = 10.0
# Spark needs 5–15 s to start, and reads 121–167k rows/s where one Arrow reader does 350k and more: it is for what keeps one machine busy so long.
SPARK_FROM_SECONDS = 900.0
# Below this a receipt measures the commit, not the reader.
_MEASURED_FROM_SECONDS = 1.0

EngineName = Literal["arrow", "spark"]
LoadName = Literal["full", "incremental", "dynamic_full", "dynamic_incremental"]


@dataclass(frozen=True)
class Declared:
    """What a contract knows of its source table."""

    key: tuple[str, ...] = ()
    cursor: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What is known of a table besides its catalog: the newest snapshot's and the newest delta's receipt, cursors that are disqualified or late, by name.

    `null_share` is the share of nulls of candidate cursors, where somebody measured it.
    """

    whole: Measured | None = None
    changes: Measured | None = None
    disqualified: Mapping[str, Disqualified] = field(default_factory=dict)
    null_share: Mapping[str, float] = field(default_factory=dict)
    late: Mapping[str, Late] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What may read: `cores` of this machine, `connections` that the source allows, and whether Spark runs on a cluster."""

    cores: int = 1
    connections: int = 1
    cluster: bool = False


@dataclass(frozen=True)
class Plan:
    """How one table is loaded. `reason` is a sentence for a person; estimates are of the whole table (`reading` has those of its changes)."""

    table: SourceTable
    load: Literal["full", "incremental"]
    key: tuple[str, ...]
    cursor: str | None
    engine: EngineName
    reason: str
    ranges: int = 1
    """How many key ranges are read at once, each by a reader of its own."""
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    declared: tuple[str, ...] = ()
    """What a person said of the table: names of `config.Override`."""
    changes: Measured | None = None
    late: Late | None = None
    """What is known of rows that came late by the cursor."""

    def load_name(self, *, dynamic: bool) -> LoadName:
        """The name of the load as users know it: `dynamic_…` for tables that no contract describes."""
        if dynamic:
            return "dynamic_full" if self.load == "full" else "dynamic_incremental"
        return self.load

    def reading(self, kind: Kind) -> Plan:
        """Return how a batch of this table is read: its changes are few, so one Arrow reader takes them unless a person declared otherwise."""
        if kind == "snapshot":
            return self
        its = self.changes
        known = dataclasses.replace(
            self, rows=its.rows if its else None, bytes=its.bytes if its else None, seconds=its.seconds if its else None
        )
        return known if {"engine", "ranges"} & {*self.declared} else dataclasses.replace(known, engine="arrow", ranges=1)


def plan(
    table: SourceTable,
    declared: Declared | None = None,
    override: Override | None = None,
    known: Known | None = None,
    machine: Machine | None = None,
) -> Plan:
    """Choose the load of `table`: what a person declared wins over the contract, the contract over the catalog.

    Raises `ConfigError` where what is declared is not there, or can not be done.
    """
    declared, override, known = declared or Declared(), override or Override(), known or Known()
    # An item of DynamoDB has what attributes it likes, a table without items none but its key; no cursor is used there.
    named = () if table.engine == "dynamodb" else (declared.cursor, override.cursor)
    _known(table, (*declared.key, *(override.key or ()), *filter(None, named)))
    key = override.key or declared.key or table.key
    if table.engine == "dynamodb":
        followed = (table.stream or table.export_bucket) is not None and override.load != "full"
        told, whole = ("its exports", "exported") if table.export_bucket else ("its stream", "scanned")
        reason = f"changes come from {told}" if followed else f"DynamoDB is {whole}"
        load: Literal["full", "incremental"] = "incremental" if followed else "full"
        table = dataclasses.replace(table, spelled=(*declared.columns, *key))
        return Plan(table, load, key, None, "arrow", reason, rows=table.rows, bytes=table.bytes, changes=known.changes)
    cursor, reason = _cursor_of(table, key, declared, override, known)
    table = dataclasses.replace(table, spelled=(*declared.columns, *key, *filter(None, (cursor,))))
    late = known.late.get(cursor) if cursor else None
    reason = f"{reason}; {late}" if late else reason
    said = [
        name for name in ("load", "key", "engine", "ranges") if getattr(override, name) is not None and (name, cursor) != ("load", None)
    ]
    chosen = Plan(
        table,
        "incremental" if cursor else "full",
        key,
        cursor,
        "arrow",
        f"{reason}; declared: {', '.join(said)}" if said else reason,
        rows=known.whole.rows if known.whole else table.rows,
        bytes=known.whole.bytes if known.whole else table.bytes,
        declared=tuple(override.model_dump(exclude_none=True)),
        changes=known.changes,
        late=late,
    )
    return _engine(chosen, override, known.whole, machine or Machine())


def _cursor_of(table: SourceTable, key: tuple[str, ...], declared: Declared, override: Override, known: Known) -> tuple[str | None, str]:
    if override.load == "full":
        return None, "declared: full"
    cursor, reason = cursors.choose(table, known, (override.cursor, declared.cursor), trusted=override.load == "incremental")
    if not key:
        cursor, reason = None, "no key, so changed rows can not be told from new ones"
    if cursor is None and override.load == "incremental":
        raise ConfigError(
            f"An incremental load is declared, but {reason}.",
            remedy="declare `key` and `cursor` in the source's overrides.",
            tenant=table.tenant,
            table=table.table_id,
        )
    return cursor, reason


def _engine(chosen: Plan, override: Override, measured: Measured | None, machine: Machine) -> Plan:
    """Choose engine and ranges by how long one Arrow reader would take for the whole table."""
    alone = chosen.rows / _rate(measured) if chosen.rows is not None else None
    engine, ranges, why = _by_size(alone, machine) if alone is not None and chosen.key else ("arrow", 1, "")
    engine = override.engine or engine
    ranges = min(override.ranges or ranges, machine.connections) if chosen.key else 1
    if override.ranges and override.ranges > ranges:
        why = f"; {override.ranges} ranges are declared, {'the source allows fewer' if chosen.key else 'and there is no key to cut'}"
    elif override.engine or override.ranges:
        why = ""
    seconds = round(alone / ranges, 1) if alone is not None else None
    return dataclasses.replace(chosen, engine=engine, ranges=ranges, seconds=seconds, reason=f"{chosen.reason}{why}")


def _by_size(alone: float, machine: Machine) -> tuple[EngineName, int, str]:
    if alone < RANGES_FROM_SECONDS:
        return "arrow", 1, ""
    wanted = math.ceil(alone / RANGE_SECONDS)
    ranges = min(wanted, machine.cores, machine.connections)
    if machine.cluster and alone / ranges >= SPARK_FROM_SECONDS:
        return "spark", min(wanted, machine.connections), f"; {alone:,.0f} s expected of one reader, so the cluster reads it"
    return "arrow", ranges, f"; {alone:,.0f} s expected of one reader"


def _rate(measured: Measured | None) -> float:
    """Rows per second of one reader, as the last snapshot measured it where that was long enough to be believed."""
    if measured is None or measured.engine != "arrow" or measured.seconds < _MEASURED_FROM_SECONDS or not measured.rows:
        return READER_ROWS_PER_SECOND
    return measured.rows / measured.seconds / measured.ranges


def _known(table: SourceTable, names: tuple[str, ...]) -> None:
    for name in names:
        if table.column(name) is None:
            raise ConfigError(
                f"The declared key or cursor {name!r} is not a column of this table.",
                remedy="correct the contract or the source's overrides, or add the column at the source.",
                tenant=table.tenant,
                table=table.table_id,
            )
