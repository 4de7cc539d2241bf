"""The third link of `verify`: a tenant's tables in the warehouse equal the lake, and every live day is in the ledger.

Live rows are compared in count and checksum over all columns; tombstones newer than the newest snapshot by key and
version (older ones are only in the warehouse, since a state begins with its snapshot). When all is well a tenant costs
four statements and one more for every fifty tables.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from lab_insights.lake.checksum import Columns, checksum_sql, row_hash_sql, row_text
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import manifests, state
from lab_insights.names import TenantId, quoted
from lab_insights.warehouse import schema_sync
from lab_insights.warehouse.catalog import read_catalog
from lab_insights.warehouse.expected import DAY, expected, tombstones_after
from lab_insights.warehouse.names import identifier, table
from lab_insights.warehouse.provision import LAYERS, use
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Rename, Shape, shape
from lab_insights.warehouse.types import ColumnType

if TYPE_CHECKING:
    import duckdb

LINK = "lake → warehouse"
# Tables in one statement.
TOGETHER = 50
# Keys that a finding names, and buckets of keys that are looked into for them.
NAMED = 5
LIVE, DEAD = 'NOT "IS_DELETED"', '"IS_DELETED"'


@dataclass(frozen=True)
class Finding:
    """One answer of `verify`: a table (`layer/table`), and the day where one is known.

    `message` holds counts, and hashes of keys by a secret that nobody keeps, never values.
    """

    link: str
    tenant: TenantId
    table: str
    day: date | None
    ok: bool
    message: str


@dataclass(frozen=True)
class _Table:
    """One table that is there on both sides."""

    layer: Layer
    name: str
    batches: tuple[Manifest, ...]
    its: Shape
    columns: Mapping[str, ColumnType]
    renames: Sequence[Rename] = ()

    @property
    def label(self) -> str:
        return f"{self.layer}/{self.name}"

    def typed(self, names: Sequence[str] | None = None) -> Columns:
        chosen = sorted(self.columns) if names is None else names
        return [(name, self.columns[name].arrow) for name in chosen]

    @property
    def key(self) -> Columns:
        return self.typed(self.its.key)

    def dead(self) -> str:
        after, when = tombstones_after(self.batches), self.its.version[0]
        return f"{DEAD} AND {identifier(when)} > CAST('{after}' AS {self.columns[when].duckdb})" if after else DEAD


def reconcile(session: Session, lake: Lake, tenant: TenantId) -> list[Finding]:
    """Return one finding for each table of the tenant that equals the lake, and at least one for each that does not."""
    use(session, tenant)
    rows = session.execute("SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID FROM OPS.LEDGER")
    loaded = {(str(layer), str(name), str(day), str(batch)) for layer, name, day, batch in rows}
    found: list[Finding] = []
    latest: dict[tuple[Layer, str], date] = {}
    for layer in LAYERS:
        for name in lake.state.tables(layer, tenant):
            batches = manifests(lake, layer, tenant, name)
            absent = [batch for batch in batches if (layer, name, str(batch.day), batch.batch_id) not in loaded]
            found += [_absent(tenant, batch) for batch in absent]
            days = [batch.day for batch in batches if batch not in absent]
            if days:
                latest[layer, name] = max(days)
    return found + _compare_all(session, lake, tenant, latest)


def _absent(tenant: TenantId, batch: Manifest) -> Finding:
    message = f"batch {batch.batch_id} ({batch.rows} rows) is not in the warehouse; materialize snowflake for this day"
    return Finding(LINK, tenant, f"{batch.layer}/{batch.table}", batch.day, ok=False, message=message)


def _compare_all(session: Session, lake: Lake, tenant: TenantId, latest: Mapping[tuple[Layer, str], date]) -> list[Finding]:
    catalog = read_catalog(session, (schema_sync.located(layer, name) for layer, name in latest))
    tables: list[_Table] = []
    found: list[Finding] = []
    for (layer, name), day in latest.items():
        batches = state(lake, layer, tenant, name, day).manifests
        located = schema_sync.located(layer, name)
        if columns := catalog.columns.get(located):
            renames = catalog.renames.get(located, ())
            tables.append(_Table(layer, name, batches, shape(batches[-1], renames), columns, renames))
        else:  # nothing but empty days so far, or somebody dropped it
            rows = sum(batch.rows for batch in batches)
            message = f"the table does not exist; the lake has {rows} rows" if rows else "no rows yet"
            found.append(Finding(LINK, tenant, f"{layer}/{name}", None, ok=rows == 0, message=message))
    for start in range(0, len(tables), TOGETHER):
        some = tables[start : start + TOGETHER]
        held = {row[0]: row[1:] for row in session.execute(" UNION ALL ".join(_summary(each) for each in some))}
        for each in some:
            found += _compare(session, lake, tenant, each, held[each.label])
    return found


def _summary(each: _Table) -> str:
    """One row: label, live rows and checksum, tombstones and their checksum."""
    target = table(each.layer, each.name)
    live = checksum_sql(each.typed(), target, "snowflake", LIVE)
    dead = checksum_sql(_marks(each), target, "snowflake", each.dead())
    label = each.label.replace("'", "''")
    both = f"({live}) AS L CROSS JOIN ({dead}) AS D"
    return f"SELECT '{label}' AS T, L.N AS LN, L.CHECKSUM AS LC, D.N AS DN, D.CHECKSUM AS DC FROM {both}"


def _marks(each: _Table) -> Columns:
    return [*each.key, *each.typed(each.its.version[:1])]


def _compare(session: Session, lake: Lake, tenant: TenantId, each: _Table, held: Sequence[Any]) -> list[Finding]:
    with expected(lake.storage, each.batches, each.columns, each.renames) as duck:
        wanted = [
            *duck.execute(checksum_sql(each.typed(), "expected", "duckdb", LIVE)).fetchall()[0],
            *duck.execute(checksum_sql(_marks(each), "expected", "duckdb", each.dead())).fetchall()[0],
        ]
        counts = f"{wanted[0]} live rows and {wanted[2]} tombstones"
        if list(held) == wanted:
            return [Finding(LINK, tenant, each.label, None, ok=True, message=counts)]
        message = f"the lake has {counts}, the warehouse {held[0]} and {held[2]}"
        # of this answer alone: whoever has a list of record numbers could find them by any hash that can be made again
        where = _differences(session, duck, each, secrets.token_hex(32))
    return [Finding(LINK, tenant, each.label, day, ok=False, message=f"{message}; {what}") for day, what in where] or [
        Finding(LINK, tenant, each.label, None, ok=False, message=message)
    ]


def _differences(session: Session, duck: duckdb.DuckDBPyConnection, each: _Table, secret: str) -> list[tuple[date | None, str]]:
    """Return up to `NAMED` keys that differ: the day of the lake's version, the hash of the key, and how it differs."""
    target = table(each.layer, each.name)
    found: list[tuple[date | None, str]] = []
    for kind, columns, where in (("row", each.typed(), LIVE), ("tombstone", _marks(each), each.dead())):
        here = row_hash_sql(columns, each.key, "expected", "duckdb", where)
        there = row_hash_sql(columns, each.key, target, "snowflake", where)
        ours, theirs = (
            _buckets(rows)
            for rows in (
                duck.execute(_by_bucket(here), [secret]).fetchall(),
                session.execute(_by_bucket(there), secret),
            )
        )
        for bucket in sorted(bucket for bucket in ours.keys() | theirs.keys() if ours.get(bucket) != theirs.get(bucket))[:NAMED]:
            inside = "SELECT K, H FROM ({}) AS R WHERE SUBSTR(K, 1, 2) = ?"
            wanted = dict(duck.execute(inside.format(here), [secret, bucket]).fetchall())
            held = {row[0]: row[1] for row in session.execute(inside.format(there), secret, bucket)}
            for key in sorted(key for key in wanted.keys() | held.keys() if wanted.get(key) != held.get(key)):
                what = "missing" if key not in held else "extra" if key not in wanted else "different"
                found.append((_day(duck, each, secret, key), f"{kind} {key[:12]} is {what} in the warehouse"))
    return found[:NAMED]


def _by_bucket(hashes: str) -> str:
    digits = "TRANSLATE(SUBSTR(H, 1, 18), 'abcdef', '012345')"
    return f"SELECT SUBSTR(K, 1, 2), CAST(SUM(CAST({digits} AS DECIMAL(18,0))) AS VARCHAR) FROM ({hashes}) AS R GROUP BY 1"


def _buckets(rows: Sequence[Sequence[Any]]) -> dict[str, str]:
    return {str(bucket): str(checksum) for bucket, checksum in rows}


def _day(duck: duckdb.DuckDBPyConnection, each: _Table, secret: str, key: str) -> date | None:
    found = duck.execute(
        f"SELECT {quoted(DAY, 'duckdb')} FROM expected WHERE MD5(? || {row_text(each.key, 'duckdb')}) = ?",
        [secret, key],
    ).fetchone()
    day: date | None = found[0] if found else None
    return day
