"""Curation: the rows of a day's raw batches → the newest version per key, typed and named by contract, or generically where there is none.

Every expression reads one table, `raw`: the rows of the day's live batches with `__batch` (the batch they came with), `__ingested_at`, `__tenant` and
`__gone_at`, which is null but for tombstones: those are a version of their key as of that instant.
A row whose declared key is null in part is no version of anything: it stays in raw, and is counted as excluded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.lab import types
from lab_insights.lab.contracts import Contract, ContractColumn
from lab_insights.lab.engine import Query
from lab_insights.lab.records import PARSER_VERSION, Kind

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
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
CODE_VERSION = "2"
_OURS = re.compile(rf"(source_)*({'|'.join((*META, 'occurrence'))})", re.IGNORECASE)


@dataclass(frozen=True)
class Curation:
    """What is needed to curate one raw table, whichever tenant's. `key` are the raw key columns, `cursor` the raw column that orders versions."""

    source: str
    key: tuple[str, ...]
    cursor: str | None
    contract: Contract | None = None

    @property
    def curated_key(self) -> tuple[str, ...]:
        """The key columns of the curated table; a table without a key is keyed by the row itself and its occurrence."""
        if self.contract:
            return self.contract.key
        return tuple(_generic_name(name) for name in self.key) or ("record_hash", "occurrence")

    @property
    def records(self) -> Kind | None:
        """The kind of records that the rows are, where the raw table's are messages."""
        return self.contract.source.records if self.contract else None

    @property
    def code_version(self) -> str:
        """What the rows depend on besides their inputs."""
        version = f"{CODE_VERSION}.{self.contract.version if self.contract else 'generic'}"
        return f"{version}.{PARSER_VERSION}" if self.records else version


@functools.lru_cache(maxsize=4096)
def curated(raw_schema: pa.Schema, curation: Curation) -> Query:
    """Return the curated rows as a query over `raw`, which has `raw_schema` and the columns of its batches."""
    import ibis

    raw = ibis.table(
        ibis.schema({**dict(ibis.Schema.from_pyarrow(raw_schema).items()), **_BESIDE}),
        name="raw",
    )
    business = _modelled(raw, curation.contract) if curation.contract else _generic(raw)
    meta = {
        "tenant_id": raw[TENANT],
        "source_system": ibis.literal(curation.source),
        "connection_id": ibis.literal(curation.source),
        "source_pk": joined([raw[name] for name in curation.key]) if curation.key else ibis.null("string"),
        "source_updated_at": _version(raw, curation.cursor),
        "ingested_at": raw[INGESTED],
        "batch_id": raw[BATCH],
        "record_hash": joined(list(business.values())).hexdigest("md5"),
        "is_deleted": raw[GONE].notnull(),
    }
    columns = {**business, **{name: meta[name] for name in META if name not in business}}
    keyed = raw.filter([raw[name].notnull() for name in curation.key]) if curation.key else raw
    rows = keyed.select(**columns, **{f"__key{position}": raw[name] for position, name in enumerate(curation.key)})
    if not curation.key:
        # Not as a filter alone, which is QUALIFY: Spark has none, and sqlglot's way around it loses the names.
        newest = rows.mutate(__newest=rows.batch_id.max().over(ibis.window()))
        newest = newest.filter(newest.batch_id == newest["__newest"]).drop("__newest")
        return Query(newest.mutate(occurrence=ibis.row_number().over(ibis.window(group_by="record_hash", order_by="record_hash"))))
    keys = [f"__key{position}" for position in range(len(curation.key))]
    order = [ibis.desc("source_updated_at"), ibis.desc("batch_id"), ibis.desc("record_hash")]
    ranked = rows.mutate(__rank=ibis.row_number().over(ibis.window(group_by=keys, order_by=order)))
    return Query(ranked.filter(ranked["__rank"] == 0).select(list(columns)))


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
        its = ibis.coalesce(_read(raw[cursor], ibis.dtype("timestamp(6)")), its)
    return ibis.greatest(its, ibis.coalesce(raw[GONE], its))


def _modelled(raw: ir.Table, contract: Contract) -> dict[str, ir.Value]:
    return {column.name: _column(raw, column) for column in contract.columns}


def _column(raw: ir.Table, column: ContractColumn) -> ir.Value:
    import ibis

    wanted = ibis.dtype(types.arrow(column.type)) if column.type != "timestamp" else ibis.dtype("timestamp(6)")
    if column.source not in raw.columns:
        return ibis.null(wanted)
    value = raw[column.source]
    if column.parse == "number":
        text = value.cast("string").strip()
        value = text.re_search(r"^[+-]?[0-9]+([.][0-9]+)?$").ifelse(text, ibis.null("string"))
    if column.values:
        value = value.cast("string").cases(*column.values, else_=ibis.null("string"))
    if wanted.is_boolean() and value.type().is_string():
        value = value.lower().isin(["1", "true", "t", "y", "yes"]).ifelse(True, value.isnull().ifelse(ibis.null("boolean"), False))
    return value if value.type().copy(nullable=True) == wanted else _read(value, wanted)


def _read(value: ir.Value, wanted: dt.DataType) -> ir.Value:
    """Return a value in another type, null where it is none of it. `infinity` is an instant to DuckDB, and a year of five digits, and to nobody after it."""
    import ibis

    read = value.try_cast(wanted)
    if value.type().is_string() and (wanted.is_timestamp() or wanted.is_date()):
        return value.re_search(r"^\s*[0-9]{4}-[^(]*$").ifelse(read, ibis.null(wanted))
    return read


def _generic(raw: ir.Table) -> dict[str, ir.Value]:
    return {_generic_name(name): raw[name] for name in raw.columns if name not in _BESIDE}


def _generic_name(name: str) -> str:
    """A source column that is called as one of ours keeps its value under another name, which is no other column's either."""
    return f"source_{name}" if _OURS.fullmatch(name) else name


def joined(values: list[ir.Value]) -> ir.StringValue:
    """Return one text for several values, each led by its length, so that null differs from empty and no two rows look alike."""
    import ibis

    texts = []
    for value in values:
        text = as_text(value)
        texts.append(ibis.coalesce(text.length().cast("string") + ibis.literal(":") + text, ibis.literal("-")))
    # One call of many arguments: a sum of sums is as deep as a table is wide, and the compiler gives up at a few hundred columns.
    return ibis.literal("").join(texts)


def as_text(value: ir.Value) -> ir.StringValue:
    """Return a value as text that both engines write alike; binary in hexadecimal."""
    if value.type().is_string():
        return value
    return _hex()(value) if value.type().is_binary() else value.cast("string")


@functools.cache
def _hex() -> Callable[[ir.Value], ir.StringValue]:
    import ibis

    @ibis.udf.scalar.builtin(name="hex", signature=(("binary",), "string"))  # type: ignore[untyped-decorator]
    def hexadecimal(value: bytes) -> str: ...  # type: ignore[empty-body]

    return hexadecimal  # type: ignore[no-any-return]
