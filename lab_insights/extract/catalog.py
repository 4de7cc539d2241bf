"""What a source holds for a tenant: tables, columns, keys, indexes and size, read by inspection."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.config import Engine, Source
from lab_insights.errors import SourceError
from lab_insights.extract import databases, stamps
from lab_insights.extract.databases import Placement, place
from lab_insights.names import TenantId, slug
from lab_insights.tenants.registry import Tenant

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.engine.interfaces import ReflectedColumn


@dataclass(frozen=True)
class Column:
    """A source column; `type` is the source's own type as its dialect spells it, `reflected` SQLAlchemy's type object."""

    name: str
    type: str
    nullable: bool
    reflected: Any = None
    touched: bool = False
    """Whether the server itself moves the value on every update (`ON UPDATE CURRENT_TIMESTAMP`)."""
    comment: str | None = None
    triggered: bool = False
    """Whether a trigger that the login may see sets the value before a row is updated; on what condition is not known."""
    born: bool = False
    """Whether the server itself sets the value when a row is inserted: by a default that is now, or by a trigger that the login may see."""


@dataclass(frozen=True)
class SourceTable:
    """One table of one tenant. `table_id` is its path-safe id in the lake; `physical` its name in the database."""

    source: str
    engine: Engine
    tenant: TenantId
    name: str
    physical: str
    placement: Placement
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    indexed: frozenset[str] = frozenset()
    zone: str | None = None
    """The zone in which the server stamps columns that have none, unless that is UTC."""
    rows: int | None = None
    bytes: int | None = None
    user_defined: bool = False
    comment: str | None = None
    stream: str | None = None
    """The DynamoDB stream that tells this tenant's changes."""
    export_bucket: str | None = None
    """The bucket that a DynamoDB table is exported to, in place of being scanned and followed by its stream."""
    spelled: tuple[str, ...] = ()
    """Columns that keep their names in the lake where others are alike: those that contracts read, the key, the cursor; of DynamoDB those in the lake, too."""

    @property
    def table_id(self) -> str:
        """`<source>.<table>`, safe as a path segment whatever the table is called."""
        return table_id(self.source, self.name)

    def column(self, name: str) -> Column | None:
        """Return a column by name, or None."""
        return next((column for column in self.columns if column.name == name), None)


def table_id(source: str, name: str) -> str:
    """Return the lake's id of a source table."""
    return f"{source}.{slug(name)}"


@dataclass(frozen=True)
class Catalog:
    """The tables of one tenant in one source, those left out with the reason, and those that could not be inspected, by lake id."""

    tables: tuple[SourceTable, ...]
    left_out: dict[str, str]
    broken: dict[str, SourceError] = field(default_factory=dict)

    def table(self, identifier: str) -> SourceTable | None:
        """Return a table by its lake id, or None."""
        return next((table for table in self.tables if table.table_id == identifier), None)


def crawl(name: str, source: Source, tenant: Tenant, aws: Aws) -> Catalog:
    """Inspect what `tenant` has in the source called `name`; raise `SourceError` when it can not be reached or has no schema for the tenant."""
    if source.engine == "dynamodb":
        from lab_insights.extract import dynamodb

        return dynamodb.crawl(name, source, tenant, aws)
    target = databases.url(source, aws)
    placement = place(name, source, tenant)
    with databases.reaching(name, target, tenant.id):
        return _inspect(name, source, tenant, target, placement)


def _inspect(name: str, source: Source, tenant: Tenant, target: sa.URL, placement: Placement) -> Catalog:
    import sqlalchemy as sa

    with databases.engine(target).connect() as connection:
        inspector = sa.inspect(connection)
        if placement.schema not in inspector.get_schema_names():
            raise SourceError(
                f"Source {name} has no schema {placement.schema} for this tenant.",
                remedy="check the tenant's layout and key in the registry, the source's `tenancy`, and the login's grants.",
                tenant=tenant.id,
            )
        sizes = _sizes(connection, source.engine, placement.schema)
        stamped, zone = stamps.read(connection, source.engine, placement.schema), stamps.zone(connection, source.engine)
        names = [physical for physical in inspector.get_table_names(placement.schema) if physical.startswith(placement.prefix)]
        left_out: dict[str, str] = {}
        broken: dict[str, SourceError] = {}
        tables = []
        for physical in sorted(names):
            logical = physical.removeprefix(placement.prefix)
            if not source.takes(logical):
                left_out[logical] = "excluded by configuration"
                continue
            try:
                columns, key, first = _described(inspector, physical, placement, source.engine)
            except sa.exc.NoSuchTableError:
                continue  # dropped since it was listed: it is no table of the source any more
            except sa.exc.DBAPIError as error:
                if error.connection_invalidated:
                    raise
                # One customer's odd table must not hide all others of that customer.
                broken[table_id(name, logical)] = SourceError(
                    "The source can not describe this table.",
                    remedy="repair it at the source, grant SELECT on it, or exclude it.",
                    tenant=tenant.id,
                    table=table_id(name, logical),
                )
                continue
            if placement.discriminator and placement.discriminator[0] not in {column["name"] for column in columns}:
                left_out[logical] = f"has no column {placement.discriminator[0]}, so its rows can not be told apart by tenant"
                continue
            rows, size = sizes.get(physical, (None, None))
            tables.append(
                SourceTable(
                    source=name,
                    engine=source.engine,
                    tenant=tenant.id,
                    name=logical,
                    physical=physical,
                    placement=placement,
                    columns=tuple(
                        Column(
                            c["name"],
                            _spelled(c["type"], connection.dialect),
                            c["nullable"],
                            c["type"],
                            (physical, c["name"]) in stamped.touched,
                            c.get("comment"),
                            stamped.by_trigger("UPDATE", physical, c["name"]),
                            stamps.is_now(c["default"]) or stamped.by_trigger("INSERT", physical, c["name"]),
                        )
                        for c in columns
                    ),
                    key=key,
                    indexed=first,
                    zone=zone,
                    rows=rows,
                    bytes=size,
                    user_defined=any(fnmatch.fnmatchcase(logical, pattern) for pattern in source.user_defined),
                )
            )
    return Catalog(tuple(tables), left_out, broken)


def _described(
    inspector: sa.Inspector, physical: str, placement: Placement, engine: Engine
) -> tuple[list[ReflectedColumn], tuple[str, ...], frozenset[str]]:
    """Return the columns of a table, its key, and the columns that an index begins with."""
    columns = inspector.get_columns(physical, placement.schema)
    for column in columns:
        column["name"] = _unescaped(column["name"], engine)
    key = tuple(_unescaped(column, engine) for column in _key(inspector, physical, placement))
    first = (index["column_names"][0] for index in inspector.get_indexes(physical, placement.schema) if index["column_names"])
    return columns, key, frozenset(_unescaped(column, engine) for column in first if column)


def _unescaped(name: str, engine: Engine) -> str:
    # SQLAlchemy 2.0 reads MySQL's columns from SHOW CREATE TABLE and leaves a backtick in a name doubled.
    return name.replace("``", "`") if engine == "mysql" else name


def _spelled(kind: Any, dialect: sa.Dialect) -> str:
    import sqlalchemy as sa

    try:
        return str(kind.compile(dialect=dialect)).lower()
    except sa.exc.CompileError:
        return "unknown"


def _key(inspector: sa.Inspector, physical: str, placement: Placement) -> tuple[str, ...]:
    """The primary key, else the first unique key; without the discriminator, which is the same for every row of a tenant."""
    columns = list(inspector.get_pk_constraint(physical, placement.schema)["constrained_columns"])
    if not columns:
        nullable = {c["name"] for c in inspector.get_columns(physical, placement.schema) if c["nullable"]}
        unique = [list(u["column_names"]) for u in inspector.get_unique_constraints(physical, placement.schema)]
        columns = next((names for names in unique if not nullable.intersection(names)), [])
    if placement.discriminator and len(columns) > 1:
        columns = [column for column in columns if column != placement.discriminator[0]]
    return tuple(columns)


def _sizes(connection: sa.Connection, engine: Engine, schema: str) -> dict[str, tuple[int | None, int | None]]:
    """Row and byte estimates that the server keeps anyway; PostgreSQL says -1 for a table it never analysed."""
    import sqlalchemy as sa

    statement = {
        "mysql": "SELECT table_name, table_rows, data_length FROM information_schema.tables WHERE table_schema = :schema",
        "postgresql": "SELECT c.relname, nullif(c.reltuples, -1)::bigint, pg_table_size(c.oid) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relkind IN ('r', 'p')",
    }[engine]
    return {name: (rows, size) for name, rows, size in connection.execute(sa.text(statement), {"schema": schema})}
