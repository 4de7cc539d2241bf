"""A deployment whose AWS stand-in enforces IAM: the process is a code server in a session of the template's role."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lab_insights import aws as module
from lab_insights.aws import Aws
from lab_insights.local import deployer, snowflake
from lab_insights.local.deployer import ACCOUNT
from lab_insights.names import TenantId

# What moto compares with `*` alone, whatever a policy names, and what the owner of a DynamoDB source grants.
BESIDE = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",
 "Action": ["secretsmanager:GetSecretValue", "sts:GetCallerIdentity"]}, {"Effect": "Allow", "Resource": "arn:aws:dynamodb:*:table/*-src-*",
 "Action": ["dynamodb:Scan", "dynamodb:Query", "dynamodb:DescribeTable", "dynamodb:DescribeContinuousBackups"]}]}"""


@dataclass(frozen=True)
class Deployment:
    endpoint: str
    prefix: str

    @property
    def tenant_role(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:role/{self.prefix}-tenant"

    @property
    def aws(self) -> Aws:
        return Aws(endpoint_url=self.endpoint, tenant_role=self.tenant_role)

    def of(self, tenant: str) -> Aws:
        return self.aws.of(TenantId(tenant))


def deployed(endpoint: str) -> Deployment:
    """A deployment of its own, with the secret of its Snowflake login."""
    prefix = f"iam-{uuid.uuid4().hex[:8]}"
    deployer.deploy(endpoint, prefix)
    secrets = Aws(endpoint_url=endpoint).client("secretsmanager")
    secrets.create_secret(Name=f"{prefix}/snowflake", SecretString=json.dumps(snowflake.LOGIN))
    return Deployment(endpoint, prefix)


@contextmanager
def enforcing(deployment: Deployment) -> Iterator[Deployment]:
    """Check every request from here on; this process is shown as the code server's role, and as nobody else."""
    operator = Aws(endpoint_url=deployment.endpoint)
    operator.client("iam").put_role_policy(RoleName=f"{deployment.prefix}-code-server", PolicyName="beside", PolicyDocument=BESIDE)
    role = f"arn:aws:iam::{ACCOUNT}:role/{deployment.prefix}-code-server"
    session = operator.client("sts").assume_role(RoleArn=role, RoleSessionName="code-server")["Credentials"]
    login = {name: session[key] for name, key in zip(_LOGIN, ("AccessKeyId", "SecretAccessKey", "SessionToken"), strict=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_local", lambda _: login)
        _forget()
        _checks(deployment.endpoint, "0")
        try:
            yield deployment
        finally:
            _checks(deployment.endpoint, "inf")
    _forget()


_LOGIN = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def _forget() -> None:
    for cached in (module._client, module._assumed):
        cached.cache_clear()


def _checks(endpoint: str, after: str) -> None:
    request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=30).close()
