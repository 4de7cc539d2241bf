"""What is shipped: the package's files, the image's recipe, and its three entry points started as containers start them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from lab_insights.aws import Aws
from lab_insights.local import processes, settings

ROOT = Path(__file__).resolve().parents[1]
ENTRYPOINTS = ROOT / "deploy" / "entrypoints"
CONFIGURATION = """
lake: {prefix: lab-insights-test}
snowflake: {account: test, credentials: "secret:lab-insights-test/snowflake"}
sources:
  lis: {engine: mysql, url: "secret:lab-insights-test/lis", tenancy: {schema: {schema: "lis_{tenant}"}}}
  crm: {engine: mysql, url: "secret:lab-insights-test/crm", tenancy: {schema: {schema: "crm_{tenant}"}}}
partitions: {start: 2026-01-01}
"""
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
  __typename ... on PythonError { message } ... on RepositoryLocation { repositories { assetGroups { groupName } } } } } } } }"""
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


@dataclass(frozen=True)
class Deployment:
    """The three processes of a deployment, with the environment that they share."""

    url: str
    env: dict[str, str]

    def ask(self, query: str) -> Any:
        """Return the data of a GraphQL query to the webserver."""
        request = urllib.request.Request(f"{self.url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["data"]


@pytest.fixture(scope="module")
def storage_url(postgres_url: str) -> Iterator[sa.URL]:
    """A database of its own for Dagster's storage, dropped afterwards."""
    name = f"lab_insights_test_{uuid.uuid4().hex[:12]}"
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    yield sa.make_url(postgres_url).set(database=name)
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: str, storage_url: sa.URL) -> Iterator[Deployment]:
    """Code server, webserver and daemon on the production `dagster.yaml`, each stopped by its own handle."""
    home = tmp_path_factory.mktemp("dagster_home")
    shutil.copy(ROOT / "dagster.yaml", home)
    (home / "lab_insights.yaml").write_text(CONFIGURATION)
    aws = Aws(endpoint_url=aws_endpoint)
    bucket = f"test-{uuid.uuid4().hex[:10]}"
    aws.client("s3").create_bucket(Bucket=bucket)
    code_port, web_port = processes.free_port(), processes.free_port()
    env = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_ENDPOINT_URL_S3": aws_endpoint,
        "AWS_REGION": aws.region,
        "AWS_SECRET_ACCESS_KEY": "local",
        "DAGSTER_HOME": str(home),
        "DAGSTER_POSTGRES_DB": str(storage_url.database),
        "DAGSTER_POSTGRES_HOST": str(storage_url.host),
        "DAGSTER_POSTGRES_PASSWORD": storage_url.password or "",
        "DAGSTER_POSTGRES_PORT": str(storage_url.port or 5432),
        "DAGSTER_POSTGRES_USER": str(storage_url.username),
        "LAB_INSIGHTS_BIND": "127.0.0.1",
        "LAB_INSIGHTS_CODE_HOST": "127.0.0.1",
        "LAB_INSIGHTS_CODE_PORT": str(code_port),
        "LAB_INSIGHTS_LOG_BUCKET": bucket,
        "LAB_INSIGHTS_WEB_PORT": str(web_port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    deployed = Deployment(f"http://127.0.0.1:{web_port}", env)
    with ExitStack() as stack:
        for name, ready in (
            ("code-server", lambda: _listens(code_port)),
            ("daemon", lambda: True),
            ("webserver", lambda: processes.answers(f"{deployed.url}/server_info")),
        ):
            command, log = [str(ENTRYPOINTS / name)], home / f"{name}.log"
            handle = processes.start(name, command, address="", log=log, ready=ready, env=env, cwd=home, seconds=120)
            stack.callback(processes.stop, handle)
        yield deployed


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _healthy(service: str, env: dict[str, str]) -> None:
    """Run the health check that compose runs in the container of `service`; raise when it fails."""
    _, program, *rest = _compose()["services"][service]["healthcheck"]["test"]
    arguments = [env["LAB_INSIGHTS_CODE_PORT"] if part == "4000" else part for part in rest]
    subprocess.run([Path(sys.executable).parent / program, *arguments], env={**os.environ, **env}, capture_output=True, check=True)


def _within(seconds: float, ask: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + seconds
    while not done(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


@pytest.mark.slow
def test_the_code_server_answers_with_every_layer_of_the_graph(deployment: Deployment) -> None:
    def locations() -> Any:
        return deployment.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]

    (entry,) = _within(60, locations, lambda found: all(one["locationOrLoadError"] for one in found))
    location = entry["locationOrLoadError"]
    assert location["__typename"] == "RepositoryLocation", location
    groups = {group["groupName"] for repository in location["repositories"] for group in repository["assetGroups"]}
    assert {"raw", "curated", "transformed", "snowflake"} <= groups
    _healthy("code-server", deployment.env)


@pytest.mark.slow
def test_the_webserver_answers_with_its_page(deployment: Deployment) -> None:
    with urllib.request.urlopen(f"{deployment.url}/locations", timeout=30) as response:
        assert b"Dagster" in response.read()


@pytest.mark.slow
def test_the_daemon_keeps_every_required_daemon_healthy_on_the_production_instance(deployment: Deployment) -> None:
    def required() -> dict[str, bool]:
        statuses = deployment.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return {status["daemonType"]: status["healthy"] for status in statuses if status["required"]}

    health = _within(60, required, lambda found: all(found.values()))
    assert {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING"} <= set(health)
    assert all(health.values()), health
    _healthy("daemon", deployment.env)


def test_the_built_package_holds_every_data_file_of_the_tree(tmp_path: Path) -> None:
    built = tmp_path / "built"
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    # What `make lock` compiles is the checkout's alone.
    code = {".py", ".pyc", ".in"}
    data = {path.relative_to(ROOT) for path in (ROOT / "lab_insights").rglob("*.*") if path.is_file() and path.suffix not in code}
    assert {".json", ".yaml", ".j2", ".properties"} <= {path.suffix for path in data}
    assert {path for path in data if not (built / path).exists()} == set()


def test_compose_starts_entry_points_that_are_there_and_executable() -> None:
    services = _compose()["services"]
    commands = [Path(service["command"][0]) for service in services.values() if "command" in service]
    assert {command.name for command in commands} == {path.name for path in ENTRYPOINTS.iterdir()} == {"code-server", "daemon", "webserver"}
    for command in commands:
        assert os.access(ROOT / command.relative_to("/opt"), os.X_OK), command


def test_compose_gives_every_variable_that_the_instance_and_the_workspace_read() -> None:
    read = {name for file in ("dagster.yaml", "deploy/workspace.yaml") for name in _variables(yaml.safe_load((ROOT / file).read_text()))}
    assert read
    for name in ("code-server", "webserver", "daemon"):
        assert read <= set(_compose()["services"][name]["environment"]), name


def test_compose_mounts_the_configuration_what_it_names_and_the_way_to_its_role_where_the_code_server_looks_for_them() -> None:
    mounted = [re.fullmatch(r"\$\{(\w+):(\?|-/dev/null)\}:(\S+):ro", each) for each in _compose()["services"]["code-server"]["volumes"]]
    home = re.search(r"DAGSTER_HOME=(\S+)", (ROOT / "Dockerfile").read_text())
    assert home
    assert [each.groups() for each in mounted if each] == [
        ("LAB_INSIGHTS_YAML", "?", f"{home[1]}/lab_insights.yaml"),
        ("LAB_INSIGHTS_MODELS", "-/dev/null", f"{home[1]}/models"),
        ("LAB_INSIGHTS_AWS_CONFIG", "-/dev/null", "/home/lab-insights/.aws/config"),
    ]


def test_the_image_copies_only_what_is_there_and_what_its_context_holds() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [name for line in copied for name in line.split()]
    held = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"setup.py", "requirements.lock", "lab_insights", "dagster.yaml", "deploy/workspace.yaml"} <= set(sources)
    for name in sources:
        assert (ROOT / name).exists(), name
        assert any(name == part or name.startswith(f"{part}/") for part in held), name


def test_the_image_writes_events_in_batches_and_no_instance_sends_anything_to_anybody() -> None:
    assert "DAGSTER_EVENT_BATCH_SIZE=500" in (ROOT / "Dockerfile").read_text()
    for instance in (yaml.safe_load((ROOT / "dagster.yaml").read_text()), settings.dagster(ROOT)):
        assert (instance["telemetry"], instance["nux"]) == ({"enabled": False}, {"enabled": False})


def test_the_development_workspace_loads_the_definitions() -> None:
    loaded = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert loaded == [{"python_module": {"module_name": "lab_insights.definitions"}}]


def _compose() -> Any:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"env"}:
            yield value["env"]
        for part in value.values():
            yield from _variables(part)
    elif isinstance(value, list):
        for part in value:
            yield from _variables(part)
