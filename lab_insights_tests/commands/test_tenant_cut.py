"""Adding, suspending and offboarding a tenant, cut off after any step that changes something, and begun again: the end is that of one that was not cut."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from botocore.client import BaseClient

from lab_insights.commands.life import Life
from lab_insights.commands.offboarding import Offboarding, certified, unfinished
from lab_insights.commands.provisioners import Database, Provisioner, provisioners
from lab_insights.config import Config
from lab_insights.errors import ConfigError, LabInsightsError
from lab_insights.governance import glue
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId
from lab_insights.partitions import TENANTS
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.report_page import key as page_key
from lab_insights.warehouse.session import Session, connect
from lab_insights_tests.commands.tenants import cli, lake, put
from lab_insights_tests.lake.world import day, fresh_tenant

__all__ = ["cli", "lake"]
READS = ("Get", "List", "Head", "Scan", "Query", "Describe")


class Killed(BaseException):
    """The process ended here."""


class World:
    """A deployment, with one session for all of its tenants."""

    def __init__(self, config: Config, lake: Lake, session: Session) -> None:
        self.lake, self.session = lake, session
        self.registry = Registry(lake.storage.aws, lake.storage.prefix)
        self.places: list[Provisioner] = provisioners(config, lake, session)
        self.life = Life(self.registry, self.places, lambda _: None, lambda tenant: unfinished(lake, tenant.id))

    def end(self, tenant: TenantId) -> str:
        """Everything that there is of a tenant, without its name."""
        listed = [item for item in self.registry.all() if item.id == tenant]
        name = f"LAB_INSIGHTS_{tenant.upper()}"
        tables = self.session.execute(f'SELECT TABLE_SCHEMA, TABLE_NAME FROM "{name}".INFORMATION_SCHEMA.TABLES ORDER BY 1, 2')
        schemas = self.session.execute(f'SELECT SCHEMA_NAME FROM "{name}".INFORMATION_SCHEMA.SCHEMATA ORDER BY 1')
        recorded = self.session.execute("SELECT DISTINCT STATEMENT FROM STAND_IN.RECORDED.STATEMENTS ORDER BY 1")
        permitted = [statement for (statement,) in recorded if name in statement]
        with dg.DagsterInstance.get() as instance:
            there = tenant in instance.get_dynamic_partitions(str(TENANTS.name))
        found = [[item.model_dump(mode="json", exclude={"registered_at"}) for item in listed], tables, schemas, permitted, there]
        return json.dumps(found, default=str).replace(tenant, "T").replace(tenant.upper(), "T")

    def left(self, tenant: TenantId) -> dict[str, int]:
        return {f"{place.name} {what}": count for place in self.places for what, count in place.found(tenant).items() if count}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance of Dagster of this module's own."""
    made = tmp_path_factory.mktemp("dagster_home")
    (made / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return made


@pytest.fixture
def world(cli: Any, lake: Lake, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    from lab_insights import config

    monkeypatch.setenv("DAGSTER_HOME", str(home))
    loaded = config.load(cli.path)
    with connect(loaded.snowflake, lake.storage.aws) as session:
        yield World(loaded, lake, session)


@contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, limit: int) -> Iterator[None]:
    """Die after the `limit`-th call that changes something, in Snowflake, S3, DynamoDB or Glue."""
    calls = itertools.count(1)

    def dying(real: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def wrapped(self: Any, *arguments: Any) -> Any:
            answer = real(self, *arguments)
            if changes(*arguments) and next(calls) == limit:
                raise Killed
            return answer

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(Session, "execute", dying(Session.execute, lambda sql, *_: not sql.startswith(("SELECT", "SHOW", "USE"))))
        patched.setattr(Session, "administer", dying(Session.administer, lambda *_: True))
        patched.setattr(BaseClient, "_make_api_call", dying(BaseClient._make_api_call, lambda name, *_: not name.startswith(READS)))
        yield


def new(suspended: bool = False) -> Tenant:
    return Tenant.model_validate({"id": fresh_tenant(), "key": "1", "suspended": suspended})


@pytest.mark.slow
def test_a_tenant_whose_adding_was_cut_off_anywhere_is_not_active_and_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = new()
    world.life.add(whole)
    expected = world.end(whole.id)
    tenant = new()
    # each run dies further on than the one before it: in AWS, then in Snowflake, where the first dozens make what is there and the rest is granted
    for limit in itertools.chain(range(1, 30, 4), (40, 90), itertools.count(150, 20)):
        try:
            with killed_after(monkeypatch, limit):
                world.life.add(tenant)
            break
        except Killed:
            if not world.registry.get(tenant.id).suspended:
                break  # after the very last call; that nothing is missing is shown below
    assert limit > 100
    assert world.end(tenant.id) == expected


def test_a_suspension_that_was_cut_off_anywhere_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tenant = new(), new()
    for each in (whole, tenant):
        world.life.add(each)
    world.life.suspend(whole)
    for limit in itertools.count(1, 2):
        try:
            with killed_after(monkeypatch, limit):
                world.life.suspend(tenant)
            break
        except Killed:
            assert world.registry.get(tenant.id).suspended
    assert limit > 2
    assert world.end(tenant.id) == world.end(whole.id)


def offboard(world: World, tenant: Tenant, directory: Path) -> dict[str, Any]:
    return Offboarding(world.lake, world.registry, world.places, tenant.id, directory, lambda _: None).run()


def filled(world: World) -> Tenant:
    tenant = new()
    world.registry.put(tenant)
    provision(world.session, world.lake.storage, tenant.id)
    world.session.execute("INSERT INTO OPS.HEADS (LAYER, TABLE_NAME, VERSION) VALUES ('curated', 't', 1)")
    world.session.execute('USE SCHEMA "STAND_IN".RECORDED')
    for layer in LAYERS[:2]:
        put(world.lake, tenant.id, "crm.note", layer, text=["secret", "b"])
    world.lake.storage.put("reports", page_key(tenant.id, day(1)), b"secret")
    glue.register_lake(world.lake, [tenant.id])
    for place in world.places:
        if not isinstance(place, Database):
            place.add(tenant)
    return tenant


@pytest.mark.slow
def test_an_offboarding_that_was_cut_off_anywhere_is_completed_and_its_certificate_is_whole(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled(world)
    expected = offboard(world, whole, tmp_path / whole.id)
    assert expected["deleted"]["database"] == {"databases": 1, "tables": 3, "rows": 1, "roles": 4}
    tenant = filled(world)
    # the first runs die before the export is noted, which then is not done again; each later one dies one change further on
    for limit in itertools.chain((1, 2, 3), itertools.count(1, 3)):
        try:
            with killed_after(monkeypatch, limit):
                offboard(world, tenant, tmp_path / tenant.id)
            break
        except Killed:
            if not unfinished(world.lake, tenant.id) and certified(world.lake, tenant.id):
                break
    assert limit > 12
    assert world.left(tenant.id) == {}
    assert tenant.id not in {each.id for each in world.registry.all()}
    certificate = json.loads(world.lake.storage.get("raw", f"offboarded/tenant={tenant.id}/certificate.json") or b"")
    assert without_bytes(certificate) == without_bytes(expected)


def without_bytes(certificate: dict[str, Any]) -> dict[str, Any]:
    """Its counts; sizes differ by what names and instants take."""
    counts = {"exported": certificate["exported"], **certificate["deleted"]}
    return {place: {what: count for what, count in of.items() if what != "bytes"} for place, of in counts.items()}


def test_what_comes_back_while_it_is_deleted_is_told_and_the_next_run_goes_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = filled(world)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "remove", lambda *_: {})
        with pytest.raises(LabInsightsError, match="are in database again"):
            offboard(world, tenant, tmp_path)
    with pytest.raises(ConfigError, match="being offboarded"):
        world.life.add(tenant)
    assert offboard(world, tenant, tmp_path)["deleted"]["partitions"] == {"partitions": 1}
