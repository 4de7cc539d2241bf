"""Looking at a database that nobody has described yet: its version, and the schemas, tables and columns that the login sees."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.aws import Aws, resolve
from lab_insights.config import Engine, Source, namesakes
from lab_insights.errors import ConfigError, SourceError
from lab_insights.extract import databases

if TYPE_CHECKING:
    import sqlalchemy as sa

Schemas = Mapping[str, Mapping[str, frozenset[str]]]
"""Schema → table → columns."""

_ENGINES: Mapping[str, Engine] = {"mysql": "mysql", "mariadb": "mysql", "postgres": "postgresql", "postgresql": "postgresql"}
_INTERNAL = ("information_schema", "performance_schema", "mysql", "sys", "pg_catalog", "pg_toast")
_VERSION = {"mysql": "SELECT VERSION()", "postgresql": "SHOW server_version"}
# A server of thousands of tenants has millions of columns; what tells tenants apart shows in a few of its schemas.
_LOOKED_AT = 50
_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN :internal ORDER BY table_schema, table_name"""
_COLUMNS = "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE table_schema IN :schemas"


@dataclass(frozen=True)
class Seen:
    """A source as the login sees it; `home` is the schema that its URL names or that new sessions are in.

    Of more than 50 schemas only the first ones have columns. A DynamoDB source has one schema, without a name, whose columns are key attributes.
    """

    name: str
    engine: Engine
    reference: str | None
    version: str
    home: str
    schemas: Schemas

    @property
    def tables(self) -> int:
        """How many tables there are in all schemas."""
        return sum(map(len, self.schemas.values()))


def look(name: str, reference: str, aws: Aws, schemas: str = "*") -> Seen:
    """Return what the source behind `reference` has in the schemas that the pattern names.

    `reference` is `env:NAME` or `secret:NAME` of a database URL, or `dynamodb:TABLE,TABLE`. Raises `ConfigError` for a reference that is none and
    `SourceError` for a source that can not be reached or shows no table.
    """
    if reference.startswith("dynamodb:"):
        return _dynamodb(name, reference.removeprefix("dynamodb:"), aws)
    source = _source(reference, aws)
    target = databases.url(source, aws)
    with databases.reaching(name, target):
        found = _relational(name, source, target, schemas)
    if not found.schemas:
        raise SourceError(
            f"Source {name} shows this login no table{f' in schemas like {schemas}' if schemas != '*' else ''}.",
            remedy="grant the login SELECT on the tenants' schemas, or check the URL and the pattern.",
        )
    return found


def _source(reference: str, aws: Aws) -> Source:
    if not reference.startswith(("env:", "secret:")):
        raise ConfigError(
            "A source is named by a reference, so that no URL or password is written into the file.",
            remedy="export the URL and say `--source shop=env:SHOP_URL`, or store it and say `--source shop=secret:NAME`.",
        )
    scheme = resolve(reference, aws).strip().partition(":")[0].partition("+")[0].lower()
    if scheme not in _ENGINES:
        raise ConfigError(
            f"{reference} does not hold a URL of MySQL, MariaDB or PostgreSQL.", remedy="mysql://user:password@host:port/database"
        )
    return Source.model_validate({"engine": _ENGINES[scheme], "url": reference, "tenancy": {"schema": {"schema": "{key}"}}})


def _relational(name: str, source: Source, target: sa.URL, pattern: str) -> Seen:
    import sqlalchemy as sa

    def listed(statement: str, parameter: str) -> sa.TextClause:
        return sa.text(statement).bindparams(sa.bindparam(parameter, expanding=True))

    with databases.engine(target).connect() as connection:
        version = str(connection.exec_driver_sql(_VERSION[source.engine]).scalar_one())
        here = "DATABASE()" if source.engine == "mysql" else "current_schema()"
        home = connection.exec_driver_sql(f"SELECT {here}").scalar_one()
        found: dict[str, dict[str, set[str]]] = {}
        for schema, table in connection.execute(listed(_TABLES, "internal"), {"internal": _INTERNAL}):
            if fnmatch.fnmatchcase(schema, pattern):
                found.setdefault(schema, {})[table] = set()
        first = sorted(found, key=lambda schema: (schema != home, schema))[:_LOOKED_AT]
        if first:
            for schema, table, column in connection.execute(listed(_COLUMNS, "schemas"), {"schemas": first}):
                if table in found[schema]:  # views have columns, too
                    found[schema][table].add(column)
    kind = {"mysql": "MariaDB" if "mariadb" in version.lower() else "MySQL", "postgresql": "PostgreSQL"}[source.engine]
    schemas = {schema: {table: frozenset(columns) for table, columns in tables.items()} for schema, tables in found.items()}
    return Seen(name, source.engine, source.url, f"{kind} {version.split(maxsplit=1)[0].partition('-')[0]}", str(home or ""), schemas)


def _dynamodb(name: str, tables: str, aws: Aws) -> Seen:
    from botocore.exceptions import BotoCoreError, ClientError

    found: dict[str, frozenset[str]] = {}
    for table in filter(None, (each.strip() for each in tables.split(","))):
        try:
            described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
        except (ClientError, BotoCoreError) as error:
            reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            raise SourceError(
                f"The DynamoDB table of source {name} can not be described ({reason}).",
                remedy="check its name and --region, and grant dynamodb:DescribeTable and dynamodb:Scan on it.",
                table=table,
            ) from None
        found[table] = frozenset(attribute["AttributeName"] for attribute in described["AttributeDefinitions"])
    if not found:
        raise ConfigError(f"Source {name} names no table.", remedy="say `--source events=dynamodb:TABLE,TABLE`.")
    if alike := namesakes(found):
        raise ConfigError(f"Source {name}: {alike}.", remedy="name one of them in a `--source` of its own.")
    return Seen(name, "dynamodb", None, "DynamoDB", "", {"": found})
