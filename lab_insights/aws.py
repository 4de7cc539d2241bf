"""AWS clients from the configuration: real AWS, or a local server when an endpoint is given; nothing else differs.

Where a role of the tenants is configured, what is done for one tenant is done in a session of that role with the tag `tenant`: the template's policies
allow such a session the tenant's own prefix and items, and nothing of anybody else. Its credentials are asked for once a process and an hour.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lab_insights.config import Reference
from lab_insights.errors import ConfigError, LabInsightsError
from lab_insights.names import TenantId

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# A stand-in must never be shown the operator's own credentials.
LOCAL_KEY = "local"
# Clients are large: a run of thousands of tenants keeps those of the tenants that it is at.
_CLIENTS, _TENANTS = 128, 4096
# A session that was got with another role's credentials lasts no longer.
_SESSION_SECONDS = 3600
# Every table of every source asks for its source's login: Secrets Manager takes money and milliseconds for each.
_SECRET_SECONDS = 60
_ONE_AT_A_TIME = threading.Lock()
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"}


class AccessRefused(LabInsightsError):
    """AWS refused a tenant's session something: it is not the tenant's, or the role's policy is not that of the template."""


@dataclass(frozen=True)
class Aws:
    """Clients of one region, cached for the process (botocore's clients are safe to share between threads).

    `tenant_role` is the ARN of the role of all tenants; with a `tenant` the clients are those of a session of that role for it.
    """

    region: str = "us-east-1"
    endpoint_url: str | None = None
    tenant_role: str | None = None
    tenant: TenantId | None = None

    def of(self, tenant: TenantId) -> Aws:
        """Return the clients in a tenant's own session; where no role is configured, these."""
        return replace(self, tenant=tenant) if self.tenant_role else self

    def client(self, service: str) -> Any:
        """Return the boto3 client of `service`."""
        return _client(self, service)

    def arrow_filesystem(self) -> S3FileSystem:
        """Return the filesystem through which Arrow reads objects; that of a tenant is as good as the session that it was made in."""
        return _arrow_filesystem(self.region, self.endpoint_url, _keys(self))


def refused(error: BaseException, tenant: TenantId) -> AccessRefused | None:
    """Return what a tenant's session was refused, as an error of ours; None for any other error."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError) or error.response["Error"]["Code"] not in DENIED:
        return None
    return AccessRefused(
        f"AWS refuses {error.operation_name} to this tenant's session.",
        remedy="if the code writes outside of the tenant's own prefix, mend it; else deploy deploy/template.yaml anew (docs/how-to/permissions.md).",
        tenant=tenant,
    )


@functools.lru_cache(_CLIENTS)
def _client(aws: Aws, service: str) -> Any:
    import boto3
    from botocore.config import Config

    # CloudTrail shows the name; botocore's own, put together anew for each request, takes a twelfth of the client's time.
    config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32, user_agent="lab-insights")
    where = {"region_name": aws.region, "endpoint_url": aws.endpoint_url, "config": config}
    if aws.tenant is not None:
        with _ONE_AT_A_TIME:
            session = _tenants_session()
            session.given = _assumed(aws)
            return session.create_client(service, **where)
    return boto3.Session(region_name=aws.region, **_local(aws)).client(service, **where)


def _local(aws: Aws) -> dict[str, str]:
    """Return the credentials that a local server is shown; none for AWS, where they come from the usual chain."""
    return {"aws_access_key_id": LOCAL_KEY, "aws_secret_access_key": LOCAL_KEY} if aws.endpoint_url else {}


@functools.cache
def _tenants_session() -> Any:
    """The session that makes all tenants' clients: to make one anew for each, with the descriptions of the services, takes ten times as long."""
    from botocore.session import Session

    class TenantsSession(Session):  # type: ignore[misc]
        """Gives a client the credentials that it was made with."""

        given: Any = None

        def get_credentials(self, *_: Any) -> Any:
            return self.given

    return TenantsSession()


@functools.lru_cache(_TENANTS)
def _assumed(aws: Aws) -> Any:
    """Return a tenant's credentials, which botocore asks for when they are first used, and anew a quarter of an hour before they end."""
    from botocore.credentials import DeferredRefreshableCredentials

    return DeferredRefreshableCredentials(functools.partial(_assume, aws), "assume-role")


def _assume(aws: Aws) -> dict[str, str]:
    from botocore.exceptions import ClientError

    role, tenant = str(aws.tenant_role), str(aws.tenant)
    try:
        made = (
            replace(aws, tenant=None)
            .client("sts")
            .assume_role(
                RoleArn=role,
                RoleSessionName=f"tenant={tenant}"[:64],
                DurationSeconds=_SESSION_SECONDS,
                Tags=[{"Key": "tenant", "Value": tenant}],
            )["Credentials"]
        )
    except ClientError as error:
        raise ConfigError(
            f"The role {role} can not be assumed ({error.response['Error']['Code']}).",
            remedy="give `aws.tenant_role` the template's output TenantRoleArn, and run this as the code server's role.",
            tenant=tenant,
        ) from None
    return {
        "access_key": made["AccessKeyId"],
        "secret_key": made["SecretAccessKey"],
        "token": made["SessionToken"],
        "expiry_time": made["Expiration"].isoformat(),
    }


def _keys(aws: Aws) -> tuple[str, str, str | None] | None:
    """Return key, secret and token that Arrow's own client shows; None for the usual chain."""
    if aws.tenant is not None:
        now = _assumed(aws).get_frozen_credentials()
        return now.access_key, now.secret_key, now.token
    local = _local(aws)
    return (local["aws_access_key_id"], local["aws_secret_access_key"], local.get("aws_session_token")) if local else None


@functools.lru_cache(_CLIENTS)
def _arrow_filesystem(region: str, endpoint_url: str | None, keys: tuple[str, str, str | None] | None) -> S3FileSystem:
    from pyarrow.fs import S3FileSystem

    login = dict(zip(("access_key", "secret_key", "session_token"), keys, strict=True)) if keys else {}
    if endpoint_url is None:
        return S3FileSystem(region=region, **login)
    scheme, host = endpoint_url.split("://", 1)
    return S3FileSystem(region=region, endpoint_override=host, scheme=scheme, **login)


def resolve(reference: Reference, aws: Aws) -> str:
    """Return the secret that `reference` (`env:NAME` or `secret:NAME`) names, as it was within the last minute; raise `ConfigError` when it is not there.

    It is the deployment's, and read in the pipeline's own session even when `aws` is a tenant's: the tenants' role may read no secret.
    """
    import os
    import time

    kind, _, name = reference.partition(":")
    if kind == "env":
        if value := os.environ.get(name):
            return value
        raise ConfigError(f"The variable {name} is not set.", remedy=f"export {name}, or name another variable in lab_insights.yaml.")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _secret(replace(aws, tenant=None), name, time.monotonic() // _SECRET_SECONDS)
    except (ClientError, BotoCoreError) as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise ConfigError(
            f"The secret {name} can not be read ({reason}).",
            remedy="create it in Secrets Manager, or grant this role secretsmanager:GetSecretValue on it.",
        ) from None


@functools.lru_cache(_TENANTS)
def _secret(aws: Aws, name: str, minute: float) -> str:  # noqa: ARG001 (a minute later it is asked for again)
    return str(aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
