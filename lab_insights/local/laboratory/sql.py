"""The relational writer: schemas and tables, and a tenant's changes in bulk, on MySQL, MariaDB and PostgreSQL alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa

from lab_insights.errors import StackError
from lab_insights.local.laboratory.schema import DISCRIMINATOR, ServerDialect, Table
from lab_insights.local.laboratory.tenancy import Placement, Relational
from lab_insights.local.laboratory.timeline import Change

_ZERO_DATE = "0000-00-00"


@contextmanager
def connected(source: Relational, url: str) -> Iterator[tuple[sa.Connection, ServerDialect]]:
    """Give a connection with one transaction, in UTC and, on MySQL, strict but with zero dates allowed."""
    parsed = sa.make_url(url)
    dialect: ServerDialect = "postgresql" if parsed.get_backend_name() == "postgresql" else "mysql"
    session = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'"
    options = {"init_command": session, "charset": "utf8mb4"} if dialect == "mysql" else {"options": "-c timezone=UTC"}
    engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=options, hide_parameters=True)
    try:
        connection = engine.connect()
    except sa.exc.OperationalError as error:
        raise StackError(
            f"The {dialect} server of source {source} at {parsed.host}:{parsed.port} does not take the connection.",
            remedy="start it, or name another one with its environment variable.",
        ) from error
    with connection, connection.begin():
        yield connection, dialect


def write(connection: sa.Connection, tables: Mapping[str, Table], place: Placement, changes: Iterable[Change]) -> None:
    """Write one chunk of changes of one source, a multi-row statement for each table and kind of change."""
    batches: dict[tuple[str, str, tuple[str, ...]], list[Change]] = defaultdict(list)
    for change in changes:
        batches[change.table, change.operation, tuple(change.values)].append(change)
    for (name, operation, columns), batch in batches.items():
        table = tables[name]
        target = sa.table(
            place.prefix + name,
            *(sa.column(column) for column in dict.fromkeys((DISCRIMINATOR, *table.key, *columns))),
            schema=place.schema,
        )
        if operation == "insert":
            blank = table.of_type("zerodate") if connection.dialect.name == "postgresql" else ()
            connection.execute(sa.insert(target), [_inserted(change.values, place, blank) for change in batch])
            continue
        keys = table.key if place.discriminator is None else (DISCRIMINATOR, *table.key)
        which = sa.and_(*(target.c[key] == sa.bindparam(f"key_{key}") for key in keys))
        found = [{f"key_{key}": value for key, value in _key(change, table, place)} for change in batch]
        if operation == "delete":
            connection.execute(sa.delete(target).where(which), found)
            continue
        news = sa.update(target).where(which).values({column: sa.bindparam(f"new_{column}") for column in columns})
        parameters = [
            {**key, **{f"new_{column}": value for column, value in change.values.items()}} for key, change in zip(found, batch, strict=True)
        ]
        connection.execute(news, parameters)


def schemas(connection: sa.Connection) -> set[str]:
    """Return the names of the schemas on the server."""
    rows = connection.execute(sa.text("SELECT schema_name FROM information_schema.schemata"))
    return {cast("str", row[0]) for row in rows}


def _inserted(values: Mapping[str, Any], place: Placement, blank: tuple[str, ...]) -> dict[str, Any]:
    row = dict(values) if place.discriminator is None else {DISCRIMINATOR: place.discriminator, **values}
    for column in blank:
        if row[column] == _ZERO_DATE:
            row[column] = None
    return row


def _key(change: Change, table: Table, place: Placement) -> Iterator[tuple[str, Any]]:
    if place.discriminator is not None:
        yield DISCRIMINATOR, place.discriminator
    for column in table.key:
        yield column, change.first[column]
