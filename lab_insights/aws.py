"""AWS clients from the configuration: real AWS, or a local server when an endpoint is given; nothing else differs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_insights.config import Reference
from lab_insights.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# A stand-in must never be shown the operator's own credentials.
LOCAL_KEY = "local"


@dataclass(frozen=True)
class Aws:
    """Clients of one region, cached for the process (botocore's clients are safe to share between threads)."""

    region: str = "us-east-1"
    endpoint_url: str | None = None

    def client(self, service: str) -> Any:
        """Return the boto3 client of `service`."""
        return _client(self, service)

    def arrow_filesystem(self) -> S3FileSystem:
        """Return the filesystem through which Arrow reads objects."""
        return _arrow_filesystem(self)


@functools.cache
def _client(aws: Aws, service: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32)
    local = {"aws_access_key_id": LOCAL_KEY, "aws_secret_access_key": LOCAL_KEY} if aws.endpoint_url else {}
    session = boto3.Session(region_name=aws.region, **local)
    return session.client(service, endpoint_url=aws.endpoint_url, config=config)


@functools.cache
def _arrow_filesystem(aws: Aws) -> S3FileSystem:
    from pyarrow.fs import S3FileSystem

    if aws.endpoint_url is None:
        return S3FileSystem(region=aws.region)
    scheme, host = aws.endpoint_url.split("://", 1)
    return S3FileSystem(region=aws.region, access_key=LOCAL_KEY, secret_key=LOCAL_KEY, endpoint_override=host, scheme=scheme)


def resolve(reference: Reference, aws: Aws) -> str:
    """Return the secret that `reference` (`env:NAME` or `secret:NAME`) names; raise `ConfigError` when it is not there."""
    import os

    kind, _, name = reference.partition(":")
    if kind == "env":
        if value := os.environ.get(name):
            return value
        raise ConfigError(f"The variable {name} is not set.", remedy=f"export {name}, or name another variable in lab_insights.yaml.")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    except (ClientError, BotoCoreError) as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise ConfigError(
            f"The secret {name} can not be read ({reason}).",
            remedy="create it in Secrets Manager, or grant this role secretsmanager:GetSecretValue on it.",
        ) from None
