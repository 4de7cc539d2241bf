"""A live run refuses an environment that names no account, and says what to do; it repeats no password."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lab_insights.errors import ConfigError
from lab_insights_tests.live.account import NEEDED, ROOT, account, marked_statements

WHOLE = {
    "LAB_INSIGHTS_LIVE_PREFIX": "acme-live",
    "LAB_INSIGHTS_LIVE_TENANT_ROLE": "arn:aws:iam::123456789012:role/acme-live-tenant",
    "LAB_INSIGHTS_LIVE_SNOWFLAKE": json.dumps({"account": "acme", "user": "loader", "password": "hush"}),
}


def test_a_live_run_without_an_environment_fails_before_it_touches_anything_and_names_every_variable() -> None:
    empty = {name: value for name, value in os.environ.items() if name not in NEEDED}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "live", "-p", "no:cacheprovider", "lab_insights_tests/live"]
    ran = subprocess.run(command, cwd=ROOT, env=empty, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout
    for name in NEEDED:
        assert name in ran.stdout
    assert "docs/how-to/live.md" in ran.stdout


@pytest.mark.parametrize("name", NEEDED)
def test_each_variable_that_is_missing_is_named_alone(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        account({**WHOLE, name: ""})
    assert [each for each in NEEDED if each in refused.value.message] == [name]


@pytest.mark.parametrize(
    "given", ["hush", "[]", '{"account": "a", "password": "hush"}', '{"user": "u", "password": "hush"}', '{"account": "a", "user": "u"}']
)
def test_a_login_that_is_none_is_refused_without_its_password(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        account({**WHOLE, "LAB_INSIGHTS_LIVE_SNOWFLAKE": given})
    assert "hush" not in str(refused.value)


def test_a_whole_environment_is_understood() -> None:
    its = account(WHOLE)
    assert (its.prefix, its.snowflake, json.loads(its.login)) == ("acme-live", {"account": "acme"}, {"user": "loader", "password": "hush"})


def test_marked_statements_are_found_and_each_place_that_says_so_is_in_the_list_of_the_how_to() -> None:
    assert any("ACCESS_HISTORY" in statement for _, statement in marked_statements())
    listed = (ROOT / "docs" / "how-to" / "live.md").read_text()
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "live.md"]
    saying = [page for page in pages if "not executed locally" in page.read_text() or "recorded, not enforced" in page.read_text()]
    assert saying
    assert [page.name for page in saying if f"{page.parent.name}/{page.name}" not in listed and f"]({page.name}" not in listed] == []
