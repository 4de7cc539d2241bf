"""Tables of several sources: the union of what each gives, how its raw rows are accounted for, and what a source no longer holds."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lab_insights.lab.contracts import Contract
from lab_insights.lab.curate import Curation, accepted, contract_schema, curated, newest, raw_table
from lab_insights.lab.engine import Query
from lab_insights.lab.mappings import COLUMN, COMPONENT, POSITION, TYPE, VALUE
from lab_insights.lab.packed import matches
from lab_insights.lab.texts import joined

if TYPE_CHECKING:
    import pyarrow as pa


@functools.lru_cache(maxsize=1024)
def united(sources: tuple[tuple[pa.Schema, Curation], ...]) -> Query:
    """Return the curated rows of a table of several sources, over the relations `raw_0`, `raw_1` …, in the order of `sources`."""
    import ibis

    return Query(ibis.union(*(curated(schema, curation, f"raw_{number}").expression for number, (schema, curation) in enumerate(sources))))


@functools.lru_cache(maxsize=1024)
def accounted(raw_schema: pa.Schema, curation: Curation) -> Query:
    """Return one row of counts over `raw`: rows `excluded`, raw keys of the others (`newest`), and those `unmatched` by a list of components."""
    import ibis

    raw = raw_table(raw_schema).mutate(**dict.fromkeys((COMPONENT, COLUMN, VALUE, TYPE), ibis.literal("")), **{POSITION: ibis.literal(1)})
    taken = ibis.and_(*accepted(raw, curation)).fill_null(False)
    split = curation.mapping.split if curation.mapping else None
    unmatched = (taken & ~matches(raw, split)).sum() if split else ibis.literal(0)
    versions = joined([raw[name] for name in curation.key]).nunique(where=taken)
    counts = raw.aggregate(excluded=(~taken).sum(), newest=versions, unmatched=unmatched)
    return Query(counts.mutate(excluded=counts.excluded.fill_null(0), unmatched=counts.unmatched.fill_null(0)))


@functools.cache
def absent(contract: Contract, sources: tuple[str, ...]) -> Query:
    """Return the tombstones of what `sources` no longer hold: their live keys of the state `before` that are not in `result`, where their rows are whole.

    A tombstone is a version as of the newest row that was landed of its source.
    """
    import ibis

    schema = ibis.Schema.from_pyarrow(contract_schema(contract))
    before, now = ibis.table(schema, name="before"), ibis.table(schema, name="result")
    state = newest(before, list(contract.key))
    live = state.filter(~state.is_deleted & state.source_system.isin(list(sources)))
    gone = live.anti_join(now, list(contract.key))
    taken = ibis.table({"source": "string", "at": "timestamp(6)", "batch": "string"}, name="taken")
    told = gone.inner_join(taken, gone.source_system == taken.source)
    its = {"source_updated_at": ibis.greatest(told.source_updated_at, told["at"]), "ingested_at": told["at"], "batch_id": told.batch}
    return Query(told.mutate(**its, is_deleted=ibis.literal(True)).select(list(schema)))
