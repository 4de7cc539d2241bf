"""The de-identified form of a tenant's modelled tables: `DEIDENTIFIED.<TABLE>`, filled by the same transaction as the table itself.

Beside a table lies its store in the schema PSEUDONYMOUS, which nobody but owner and loader reads: the same rows by the same versions and tombstones, each
column as `governance.deidentify` makes it and called by its rule, such as `"BIRTH_DATE:BIRTH YEAR"`. The view shows the columns of the rules that hold now,
so that a column whose class became stricter is gone at once from the view and from what is shared. It reads no column that a policy masks: those would be
null for whoever reads the view.

Pseudonyms are made here, not in Snowflake: the pairs that one load needs are copied into a stage table of its own, which goes with the load, and so does the
object that brings them: with its version, since the bucket keeps for months what is only deleted.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lab_insights.config import PhiSection
from lab_insights.errors import WarehouseError
from lab_insights.governance.classes import modelled
from lab_insights.governance.deidentify import Kind, Rule, at_most_90, pairs, rule, select, tenant_key
from lab_insights.lake.live import workspace
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import relation as rows_of
from lab_insights.names import TenantId, quoted
from lab_insights.warehouse import sql
from lab_insights.warehouse.names import STORE, identifier, relation
from lab_insights.warehouse.receipt import LoadReceipt
from lab_insights.warehouse.receipt import ledger_row as receipt_row
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Shape
from lab_insights.warehouse.types import TEXT, ColumnType

SCHEMA = "DEIDENTIFIED"
# What the ledger calls this form of a batch.
LAYER = "deidentified"
_TYPES: dict[Rule, ColumnType] = {"pseudonym": TEXT, "year": ColumnType("NUMBER", 4), "birth year": ColumnType("NUMBER", 4), "zip3": TEXT}
_LEFT_BEHIND = timedelta(days=1)
# How many pseudonyms are in memory at once.
_TOGETHER = 100_000


class Pseudonymiser:
    """The de-identified side of one load: `begin` copies the pseudonyms that its batches need, `rows` is the query that makes a batch's rows with them."""

    def __init__(self, session: Session, storage: Storage, tenant: TenantId, key: bytes) -> None:
        self._session, self._storage, self._tenant, self._key = session, storage, tenant, key
        self._pseudonyms = ""

    def rows(self, its: Shape, stage_table: str, year: int) -> str:
        """Return, as a relation, the de-identified rows of a stage table that has the columns of `its`, as of `year`."""
        spelt = {name: quoted(held, "duckdb") for name, held in its.spelling.items()}
        rules = rules_of(its, self._storage.phi)
        made = {identifier(_called(name, by)): (spelt[name], by) for name, by in rules.items()}
        beside = {identifier(name): spelt[name] for name in _beside(its)}
        query = select(made, beside, stage_table, self._pseudonyms, year)
        if "RECORD_HASH" in its.columns:
            # other rules make other rows of the same version
            query = query.replace(f"D.{spelt['RECORD_HASH']} AS", f"D.{spelt['RECORD_HASH']} || ':{digest(rules)}' AS")
        return f"({query}) AS R"

    def begin(self, schema: str, batches: Sequence[tuple[Manifest, Shape]]) -> None:
        """Copy the pseudonyms of `batches` into a table of the stage schema; the object that brings them is gone afterwards."""
        self._pseudonyms = relation(schema, "PSEUDONYMS")
        self._session.execute(f'CREATE TRANSIENT TABLE {self._pseudonyms} ("VALUE" VARCHAR, "PSEUDONYM" VARCHAR)')
        directory = f"tenant={self._tenant}/pseudonyms/"
        for stored in self._storage.stored("curated", directory):
            # of a load that was killed
            if stored.put_at < datetime.now(UTC) - _LEFT_BEHIND:
                self._storage.erase("curated", stored.key)
        key = f"{directory}{uuid.uuid4().hex}.parquet"
        body, count = self._body(batches)
        if not count:
            return
        self._storage.put("curated", key, body)
        try:
            copied = sum(int(row[3]) for copy in sql.copies(self._pseudonyms, "curated", [key]) for row in self._session.execute(copy))
        finally:
            self._storage.erase("curated", key)
        if copied != count:
            raise WarehouseError(f"{copied} pseudonyms were copied of {count}.", remedy="load the partition again.", tenant=self._tenant)

    def _body(self, batches: Sequence[tuple[Manifest, Shape]]) -> tuple[bytes, int]:
        import pyarrow.parquet as pq

        body, count = io.BytesIO(), 0
        with pq.ParquetWriter(body, pairs(self._key, ()).schema, compression="zstd") as writer:
            for values in _cut(self._values(batches)):
                writer.write_table(pairs(self._key, values))
                count += len(values)
        return body.getvalue(), count

    def _values(self, batches: Sequence[tuple[Manifest, Shape]]) -> Iterator[str]:
        selects = []
        with workspace() as connection:
            for number, (manifest, its) in enumerate(batches):
                named = [its.spelling[name] for name, by in rules_of(its, self._storage.phi).items() if by == "pseudonym"]
                if not named or not manifest.parts or not modelled(its.layer, its.table):
                    continue
                connection.register(f"b{number}", rows_of(self._storage, [manifest], manifest.schema_()))
                selects += [f"SELECT {quoted(name, 'duckdb')} AS v FROM b{number}" for name in named]
            if selects:
                cursor = connection.execute(f"SELECT DISTINCT v FROM ({' UNION ALL '.join(selects)}) WHERE v IS NOT NULL")
                for batch in cursor.to_arrow_reader(_TOGETHER):
                    yield from batch.column(0).to_pylist()


def pseudonymiser(session: Session, storage: Storage, tenant: TenantId) -> Pseudonymiser | None:
    """Return what de-identifies a tenant's loads, None where the deployment has no key for pseudonyms."""
    key = tenant_key(storage.phi, storage.aws, tenant)
    return Pseudonymiser(session, storage, tenant, key) if key else None


def rules_of(its: Shape, phi: PhiSection) -> dict[str, Rule]:
    """Return the rule of each column of a batch, by its name in the warehouse; what is left out has none.

    A text of the key that no rule keeps is a pseudonym all the same, since rows are found by it; views do not show it.
    """
    found = {name: rule(its.layer, its.table, its.spelling[name], _kind(kind), phi) for name, kind in its.columns.items()}
    found |= {name: "pseudonym" for name in its.key if not found.get(name) and its.columns[name].kind == "VARCHAR"}
    return {name: by for name, by in found.items() if by and its.columns[name].kind != "TIME"}


def store_shape(its: Shape, phi: PhiSection) -> Shape | None:
    """Return the shape of a batch's de-identified rows, None for a table that no contract describes."""
    if not modelled(its.layer, its.table):
        return None
    made = rules_of(its, phi)
    columns = {_called(name, by): _TYPES.get(by, its.columns[name]) for name, by in made.items()}
    columns |= {name: its.columns[name] for name in _beside(its)}
    key = tuple(_called(name, made[name]) for name in its.key if name in made)
    if len(key) < len(its.key):
        raise WarehouseError("The key of this table can not be de-identified.", remedy="classify it in the contract.", table=its.table)
    return replace(its, names={name: name for name in columns}, columns=columns, key=key, also={}, schema=STORE)


def shown(columns: Mapping[str, ColumnType], its: Shape, phi: PhiSection) -> dict[str, str]:
    """Return the columns of a store of `columns` that rules still make as they are there, by the name under which they are shown."""
    found = {}
    for column, kind in columns.items():
        base, _, by = column.rpartition(":")
        was = "date" if by.endswith("YEAR") else _kind(kind)
        if base and (now := rule(its.layer, its.table, base, was, phi)) and now.upper() == by:
            found[base] = column
    return found


def view(name: str, columns: Mapping[str, ColumnType], its: Shape, phi: PhiSection) -> str:
    """Return the statement that makes the view of a store of `columns`."""
    listed = []
    for base, column in shown(columns, its, phi).items():
        value = at_most_90(identifier(column), "YEAR(CURRENT_DATE())") if column.endswith(":BIRTH YEAR") else identifier(column)
        listed.append(f"{value} AS {identifier(base)}")
    return (
        f"CREATE OR REPLACE SECURE VIEW {relation(SCHEMA, name)} COPY GRANTS AS SELECT {', '.join(listed)} "
        f'FROM {relation(STORE, name)} WHERE NOT "IS_DELETED"'
    )


def ledger_row(receipt: LoadReceipt, manifest: Manifest, its: Shape, phi: PhiSection, run_id: str) -> tuple[str | int | None, ...]:
    """Return the ledger's values of a batch in the de-identified form: its checksum is the digest of the rules that made it."""
    _, *of, kind, staged, inserted, updated, tombstoned, _, run = receipt_row(receipt, manifest, run_id)
    return (LAYER, *of, kind, staged, inserted, updated, tombstoned, digest(rules_of(its, phi)), run)


def missing(session: Session, batches: Sequence[tuple[Manifest, Shape]], phi: PhiSection) -> list[Manifest]:
    """Return the batches of modelled tables that the warehouse holds, and their de-identified form does not, or made by other rules."""
    rows = session.execute("SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID, CHECKSUM FROM OPS.LEDGER ORDER BY LOADED_AT")
    held = {(layer, name, day, batch): checksum for layer, name, day, batch, checksum in rows}
    found = []
    for manifest, its in batches:
        entry = (manifest.layer, manifest.table, str(manifest.day), manifest.batch_id)
        loaded = manifest.parts and modelled(its.layer, its.table) and entry in held
        if loaded and held.get((LAYER, *entry[1:])) != digest(rules_of(its, phi)):
            found.append(manifest)
    return found


def digest(rules: Mapping[str, Rule]) -> str:
    """Return what tells one set of rules from another."""
    return hashlib.sha256(repr(sorted(rules.items())).encode()).hexdigest()[:8]


def _called(name: str, by: Rule) -> str:
    return f"{name}:{by.upper()}"


def _kind(kind: ColumnType) -> Kind:
    return "date" if kind.kind in {"DATE", "TIMESTAMP_NTZ"} else "text" if kind.kind == "VARCHAR" else "other"


def _beside(its: Shape) -> list[str]:
    """What orders versions and hides tombstones: columns of the store that its view does not show."""
    return [*its.version, "IS_DELETED", *(["RECORD_HASH"] if "RECORD_HASH" in its.columns else [])]


def _cut(values: Iterator[str]) -> Iterator[list[str]]:
    while some := list(itertools.islice(values, _TOGETHER)):
        yield some
