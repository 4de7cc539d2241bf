"""One lake and one schema on each server for all tests here; each test has a tenant and tables of its own in them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from lab_insights.config import SnowflakeSection
from lab_insights.extract import window
from lab_insights.lake.commit import Lake
from lab_insights.local import snowflake
from lab_insights.names import TenantId
from lab_insights.warehouse.provision import provision, use
from lab_insights.warehouse.session import connect
from lab_insights_tests.extract.accounts import filled
from lab_insights_tests.extract.journey import Journey
from lab_insights_tests.extract.tables import making
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import fresh_tenant, make_lake


@pytest.fixture(scope="session")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


@pytest.fixture
def tenant() -> TenantId:
    return fresh_tenant()


@pytest.fixture(scope="session")
def mysql(mysql_url: str) -> Iterator[Server]:
    made = Server("mysql", mysql_url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres(postgres_url: str) -> Iterator[Server]:
    made = Server("postgresql", postgres_url)
    yield made
    made.close()


@pytest.fixture
def elsewhere(postgres: Server) -> Iterator[Server]:
    """A database of our own on PostgreSQL, whose settings and subscriptions are nobody else's."""
    name = f"lab_insights_test_{uuid.uuid4().hex[:12]}"
    postgres.execute(f"CREATE DATABASE {name}")
    made = Server("postgresql", sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False))
    yield made
    made.close()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["mysql", "postgres"])
def server(request: pytest.FixtureRequest) -> Server:
    """Both servers, one after the other."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def accounts(server: Server) -> Iterator[str]:
    """The name of a table of accounts."""
    with filled(server) as name:
        yield name


@pytest.fixture
def make(lake: Lake, server: Server) -> Iterator[Any]:
    """Makes tables of a definition, filled by a select from a sequence `n`."""
    with making(lake, server) as table:
        yield table


@pytest.fixture(scope="module")
def journey(lake: Lake, snowflake_server: tuple[str, int]) -> Iterator[Journey]:
    """A tenant whose tables go all the way into its database, for the tests of one module."""
    name, (host, port) = f"extract-tests-{uuid.uuid4().hex[:8]}/snowflake", snowflake_server
    lake.storage.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(snowflake.LOGIN))
    account = SnowflakeSection(account="fakesnow", host=host, port=port, protocol="http", credentials=f"secret:{name}")
    its = fresh_tenant()
    with connect(account, lake.storage.aws, run_id="test") as session:
        provision(session, lake.storage, its)
        use(session, its)
        yield Journey(lake, session, its)
        session.execute(f'DROP DATABASE "LAB_INSIGHTS_{its.upper()}"')


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No margin is kept below the floor: it would hide that an open transaction, which is always younger here, was not seen at all."""
    monkeypatch.setattr(window, "MARGIN", timedelta())
