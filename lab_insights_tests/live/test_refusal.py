"""A live run refuses an environment that names no account, and says what to do; it repeats no password."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lab_insights.errors import ConfigError
from lab_insights_tests.live.account import NEEDED, ROOT, account, marked_statements, own

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


def test_the_sql_of_each_page_near_the_words_not_executed_locally_is_executed_by_a_live_run() -> None:
    found = {}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        lines = page.read_text().splitlines()
        near = [
            line.strip()
            for start in (number for number, line in enumerate(lines) if line.strip() == "```sql")
            if "not executed locally" in " ".join(lines[max(start - 6, 0) : start])
            for line in lines[start + 1 : lines.index(lines[start].replace("sql", ""), start)]
        ]
        if near:
            found[page.name] = marked_statements(page.read_text())
            assert [line for line in near if not any(line.rstrip(";") in statement for statement in found[page.name])] == [], page
    assert {name: len(statements) for name, statements in found.items()} == {"deploy.md": 7, "audit.md": 1}
    for statement in found["deploy.md"]:
        its = own(statement, "LIVE_7", "MIIB")
        assert "…" not in its
        assert "LIVE_7" in its


def test_each_place_that_says_not_executed_locally_is_in_the_list_of_the_how_to() -> None:
    listed = (ROOT / "docs" / "how-to" / "live.md").read_text()
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "live.md"]
    saying = [page for page in pages if "not executed locally" in page.read_text() or "recorded, not enforced" in page.read_text()]
    assert saying
    assert [page.name for page in saying if f"{page.parent.name}/{page.name}" not in listed and f"]({page.name}" not in listed] == []
