"""A dataset for machine learning: a tenant's tables as they were known at an instant, and nothing that became known later.

What was known at `as_of` is what had been committed by then: a late row, a correction or a delete that was landed afterwards is not in it, whatever day it
is of, and a batch that another one replaced since is in it again. So the same call gives the same rows for ever. A dataset is pinned by its manifests;
`pins` names them, for whoever trains a model to keep beside it. What is not guaranteed: batches that were replaced longer ago than they are kept (`sweep`)
can not be brought back; such an instant is refused, never answered with other rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_insights.errors import LabInsightsError
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed, since_snapshot
from lab_insights.lake.layout import Layer
from lab_insights.lake.live import workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import TableState, loaded, relation
from lab_insights.names import TenantId, quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

LAYERS: tuple[Layer, ...] = ("transformed", "curated")
_BATCH_ROWS = 65_536
# What orders the versions of a key, as far as a table has it: curated rows by the source's instant, transformed ones by their day.
_VERSION = ("source_updated_at", "as_of", "batch_id", "record_hash")
_GONE = "is_deleted"


class NotKnown(LabInsightsError):
    """A table that the tenant did not have at the instant, or an instant that is too long ago to be told exactly."""


@dataclass(frozen=True)
class Pinned:
    """One table of a dataset: the batches that it is made of, from the newest snapshot on."""

    layer: Layer
    table: str
    key: tuple[str, ...]
    manifests: tuple[Manifest, ...]

    @property
    def schema(self) -> pa.Schema:
        """The schema that covers every batch."""
        return TableState(self.manifests).schema


@dataclass(frozen=True)
class Dataset:
    """Tables of one tenant as they were known at `as_of`."""

    storage: Storage
    tenant: TenantId
    as_of: datetime
    tables: dict[str, Pinned]

    @property
    def pins(self) -> dict[str, Any]:
        """The manifests that the dataset is made of, as plain values: equal pins are equal rows."""
        its = {
            name: {"layer": pinned.layer, "manifests": [each.object_key for each in pinned.manifests]}
            for name, pinned in self.tables.items()
        }
        return {"tenant": self.tenant, "as_of": self.as_of.isoformat(), "tables": its}

    def arrow(self, table: str) -> pa.Table:
        """Return the live rows of a table as they were known, the newest version of each key, in the order of the key."""
        import pyarrow as pa

        with self._opened(table) as (connection, sql):
            return pa.Table.from_batches(connection.execute(sql).to_arrow_reader(_BATCH_ROWS), self.tables[table].schema)

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the same rows in batches, for tables that are larger than memory."""
        with self._opened(table) as (connection, sql):
            yield from connection.execute(sql).to_arrow_reader(_BATCH_ROWS)

    @contextmanager
    def _opened(self, table: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        pinned = self.tables[table]
        with workspace() as connection:
            connection.register("__rows", relation(self.storage, pinned.manifests, pinned.schema))
            yield connection, newest_sql(pinned.schema.names, pinned.key)


def dataset(lake: Lake, tenant: TenantId, tables: Sequence[str], as_of: datetime) -> Dataset:
    """Return tables as they were known at `as_of`, an instant with its zone; a table is named as in the lake, such as `result` or `result_detail`.

    Raises `NotKnown` for a table that the tenant did not have then, and for an instant whose batches have been swept since.
    """
    if as_of.tzinfo is None:
        raise NotKnown("The instant has no time zone.", remedy="give one, such as datetime(2026, 3, 1, tzinfo=UTC).", tenant=tenant)
    return Dataset(lake.storage, tenant, as_of, {name: _pinned(lake, tenant, name, as_of) for name in tables})


def known(history: Sequence[Committed], as_of: datetime) -> list[Committed]:
    """Return the batches of a derived table's state at an instant, by day and batch: from the day of the newest snapshot on.

    Raises `NotKnown` when one of them may have been swept.
    """
    days = [list(group) for _, group in itertools.groupby(history, key=lambda batch: batch.partition.day)]
    found: list[Committed] = []
    for batches in reversed(days):
        its = _of_day(batches, as_of)
        found = its + found
        if any(batch.kind == "snapshot" for batch in its):
            break
    return found


def newest_sql(columns: Sequence[str], key: Sequence[str]) -> str:
    """Return the query of the newest live version of each key of `__rows`."""
    names = [quoted(name, "duckdb") for name in columns]
    by = ", ".join(quoted(name, "duckdb") for name in key)
    order = ", ".join(f"{quoted(name, 'duckdb')} DESC NULLS LAST" for name in _VERSION if name in columns)
    live = f" AND {quoted(_GONE, 'duckdb')} IS NOT TRUE" if _GONE in columns else ""
    if not key or not order:
        return f"SELECT {', '.join(names)} FROM __rows WHERE TRUE{live}"
    ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {order}) AS __rank FROM __rows"
    return f"SELECT {', '.join(names)} FROM ({ranked}) WHERE __rank = 1{live} ORDER BY {by}"


def _pinned(lake: Lake, tenant: TenantId, table: str, as_of: datetime) -> Pinned:
    for layer in LAYERS:
        batches = known(list(lake.state.history(layer, tenant, table)), as_of)
        if not batches:
            continue
        manifests = loaded(lake, batches)
        its = tuple(since_snapshot(manifests))
        return Pinned(layer, table, its[-1].key, its)
    raise NotKnown(
        f"Nothing was known of this table at {as_of:%Y-%m-%d %H:%M} {as_of.tzname()}.",
        remedy="choose a later instant, or a curated or transformed table of this tenant.",
        tenant=tenant,
        table=table,
    )


def _of_day(batches: Sequence[Committed], as_of: datetime) -> list[Committed]:
    """Numbers of a day's batches follow each other; one that is missing was replaced and swept, and matters only if it was live then."""
    then = [batch for batch in batches if batch.committed_at <= as_of]
    later = [_number(batch) for batch in batches if batch.committed_at > as_of]
    first = max((index for index, batch in enumerate(then) if batch.supersedes), default=0)
    live = then[first:]
    begin = _number(live[0]) if live and live[0].supersedes else 0
    end = min(later) if later else max((_number(batch) for batch in live), default=0)
    missing = set(range(begin, end)) - {_number(batch) for batch in live}
    if missing:
        raise NotKnown(
            "Batches that were live at this instant have been replaced and swept since.",
            remedy="choose a later instant; `keep_days` of the job keep_lake says how long replaced batches stay.",
            **batches[0].partition.where,
        )
    return live


def _number(batch: Committed) -> int:
    return int(batch.batch_id.partition("-")[0])
