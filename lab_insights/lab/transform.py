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
from lab_insights.lab.curate import META, contract_schema, joined
from lab_insights.lab.engine import Query

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

CODE_VERSION = "2"
# Columns of every transformed row, after the business columns.
META_COLUMNS = ("tenant_id", "as_of", "batch_id", "record_hash", "is_deleted")
_STATE_ONLY = tuple(name for name in META if name not in {"is_deleted", "connection_id"})


@dataclass(frozen=True)
class Field:
    """A column of a wide table: contract type and a sentence."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Wide:
    """One wide table. `build` returns one row per `key` with the declared fields and `is_deleted`, for the keys that the day touched."""

    table: str
    domain: str
    description: str
    key: tuple[str, ...]
    inputs: tuple[str, ...]
    fields: tuple[Field, ...]
    build: Callable[[Inputs], ir.Table]


class Inputs:
    """The curated tables, as expressions, for one wide table."""

    def __init__(self, schemas: dict[str, pa.Schema]) -> None:
        import ibis

        self._state = {name: ibis.table(ibis.Schema.from_pyarrow(schema), name=f"state_{name}") for name, schema in schemas.items()}
        self._delta = {name: ibis.table(ibis.Schema.from_pyarrow(schema), name=f"delta_{name}") for name, schema in schemas.items()}

    def newest(self, name: str, *kept: str) -> ir.Table:
        """Return the newest version per key as of the day, tombstones included; of what every row carries only the columns `kept`."""
        import ibis

        rows, key = self._state[name], contracts()[name].key
        order = [ibis.desc("source_updated_at"), ibis.desc("batch_id"), ibis.desc("record_hash")]
        ranked = rows.mutate(__rank=ibis.row_number().over(ibis.window(group_by=list(key), order_by=order)))
        return ranked.filter(ranked["__rank"] == 0).drop("__rank", *(each for each in _STATE_ONLY if each not in kept))

    def live(self, name: str) -> ir.Table:
        """Return the newest version per key without tombstones."""
        rows = self.newest(name)
        return rows.filter(~rows.is_deleted).drop("is_deleted")

    def touched(self, name: str, column: str) -> ir.Column:
        """Return the values of `column` in any version of a row that changed on the day."""
        rows, delta = self._state[name], self._delta[name]
        changed = rows.semi_join(delta, list(contracts()[name].key))
        return changed.select(changed[column].name("touched")).distinct().touched


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
