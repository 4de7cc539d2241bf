"""Which MySQL and PostgreSQL the local stack uses, and why: given URLs, else servers of the loopback, else fallbacks.

No password is ever guessed. A server is used only when schemas named `lab_insights_*` may be created on it, which is
tried. PostgreSQL that is missing is started from the wheel `pgserver`; MySQL that is missing leaves `crm` and `lis`
to PostgreSQL.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab_insights.errors import ConfigError
from lab_insights.names import quoted

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Engine = Literal["mysql", "postgresql"]
_TITLES: Mapping[Engine, str] = {"mysql": "MySQL", "postgresql": "PostgreSQL"}
VARIABLES: Mapping[Engine, str] = {"mysql": "LAB_INSIGHTS_MYSQL_URL", "postgresql": "LAB_INSIGHTS_POSTGRES_URL"}
_PROBED = "creating and dropping a schema named lab_insights_* was tried"


@dataclass(frozen=True)
class Found:
    """What was found for one engine: the URL to use, or None, and the line that says so."""

    engine: Engine
    url: str | None
    line: str


def find(engine: Engine) -> Found:
    """Return the server of `engine` to use: its environment variable's, else the loopback's, else none with the reason.

    Raises `ConfigError` when the variable names a server that can not be used: what was asked for is not replaced in
    silence.
    """
    variable, title = VARIABLES[engine], _TITLES[engine]
    if given := os.environ.get(variable):
        if refused := _refusal(engine, given):
            raise ConfigError(f"{variable} can not be used: {refused}.", remedy=f"correct {variable}, or unset it.")
        return Found(engine, given, f"{title}: {shown(given)} (from {variable}); {_PROBED}")
    reasons = []
    for url in _defaults(engine):
        refused = _refusal(engine, url)
        if refused is None:
            return Found(engine, url, f"{title}: {shown(url)}; {_PROBED}")
        reasons.append(f"{shown(url)}: {refused}")
    return Found(engine, None, f"{title}: none here that lets us in ({'; '.join(reasons)}); {variable} can name one")


def schemas(engine: Engine, url: str, base: str) -> list[str]:
    """Return the schemas on the server at `url` that are named `base` or start with `base` and an underscore."""
    with _connected(engine, url) as connection:
        return [name for name in _schemas(connection) if name == base or name.startswith(f"{base}_")]


def drop_schemas(engine: Engine, url: str, base: str) -> list[str]:
    """Drop what `schemas` lists, with all that is in it, and return the names."""
    names = schemas(engine, url, base)
    with _connected(engine, url) as connection:
        for name in names:
            _drop(engine, connection, name)
    return names


def _defaults(engine: Engine) -> list[str]:
    if engine == "mysql":
        return ["mysql+pymysql://root@127.0.0.1:3306/"]
    users = dict.fromkeys(["postgres", getpass.getuser()])
    return [f"postgresql://{user}@127.0.0.1:5432/postgres" for user in users]


def _refusal(engine: Engine, url: str) -> str | None:
    """Return why the server at `url` can not be used, None when a schema of ours could be created and dropped there."""
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

    probe = f"lab_insights_probe_{uuid.uuid4().hex[:12]}"
    try:
        with _connected(engine, url) as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {quoted(probe, engine)}")
            _drop(engine, connection, probe)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        return f"it is not a SQLAlchemy URL such as {_defaults(engine)[0]}"
    except DBAPIError as error:
        return str(error.orig).splitlines()[0][:200]
    return None


@contextmanager
def _connected(engine: Engine, url: str) -> Iterator[Connection]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    server = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 3}, isolation_level="AUTOCOMMIT")
    if server.dialect.name not in (engine, "mariadb" if engine == "mysql" else engine):
        raise ArgumentError(server.dialect.name)
    with server.connect() as connection:
        yield connection


def _schemas(connection: Connection) -> list[str]:
    from sqlalchemy import inspect

    return list(inspect(connection).get_schema_names())


def _drop(engine: Engine, connection: Connection, schema: str) -> None:
    cascade = " CASCADE" if engine == "postgresql" else ""
    connection.exec_driver_sql(f"DROP SCHEMA {quoted(schema, engine)}{cascade}")


def shown(url: str) -> str:
    """Return `url` without its password."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)
