"""The warehouse as Dagster resources: our own sessions for what we load, Dagster's own resource for the SQL of engineers' assets."""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from lab_insights.aws import resolve
from lab_insights.errors import ConfigError
from lab_insights.resources.lake import LakeResource
from lab_insights.warehouse.session import LOCAL_TIMEOUT, Session, connect

if TYPE_CHECKING:
    from dagster_snowflake import SnowflakeResource


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens sessions on the configured Snowflake account; every statement carries the run in its QUERY_TAG."""

    lake: dg.ResourceDependency[LakeResource]

    def session(self, run_id: str) -> Session:
        """Open a session; close it, or use it as a context manager."""
        config = self.lake.config()
        return connect(config.snowflake, self.lake.aws(), run_id=run_id)


class SnowflakeFactory(dg.ConfigurableResource[Any]):
    """Gives assets a `SnowflakeResource` on the configured account; annotate it `dg.ResourceParam[SnowflakeResource]`."""

    lake: dg.ResourceDependency[LakeResource]

    def create_resource(self, context: dg.InitResourceContext) -> "SnowflakeResource":
        """Read configuration and credentials when a run needs them; raise `ConfigError` when they are not usable."""
        from dagster_snowflake import SnowflakeResource

        section = self.lake.config().snowflake
        arguments: dict[str, Any] = {
            "session_parameters": {
                "QUERY_TAG": json.dumps({"lab_insights_run": context.run.run_id if context.run else ""}),
                "TIMEZONE": "UTC",
            }
        }
        if section.host:
            arguments |= {"host": section.host, "port": section.port, "protocol": section.protocol}
        return SnowflakeResource(
            account=section.account,
            **_login(resolve(section.credentials, self.lake.aws())),
            warehouse=section.warehouse,
            role=section.role,
            network_timeout=LOCAL_TIMEOUT if section.host else None,
            additional_snowflake_connection_args=arguments,
        )


def _login(secret: str) -> dict[str, Any]:
    """Return what `SnowflakeResource` calls the parts of the secret."""
    try:
        held = json.loads(secret)
        if "private_key" in held:
            return {"user": held["user"], "private_key": held["private_key"], "private_key_password": held.get("private_key_passphrase")}
        return {"user": held["user"], "password": held["password"]}
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            "The Snowflake credentials are not usable.",
            remedy='store JSON such as {"user": …, "password": …} or {"user": …, "private_key": …}.',
        ) from None
