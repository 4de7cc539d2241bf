"""Deriving a batch: run an expression over committed batches and commit what comes out, once.

A derived partition is a pure function of its input manifests and of the code version; when both are those of the partition that lies there, nothing
is computed and nothing is written.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_insights.lab.columns import UNREAD
from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT
from lab_insights.lab.engine import Duck, Query, Tally
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import Head
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests, relation
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

    Inputs = Mapping[str, pa.RecordBatchReader | pads.Dataset | pa.Table]

# The one column that depends on the attempt and not on the inputs.
_ATTEMPT = ("batch_id",)


@dataclass(frozen=True)
class RawRows:
    """How many rows of a raw table went into a curated batch, and how many of them are no versions of anything; `more` counts what the rows were made of.

    `newest` is how many rows the curated ones of the `source` were made of, where one makes several. `unmapped` are normalised columns, each with that of
    its source value: rows that have only the latter are counted.
    """

    rows: int
    excluded: int
    more: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    newest: int | None = None
    unmapped: Mapping[str, str] = field(default_factory=dict)


def accounted_for(counts: Mapping[str, int], source: str = "") -> int:
    """Return how many rows the counts of a curated batch account for, of all its inputs or of one source of several."""
    of = f"_{source}" if source else ""
    made = sum(counts.get(f"{name}{of}", 0) for name in ("kept", "superseded", "excluded"))
    return made - counts.get(f"split{of}", 0) - (0 if source else counts.get("absent", 0))


@dataclass
class DerivedRows:
    """The result of an expression, as the lake's commit wants it; `absent` rows of it are tombstones that no input row made."""

    engine: Duck
    accounts: Accounts
    tallied: Mapping[str, int]
    counted: Sequence[str] = ()
    fidelity: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schema = self.engine.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.engine.batches()

    def facts(self) -> Facts:
        """Return the checksum, and for curated batches how many of the raw rows were kept, superseded and excluded."""
        counts = self.accounts.counts(self.engine.rows(), self.tallied) | {name: self.tallied[name] for name in self.counted}
        return Facts(counts=counts, checksum=self.engine.checksum(_ATTEMPT), fidelity=dict(self.fidelity))


@dataclass(frozen=True)
class Accounts:
    """How the rows of a batch are accounted for; of the result, the `absent` are tombstones that no input row made."""

    raw: Sequence[RawRows] = ()
    absent: int | None = None

    @property
    def sources(self) -> list[str]:
        """The sources of the raw rows."""
        return list(dict.fromkeys(raw.source for raw in self.raw))

    def tally(self, schema: pa.Schema) -> Tally:
        """Return what is to be counted in the result, beside the rows."""
        if not self.raw:
            return {}
        column = functools.partial(quoted, dialect="duckdb")
        # Of live rows: those that have a source value, and not what it is normalised to.
        asked: dict[str, tuple[str, tuple[str, ...]]] = {
            f"unmapped_{name}": (f"NOT is_deleted AND {column(name)} IS NULL AND {column(source)} <> ''", ())
            for name, source in self.raw[0].unmapped.items()
        }
        if UNREAD in schema.names:
            asked[UNREAD] = (f"{column(UNREAD)} IS NOT NULL", ())
        if len(self.sources) > 1:
            asked |= {f"kept_{source}": (f"{column('source_system')} = ?", (source,)) for source in self.sources}
        return asked

    def counts(self, rows: int, tallied: Mapping[str, int]) -> dict[str, int]:
        """Return the counts of a batch of so many rows: how many raw rows were kept, superseded and excluded, in all, and of each source of several."""
        counts = {"kept": rows}
        if not self.raw:
            return counts
        sources = self.sources
        made = rows - (self.absent or 0)
        each = [self._of(source, tallied.get(f"kept_{source}", made)) for source in sources]
        counts |= {name: sum(of[name] for of in each) for name in ("superseded", "excluded")}
        for more in (raw.more for raw in self.raw):
            counts |= {name: counts.get(name, 0) + count for name, count in more.items()}
        if any(of["split"] for of in each):
            counts["split"] = sum(of["split"] for of in each)
        if len(sources) > 1:
            counts |= {f"{name}_{source}": count for source, of in zip(sources, each, strict=True) for name, count in of.items() if count}
        if self.absent is not None:
            counts["absent"] = self.absent
        if unread := tallied.get(UNREAD):
            counts[UNREAD] = unread
        return counts | {name: count for name, count in tallied.items() if name.startswith("unmapped_")}

    def _of(self, source: str, kept: int) -> dict[str, int]:
        """Return the counts of one source; a row that made several is kept once and split for the others."""
        its = [raw for raw in self.raw if raw.source == source]
        rows, excluded = (sum(getattr(raw, name) for raw in its) for name in ("rows", "excluded"))
        split = kept - sum(raw.newest for raw in its if raw.newest is not None) if all(raw.newest is not None for raw in its) else 0
        return {"kept": kept, "superseded": rows - excluded - (kept - split), "excluded": excluded, "split": split}


def unchanged(lake: Lake, head: Head, draft: Draft) -> Manifest | None:
    """Return the live batch of the draft's partition when it was made from the same inputs by the same code."""
    if head.version == 0:
        return None
    there = partition_manifests(lake, draft.partition)
    last = there[-1] if there else None
    return last if last and last.inputs == draft.inputs and last.code_version == draft.code_version else None


def derive(
    lake: Lake,
    head: Head,
    draft: Draft,
    query: Query,
    inputs: Inputs,
    raw: Sequence[RawRows] = (),
    gone: Query | None = None,
    counted: Sequence[tuple[str, str]] = (),
    fidelity: Mapping[str, str] | None = None,
) -> Manifest:
    """Run `query` over `inputs` and commit the result, with the rows of `gone`, which reads it as `result`, as the partition's batch.

    Rows of the result that meet a condition of `counted` are counted beside all. `fidelity` is what the manifest says of columns that come as they are.

    Without `inputs` there is nothing that rows could come from, and the query, which takes longer to plan than to run, is not run.
    """
    with Duck(inputs) as engine:
        if inputs:
            engine.run(query)
        else:
            engine.keep(query.schema.empty_table())
        told = {name: (condition, ()) for name, condition in counted}
        tallied = engine.tallied({**Accounts(raw).tally(engine.schema), **told})
        rows = DerivedRows(engine, Accounts(raw, engine.add(gone) if gone else None), tallied, tuple(told), fidelity or {})
        return commit(lake, head, draft, rows)[0]


def raw_reader(storage: Storage, batches: Sequence[Manifest], schema: pa.Schema) -> pa.RecordBatchReader:
    """Return the rows of raw batches as one stream of `schema`, each with the batch that it came with; columns that a batch lacks are null."""
    import pyarrow as pa

    whole = pa.schema([*schema, (BATCH, pa.string()), (INGESTED, pa.timestamp("us")), (TENANT, pa.string()), (GONE, pa.timestamp("us"))])

    def stream() -> Iterator[pa.RecordBatch]:
        for manifest in batches:
            ingested, gone = (
                pa.scalar(at.replace(tzinfo=None) if at else None, pa.timestamp("us")) for at in (manifest.created_at, manifest.gone_at)
            )
            for batch in relation(storage, [manifest], schema).to_batches():
                constants = [
                    pa.repeat(each, batch.num_rows)
                    for each in (pa.scalar(manifest.batch_id), ingested, pa.scalar(str(manifest.tenant)), gone)
                ]
                yield pa.RecordBatch.from_arrays([*batch.columns, *constants], schema=whole)

    return pa.RecordBatchReader.from_batches(whole, stream())


def without_key(storage: Storage, batches: Sequence[Manifest], key: Sequence[str]) -> int:
    """Return how many rows of raw batches lack a part of their key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lacking = 0
    for manifest in batches:
        schema = pa.schema([field for field in manifest.schema_() if field.name in key])
        if len(schema) < len(key):
            lacking += manifest.rows
        elif key and manifest.rows:
            rows = relation(storage, [manifest], schema)
            null = functools.reduce(operator.or_, (pc.field(name).is_null() for name in key))
            lacking += rows.filter(null).num_rows if isinstance(rows, pa.Table) else rows.count_rows(filter=null)
    return lacking
