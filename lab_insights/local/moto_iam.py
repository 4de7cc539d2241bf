"""What moto's IAM lacks for sessions with tags; its own evaluator decides, and only what it is given is completed.

moto 5.2.5 forgets the tags of `AssumeRole`, compares `${aws:PrincipalTag/…}` with resources as if it were text, does not take a role's session for its
role where a trust policy names the role, and knows neither the tables of DynamoDB's requests, so that only `*` allows any, nor that a transaction needs
what its items need. Asked for the LF-tags of a database
that has none it fails. Conditions of policies stay as they are there: an Allow is blind to those that it does not know. Nothing of IAM matters before
`POST /moto-api/reset-auth` switches the checks on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from moto.dynamodb.responses import DynamoHandler
from moto.iam import access_control
from moto.lakeformation.models import LakeFormationBackend
from moto.sts.responses import TokenResponse

_TAG = re.compile(r"\$\{aws:PrincipalTag/([^}]+)\}")
# A transaction is no action of its own in IAM: it needs those of its items.
_PARTS = {"dynamodb:TransactWriteItems": ("dynamodb:PutItem", "dynamodb:UpdateItem"), "dynamodb:TransactGetItems": ("dynamodb:GetItem",)}
_SESSION = re.compile(r":sts::(\d+):assumed-role/([^/]+)/.*")


def mend() -> None:
    """Complete what the evaluator is given."""
    tags: dict[str, dict[str, str]] = {}
    _mend_sessions(tags)
    _mend_trust()
    _mend_transactions()
    _mend_tags()
    DynamoHandler._determine_resource = _table  # type: ignore[attr-defined]  # noqa: SLF001


def _mend_sessions(tags: dict[str, dict[str, str]]) -> None:
    assume, collect = TokenResponse.assume_role, access_control.AssumedRoleAccessKey.collect_policies

    def assume_role(self: TokenResponse) -> Any:
        made: Any = assume(self)
        given = self._get_param("Tags") or []
        tags[made.result["Credentials"].access_key_id] = {tag["Key"]: tag["Value"] for tag in given}
        return made

    def collect_policies(self: access_control.AssumedRoleAccessKey) -> list[Any]:
        mine = tags.get(self._access_key_id, {})
        return [_with_tags(policy, mine) for policy in collect(self)]

    TokenResponse.assume_role = assume_role  # type: ignore[method-assign]
    access_control.AssumedRoleAccessKey.collect_policies = collect_policies  # type: ignore[method-assign]


def _with_tags(policy: Any, tags: dict[str, str]) -> Any:
    """Return a policy's text with the tags in it; a tag that the session does not have is one that no resource has."""
    return _TAG.sub(lambda found: tags.get(found[1], r"\u0000"), policy) if isinstance(policy, str) else policy


def _mend_trust() -> None:
    matches = access_control.IAMPolicyStatement._check_principal  # noqa: SLF001

    def check_principal(self: access_control.IAMPolicyStatement, principal: str) -> bool:
        role = _SESSION.sub(r":iam::\1:role/\2", principal)
        return bool(matches(self, principal) or (role != principal and matches(self, role)))

    access_control.IAMPolicyStatement._check_principal = check_principal  # type: ignore[method-assign]  # noqa: SLF001


def _mend_transactions() -> None:
    check = access_control.IAMRequestBase.check_action_permitted

    def check_action_permitted(self: access_control.IAMRequestBase, resource: str) -> None:
        for part in _PARTS.get(self._action, (self._action,)):
            self._action = part
            check(self, resource)

    access_control.IAMRequestBase.check_action_permitted = check_action_permitted  # type: ignore[method-assign]


def _mend_tags() -> None:
    made = LakeFormationBackend.__init__

    def make(self: LakeFormationBackend, region_name: str, account_id: str) -> None:
        made(self, region_name, account_id)
        self.lf_database_tags, self.lf_table_tags = defaultdict(list), defaultdict(list)

    LakeFormationBackend.__init__ = make  # type: ignore[method-assign]


def _table(self: DynamoHandler) -> str:
    """Return the ARN of the table that a request names; of several, of the first: no policy here tells them apart."""
    named = [self.body, *(each for item in self.body.get("TransactItems", ()) for each in item.values())]
    found = [each["TableName"] for each in named if "TableName" in each] + list(self.body.get("RequestItems", ()))
    return f"arn:aws:dynamodb:{self.region}:{self.current_account}:table/{found[0] if found else '*'}"
