"""Key ranges: a table's rows cut into parts that readers take side by side, each row in exactly one of them.

The cuts come from the server and are compared by the server, in the key's own type and collation: `k < cut` and `k >= cut` share no row and leave none
out, however `k` is ordered and wherever the cut lies. A key that may be null has one part more, for the rows that no comparison holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lab_insights.config import Engine

if TYPE_CHECKING:
    import sqlalchemy as sa

    from lab_insights.extract.catalog import Column, SourceTable

Bound = tuple[str, ...]


class Within(Protocol):
    """Which of a table's rows are read."""

    def condition(self, table: SourceTable, relation: Any) -> sa.ColumnElement[bool]:
        """Return the condition that a row of `relation`, which is `table` under any alias, satisfies when it is read."""
        ...


_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")
# Types whose values the server takes back as a literal of its own text. Not FLOAT, BIT or ENUM, whose text sorts or compares otherwise.
_CUTTABLE: dict[Engine, tuple[str, ...]] = {
    "mysql": (*_INTEGERS, "decimal", "char", "varchar", "binary", "varbinary", "date", "datetime", "timestamp"),
    "postgresql": (*_INTEGERS, "numeric", "text", "varchar", "char", "uuid", "date", "timestamp", "bytea", "inet"),
}
# Integers that fill at least this share of the span between the first and the last are cut by arithmetic, without walking the key.
_DENSE = 0.25


@dataclass(frozen=True)
class KeyRange:
    """The rows whose key is at or above `low` and below `high`; None is open. With `nulls`, those of which a part of the key is null.

    Bounds are the server's text of each key column's value (binary ones in hexadecimal), so that a range can be pickled, and kept as JSON.
    """

    columns: tuple[str, ...]
    low: Bound | None = None
    high: Bound | None = None
    nulls: bool = False

    def condition(self, table: SourceTable, relation: Any) -> sa.ColumnElement[bool]:
        """Return the condition that a row of `relation`, which is `table` under any alias, satisfies when it is in this range."""
        import sqlalchemy as sa

        nullable = [relation.c[name].is_(None) for name in self.columns if _named(table, name).nullable]
        if self.nulls:
            return sa.or_(sa.false(), *nullable)
        held: list[sa.ColumnElement[bool]] = [sa.not_(each) for each in nullable]
        if self.low is not None:
            held.append(_beyond(table, relation, self.columns, self.low, below=False))
        if self.high is not None:
            held.append(_beyond(table, relation, self.columns, self.high, below=True))
        return sa.and_(sa.true(), *held)


def _beyond(table: SourceTable, relation: Any, columns: Sequence[str], bound: Bound, *, below: bool) -> sa.ColumnElement[bool]:
    """`(a, b) < bound`, or its opposite, spelled out: MariaDB uses no index for a comparison of rows."""
    import sqlalchemy as sa

    *leading, last = zip(columns, bound, strict=True)
    final = relation.c[last[0]], _literal(table, *last)
    condition: sa.ColumnElement[bool] = final[0] < final[1] if below else final[0] >= final[1]
    for name, text in reversed(leading):
        column, value = relation.c[name], _literal(table, name, text)
        condition = sa.or_(column < value if below else column > value, sa.and_(column == value, condition))
    return condition


def _literal(table: SourceTable, name: str, text: str) -> sa.ColumnElement[Any]:
    """The value of a key column, as its server compares it: on PostgreSQL a text of no type takes the column's."""
    import decimal

    import sqlalchemy as sa

    kind = _kind(table, name)
    if kind in _INTEGERS:
        return sa.literal(int(text), sa.BigInteger())
    if kind == "decimal":
        return sa.literal(decimal.Decimal(text), sa.Numeric())
    if kind in {"binary", "varbinary"}:
        return sa.func.unhex(sa.literal(text, sa.String()))
    return sa.literal(text, sa.String())


def _named(table: SourceTable, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise KeyError(name)
    return column


def _kind(table: SourceTable, name: str) -> str:
    """Return a column's type without its length, character set or zone; a list's is none of those above."""
    kind = _named(table, name).type
    return kind if kind.endswith("]") else re.split(r"[ (]", kind, maxsplit=1)[0]


def cut(
    connection: sa.Connection, table: SourceTable, key: tuple[str, ...], wanted: int, relation: Any, where: Sequence[Any]
) -> list[KeyRange]:
    """Return at most `wanted` ranges of about as many rows each, the one of nulls where the key may be null among them; one of all rows if it can not be cut.

    A key can be cut when an index leads with it, since every reader would scan the whole table otherwise, and when its types have an order that the
    server's own text gives back. `where` are the conditions of `relation`, which is the table, that all rows satisfy, such as the tenant's discriminator.
    """
    whole = [KeyRange(key)]
    led = key[:1] == table.key[:1] or (key and key[0] in table.indexed)
    if wanted < 2 or not key or not led or not all(_kind(table, name) in _CUTTABLE[table.engine] for name in key):
        return whole
    nulls = [KeyRange(key, nulls=True)] if any(_named(table, name).nullable for name in key) else []
    bounds = _bounds(connection, table, key, wanted - len(nulls), relation, where)
    return [*(KeyRange(key, low, high) for low, high in zip([None, *bounds], [*bounds, None], strict=True)), *nulls]


def _bounds(
    connection: sa.Connection, table: SourceTable, key: tuple[str, ...], wanted: int, relation: Any, where: Sequence[Any]
) -> list[Bound]:
    import sqlalchemy as sa

    columns = [relation.c[name] for name in key]
    there = [*where, *(column.is_not(None) for column in columns if _named(table, column.name).nullable)]
    rows = connection.scalar(sa.select(sa.func.count()).select_from(relation).where(*there)) or 0
    if rows and len(key) == 1 and _kind(table, key[0]) in _INTEGERS:
        first, last = connection.execute(sa.select(sa.func.min(columns[0]), sa.func.max(columns[0])).where(*there)).one()
        span = last - first + 1
        if rows >= span * _DENSE:
            return [(str(at),) for at in sorted({first + span * number // wanted for number in range(1, wanted)} - {first})]
    # Along the index, a step of rows at a time: all steps together read the index once.
    step, bounds = max(rows // wanted, 1), list[Bound]()
    texts = [_text(table, column) for column in columns]
    while len(bounds) < wanted - 1:
        after = [_beyond(table, relation, key, bounds[-1], below=False)] if bounds else []
        found = connection.execute(sa.select(*texts).where(*there, *after).order_by(*columns).offset(step).limit(1)).first()
        if found is None or (bounds and tuple(found) == bounds[-1]):
            break
        bounds.append(tuple(found))
    return bounds


def _text(table: SourceTable, column: Any) -> sa.ColumnElement[str]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    if table.engine == "postgresql":
        return sa.cast(column, sa.Text)
    return sa.func.hex(column) if _kind(table, column.name) in {"binary", "varbinary"} else sa.cast(column, mysql.CHAR)
