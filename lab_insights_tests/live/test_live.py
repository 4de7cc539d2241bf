"""The demo's loads on a real AWS and a real Snowflake account, and each statement that the documentation marks "not executed locally".

Opt-in: `make test-live`. It costs money, and takes as long as the accounts take. The sources are still this machine's MySQL and PostgreSQL, and a DynamoDB
table of the account. **Nobody has run it where this was written: there is no account there.** What is tried in every run is that it refuses without an
environment (`test_refusal.py`), and that what it calls is what the local demo calls. Not tried by it: EMR Serverless, the image on ECS, CloudTrail.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab_insights import demo
from lab_insights.aws import Aws
from lab_insights.commands.verify import verified
from lab_insights.local import settings
from lab_insights.local.databases import Engine, drop_schemas
from lab_insights.local.simulation import TENANTS, Simulation
from lab_insights.local.stack import Stack
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.live.account import ROOT, Account, account, marked_statements, own

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def named() -> Account:
    return account()


@pytest.fixture(scope="module")
def stack(named: Account, mysql_url: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A deployment like the local one, without an endpoint; afterwards its tenants are offboarded and its source schemas dropped."""
    directory = tmp_path_factory.mktemp("live")
    home, base = directory / "dagster_home", f"lab_insights_live_{uuid.uuid4().hex[:6]}"
    home.mkdir()
    first_day = datetime.now(UTC).date() - timedelta(days=demo.DAYS)
    urls: dict[Engine, str] = {"mysql": mysql_url, "postgresql": postgres_url}
    aws = Aws(tenant_role=named.tenant_role)
    engines: dict[str, Engine] = {"crm": "mysql", "lis": "mysql", "audit": "postgresql", "messages": "postgresql"}
    content = settings.lab_insights(base, aws, 0, engines, directory / "clock", first_day)
    content["aws"] = {"region": aws.region, "tenant_role": named.tenant_role}
    content["lake"] = {"prefix": named.prefix}
    content["snowflake"] = {**named.snowflake, "credentials": "env:LIVE_LOGIN"}
    content["phi"] = {"pseudonym_key": "env:LIVE_PSEUDONYMS"}
    for name, engine in engines.items():
        content["sources"][name]["url"] = f"env:LIVE_{engine.upper()}"
    settings._yaml(home / "lab_insights.yaml", content)
    settings._yaml(home / "dagster.yaml", settings.dagster(home))
    with pytest.MonkeyPatch.context() as patched, ExitStack() as afterwards:
        patched.setenv("LIVE_LOGIN", named.login)
        patched.setenv("LIVE_PSEUDONYMS", secrets.token_hex(32))
        for engine, url in urls.items():
            patched.setenv(f"LIVE_{engine.upper()}", url)
        patched.setenv("DAGSTER_HOME", str(home))
        patched.delenv("LAB_INSIGHTS_CONFIG", raising=False)
        for engine, url in urls.items():
            afterwards.callback(drop_schemas, engine, url, base)
        for tenant in TENANTS:
            afterwards.callback(offboard, directory, tenant.id)
        yield Stack(directory, home, aws, named.prefix, 0, urls, (), first_day, base)


def offboard(directory: Path, tenant: str) -> None:
    """Offboard a tenant, if it was registered; fail when it could not be, since what it left costs money."""
    done = Cli(directory)("tenant", "offboard", tenant, "--export", str(directory / tenant), "--confirm", tenant)
    assert done.exit_code == 0 or "does not hold" in done.output, done.output


def test_the_demos_loads_are_proven_there(stack: Stack) -> None:
    demo.register(stack)
    simulation = Simulation(stack, scale=0.1)
    with demo.loaded(simulation, lambda *_: None, lambda *_: None) as in_snowflake:
        assert verified(once=in_snowflake).ok
    assert len(simulation.written) == demo.DAYS


def test_what_is_only_recorded_locally_is_there(stack: Stack) -> None:
    """Policies, tags and warehouses that the provisioning of the tenants made are asked of the account itself."""
    with WarehouseResource(lake=LakeResource()).session("live") as session:
        for tenant in TENANTS:
            assert session.execute(f"SHOW MASKING POLICIES IN DATABASE {tenant.database}")
            assert session.execute(f"SHOW TAGS IN DATABASE {tenant.database}")
            assert session.execute(f"SHOW ROLES LIKE '{tenant.database}_READER'")
        assert session.execute("SHOW WAREHOUSES LIKE 'LAB_INSIGHTS_DAILY'")


MARKED = [page for page in sorted((ROOT / "docs").rglob("*.md")) if marked_statements(page.read_text())]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.name)
def test_the_statements_that_a_page_marks_not_executed_locally_are_executed(stack: Stack, page: Path) -> None:
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    lines = pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode().splitlines()
    name, key = f"LAB_INSIGHTS_LIVE_{uuid.uuid4().hex[:6].upper()}", "".join(lines[1:-1])
    with WarehouseResource(lake=LakeResource()).session("live") as session:
        try:
            for statement in marked_statements(page.read_text()):
                session.execute(own(statement, name, key))
        finally:
            session.execute(f"DROP USER IF EXISTS {name}")
            session.execute(f"DROP ROLE IF EXISTS {name}")
            session.execute(f"DROP WAREHOUSE IF EXISTS {name}")
