"""The account that a live run is to use, from the environment; and the documented statements that only it can execute."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab_insights.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {
    "LAB_INSIGHTS_LIVE_PREFIX": "the parameter Prefix of a stack of deploy/template.yaml in us-east-1, made for this alone",
    "LAB_INSIGHTS_LIVE_TENANT_ROLE": "that stack's output TenantRoleArn",
    "LAB_INSIGHTS_LIVE_SNOWFLAKE": "JSON with account, user, and password or private_key; warehouse and role where the user has no defaults",
}
REMEDY = "export them, see docs/how-to/live.md; AWS itself is found by the usual credential chain."
# A fence of SQL, indented or not, whose paragraph before it says so and ends with a colon.
_MARKED = re.compile(r"not executed locally(?:(?!\n\n).)*:\n\n *```sql\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Account:
    """Where a live run works: the stack's prefix and tenants' role, Snowflake's section of the configuration, and its login as JSON."""

    prefix: str
    tenant_role: str
    snowflake: dict[str, str]
    login: str


def account(environment: Mapping[str, str] = os.environ) -> Account:
    """Return the account that the environment names; raise `ConfigError` with all that is missing, before anything is touched."""
    if missing := [f"{name} ({what})" for name, what in NEEDED.items() if not environment.get(name)]:
        raise ConfigError(f"A live run does not know your account. Missing: {'; '.join(missing)}.", remedy=REMEDY)
    prefix, role, given = (environment[name] for name in NEEDED)
    try:
        said = json.loads(given)
        section = {name: str(said.pop(name)) for name in ("account", "warehouse", "role") if name in said}
        if "account" not in section or not {"user"} < set(said) <= {"user", "password", "private_key"}:
            raise ValueError
    except (ValueError, AttributeError, TypeError):
        # Without the text, which holds a password.
        raise ConfigError(f"LAB_INSIGHTS_LIVE_SNOWFLAKE is not {NEEDED['LAB_INSIGHTS_LIVE_SNOWFLAKE']}.", remedy=REMEDY) from None
    return Account(prefix, role, section, json.dumps(said))


def marked_statements(text: str) -> list[str]:
    """Return every statement of SQL that a page marks "not executed locally"."""
    return [statement.strip().rstrip(";") for block in _MARKED.findall(text) for statement in block.strip().split(";\n")]


def own(statement: str, name: str, key: str) -> str:
    """Return a statement for a user, a role and a warehouse of the test's own, in place of those that a page makes, with a key that is one."""
    named = re.sub(r"\b(?:(USER|ROLE) LAB_INSIGHTS|(WAREHOUSE) LOAD)\b", lambda its: f"{its[1] or its[2]} {name}", statement)
    return re.sub(r"RSA_PUBLIC_KEY = '[^']*'", f"RSA_PUBLIC_KEY = '{key}'", named)
