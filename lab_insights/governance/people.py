"""The roles of a tenant's people in AWS: `reader` and `analyst`, which see what Lake Formation lets them see.

A grant by LF-tags needs a role of its own for each tenant and kind. Both carry the tag `tenant`, so that the buckets' policies keep them to the tenant's
prefix, whatever else somebody attaches to them. Who may assume them is said by the account's own policies.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Literal, get_args

from lab_insights.aws import Aws
from lab_insights.names import TenantId, slug

Kind = Literal["reader", "analyst"]
# IAM's limit of a role's name.
_LONGEST = 64
_POLICY = "catalog"


def account(aws: Aws) -> str:
    """Return the account as the beginning of its roles' ARNs: `arn:aws:iam::123456789012`."""
    found = aws.client("sts").get_caller_identity()
    return f"arn:{found['Arn'].split(':')[1]}:iam::{found['Account']}"


def role_name(prefix: str, tenant: TenantId, kind: Kind) -> str:
    """Return the name of a tenant's role; a long id is cut and told apart by a hash."""
    name = f"{prefix}-{tenant}-{kind}"
    return name if len(name) <= _LONGEST else f"{prefix[:12]}-{slug(f'{prefix}/{tenant}')[:41]}-{kind}"


def role_arn(prefix: str, account: str, tenant: TenantId, kind: Kind) -> str:
    """Return the ARN of a tenant's role."""
    return f"{account}:role/{role_name(prefix, tenant, kind)}"


def establish(aws: Aws, prefix: str, account: str, tenant: TenantId) -> int:
    """Make a tenant's roles, or bring them into line; return how many it has."""
    client = aws.client("iam")
    trust = json.dumps(_document({"Principal": {"AWS": f"{account}:root"}, "Action": "sts:AssumeRole"}))
    catalog = json.dumps(
        _document(
            {
                "Action": ["lakeformation:GetDataAccess", "glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"],
                "Resource": "*",
            }
        )
    )
    for kind in get_args(Kind):
        name = role_name(prefix, tenant, kind)
        try:
            client.create_role(
                RoleName=name,
                Description=f"Lab Insights: {kind} of {tenant}",
                AssumeRolePolicyDocument=trust,
                Tags=[{"Key": "tenant", "Value": tenant}],
            )
        except client.exceptions.EntityAlreadyExistsException:
            client.tag_role(RoleName=name, Tags=[{"Key": "tenant", "Value": tenant}])
        client.put_role_policy(RoleName=name, PolicyName=_POLICY, PolicyDocument=catalog)
    return len(get_args(Kind))


def remove(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Delete a tenant's roles; return how many there were."""
    client, count = aws.client("iam"), 0
    for kind in get_args(Kind):
        name = role_name(prefix, tenant, kind)
        # one by one: a removal that was cut off between the two is taken up
        with contextlib.suppress(client.exceptions.NoSuchEntityException):
            client.delete_role_policy(RoleName=name, PolicyName=_POLICY)
        with contextlib.suppress(client.exceptions.NoSuchEntityException):
            client.delete_role(RoleName=name)
            count += 1
    return count


def held(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Return how many roles a tenant has."""
    client, count = aws.client("iam"), 0
    for kind in get_args(Kind):
        with contextlib.suppress(client.exceptions.NoSuchEntityException):
            client.get_role(RoleName=role_name(prefix, tenant, kind))
            count += 1
    return count


def _document(statement: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
