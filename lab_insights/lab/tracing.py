"""Deriving column lineage from what computes a column: Ibis' expressions of curated and wide tables, and the SQL of KPIs.

Value lineage: what a row is chosen, grouped, joined or ordered by is none, and a count of rows has none; a condition inside a value counts, as in
`CASE WHEN status = 'final' …`. `python -m lab_insights.lab.tracing` writes what is found to `lineage.json`; a test fails until somebody does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lab_insights.lab import parsed, records
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT, Curation, curated
from lab_insights.lab.engine import Query
from lab_insights.lab.kpis import INPUTS, REPORTS, Report
from lab_insights.lab.lineage import CACHE, UNDESCRIBED, Origin, raw_asset, source_columns
from lab_insights.lab.mappings import Mapping as SourceMapping
from lab_insights.lab.mappings import mappings
from lab_insights.lab.transform import Wide, transformed
from lab_insights.lab.wide import WIDE_TABLES

if TYPE_CHECKING:
    import ibis.expr.operations as ops
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

Origins = frozenset[Origin]
Traced = dict[str, Origins]
COMMAND = "python -m lab_insights.lab.tracing"
_NONE: Origins = frozenset()
# The row that says which run it is, and what a raw row's batch says of it: no columns of any asset.
_OURS = {"run"}
_STAMPED = {BATCH, INGESTED, TENANT, GONE}


def trace(query: Query) -> Traced:
    """Return the columns of the query's own inputs that each of its columns comes from, as (relation, column)."""
    trail = _Trail()
    node = query.expression.op()
    return {name: trail.column(node, name) for name in node.schema.names}


Given = frozenset[tuple[Any, str, Any]]
"""Columns of relations that are known to be a constant in the rows that are followed: of a union only the parts where they are it count."""


class _Trail:
    """A walk from a column down to the tables that it comes from; every column is walked once."""

    def __init__(self) -> None:
        self._known: dict[tuple[ops.Relation, str, Given], Origins] = {}

    def column(self, relation: ops.Relation, name: str, given: Given = frozenset()) -> Origins:
        key = (relation, name, frozenset(each for each in given if each[0] == relation))
        if key not in self._known:
            self._known[key] = self._column(*key)
        return self._known[key]

    def _column(self, relation: ops.Relation, name: str, given: Given) -> Origins:
        import ibis.expr.operations as ops

        if isinstance(relation, ops.PhysicalTable):
            return frozenset({(relation.name, name)})
        if isinstance(relation, (ops.Set, ops.Reference)):
            inner = (relation.left, relation.right) if isinstance(relation, ops.Set) else (relation.parent,)
            return _NONE.union(*(self.column(each, name, frozenset((each, *rest) for _, *rest in given)) for each in inner))
        known = set[tuple[Any, str, Any]]()
        for _, column, constant in given:
            value = relation.values[column]
            if isinstance(value, ops.Literal) and value.value != constant:
                return _NONE
            if isinstance(value, ops.Field):
                known.add((value.rel, value.name, constant))
        return self._value(relation.values[name], frozenset(known))

    def _value(self, value: Any, given: Given) -> Origins:
        import ibis.expr.operations as ops

        if isinstance(value, ops.Field):
            return self.column(value.rel, value.name, given)
        if isinstance(value, ops.WindowFunction):
            return self._value(value.func, given)
        if isinstance(value, ops.InSubquery):
            return self._value(value.needle, given)
        if isinstance(value, ops.ScalarSubquery):
            return self.column(value.rel, value.rel.schema.names[0])
        if not isinstance(value, ops.Value):
            return _NONE
        beside = {"where", "order_by"} if isinstance(value, ops.Reduction) else set()
        where = getattr(value, "where", None) if beside else None
        if isinstance(where, ops.Equals) and isinstance(where.left, ops.Field) and isinstance(where.right, ops.Literal):
            given = given | {(where.left.rel, where.left.name, where.right.value)}
        parts = [part for name, part in zip(value.__argnames__, value.__args__, strict=True) if name not in beside]
        return _NONE.union(*(self._value(part, given) for part in _values(parts)))


def _values(parts: Iterable[Any]) -> Iterator[Any]:
    """Yield the values among the arguments of an operation, those of tuples and mappings of them too."""
    for part in parts:
        if isinstance(part, Mapping):
            yield from _values(part.values())
        elif isinstance(part, tuple):
            yield from _values(part)
        else:
            yield part


def of_contract(contract: Contract) -> Traced:
    """Return the raw columns that each curated column comes from, in any of the table's sources."""
    found: dict[str, Origins] = {}
    for mapping in mappings()[contract.table]:
        for column, origins in of_mapping(contract, mapping).items():
            found[column] = found.get(column, _NONE) | origins
    return found


def of_mapping(contract: Contract, mapping: SourceMapping) -> Traced:
    """Return the raw columns that each curated column comes from in one source; what is read out of a message comes from its body."""
    import pyarrow as pa

    source, asset = mapping.source, raw_asset(mapping)
    curation = Curation(source.name, source.key, source.cursor, contract, mapping)
    if kind := curation.records:
        stored = {"message_id": parsed.ID, "updated_at": parsed.UPDATED}
        return _renamed(trace(curated(records.schema(kind), curation)), lambda _, name: (asset, stored.get(name, parsed.BODY)))
    beside = [source.cursor, source.only, *(mapping.split.columns if mapping.split else ()), *(name for name, _ in mapping.skip)]
    names = dict.fromkeys([*source_columns(contract, mapping), *source.key, *filter(None, beside)])
    raw = pa.schema([(name, pa.string()) for name in names])
    return _renamed(trace(curated(raw, curation)), lambda _, name: (asset, name))


def of_wide(wide: Wide) -> Traced:
    """Return the curated columns that each column of a wide table comes from."""
    return _renamed(trace(transformed(wide)), lambda relation, name: (f"curated/{relation.removeprefix('state_')}", name))


def of_report(report: Report) -> Traced:
    """Return the warehouse's columns, and those of older KPI tables, that each column of a KPI table comes from."""
    from sqlglot import parse_one
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    taken = {name: INPUTS[name].columns for name in report.inputs}
    taken |= {each.name: {name: column.type for name, column in each.columns.items()} for each in REPORTS if each.name in report.after}
    text = report.select({name: name.upper() for name in taken}, "UTC")
    schema = {name.upper(): {column.upper(): kind for column, kind in columns.items()} for name, columns in taken.items()}
    scope = build_scope(qualify(parse_one(text, dialect="snowflake"), schema=schema, dialect="snowflake", validate_qualify_columns=False))
    if scope is None:
        raise TypeError(f"the KPI table {report.name} is not one SELECT")
    trail = _SqlTrail()
    found = {name: trail.column(scope, place) for place, name in enumerate(report.columns)}
    return _renamed(found, lambda relation, name: _in_warehouse(relation.lower(), name.lower()))


def _in_warehouse(relation: str, name: str) -> Origin:
    if relation not in INPUTS:
        return f"reports/{relation}", name
    table = INPUTS[relation].table
    # Tables that no contract describes are one asset together.
    return (f"snowflake/{UNDESCRIBED}", f"{table}.{name}") if "." in table else (f"snowflake/{table}", name)


class _SqlTrail:
    """The same walk through the scopes of a SELECT. sqlglot's own `lineage` follows what windows are parted and ordered by as well."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Origins] = {}

    def column(self, scope: Scope, place: int) -> Origins:
        key = (id(scope), place)
        if key not in self._known:
            self._known[key] = self._column(scope, place)
        return self._known[key]

    def _column(self, scope: Scope, place: int) -> Origins:
        from sqlglot import exp

        if isinstance(scope.expression, exp.SetOperation):
            return _NONE.union(*(self.column(each, place) for each in scope.union_scopes))
        return self._value(scope, scope.expression.selects[place])

    def _value(self, scope: Scope, value: exp.Expression) -> Origins:
        from sqlglot import exp
        from sqlglot.optimizer.scope import Scope

        if isinstance(value, exp.Window):
            return self._value(scope, value.this)
        if isinstance(value, exp.Query):
            inner = next(each for each in scope.subquery_scopes if each.expression is value.unnest())  # type: ignore[no-untyped-call]
            return self.column(inner, 0)
        if not isinstance(value, exp.Column):
            return _NONE.union(*(self._value(scope, part) for part in value.iter_expressions()))
        source = scope.sources.get(value.table)
        if isinstance(source, Scope):
            return self.column(source, source.expression.named_selects.index(value.name))
        # Constants in VALUES are nobody's columns.
        return frozenset({(source.name, value.name)}) if isinstance(source, exp.Table) else _NONE


def _renamed(found: Traced, name: Callable[[str, str], Origin]) -> Traced:
    """Return what was found by the names of assets; what comes from no table of an asset is left out."""
    traced = {}
    for column, origins in found.items():
        kept = {name(relation, of) for relation, of in origins if relation not in _OURS and of not in _STAMPED}
        if kept:
            traced[column] = frozenset(kept)
    return traced


def traced() -> dict[str, Traced]:
    """Return what `lineage.json` is to hold."""
    return {
        **{f"curated/{name}": of_contract(contract) for name, contract in contracts().items()},
        **{f"transformed/{wide.table}": of_wide(wide) for wide in WIDE_TABLES},
        **{f"reports/{report.name}": of_report(report) for report in REPORTS},
    }


def written() -> str:
    """Return the text of `lineage.json`: a line for each column."""
    assets = []
    for asset, columns in sorted(traced().items()):
        lines = ",\n".join(f"  {json.dumps(column)}: {json.dumps(sorted(origins))}" for column, origins in columns.items())
        assets.append(f" {json.dumps(asset)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(assets) + "\n}\n"


if __name__ == "__main__":
    CACHE.write_text(written())
