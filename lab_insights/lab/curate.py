"""Curation: the rows of a day's raw batches → the newest version per key, typed and named by contract, or generically where there is none.

Every source is one relation: the rows of the day's live batches with `__batch` (the batch they came with), `__ingested_at`, `__tenant` and `__gone_at`,
which is null but for tombstones: those are a version of their key as of that instant. A table of several sources is the union of what each gives.
A row whose declared key is null in part is no version of anything, nor is one that its mapping skips: it stays in raw, and is counted as excluded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.lab import types
from lab_insights.lab.columns import column_of, flag, modelled, read_as
from lab_insights.lab.contracts import Contract, ContractColumn
from lab_insights.lab.engine import Query
from lab_insights.lab.mappings import Mapping
from lab_insights.lab.packed import ABSENT, turned, unpacked
from lab_insights.lab.records import PARSER_VERSION, Kind
from lab_insights.lab.texts import joined

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

BATCH, INGESTED, TENANT, GONE = "__batch", "__ingested_at", "__tenant", "__gone_at"
_BESIDE = {BATCH: "string", INGESTED: "timestamp(6)", TENANT: "string", GONE: "timestamp(6)"}
# Columns of every curated row, after the business columns; a contract that declares one of them itself keeps its own.
META = (
    "tenant_id",
    "source_system",
    "connection_id",
    "source_pk",
    "source_updated_at",
    "ingested_at",
    "batch_id",
    "record_hash",
    "is_deleted",
)
CODE_VERSION = "4"
_OURS = re.compile(rf"(source_)*({'|'.join((*META, 'occurrence'))})", re.IGNORECASE)


@dataclass(frozen=True)
class Curation:
    """What is needed to curate one raw table, whichever tenant's. `key` are the raw key columns, `cursor` the raw column that orders versions.

    With a contract the `mapping` into it says how; without one the table is curated as it was landed.
    """

    source: str
    key: tuple[str, ...]
    cursor: str | None
    contract: Contract | None = None
    mapping: Mapping | None = None

    @property
    def curated_key(self) -> tuple[str, ...]:
        """The key columns of the curated table; a table without a key is keyed by the row itself and its occurrence."""
        if self.contract:
            return self.contract.key
        return tuple(_generic_name(name) for name in self.key) or ("record_hash", "occurrence")

    @property
    def columns(self) -> tuple[ContractColumn, ...]:
        """The columns of the contract, each with how its mapping has it; none without a contract."""
        if not self.contract:
            return ()
        return self.mapping.read(self.contract) if self.mapping else self.contract.columns

    @property
    def records(self) -> Kind | None:
        """The kind of records that the rows are, where the raw table's are messages."""
        return self.mapping.source.records if self.mapping else None

    @property
    def is_plain(self) -> bool:
        """Whether every newest raw row with a whole key is one curated row."""
        return self.mapping is None or (self.mapping.one_to_one and not self.mapping.place and not self.mapping.skip)

    @property
    def versions(self) -> bool:
        """Whether every version of a row is a row of its own, which none replaces and a tombstone does not take away."""
        return self.mapping is not None and self.mapping.source.rows == "versions"

    @property
    def code_version(self) -> str:
        """What the rows depend on besides their inputs."""
        version = f"{CODE_VERSION}.{self.contract.version if self.contract else 'generic'}"
        if self.mapping and not self.mapping.is_own:
            version = f"{version}.{self.mapping.version}"
        return f"{version}.{PARSER_VERSION}" if self.records else version


@functools.lru_cache(maxsize=4096)
def curated(raw_schema: pa.Schema, curation: Curation, relation: str = "raw") -> Query:
    """Return the curated rows as a query over `relation`, which has `raw_schema` and the columns of its batches."""
    import ibis

    raw = raw_table(raw_schema, relation)
    mapping = curation.mapping
    if mapping and mapping.split:
        raw = unpacked(raw, mapping.split)
    elif mapping and mapping.slots:
        raw = turned(raw, mapping.slots, curation.key)
    conditions = accepted(raw, curation)
    keyed = raw.filter(conditions) if conditions else raw
    read, business = modelled(keyed, curation.columns, curation.source) if curation.contract else (keyed, _generic(keyed))
    gone = _gone(read, curation)
    meta = {
        "tenant_id": read[TENANT],
        "source_system": ibis.literal(curation.source),
        "connection_id": ibis.literal(curation.source),
        "source_pk": joined([read[name] for name in curation.key]) if curation.key else ibis.null("string"),
        "source_updated_at": _version(read, curation.cursor),
        "ingested_at": read[INGESTED],
        "batch_id": read[BATCH],
        "record_hash": joined(list(business.values())).hexdigest("md5"),
        "is_deleted": gone | read[ABSENT] if ABSENT in read.columns else gone,
    }
    columns = {**business, **{name: meta[name] for name in META if name not in business}}
    versioned = [*curation.key, *([mapping.place] if mapping and mapping.place else [])]
    # What messages say besides of which statement is the newer: a batch of them is one row of the store, written at one instant.
    placed = {f"__{name}": read[name] for name in ("sent_at", "record")} if curation.records else {}
    rows = read.select(**columns, **placed, **{f"__key{position}": read[name] for position, name in enumerate(versioned)})
    if not curation.key:
        # Not as a filter alone, which is QUALIFY: Spark has none, and sqlglot's way around it loses the names.
        last = rows.mutate(__newest=rows.batch_id.max().over(ibis.window()))
        last = last.filter(last.batch_id == last["__newest"]).drop("__newest")
        return Query(last.mutate(occurrence=ibis.row_number().over(ibis.window(group_by="record_hash", order_by="record_hash"))))
    if not curation.versions:
        rows = newest(rows, [f"__key{position}" for position in range(len(versioned))], placed)
    if mapping and (curation.versions or not mapping.one_to_one):
        rows = newest(rows, list(curation.curated_key), placed)
    return Query(rows.select(list(columns)))


def raw_table(schema: pa.Schema, relation: str = "raw") -> ir.Table:
    """Return the relation of raw rows: its schema, and the columns of the batches."""
    import ibis

    return ibis.table(ibis.schema({**dict(ibis.Schema.from_pyarrow(schema).items()), **_BESIDE}), name=relation)


def newest(rows: ir.Table, keys: list[str], placed: Iterable[str] = ()) -> ir.Table:
    """Return the newest version of each key of curated rows: of the same instant, that which comes last by the columns `placed`.

    Of two messages that tell the same of one order it is always the same one.
    """
    import ibis

    order = [ibis.desc(name) for name in ("source_updated_at", *placed, "batch_id", "record_hash", "source_pk")]
    ranked = rows.mutate(__rank=ibis.row_number().over(ibis.window(group_by=keys, order_by=order)))
    return ranked.filter(ranked["__rank"] == 0).drop("__rank")


def accepted(raw: ir.Table, curation: Curation) -> list[ir.BooleanValue]:
    """Return what makes a raw row a version of something: a whole key, at the source and curated, and no code that the mapping skips."""
    import ibis

    conditions = [raw[name].notnull() for name in curation.key]
    if curation.is_plain or not (curation.contract and curation.mapping):
        return conditions
    columns = {column.name: column for column in curation.columns}
    conditions += [
        column_of(raw, columns[name], [], curation.source).notnull() for name in curation.contract.key if columns[name].parse != "version"
    ]
    skipped = (raw[name].cast("string").isin(list(codes)) for name, codes in curation.mapping.skip if name in raw.columns)
    return conditions + [~ibis.coalesce(each, False) for each in skipped]


@functools.cache
def contract_schema(contract: Contract) -> pa.Schema:
    """Return the schema of a curated table as its contract makes it, whatever the source holds."""
    import pyarrow as pa

    columns = {column.name: types.arrow(column.type) for column in contract.columns}
    meta = {name: pa.string() for name in META} | {
        "source_updated_at": pa.timestamp("us"),
        "ingested_at": pa.timestamp("us"),
        "is_deleted": pa.bool_(),
    }
    return pa.schema(list(columns.items()) + [(name, kind) for name, kind in meta.items() if name not in columns])


def _version(raw: ir.Table, cursor: str | None) -> ir.TimestampValue:
    import ibis

    its = raw[INGESTED]
    if cursor is not None and cursor in raw.columns:
        its = ibis.coalesce(read_as(raw[cursor], ibis.dtype("timestamp(6)")), its)
    return ibis.greatest(its, ibis.coalesce(raw[GONE], its))


def _gone(raw: ir.Table, curation: Curation) -> ir.BooleanValue:
    """Whether a row is a tombstone; a row that a contract does not mean (`only`) is one as well, since it may have meant an older version of it."""
    import ibis

    if curation.versions:
        return ibis.literal(False)
    gone = raw[GONE].notnull()
    only = curation.mapping.source.only if curation.mapping else None
    return gone | ~flag(raw[only].cast("string")).fill_null(False) if only in raw.columns else gone


def _generic(raw: ir.Table) -> dict[str, ir.Value]:
    return {_generic_name(name): raw[name] for name in raw.columns if name not in _BESIDE}


def _generic_name(name: str) -> str:
    """A source column that is called as one of ours keeps its value under another name, which is no other column's either."""
    return f"source_{name}" if _OURS.fullmatch(name) else name
