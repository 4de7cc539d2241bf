"""The laboratory in real databases: three layouts, decoys, the fourth day's column, and nothing left behind."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import boto3
import pytest
import sqlalchemy as sa
from boto3.dynamodb.conditions import Key

from lab_insights.errors import ConfigError, StackError
from lab_insights.local.laboratory import Laboratory, Targets
from lab_insights.local.laboratory.laboratory import Counts
from lab_insights.local.laboratory.sql import connected
from lab_insights.local.laboratory.tenancy import Relational, placement
from lab_insights_tests.local.laboratory.days import AURORA, BIRCHWOOD, CEDAR, FIRST_DAY, SEED, TENANTS

DAYS = 4
Engine = Literal["mysql", "postgresql"]


@pytest.fixture(scope="module")
def new_laboratory(mysql_url: str, postgres_url: str, aws_endpoint: str) -> Callable[[Engine], Laboratory]:
    """Plans a laboratory whose CRM and LIS are on a kind of server."""

    def new(engine: Engine) -> Laboratory:
        unique, relational = uuid.uuid4().hex[:8], {"mysql": mysql_url, "postgresql": postgres_url}[engine]
        targets = Targets(
            crm=relational,
            lis=relational,
            audit=postgres_url,
            messages=postgres_url,
            notification_table=f"test-{unique}-src-critical_notification",
            dynamodb_endpoint=aws_endpoint,
            base=f"lab_insights_t{unique}",
        )
        return Laboratory(targets, TENANTS, SEED, FIRST_DAY, scale=0.5)

    return new


@dataclass
class Simulated:
    """A laboratory with its first days written."""

    laboratory: Laboratory
    engine: Engine
    counts: Counts

    @property
    def base(self) -> str:
        return self.laboratory.targets.base

    def rows(self, source: Relational, query: str) -> list[sa.Row[Any]]:
        with connected(source, self.laboratory.targets.url(source)) as (connection, _):
            return list(connection.execute(sa.text(query)))

    def items(self, key: int) -> list[dict[str, Any]]:
        targets = self.laboratory.targets
        session = boto3.Session("local", "local", region_name=targets.region)
        table = session.resource("dynamodb", endpoint_url=targets.dynamodb_endpoint).Table(targets.notification_table)
        return list(table.query(KeyConditionExpression=Key("tenant_id").eq(str(key)))["Items"])


@pytest.fixture(scope="module", params=["mysql", "postgresql"])
def simulated(request: pytest.FixtureRequest, new_laboratory: Callable[[Engine], Laboratory]) -> Iterator[Simulated]:
    laboratory = new_laboratory(request.param)
    counts: Counts = Counter()
    try:
        laboratory.create()
        for index in range(DAYS):
            counts += laboratory.simulate_day(FIRST_DAY + timedelta(days=index))
        yield Simulated(laboratory, request.param, counts)
    finally:
        laboratory.drop()


def test_each_layout_holds_exactly_the_rows_that_were_counted(simulated: Simulated) -> None:
    names: dict[Relational, tuple[str, ...]] = {
        "crm": ("account", "task", "record_host_code"),
        "lis": ("patient", "result", "specimen_tracking"),
    }
    for tenant in TENANTS:
        for source, tables in names.items():
            place = placement(simulated.base, source, tenant)
            where = f" WHERE tenant_id = {tenant.key}" if tenant is CEDAR else ""
            for table in tables:
                [(found,)] = simulated.rows(
                    source,
                    f"SELECT count(*) FROM {place.schema}.{place.prefix}{table}{where}",
                )
                name = (tenant.id, f"{source}.{table}")
                assert found == simulated.counts[*name, "insert"] - simulated.counts[*name, "delete"] > 0


def test_the_layouts_are_schemas_prefixes_and_a_discriminator(simulated: Simulated) -> None:
    base = simulated.base
    assert simulated.rows("lis", f"SELECT mrn FROM {base}_lis_aurora_clinic.patient")[0][0].startswith("T12-")
    assert simulated.rows("lis", f"SELECT mrn FROM {base}_lis_shared.t27_patient")[0][0].startswith("T27-")
    pooled = simulated.rows("lis", f"SELECT mrn FROM {base}_lis_pooled.patient WHERE tenant_id = 31")
    assert pooled[0][0].startswith("T31-")
    audited = simulated.rows("audit", f"SELECT DISTINCT tenant_id FROM {base}_audit.audit_event")
    assert {key for (key,) in audited} >= {12, 27, 31}
    for tenant in TENANTS:
        assert simulated.rows("messages", f"SELECT id FROM {base}_messages_{tenant.id}.message LIMIT 1")


def test_pooled_tables_hold_decoys_whose_ids_collide_with_the_tenants(simulated: Simulated) -> None:
    collide = (
        "SELECT count(*) FROM {0}_lis_pooled.patient a JOIN {0}_lis_pooled.patient b ON a.id = b.id "
        "WHERE a.tenant_id = 31 AND b.tenant_id = {1} AND a.mrn <> b.mrn"
    )
    for key in (98, 99):
        assert simulated.rows("lis", collide.format(simulated.base, key))[0][0] > 0
        assert simulated.rows("audit", f"SELECT 1 FROM {simulated.base}_audit.audit_event WHERE tenant_id = {key} LIMIT 1")
    # A prefix that the LIKE pattern t27_% matches too.
    assert simulated.rows("lis", f"SELECT mrn FROM {simulated.base}_lis_shared.t271_patient")[0][0].startswith("T271-")


def test_notifications_lie_in_dynamodb_by_tenant(simulated: Simulated) -> None:
    for tenant in TENANTS:
        items = simulated.items(tenant.key)
        assert len(items) == simulated.counts[tenant.id, "notifications.critical_notification", "insert"] > 0
        assert all(item["patient_mrn"].startswith(f"T{tenant.key}-") for item in items)
        assert all(item["attempts"]["1"]["channel"] == "phone" for item in items)


def test_the_fourth_day_adds_a_column_and_old_rows_get_its_default(simulated: Simulated) -> None:
    query = f"SELECT forecast_category, updated_at FROM {simulated.base}_crm_shared.t27_opportunity ORDER BY updated_at"
    categories = simulated.rows("crm", query)
    assert categories[0][0] == "pipeline"
    assert len(categories) > 3


def test_cursors_keep_their_microseconds_in_utc(simulated: Simulated) -> None:
    stamps = simulated.rows("lis", f"SELECT updated_at, received_at FROM {simulated.base}_lis_aurora_clinic.specimen")
    assert any(updated.microsecond % 1000 for updated, _ in stamps)
    # `updated_at` is an instant, `received_at` a civil time: both are the same UTC moment for punctual specimens.
    assert any(received and updated.replace(tzinfo=None) == received for updated, received in stamps)


def test_zero_dates_are_there_on_mysql_and_null_on_postgresql(simulated: Simulated) -> None:
    encounters = f"{simulated.base}_lis_aurora_clinic.encounter"
    zero = "CAST(discharged_on AS CHAR) = '0000-00-00'" if simulated.engine == "mysql" else "discharged_on IS NULL"
    assert simulated.rows("lis", f"SELECT count(*) FROM {encounters} WHERE {zero}")[0][0] > 0


def test_the_odd_tables_are_as_odd_as_promised(simulated: Simulated) -> None:
    with connected("crm", simulated.laboratory.targets.crm) as (connection, _):
        inspector = sa.inspect(connection)
        crm, lis = f"{simulated.base}_crm_aurora_clinic", f"{simulated.base}_lis_aurora_clinic"
        assert not inspector.get_pk_constraint("specimen_tracking", lis)["constrained_columns"]
        assert len(inspector.get_pk_constraint("record_host_code", crm)["constrained_columns"]) == 3
        assert "updated_at" not in {column["name"] for column in inspector.get_columns("reject_reason", lis)}
        cursors = {column["name"]: column["nullable"] for column in inspector.get_columns("campaign", crm)}
        assert cursors["updated_at"]
        assert len(inspector.get_columns("udt_instrument_log", crm)) == 40
    assert {name for (name,) in simulated.rows("crm", f"SELECT family_name FROM {crm}.contact")} & {
        "Prøvesen",
        "Beispielmüller",
        "Muestraño",
        "Exemplé",
    }


def test_a_second_create_is_refused_and_changes_nothing(simulated: Simulated) -> None:
    before = simulated.rows("lis", f"SELECT count(*) FROM {simulated.base}_lis_aurora_clinic.result")
    with pytest.raises(StackError, match="drop the older laboratory first"):
        simulated.laboratory.create()
    assert simulated.rows("lis", f"SELECT count(*) FROM {simulated.base}_lis_aurora_clinic.result") == before


@pytest.mark.parametrize("engine", ["mysql", "postgresql"])
def test_drop_leaves_nothing_of_ours_and_everything_of_others(engine: Engine, new_laboratory: Callable[[Engine], Laboratory]) -> None:
    laboratory = new_laboratory(engine)
    foreign = f"{laboratory.targets.base}_crm_somebody_else"
    with connected("crm", laboratory.targets.crm) as (connection, _):
        connection.exec_driver_sql(f"CREATE SCHEMA {foreign}")
    try:
        laboratory.create()
        assert len(laboratory.existing()) == 11
        laboratory.drop()
        assert laboratory.existing() == []
        laboratory.drop()
        with connected("crm", laboratory.targets.crm) as (connection, _):
            assert foreign in sa.inspect(connection).get_schema_names()
    finally:
        laboratory.drop()
        with connected("crm", laboratory.targets.crm) as (connection, _):
            connection.exec_driver_sql(f"DROP SCHEMA {foreign}")


def test_a_base_that_is_not_unmistakably_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match="lab_insights_"):
        Targets(crm="", lis="", audit="", messages="", notification_table="", base="production")


def test_a_server_that_is_not_there_is_named(new_laboratory: Callable[[Engine], Laboratory]) -> None:
    laboratory = new_laboratory("postgresql")
    nowhere = Targets(
        **{**vars(laboratory.targets), "crm": "mysql+pymysql://root@127.0.0.1:1/"},
    )
    with pytest.raises(StackError, match=r"source crm at 127\.0\.0\.1:1"):
        Laboratory(nowhere, (AURORA, BIRCHWOOD), SEED, FIRST_DAY).create()
