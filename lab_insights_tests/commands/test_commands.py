"""The command line: what it says, its exit codes, and that nobody is shown a traceback for a mistake of his own."""

from __future__ import annotations

import json
import re
import uuid
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lab_insights.aws import Aws
from lab_insights.cli import app
from lab_insights.commands import console
from lab_insights.commands.verify import print_report
from lab_insights.findings import Finding, Link
from lab_insights.lake import queue
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.verify import Report
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.lake.world import make_lake

CONFIG = """\
aws: {{endpoint_url: "{endpoint}"}}
lake: {{prefix: {prefix}}}
snowflake: {{account: none, host: 127.0.0.1, port: 1, protocol: http, credentials: "env:NO_SUCH_VARIABLE"}}
sources: {{}}
partitions: {{start: 2026-01-01}}
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAB_INSIGHTS_CONFIG", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("LAB_INSIGHTS_LOCAL_DIR", raising=False)
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 300)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "lab_insights.yaml")


@pytest.fixture(scope="session")
def prefix(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock").storage.prefix


@pytest.fixture
def deployed(cli: Cli, aws_endpoint: str, prefix: str) -> Cli:
    """A deployment whose Snowflake is out of reach."""
    cli.path.write_text(CONFIG.format(endpoint=aws_endpoint, prefix=prefix))
    return cli


def registry(aws_endpoint: str, prefix: str) -> Registry:
    return Registry(Aws(endpoint_url=aws_endpoint), prefix)


@pytest.mark.parametrize("words", [(), ("local",), ("tenant",), ("dlq",), ("audit",)])
def test_a_group_without_a_command_shows_its_help(cli: Cli, words: tuple[str, ...]) -> None:
    assert "Usage:" in cli(*words).output


def commands(group: Any, path: str = "") -> list[tuple[str, Any]]:
    if not hasattr(group, "commands"):
        return [(path.strip(), group)]
    return [found for name, each in group.commands.items() for found in commands(each, f"{path} {name}")]


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", EVERY)
def test_every_command_explains_itself_and_each_of_its_options(cli: Cli, command: str) -> None:
    help_ = cli(*command.split(), "--help", code=0).output
    assert f"Usage: lab-insights {command} " in help_
    # Markdown is rendered: what is told is looked for as words.
    told = re.findall(r"\w+", str(EVERY[command].help))[:4]
    assert len(told) == 4
    assert re.findall(r"\w+", help_.split("\n", 3)[3])[:4] == told
    assert [each.name for each in EVERY[command].params if not getattr(each, "help", "")] == []


def test_a_command_that_does_not_exist_is_wrong(cli: Cli) -> None:
    cli("frobnicate", code=2)
    cli("local", "simulate", "--days", "0", code=2)


@pytest.mark.parametrize("words", [("tenant", "list"), ("plan",), ("status",), ("verify",), ("dlq", "list"), ("ui",)])
def test_without_a_configuration_a_command_says_how_to_get_one(cli: Cli, words: tuple[str, ...]) -> None:
    output = cli(*words, code=2).output
    assert "There is no configuration at lab_insights.yaml" in output
    assert "remedy: run `lab-insights local up`" in output


@pytest.mark.parametrize("words", [("tenant", "list"), ("verify", "--json"), ("dlq", "redrive"), ("ui",)])
def test_a_wrong_configuration_is_told_by_line_and_remedy(deployed: Cli, words: tuple[str, ...]) -> None:
    deployed.path.write_text(deployed.path.read_text().replace("prefix: ", "prefix: NOT_"))
    output = deployed(*words, code=2).output
    assert "lab_insights.yaml:2: lake.prefix" in output
    assert "remedy: change `lake.prefix`" in output


@pytest.mark.parametrize("name", ["../evil", "a|b", "[/red]", "[bold]", "Aurora", "a" * 64])
def test_a_tenant_id_that_may_not_enter_a_path_is_refused_and_shown(deployed: Cli, name: str, aws_endpoint: str, prefix: str) -> None:
    output = deployed("tenant", "add", name, "--key", "1", code=2).output
    assert f"{name!r} is not a tenant id." in output
    assert "remedy: use a lower-case letter" in output
    assert name not in {tenant.id for tenant in registry(aws_endpoint, prefix).all()}


@pytest.mark.parametrize(
    "options",
    [
        ("--key", "a/b"),
        ("--key", "1", "--zone", "Mars"),
        ("--key", "1", "--zone", "America"),
        ("--key", "1", "--tier", "x"),
        ("--key", "1", "--layout", "lis"),
    ],
)
def test_what_no_tenant_can_have_is_a_wrong_command(deployed: Cli, options: tuple[str, ...]) -> None:
    output = deployed("tenant", "add", "aurora", *options, code=2).output
    assert "The key, a layout, the zone, the tier or an account is not one that exists." in output
    assert "tenant aurora" in output


def test_a_file_of_tenants_with_one_that_is_wrong_registers_none(deployed: Cli, tmp_path: Path, aws_endpoint: str, prefix: str) -> None:
    its = f"t{uuid.uuid4().hex[:8]}"
    (tmp_path / "tenants.yaml").write_text(f'tenants: [{{id: {its}, key: "1"}}, {{id: "../evil", key: "2"}}]')
    output = deployed("tenant", "apply", "tenants.yaml", code=2).output
    assert "tenants.1.id" in output
    assert "nothing was registered" in output
    assert its not in {tenant.id for tenant in registry(aws_endpoint, prefix).all()}


def test_registered_tenants_are_listed_for_people_and_for_programs(deployed: Cli, aws_endpoint: str, prefix: str) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    registry(aws_endpoint, prefix).put(
        Tenant.model_validate({"id": name, "key": "77", "layouts": {"lis": "prefix"}, "zone": "America/Chicago"})
    )
    output = deployed("tenant", "list", code=0).output
    assert name in output
    assert "lis: prefix" in output
    found: list[dict[str, Any]] = json.loads(deployed("tenant", "list", "--json", code=0).stdout)
    [its] = [tenant for tenant in found if tenant["id"] == name]
    assert (its["key"], its["zone"], its["database"]) == ("77", "America/Chicago", f"LAB_INSIGHTS_{name.upper()}")


def test_verify_refuses_a_choice_beside_all_of_it(deployed: Cli) -> None:
    for choice in (("--tenant", "x"), ("--day", "2026-01-01"), ("--table", "result")):
        assert "contradict each other" in deployed("verify", "--all", *choice, code=2).output


def test_verify_refuses_what_is_no_day_and_who_is_no_tenant(deployed: Cli) -> None:
    assert "is no date" in deployed("verify", "--day", "yesterday", code=2).output
    assert "does not hold this tenant" in deployed("verify", "--tenant", "nobody", code=2).output
    assert "is not a tenant id" in deployed("verify", "--tenant", "../evil", code=2).output


def test_credentials_that_are_not_set_are_told_by_their_variable(deployed: Cli) -> None:
    output = deployed("tenant", "add", "aurora", "--key", "1", code=2).output
    assert "The variable NO_SUCH_VARIABLE is not set" in output


@pytest.mark.parametrize("words", [("tenant", "list"), ("dlq", "list"), ("plan",), ("status",), ("verify",)])
def test_a_deployment_that_is_not_there_is_a_message_and_no_traceback(deployed: Cli, words: tuple[str, ...]) -> None:
    deployed.path.write_text(deployed.path.read_text().replace("prefix: core-", "prefix: gone-"))
    output = deployed(*words, code=1).output
    assert "lacks what this deployment needs" in output
    assert "remedy: check `aws` and `lake.prefix`" in output
    assert "Traceback" not in output


def test_a_dead_letter_list_of_nothing_says_so(
    deployed: Cli, aws_endpoint: str, deployed_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0)
    deployed.path.write_text(CONFIG.format(endpoint=aws_endpoint, prefix=deployed_prefix))
    assert "no dead letters" in deployed("dlq", "list", code=0).output
    assert json.loads(deployed("dlq", "list", "--json", code=0).stdout) == []
    assert "curation: 0 redriven" in deployed("dlq", "redrive", code=0).output
    assert json.loads(deployed("dlq", "redrive", "--json", code=0).stdout) == {"curation": 0, "transformation": 0}
    missed = deployed("dlq", "redrive", "--id", "mistyped", code=1)
    assert "1 of 1 were not found in any dead-letter queue." in missed.stderr
    assert "remedy: `lab-insights dlq list`" in missed.stderr


def test_a_local_stack_that_was_never_started_is_told_as_such(cli: Cli) -> None:
    assert "nothing was started from" in cli("local", "status", code=0).output
    assert json.loads(cli("local", "status", "--json", code=0).stdout) == []
    assert "nothing was running" in cli("local", "down", code=0).output
    assert json.loads(cli("local", "down", "--json", code=0).stdout) == []


def test_an_item_written_wrongly_by_hand_is_shown_beside_the_tenants(deployed: Cli, aws_endpoint: str, prefix: str) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    item = {"tenant": {"S": name}, "body": {"S": "[bold]"}, "registered_at": {"S": "2026-01-01T00:00:00+00:00"}}
    client = Aws(endpoint_url=aws_endpoint).client("dynamodb")
    client.put_item(TableName=f"{prefix}-tenants", Item=item)
    try:
        listed = deployed("tenant", "list", "--json", code=0)
        assert name not in {tenant["id"] for tenant in json.loads(listed.stdout)}
        assert f"invalid '{name}': body: Invalid JSON" in listed.stderr
    finally:
        client.delete_item(TableName=f"{prefix}-tenants", Key={"tenant": {"S": name}})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "frobnicate"), "There is no job frobnicate."),
        (("run", "raw", "--tenant", "nobody"), "does not hold this tenant"),
        (("run", "raw", "--day", "yesterday"), "is no date"),
        (("run", "raw", "--day", "1999-01-01"), "are not days of this deployment, which has 2026-01-01 to"),
        (("run", "raw", "--day", "2026-01-02", "--until", "2026-01-01"), "are not days of this deployment"),
        (("run", "crawl", "--day", "2026-01-01"), "has no days"),
        (("run", "curation", "--reload"), "reads no source"),
        (("run", "raw", "--engine", "hadoop"), "Invalid value"),
        (("run", "dynamic_full_load", "--reload"), "a full load the whole table as it is now"),
        (("run", "raw", "--table", "nothing"), "has no table nothing"),
        (("run", "crawl", "--table", "account"), "has no tables to choose from"),
        (("cost", "--day", "yesterday"), "is no date"),
    ],
)
def test_a_run_that_can_not_be_meant_is_refused_before_anything_runs(
    deployed: Cli, aws_endpoint: str, prefix: str, words: tuple[str, ...], told: str
) -> None:
    registry(aws_endpoint, prefix).put(Tenant.model_validate({"id": "somebody", "key": "1"}))
    output = deployed(*words, code=2).output
    assert told in output
    assert "remedy:" in output or "Invalid value" in told


def test_a_doctor_of_a_broken_configuration_names_it_and_goes_on(deployed: Cli) -> None:
    deployed.path.write_text(deployed.path.read_text().replace("prefix: ", "prefix: NOT_"))
    output = deployed("doctor", code=1).output
    assert "failed  configuration: lab_insights.yaml:2: lake.prefix" in output
    assert "dagster" in output
    assert re.search(r"doctor: .*1 failed", output)


def test_the_shell_is_given_its_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_LAB_INSIGHTS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "lab-insights run curat")
    monkeypatch.setenv("COMP_CWORD", "2")
    found = CliRunner().invoke(app, [], prog_name="lab-insights").output.split()
    assert found == ["curation", "curated_to_snowflake"]


def test_the_doctor_says_once_what_mends_many_things(cli: Cli, aws_endpoint: str) -> None:
    cli.path.write_text(CONFIG.format(endpoint=aws_endpoint, prefix="never-deployed"))
    said = cli("doctor", code=1).output
    assert said.count("NoSuchBucket") > 1
    assert said.count("deploy deploy/template.yaml with this prefix") == 1


def test_findings_of_one_cause_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(table: str, day: int, remedy: str) -> Finding:
        link: Link = "lake → warehouse"
        return Finding(link, TenantId("aurora"), "snowflake", table, date(2026, 3, day), "broken", f"{day} rows differ", remedy)

    many = [broken(f"curated/t{number}", number, "load them again.") for number in range(1, 9)]
    print_report(Report((*many, broken("curated/odd", 1, "look at it."))))
    said = capsys.readouterr().out
    assert "8 findings (aurora; curated/t1, curated/t2, curated/t3, curated/t4 and 4 more, 2026-03-01 to 2026-03-08): 1 rows differ" in said
    assert "aurora snowflake curated/odd 2026-03-01: 1 rows differ" in said
    assert said.count("remedy:") == 2
    assert "verify: BROKEN (9 broken" in said


def test_every_command_that_answers_answers_in_json() -> None:
    silent = [name for name, command in EVERY.items() if "--json" not in {option for each in command.params for option in each.opts}]
    assert silent == ["ui"]


@pytest.mark.parametrize(
    ("words", "offered"), [("lab-insights ", "doctor"), ("lab-insights run ", "everything"), ("lab-insights dlq ", "redrive")]
)
def test_the_shell_completes(words: str, offered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_LAB_INSIGHTS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, [], prog_name="lab-insights")
    assert offered in result.output.split()
