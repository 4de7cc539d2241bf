"""Connections to relational sources: engines, clear errors, and where a tenant's tables lie."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.aws import Aws, resolve
from lab_insights.config import DiscriminatorTenancy, PrefixTenancy, Source
from lab_insights.errors import ConfigError, SourceError, SourceUnavailable
from lab_insights.tenants.registry import Tenant

if TYPE_CHECKING:
    import sqlalchemy as sa

APPLICATION = "lab-insights"
# How long MySQL's client waits for an answer when we look at a server, in seconds: without it a port that never says hello, which PostgreSQL's is to this
# client, is waited for without end.
PATIENCE = 60
# What MySQL and PostgreSQL say when they do not let a user in.
_REFUSALS = ("access denied", "authentication failed", "no password supplied", "no pg_hba.conf entry", "fatal:  role ")


@dataclass(frozen=True)
class Placement:
    """Where a tenant's tables are in a source: a schema, a table prefix, or rows by a column's value."""

    schema: str
    prefix: str = ""
    discriminator: tuple[str, str] | None = None


def place(name: str, source: Source, tenant: Tenant) -> Placement:
    """Return the placement of `tenant` in the source called `name`; raise `ConfigError` when the registry leaves it open."""
    offered = source.tenancy.offered()
    layout = tenant.layouts.get(name) or (next(iter(offered)) if len(offered) == 1 else None)
    if layout is None or layout not in offered:
        raise ConfigError(
            f"Source {name} offers the layouts {', '.join(offered)}, and the registry names {layout or 'none'}.",
            remedy=f"set layouts.{name} of the tenant with `lab-insights tenant apply`.",
            tenant=tenant.id,
        )
    rule = offered[layout]
    fill = {"tenant": tenant.id, "key": tenant.key}
    if isinstance(rule, DiscriminatorTenancy):
        return Placement(rule.schema_name.format(**fill), discriminator=(rule.column, rule.value.format(**fill)))
    prefix = rule.prefix.format(**fill) if isinstance(rule, PrefixTenancy) else ""
    if prefix and not tenant.key.isalnum():
        raise ConfigError(
            f"Source {name} knows tenants by a table prefix, and this tenant's key could begin with another tenant's prefix.",
            remedy="give the tenant a key of letters and digits only.",
            tenant=tenant.id,
        )
    return Placement(rule.schema_name.format(**fill), prefix)


def url(source: Source, aws: Aws) -> sa.URL:
    """Return the source's URL with the driver that this product uses; raise `ConfigError` for anything that is not one."""
    import sqlalchemy as sa

    if source.url is None:
        raise ConfigError("This source has no URL.", remedy="say `url: env:NAME` or `url: secret:NAME`.")
    try:
        parsed = sa.make_url(resolve(source.url, aws).strip())
    except (sa.exc.ArgumentError, ValueError):  # a port that is no number is a ValueError
        raise ConfigError(
            f"{source.url} does not hold a database URL.", remedy=f"{source.engine}://user:password@host:port/database"
        ) from None
    return parsed.set(drivername={"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[source.engine])


@functools.cache
def engine(target: sa.URL, patience: int | None = None) -> sa.Engine:
    """Return the process's engine for a URL: few connections, UTC sessions, and a name that the server's operators can see.

    Its statements look at a server, which is quick; `patience` is for others, the seconds that they may take (`kindness.session`).
    """
    import sqlalchemy as sa

    if target.drivername.startswith("mysql"):
        arguments = {
            "connect_timeout": 5,
            "read_timeout": patience or PATIENCE,
            "init_command": "SET time_zone = '+00:00'",
            "program_name": APPLICATION,
            "charset": "utf8mb4",
        }
    else:
        arguments = {"connect_timeout": 5, "application_name": APPLICATION, "options": "-c timezone=UTC"}
    return sa.create_engine(target, connect_args=arguments, pool_size=2, max_overflow=8, pool_pre_ping=True)


@contextmanager
def reaching(name: str, target: sa.URL, tenant: str | None = None, table: str | None = None) -> Iterator[None]:
    """Turn a driver's connection errors into a `SourceError` that names the source, never its password nor a row."""
    import sqlalchemy as sa

    where = f"{target.host}:{target.port}" if target.port else str(target.host)
    try:
        yield
    except sa.exc.DBAPIError as error:
        detail = str(error.orig).lower()
        if any(said in detail for said in _REFUSALS):
            raise SourceError(
                f"Source {name} at {where} refused the login of {target.username}.",
                remedy="check user and password in the secret that the source's `url` names.",
                tenant=tenant,
                table=table,
            ) from None
        passing = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and "denied" not in detail
        raise (SourceUnavailable if passing else SourceError)(
            f"Source {name} at {where} can not be reached or broke off.",
            remedy="check host and port in the source's `url`, and that the server is up.",
            tenant=tenant,
            table=table,
        ) from None
