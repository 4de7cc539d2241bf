"""The stack as a whole: up, again, half down, after a reboot, down, gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from lab_insights import config
from lab_insights.aws import Aws, resolve
from lab_insights.clock import Clock
from lab_insights.local import databases, postgres, processes, settings, stack
from lab_insights.local.databases import Found
from lab_insights_tests.commands.cli import Cli, seen_bars
from lab_insights_tests.local.sessions import Session

BASE = f"lab_insights_t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def servers(mysql_url: str, postgres_url: str) -> stack.Servers:
    return stack.Servers(Found("mysql", mysql_url, "MySQL"), Found("postgresql", postgres_url, "PostgreSQL"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, servers: stack.Servers) -> Iterator[Path]:
    """The directory of a stack that the tests of this module share: each brings it up, whatever another left."""
    path = tmp_path_factory.mktemp("stack") / "local"
    with ExitStack() as afterwards:
        for found in (servers.mysql, servers.postgresql):
            afterwards.callback(databases.drop_schemas, found.engine, str(found.url), BASE)
        afterwards.callback(stack.down, path)
        yield path


def server_of(path: Path, name: str) -> processes.Handle:
    handle = processes.recorded(path / "servers" / f"{name}.json")
    assert handle is not None
    return handle


def died(handle: processes.Handle) -> None:
    """Let the server end as in a crash or a reboot: nobody tidies up after it."""
    os.kill(handle.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while handle.alive():
        assert time.monotonic() < deadline, "the process outlived its SIGKILL"
        time.sleep(0.01)


def test_a_second_up_starts_nothing_and_a_snowflake_that_died_alone_comes_back_with_all_it_held(
    directory: Path, servers: stack.Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = stack.up(directory, servers, BASE)
    aws, snowflake = server_of(directory, "aws"), server_of(directory, "snowflake")
    assert stack.up(directory, servers, BASE).lines == ()
    first = Session(up.snowflake_port)
    first.run('CREATE DATABASE "GONE"', 'CREATE DATABASE "KEPT"', 'CREATE SCHEMA "KEPT"."A"', 'CREATE ROLE "R"')
    first.run('CREATE STAGE "KEPT"."A"."LAKE" URL = \'s3://lab-insights-local-curated/\'', 'DROP DATABASE "GONE"')
    first.run('CREATE TABLE "KEPT"."A"."T" ("V" NUMBER(38,0))', 'INSERT INTO "KEPT"."A"."T" VALUES (1)')
    died(snowflake)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    free_port = Mock(wraps=processes.free_port)  # asked for the port it had, which another test's connection may have by now
    monkeypatch.setattr(processes, "free_port", free_port)
    mended = stack.up(directory, servers, BASE)
    assert [line.split(":")[0] for line in mended.lines] == ["Snowflake stand-in"]
    free_port.assert_called_once_with(up.snowflake_port)
    assert server_of(directory, "aws") == aws
    assert list(tmp_path.iterdir()) == [], "each start of fakesnow makes a directory for stages in the machine's"
    second = Session(mended.snowflake_port)
    assert second.run('SELECT "V" FROM "KEPT"."A"."T"') == [(1,)]
    assert [row[1] for row in second.run('SHOW STAGES IN SCHEMA "KEPT"."A"')] == ["LAKE"]
    assert second.run("SELECT KIND FROM STAND_IN.RECORDED.STATEMENTS") == [("CREATE ROLE",)]
    assert {row[1] for row in second.run("SHOW DATABASES")} == {"KEPT", "STAND_IN"}
    assert all(": running at" in line for line in stack.status(directory))


def test_the_configuration_that_up_writes_is_valid_and_its_secrets_can_be_read(
    directory: Path, servers: stack.Servers, mysql_url: str, postgres_url: str
) -> None:
    up = stack.up(directory, servers, BASE)
    read = config.load(up.dagster_home / "lab_insights.yaml")
    aws = Aws(read.aws.region, read.aws.endpoint_url)
    urls = {name: resolve(source.url, aws) for name, source in read.sources.items() if source.url}
    assert urls == {"crm": mysql_url, "lis": mysql_url, "audit": postgres_url, "messages": postgres_url}
    assert read.snowflake.port == up.snowflake_port
    assert read.clock
    assert Clock(read.clock.file).now().date() >= read.partitions.start


def test_the_servers_listen_on_the_loopback_alone(directory: Path, servers: stack.Servers, tmp_path: Path) -> None:
    stack.up(directory, servers, BASE)
    bundled = postgres.start(tmp_path / "postgres")
    try:
        for handle in (server_of(directory, "aws"), server_of(directory, "snowflake"), bundled):
            port = int(urlsplit(handle.address).port or 0)
            assert _accepts("127.0.0.1", port), handle.name
            assert not _accepts("127.0.0.2", port), f"{handle.name} listens on every address"
    finally:
        processes.stop(bundled)
        shutil.rmtree(postgres.place(tmp_path / "postgres"), ignore_errors=True)


def _accepts(host: str, port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((host, port)) == 0


def test_an_aws_stand_in_that_lost_its_state_resets_dagster_snowflake_and_sources_together_and_says_so(
    directory: Path, servers: stack.Servers, mysql_url: str
) -> None:
    up = stack.up(directory, servers, BASE)
    remnants = [up.dagster_home / "history.db", directory / "snowflake" / "databases" / "OLD.db"]
    for remnant in remnants:
        remnant.write_text("")
    with create_engine(mysql_url, poolclass=NullPool).connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {BASE}_crm_shared"))
    died(server_of(directory, "aws"))
    lines = stack.up(directory, servers, BASE).lines
    assert "reset" in lines[0]
    assert any(f"dropped schema {BASE}_crm_shared" in line for line in lines)
    assert not any(remnant.exists() for remnant in remnants)
    assert databases.schemas("mysql", mysql_url, BASE) == []


def test_a_day_is_simulated_on_the_stack_of_a_directory_and_told_to_programs(
    directory: Path, servers: stack.Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = stack.up(directory, servers, BASE)
    monkeypatch.setattr(stack, "base_of", lambda _: BASE)
    monkeypatch.setattr(stack, "look", lambda: servers)
    monkeypatch.setenv("LAB_INSIGHTS_LOCAL_DIR", str(directory))
    cli, seen = Cli(up.dagster_home / "lab_insights.yaml"), seen_bars(monkeypatch)
    assert json.loads(cli("local", "up", "--json", code=0).stdout) == {"dagster_home": str(up.dagster_home), "done": []}
    (directory / "laboratory.json").write_text(json.dumps({"seed": 7, "scale": 0.05, "first_day": str(up.first_day)}))
    [(day, rows)] = json.loads(cli("local", "simulate", "--json", code=0).stdout).items()
    assert day == str(up.first_day)
    assert rows > 0
    assert f"1/1 days  {rows:,} rows, " in seen.getvalue()
    assert {line.partition(":")[0] for line in json.loads(cli("local", "status", "--json", code=0).stdout)} == {
        "AWS stand-in",
        "Snowflake stand-in",
    }


def test_the_description_names_servers_schemas_and_fallbacks_and_touches_nothing(tmp_path: Path) -> None:
    missing = stack.Servers(Found("mysql", None, "MySQL: none here"), Found("postgresql", None, "PostgreSQL: none here"))
    lines = stack.describe(missing, tmp_path / "local", BASE)
    assert [line for line in lines if "none here" in line] == ["MySQL: none here", "PostgreSQL: none here"]
    for said in ("crm and lis: on PostgreSQL too", "wheel pgserver", f"{BASE}_*", str(tmp_path / "local")):
        assert any(said in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_two_directories_have_schemas_that_neither_could_take_for_its_own(tmp_path: Path, mysql_url: str) -> None:
    one, other = stack.base_of(tmp_path / "one"), stack.base_of(tmp_path / "other")
    assert one == stack.base_of(tmp_path / "x" / ".." / "one")
    assert one != other
    assert any(f"{one}_*" in line for line in stack.describe(stack.look(), tmp_path / "one"))
    with ExitStack() as afterwards, create_engine(mysql_url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for base in (one, other):
            afterwards.callback(databases.drop_schemas, "mysql", mysql_url, base)
            connection.execute(text(f"CREATE SCHEMA {base}_crm_shared"))
        assert databases.drop_schemas("mysql", mysql_url, one) == [f"{one}_crm_shared"]
        assert databases.drop_schemas("mysql", mysql_url, other) == [f"{other}_crm_shared"]


def test_without_mysql_crm_and_lis_are_configured_on_postgresql(tmp_path: Path, aws_endpoint: str, postgres_url: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    home = settings.write(tmp_path, BASE, aws, 1, {"postgresql": postgres_url}, date(2026, 1, 1))
    sources = config.load(home / "lab_insights.yaml").sources
    assert {source.engine for name, source in sources.items() if name != "notifications"} == {"postgresql"}
    assert resolve(sources["crm"].url or "", aws) == postgres_url


def test_down_stops_what_up_started_and_nothing_else_and_purge_leaves_no_file_of_ours(directory: Path, servers: stack.Servers) -> None:
    foreigner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stack.up(directory, servers, BASE)
        (directory / "mine.txt").write_text("not of the stack")
        started = [server_of(directory, name) for name in ("aws", "snowflake")]
        assert stack.down(directory) == ["Snowflake stand-in: stopped", "AWS stand-in: stopped"]
        assert not any(handle.alive() for handle in started)
        assert foreigner.poll() is None
        assert stack.down(directory) == []
        contract = directory / "models" / "contracts" / "mine.yaml"
        contract.parent.mkdir(parents=True)
        contract.write_text("not of the stack")
        stack.purge(directory)
        assert sorted(path.name for path in directory.rglob("*") if path.is_file()) == ["mine.txt", "mine.yaml"]
        contract.unlink()
    finally:
        foreigner.kill()
        foreigner.wait()
