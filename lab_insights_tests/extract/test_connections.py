"""Wrong URLs, refused logins and servers of another kind: an error that says what to do, and nothing that is secret."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_manager
import pytest
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.config import Config, Limits, Source
from lab_insights.errors import ConfigError, LabInsightsError, SourceError
from lab_insights.extract import databases
from lab_insights.extract.catalog import crawl
from lab_insights.extract.databases import url
from lab_insights.extract.read import SourceRows
from lab_insights.extract.sources import Sources
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights_tests.extract.world import AURORA, Server, read

HOSTILE_PASSWORD = "p@s:s/w%rd#'\"?&"


def source(engine: str = "mysql", reference: str = "env:CONNECTION_OF_TEST") -> Source:
    return Source.model_validate({"engine": engine, "url": reference, "tenancy": {"schema": {"schema": "s"}}})


def refused(monkeypatch: pytest.MonkeyPatch, engine: str, address: str) -> LabInsightsError:
    monkeypatch.setenv("CONNECTION_OF_TEST", address)
    with pytest.raises(LabInsightsError) as raised:
        crawl("lis", source(engine), AURORA, Aws())
    chain: Any = raised.value
    assert raised.value.remedy
    assert "hidden" not in str(raised.value)
    # `from None`: a traceback must not show what the driver said
    assert chain.__suppress_context__ or chain.__context__ is None
    return raised.value


@pytest.mark.parametrize("address", ["", "not a url", "mysql://root:hidden@127.0.0.1:notaport/", "127.0.0.1:3306"])
def test_what_is_no_url_is_told_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    error = refused(monkeypatch, "mysql", address)
    assert isinstance(error, ConfigError)
    assert "CONNECTION_OF_TEST" in str(error)


def test_a_source_without_a_url_says_where_to_put_it() -> None:
    with pytest.raises(ConfigError, match="no URL"):
        url(source().model_copy(update={"url": None}), Aws())


@pytest.mark.parametrize("engine", ["mysql", "postgresql"])
def test_a_server_that_is_not_there_is_named_by_host_and_port(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refused(monkeypatch, engine, f"{engine}://someone:hidden@127.0.0.1:{port}/x")
    assert isinstance(error, SourceError)
    assert f"Source lis at 127.0.0.1:{port} can not be reached" in str(error)
    assert error.tenant == "aurora"


def test_a_server_of_another_kind_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, mysql: Server) -> None:
    its = sa.make_url(mysql.url)
    assert isinstance(refused(monkeypatch, "postgresql", f"postgresql://someone:hidden@{its.host}:{its.port}/x"), SourceError)
    # PostgreSQL waits a minute for a client that waits for it, as MySQL's does; a web server answers at once
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        answered = threading.Thread(target=lambda: other.get_request()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        answered.start()
        assert isinstance(refused(monkeypatch, "mysql", f"mysql://someone:hidden@127.0.0.1:{other.server_port}/x"), SourceError)
        answered.join(10)


def test_a_refused_login_names_the_user_and_where_its_password_is_kept(
    monkeypatch: pytest.MonkeyPatch, mysql: Server, postgres: Server
) -> None:
    its = sa.make_url(mysql.url).set(username="lab_t_nobody", password="hidden")
    error = refused(monkeypatch, "mysql", its.render_as_string(hide_password=False))
    assert "refused the login of lab_t_nobody" in str(error)
    assert "secret" in error.remedy
    its = sa.make_url(postgres.url).set(username="lab_t_nobody", password="hidden")
    assert "refused the login of lab_t_nobody" in str(refused(monkeypatch, "postgresql", its.render_as_string(hide_password=False)))


def test_a_password_may_be_made_of_anything(server: Server) -> None:
    server.execute("CREATE TABLE {s}.guarded (id INT PRIMARY KEY)", "INSERT INTO {s}.guarded VALUES (1)")
    grants = (
        ("GRANT SELECT ON {s}.guarded TO {who}",)
        if server.engine == "mysql"
        else ("GRANT USAGE ON SCHEMA {s} TO {who}", "GRANT SELECT ON {s}.guarded TO {who}")
    )
    with server.login(HOSTILE_PASSWORD, *grants) as address:
        assert read(server.table("guarded"), address)[0]["id"].to_pylist() == [1]


def test_a_table_that_may_not_be_read_is_a_clear_error_without_its_rows(server: Server) -> None:
    server.execute("CREATE TABLE {s}.forbidden (id INT PRIMARY KEY, note VARCHAR(9))", "INSERT INTO {s}.forbidden VALUES (1, 'secret')")
    server.execute("CREATE TABLE {s}.allowed (id INT PRIMARY KEY)")
    grants = (
        ("GRANT SELECT ON {s}.allowed TO {who}",)
        if server.engine == "mysql"
        else ("GRANT USAGE ON SCHEMA {s} TO {who}", "GRANT SELECT ON {s}.allowed TO {who}")
    )
    with server.login("hidden", *grants) as address, pytest.raises(SourceError, match="refused to read this table") as raised:
        read(server.table("forbidden"), address)
    assert "GRANT SELECT".lower() in raised.value.remedy.lower()
    assert "hidden" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_statement_that_takes_too_long_is_cut_off_with_a_remedy(postgres: Server) -> None:
    postgres.execute("CREATE TABLE {s}.slow (id INT PRIMARY KEY)", "INSERT INTO {s}.slow SELECT * FROM generate_series(1, 9)")
    its = postgres.table("slow")
    target = sa.make_url(postgres.url).set(drivername="postgresql+psycopg2")
    with sa.create_engine(target, poolclass=sa.NullPool).connect() as locker:
        locker.exec_driver_sql(f"LOCK TABLE {postgres.schema}.slow")
        rows = SourceRows(its, target, Limits.model_validate({"statement_timeout": 1, "lock_timeout": 1}))
        with pytest.raises(SourceError, match="time limit"):
            list(rows)
        locker.rollback()


def test_postgresql_connections_are_opened_and_closed_one_after_the_other(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two at the same instant, of some 10,000, and the driver's count of them is wrong for good: every reader after that fails.
    postgres.execute("CREATE TABLE {s}.busy (id INT PRIMARY KEY)", "INSERT INTO {s}.busy VALUES (1)")
    its, inside, most = postgres.table("busy"), list[str](), list[int]()

    class Watched(adbc_driver_manager.AdbcConnection):
        def __init__(self, *given: Any) -> None:
            with counted():
                super().__init__(*given)

        def close(self) -> None:
            with counted():
                super().close()

    @contextmanager
    def counted() -> Iterator[None]:
        inside.append("one")
        most.append(len(inside))
        try:
            yield
        finally:
            inside.pop()

    monkeypatch.setattr(adbc_driver_manager, "AdbcConnection", Watched)
    with ThreadPoolExecutor(8) as readers:
        assert [table.num_rows for table, _ in readers.map(lambda _: read(its, postgres.url), range(64))] == [1] * 64
    assert (len(most), max(most)) == (128, 1)


def test_options_of_the_url_that_only_one_driver_knows_do_not_stop_the_other(mysql: Server) -> None:
    mysql.execute("CREATE TABLE {s}.optional (id INT PRIMARY KEY)", "INSERT INTO {s}.optional VALUES (1)")
    assert read(mysql.table("optional"), f"{mysql.url}?charset=utf8mb4")[0].num_rows == 1


def test_a_source_that_died_between_two_steps_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, aws_endpoint: str, deployed_prefix: str
) -> None:
    monkeypatch.setenv("CONNECTION_OF_TEST", "postgresql://someone:hidden@127.0.0.1:1/x")
    config = Config.model_validate(
        {
            "lake": {"prefix": "pp"},
            "snowflake": {"account": "a", "credentials": "env:X"},
            "partitions": {"start": "2026-01-01"},
            "sources": {"lis": source("postgresql")},
        }
    )
    aws = Aws(endpoint_url=aws_endpoint)
    sources = Sources(config, aws, Lake(Storage(aws, deployed_prefix), State(aws, deployed_prefix), Clock(tmp_path / "c")), {})
    Clock(tmp_path / "c").set(Clock().now())
    with pytest.raises(SourceError, match="can not be reached"):
        sources.ceiling("lis")
    with pytest.raises(SourceError, match="can not be reached"):
        sources.catalog("lis", AURORA)
    databases.engine.cache_clear()
