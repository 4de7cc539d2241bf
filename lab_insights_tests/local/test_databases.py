"""Which servers are used is tried, said, and never guessed."""

from __future__ import annotations

import getpass
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from lab_insights.errors import ConfigError
from lab_insights.local import databases, postgres, processes
from lab_insights.local.databases import Engine


@pytest.fixture
def base() -> str:
    return f"lab_insights_t{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["mysql", "postgresql"])
def server(request: pytest.FixtureRequest) -> tuple[Engine, str]:
    engine: Engine = request.param
    return engine, request.getfixturevalue("mysql_url" if engine == "mysql" else "postgres_url")


def run(url: str, *statements: str) -> None:
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(("engine", "variable"), databases.VARIABLES.items())
def test_a_server_of_the_loopback_is_used_after_a_schema_of_ours_could_be_made_there_and_nothing_stays(
    engine: Engine, variable: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("mysql_url" if engine == "mysql" else "postgres_url")
    monkeypatch.setenv(variable, url)
    before = databases.schemas(engine, url, "lab_insights_probe")
    found = databases.find(engine)
    assert found.url == url
    assert "was tried" in found.line
    assert databases.schemas(engine, url, "lab_insights_probe") == before


def test_a_refused_login_that_was_asked_for_is_an_error_that_hides_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, engine, url in (
        ("LAB_INSIGHTS_MYSQL_URL", "mysql", "mysql+pymysql://nobody_here:hunter2@127.0.0.1:3306/"),
        ("LAB_INSIGHTS_POSTGRES_URL", "postgresql", "postgresql://nobody_here:hunter2@127.0.0.1:1/postgres"),
        ("LAB_INSIGHTS_MYSQL_URL", "mysql", "hunter2"),
        ("LAB_INSIGHTS_MYSQL_URL", "mysql", "postgresql://root:hunter2@127.0.0.1/"),
    ):
        monkeypatch.setenv(variable, url)
        with pytest.raises(ConfigError, match=f"{variable} can not be used: .+ Remedy: correct {variable}") as refused:
            databases.find("mysql" if engine == "mysql" else "postgresql")
        assert "hunter2" not in str(refused.value)


def test_where_servers_are_looked_for_when_nobody_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "somebody")
    assert databases._defaults("mysql") == ["mysql+pymysql://root@127.0.0.1:3306/"]
    assert databases._defaults("postgresql") == [f"postgresql://{user}@127.0.0.1:5432/postgres" for user in ("postgres", "somebody")]


def test_a_login_that_may_make_no_schema_is_passed_over_with_a_line_for_the_next(
    server: tuple[Engine, str], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, url = server
    who = f"'{base}'@'%'" if engine == "mysql" else base
    word = f"IDENTIFIED BY '{base}'" if engine == "mysql" else f"LOGIN PASSWORD '{base}'"
    run(url, f"CREATE {'USER' if engine == 'mysql' else 'ROLE'} {who} {word}")
    try:
        poor = make_url(url).set(username=base, password=base).render_as_string(hide_password=False)
        monkeypatch.delenv(databases.VARIABLES[engine], raising=False)
        monkeypatch.setattr(databases, "_defaults", lambda _: [poor])
        found = databases.find(engine)
        assert found.url is None
        assert "denied" in found.line
        assert f":{base}@" not in found.line
        monkeypatch.setattr(databases, "_defaults", lambda _: [poor, url])
        assert databases.find(engine).url == url
    finally:
        run(url, f"DROP {'USER' if engine == 'mysql' else 'ROLE'} {who}")


def test_a_loopback_without_a_server_is_said_in_a_line_and_no_url_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_INSIGHTS_MYSQL_URL", raising=False)
    monkeypatch.setattr(databases, "_defaults", lambda _: [f"mysql+pymysql://root@127.0.0.1:{processes.free_port()}/"])
    found = databases.find("mysql")
    assert found.url is None
    assert "Can't connect" in found.line
    assert "LAB_INSIGHTS_MYSQL_URL" in found.line


def test_dropping_the_schemas_of_a_base_leaves_those_that_only_begin_alike(server: tuple[Engine, str], base: str) -> None:
    engine, url = server
    names = [base, f"{base}_crm_a", f"{base}x_crm"]
    run(url, *(f"CREATE SCHEMA {name}" for name in names), f"CREATE TABLE {base}_crm_a.t (id int)")
    try:
        assert databases.drop_schemas(engine, url, base) == [base, f"{base}_crm_a"]
        assert databases.schemas(engine, url, base) == []
        assert databases.schemas(engine, url, f"{base}x") == [f"{base}x_crm"]
    finally:
        databases.drop_schemas(engine, url, f"{base}x")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A directory that other users can not enter, as a home often is."""
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o700)
    yield directory
    shutil.rmtree(postgres.place(directory), ignore_errors=True)


def test_a_bundled_postgresql_keeps_its_data_and_is_never_run_as_root(closed: Path) -> None:
    first = postgres.start(closed)
    try:
        assert Path(f"/proc/{first.pid}").stat().st_uid != 0
        assert stat_mode(closed) == 0o700
        run(first.address, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)")
    finally:
        assert processes.stop(first)
    second = postgres.start(closed, port=int(first.address.split(":")[-1].split("/")[0]))
    try:
        assert second.address == first.address
        with create_engine(second.address, poolclass=NullPool).connect() as connection:
            assert connection.execute(text("SELECT id FROM kept")).all() == [(1,)]
    finally:
        processes.stop(second)


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
