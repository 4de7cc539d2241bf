"""The wide tables: what a tenant-day re-emits, from the state as of the day.

A wide table reads `state_<table>` (every curated row since the newest snapshot), `delta_<table>` (the day's rows) and `run` (one row: tenant, day,
batch). A row is re-emitted when any input row that it is made of changed on the day; `touched` looks at every version of a changed row, so that a
row which lost a child is re-emitted as well as the one which won it. What only a snapshot can show, a row that is gone or was changed without its
versions being read, comes in as `displaced` rows of the day before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import META, contract_schema
from lab_insights.lab.engine import Query
from lab_insights.lab.texts import joined

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

CODE_VERSION = "6"
# Columns of every transformed row, after the business columns.
META_COLUMNS = ("tenant_id", "as_of", "batch_id", "record_hash", "is_deleted")
# What orders the versions of a row.
VERSION = ("source_updated_at", "batch_id", "record_hash")
_STATE_ONLY = tuple(name for name in META if name not in {"is_deleted", "connection_id"})


@dataclass(frozen=True)
class Field:
    """A column of a wide table: contract type and a sentence."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Wide:
    """One wide table. `build` returns one row per `key` with the declared fields and `is_deleted`, for the keys that the day touched.

    Of a day's rows those are `counted`, by name, that meet a condition in DuckDB's SQL.
    """

    table: str
    domain: str
    description: str
    key: tuple[str, ...]
    inputs: tuple[str, ...]
    fields: tuple[Field, ...]
    build: Callable[[Inputs], ir.Table]
    counted: tuple[tuple[str, str], ...] = ()


class Inputs:
    """The curated tables, as expressions, for one wide table."""

    def __init__(self, schemas: dict[str, pa.Schema]) -> None:
        import ibis

        self._state = {name: ibis.table(ibis.Schema.from_pyarrow(schema), name=f"state_{name}") for name, schema in schemas.items()}
        self._delta = {name: ibis.table(ibis.Schema.from_pyarrow(schema), name=f"delta_{name}") for name, schema in schemas.items()}

    def newest(self, name: str, *kept: str) -> ir.Table:
        """Return the newest version per key as of the day, tombstones included; of what every row carries only the columns `kept`."""
        ranked = newest_first(self._state[name], list(contracts()[name].key))
        return ranked.filter(ranked["__rank"] == 0).drop("__rank", *(each for each in _STATE_ONLY if each not in kept))

    def live(self, name: str) -> ir.Table:
        """Return the newest version per key without tombstones."""
        rows = self.newest(name)
        return rows.filter(~rows.is_deleted).drop("is_deleted")

    def versions(self, name: str) -> ir.Table:
        """Return every version of every row."""
        return self._state[name]

    def day(self, name: str) -> ir.Table:
        """Return the day's rows."""
        return self._delta[name]

    def changed(self, name: str) -> ir.Table:
        """Return every version of the rows that changed on the day."""
        return self._state[name].semi_join(self._delta[name], list(contracts()[name].key))

    def touched(self, name: str, column: str) -> ir.Column:
        """Return the values of `column` in any version of a row that changed on the day."""
        changed = self.changed(name)
        return changed.select(changed[column].name("touched")).distinct().touched


def newest_first(rows: ir.Table, key: list[str]) -> ir.Table:
    """Return rows with their place (`__rank`) among the versions of their key; the newest has 0."""
    import ibis

    order = [ibis.desc(name) for name in VERSION]
    return rows.mutate(__rank=ibis.row_number().over(ibis.window(group_by=key, order_by=order)))


@functools.cache
def displaced(name: str) -> Query:
    """Return the rows of `before` that the snapshot `now` does not hold as they were: as versions older than any, and as tombstones where it lacks the key."""
    import ibis

    contract = contracts()[name]
    schema = ibis.Schema.from_pyarrow(contract_schema(contract))
    before, now = ibis.table(schema, name="before"), ibis.table(schema, name="now")
    changed = before.anti_join(now, [*contract.key, "record_hash"])
    gone = changed.anti_join(now, list(contract.key)).mutate(is_deleted=ibis.literal(True))
    aged = changed.mutate(source_updated_at=ibis.timestamp("0001-01-01").cast("timestamp(6)"))
    return Query(aged.union(gone).select(list(schema)))


@functools.cache
def transformed(wide: Wide) -> Query:
    """Return the rows that a day re-emits, as a query over its inputs in their contracts' schemas."""
    import ibis

    rows = wide.build(Inputs({name: contract_schema(contracts()[name]) for name in wide.inputs}))
    run = ibis.table({"tenant_id": "string", "as_of": "date", "batch_id": "string"}, name="run")
    names = [field.name for field in wide.fields]
    with_run = rows.cross_join(run)
    hashed = joined([with_run[name] for name in [*names, "is_deleted"]]).hexdigest("md5")
    return Query(with_run.mutate(record_hash=hashed).select([*names, *META_COLUMNS]))
