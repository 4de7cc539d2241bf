"""One session on Snowflake: statements with bound values, counted; errors in our words, without values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lab_insights.aws import Aws, resolve
from lab_insights.config import SnowflakeSection
from lab_insights.errors import ConfigError, WarehouseError, WarehouseUnavailable
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.errors import Error
    from snowflake.core import Root

Row = tuple[Any, ...]
# Snowflake waits this long for a lock (seconds); its own default is 12 hours.
LOCK_TIMEOUT = 600
LOGIN_TIMEOUT = 30
# The connector retries a refused connection for minutes; a local server is there or it is not (seconds).
LOCAL_TIMEOUT = 4
# Lock timeout; the stand-in gives the same number at once where Snowflake would have waited.
_CONFLICT = 625


class LockConflict(WarehouseUnavailable):
    """Another session holds or has just changed what this transaction needs.

    The whole transaction can be tried again.
    """


@dataclass(frozen=True)
class Login:
    """What a session began with: role and warehouse, unquoted; empty where the server tells none."""

    role: str = ""
    warehouse: str = ""


class Session:
    """A connection that counts its statements.

    Close it, or use it as a context manager: an open transaction is rolled back.
    """

    def __init__(self, connection: SnowflakeConnection) -> None:
        self._connection = connection
        self.login = Login(connection.role or "", connection.warehouse or "")
        self._acting = ""
        self.statements = 0

    def execute(self, sql: str, *binds: Any) -> list[Row]:
        """Run one statement with values for its `?` and return all rows (for DML: the counts).

        Raise `WarehouseError` without values.
        """
        from snowflake.connector.errors import Error

        self.statements += 1
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, binds or None, num_statements=1)
                return [tuple(row) for row in cursor.fetchall()]
        except Error as error:
            raise _refused(error, sql) from None

    def arrow(self, sql: str, *binds: Any) -> pa.Table:
        """Run one query and return its rows as Arrow: instants naive in UTC to the microsecond, as the lake holds them, and decimals exact.

        Raise `WarehouseError` without values.
        """
        from snowflake.connector.errors import Error

        self.statements += 1
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, binds or None, num_statements=1)
                return cursor.fetch_arrow_all(force_return_table=True, force_microsecond_precision=True)
        except Error as error:
            raise _refused(error, sql) from None

    @cached_property
    def _root(self) -> Root:
        # importing it takes longer than connecting, and only provisioning needs it
        from snowflake.core import Root

        return Root(self._connection)

    def administer(self, told: str, do: Callable[[Root], None]) -> None:
        """Do something through Snowflake's admin API, over this session's own host and login; `told` is the SQL that it stands for.

        Raise `WarehouseError` when it is refused.
        """
        from snowflake.core.exceptions import APIError

        self.statements += 1
        try:
            do(self._root)
        except APIError as error:
            why = " ".join(str(error.get_request_info()["message"] or error.reason).split())[:300]
            raise WarehouseError(
                f"Snowflake's admin API refused `{told[:100]}` (HTTP {error.status}: {why}).",
                remedy="grant the role of `snowflake.role` what provisioning needs (docs/how-to/deploy.md), and do it again.",
            ) from None

    def assume(self, role: str, tenant: str) -> None:
        """Act as a role of a tenant that the login was granted, until `resume`.

        Raise `WarehouseError` when it was not.
        """
        if role == self._acting:
            return
        try:
            self.execute(f"USE ROLE {quoted(role, 'snowflake')}")
        except WarehouseError as error:
            to = quoted(self.login.role or "the role of snowflake.role", "snowflake")
            remedy = f"provision the tenant with `lab-insights tenant apply`, or GRANT ROLE {quoted(role, 'snowflake')} TO ROLE {to}; nothing was written."
            raise type(error)(
                f"The login can not act as {role}, to which alone masks show the keys that rows are merged by: {error.message}",
                remedy=remedy,
                tenant=tenant,
            ) from None
        self._acting = role

    def resume(self) -> None:
        """Act as the login's own role again."""
        if self._acting and self.login.role:
            self.execute(f"USE ROLE {quoted(self.login.role, 'snowflake')}")
        self._acting = ""

    def use(self, database: str, schema: str, tenant: str) -> None:
        """Make a schema of a tenant's database current.

        Raise `WarehouseError` when it does not exist or is not granted.
        """
        try:
            self.execute(f"USE SCHEMA {quoted(database, 'snowflake')}.{quoted(schema, 'snowflake')}")
        except WarehouseError as error:
            raise WarehouseError(error.message, remedy="provision the tenant, or grant this role its database.", tenant=tenant) from None

    @contextmanager
    def transaction(self, name: str = "") -> Iterator[None]:
        """Run the block as one transaction: committed at its end, rolled back on any error. `name` is an identifier that needs no quotes."""
        self.execute(f"BEGIN NAME {name}" if name else "BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        try:
            self.execute("ROLLBACK")
        except WarehouseError:
            # the session is gone, and with it the transaction; the first error is the one to show
            self._connection.close()

    def close(self) -> None:
        """Close the connection; Snowflake rolls back what is open."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def connect(config: SnowflakeSection, aws: Aws, *, run_id: str = "") -> Session:
    """Log in and return a session whose query tag is `run_id`.

    Raises `ConfigError` when the credentials can not be read, and `WarehouseError` when the host is unreachable or
    refuses the login.
    """
    import snowflake.connector
    from snowflake.connector.errors import DatabaseError, Error

    local = {"host": config.host, "port": config.port, "network_timeout": LOCAL_TIMEOUT} if config.host else {}
    try:
        connection = snowflake.connector.connect(
            account=config.account,
            **_login(resolve(config.credentials, aws)),
            warehouse=config.warehouse,
            role=config.role,
            protocol=config.protocol,
            login_timeout=LOCAL_TIMEOUT if config.host else LOGIN_TIMEOUT,
            paramstyle="qmark",
            arrow_number_to_decimal=True,  # by default a NUMBER with a scale becomes a double
            session_parameters={
                "QUERY_TAG": json.dumps({"lab_insights_run": run_id}),
                "TIMEZONE": "UTC",
                "LOCK_TIMEOUT": LOCK_TIMEOUT,
                "ABORT_DETACHED_QUERY": True,
            },
            **local,
        )
    except Error as error:
        if isinstance(error, DatabaseError) and error.sqlstate in {"08001", "28000"} and "Failed to connect to DB" in str(error.msg):
            raise WarehouseError(
                f"Snowflake account {config.account} refuses the login ({error.errno}).",
                remedy=f"correct user and password or private_key in {config.credentials}, or the user's policies.",
            ) from None
        raise WarehouseUnavailable(
            f"Snowflake account {config.account} can not be reached at {_address(config)} ({error.errno}).",
            remedy="check `snowflake:` in lab_insights.yaml and the network; locally, run `lab-insights local up`.",
        ) from None
    return Session(connection)


def _address(config: SnowflakeSection) -> str:
    return f"{config.host}:{config.port}" if config.host else f"{config.account}.snowflakecomputing.com"


def _login(secret: str) -> dict[str, Any]:
    """Return the connector's login arguments from the secret's JSON."""
    try:
        held = json.loads(secret)
        user = held["user"]
        if "private_key" in held:
            return {"user": user, "private_key": _der(held["private_key"], held.get("private_key_passphrase"))}
        return {"user": user, "password": held["password"]}
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            "The Snowflake credentials are not usable.",
            remedy='store JSON such as {"user": …, "password": …} or {"user": …, "private_key": "-----BEGIN …"}.',
        ) from None


def _der(pem: str, passphrase: str | None) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pem.encode(), passphrase.encode() if passphrase else None)
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _refused(error: Error, sql: str) -> WarehouseError:
    """Say which statement failed, with Snowflake's reason where it can not quote a value: compilation sees none."""
    verb = " ".join(sql.split()[:3])
    if error.errno == _CONFLICT:
        return LockConflict("Another session is writing the same table.", remedy="try again; this transaction was rolled back.")
    compiled = str(error.sqlstate).startswith(("42", "02"))
    why = f": {' '.join(str(error.msg).split())[:300]}" if compiled else f", query {error.sfqid}" if error.sfqid else ""
    return WarehouseError(
        f"Snowflake refused `{verb} …` (error {error.errno}, state {error.sqlstate}{why}).",
        remedy="look it up in Snowflake's query history by the run's query tag; nothing of this transaction was kept.",
    )
