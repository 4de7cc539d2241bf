"""The doctor against real servers: what is well, what is not, and the remedy of each."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lab_insights.aws import Aws
from lab_insights.config import Config
from lab_insights.doctor import Check, deployment, examine, machine, sources, warehouse, writes
from lab_insights.doctor.check import guarded
from lab_insights.errors import ConfigError, WarehouseError
from lab_insights.extract import stamps
from lab_insights.local import template
from lab_insights.local.deployer import ACCOUNT
from lab_insights.names import tenant_id
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.warehouse.session import Session

NORTH = Tenant(id=tenant_id("north"), key="1")
PASSWORD = "hunter2"


def configured(prefix: str = "none", endpoint: str | None = None, **found: Any) -> Config:
    return Config.model_validate(
        {
            "aws": {"endpoint_url": endpoint},
            "lake": {"prefix": prefix},
            "snowflake": {"account": "none", "host": "127.0.0.1", "port": 1, "protocol": "http", "credentials": "env:NO_SUCH_LOGIN"},
            "sources": found,
            "partitions": {"start": "2026-01-01"},
        }
    )


def told(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.subject: check for check in checks}


def relational(engine: str, schema: str, url: str = "env:DOCTOR_URL") -> dict[str, Any]:
    return {"engine": engine, "url": url, "tenancy": {"schema": {"schema": schema}}}


@pytest.fixture
def limited(request: pytest.FixtureRequest, mysql_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A schema with two tables, of which a new login may read one; `DOCTOR_URL` is that login's. The parameter is the engine."""
    name, mysql = f"doctor{uuid.uuid4().hex[:8]}", request.param == "mysql"
    url = sa.make_url(mysql_url if mysql else postgres_url)
    user = f"'{name}'@'%%'" if mysql else name
    made = f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'" if mysql else f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"
    grants = [] if mysql else [f"GRANT USAGE ON SCHEMA {name} TO {name}"]
    dropped = (
        [f"DROP DATABASE {name}", f"DROP USER {user}"]
        if mysql
        else [f"DROP SCHEMA {name} CASCADE", f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    )
    with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        for statement in (
            *(f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.open_one (id int PRIMARY KEY)", f"CREATE TABLE {name}.shut (id int)", made),
            *(*grants, f"GRANT SELECT ON {name}.open_one TO {user}"),
        ):
            connection.exec_driver_sql(statement)
        monkeypatch.setenv("DOCTOR_URL", url.set(username=name, password=PASSWORD).render_as_string(hide_password=False))
        yield name
        for statement in dropped:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("limited", ["postgresql"], indirect=True)
def test_a_postgresql_login_that_may_not_see_transactions_nor_read_a_table_is_told_both(limited: str) -> None:
    found = told(sources.source("shop", configured(shop=relational("postgresql", limited)), Aws(), [NORTH]))
    assert found["source shop"].status == "ok"
    assert found["source shop"].message.startswith("PostgreSQL ")
    assert found["source shop transactions"].status == "warning"
    assert "pg_read_all_stats" in found["source shop transactions"].remedy
    assert (found["source shop of north"].status, found["source shop of north"].message) == ("failed", "shop.shut can not be read")


@pytest.mark.parametrize("limited", ["mysql"], indirect=True)
def test_a_mysql_login_sees_what_it_may_read_and_is_told_of_the_privilege_it_lacks(limited: str) -> None:
    found = told(sources.source("shop", configured(shop=relational("mysql", limited)), Aws(), [NORTH]))
    assert re.match(r"(MariaDB|MySQL) \d+\.\d+", found["source shop"].message)
    assert "PROCESS" in found["source shop transactions"].remedy
    assert found["source shop of north"] == Check("source shop of north", "ok", "1 tables can be read")


@pytest.mark.parametrize("limited", ["postgresql", "mysql"], indirect=True)
def test_a_server_in_another_zone_is_told(limited: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "zone", lambda *_: "America/New_York")
    engine = request.node.callspec.params["limited"]
    found = told(sources.source("shop", configured(shop=relational(engine, limited)), Aws(), [NORTH]))["source shop zone"]
    assert (found.status, found.message) == ("warning", "the server's zone is America/New_York, sessions of ours are in UTC")
    assert "`load: incremental`" in found.remedy


def test_a_refused_login_a_closed_port_and_an_unset_variable_are_each_told_without_the_password(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sa.make_url(mysql_url)
    for wrong in (url.set(username="nobody_here", password=PASSWORD), url.set(port=1, password=PASSWORD)):
        monkeypatch.setenv("DOCTOR_URL", wrong.render_as_string(hide_password=False))
        [check] = sources.source("shop", configured(shop=relational("mysql", "x")), Aws(), [NORTH])
        assert check.status == "failed"
        assert check.remedy
        assert PASSWORD not in str(check)
    [check] = sources.source("shop", configured(shop=relational("mysql", "x", "env:NO_SUCH_URL")), Aws(), [NORTH])
    assert check.message == "The variable NO_SUCH_URL is not set."


def test_a_tenant_without_a_schema_fails_alone(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_URL", mysql_url)
    found = told(sources.source("shop", configured(shop=relational("mysql", "no_such_schema_{tenant}")), Aws(), [NORTH]))
    assert found["source shop"].status == "ok"
    assert "has no schema no_such_schema_north" in found["source shop of north"].message


def test_every_named_resource_of_the_template_is_looked_at() -> None:
    keys = {
        "BucketName": deployment.BUCKETS,
        "TableName": deployment.TABLES,
        "QueueName": deployment.QUEUES,
        "TopicName": deployment.TOPICS,
    }
    # What a parameter may leave out is not missed.
    always = [each.get("Properties", {}) for each in template.load()["Resources"].values() if "Condition" not in each]
    for key, looked_at in keys.items():
        named = {its[key]["Fn::Sub"].removeprefix("${Prefix}-") for its in always if key in its}
        assert named == set(looked_at), key


def test_a_deployment_is_well_and_one_that_was_never_made_is_told_piece_by_piece(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    well = told(deployment.resources(configured(deployed_prefix, aws_endpoint), aws))
    assert len(well) == 1 + 5 + 3 + 4 + 2 + 4
    assert {name for name, check in well.items() if check.status != "ok"} == {f"topic {deployed_prefix}-alarms"}
    gone = told(deployment.resources(configured("gone", aws_endpoint), aws))
    assert {name for name, check in gone.items() if check.status != "failed"} == {"aws"}
    assert gone["bucket gone-raw"].message == "AWS answers NoSuchBucket."
    assert all("deploy/template.yaml" in check.remedy for name, check in gone.items() if name != "aws")


def test_a_tenants_part_of_the_lake_that_may_be_written_holds_nothing_after_it_was_tried(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    [check] = writes.lake(configured(deployed_prefix, aws_endpoint), aws, [NORTH])
    assert check == Check("lake of north", "ok", "may be written by this login")
    for name in deployment.DATABASES:
        bucket = {"Bucket": f"{deployed_prefix}-{name}"}
        assert "Uploads" not in aws.client("s3").list_multipart_uploads(**bucket)
        assert "Versions" not in aws.client("s3").list_object_versions(**bucket)
    for table in ("bookmarks", "status"):
        assert aws.client("dynamodb").scan(TableName=f"{deployed_prefix}-{table}")["Count"] == 0


def test_subscriptions_are_counted_one_by_one(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{deployed_prefix}-alarms"
    for number in range(2):
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:inbox-{number}")
    check = told(deployment.resources(configured(deployed_prefix, aws_endpoint), aws))[f"topic {deployed_prefix}-alarms"]
    assert (check.status, check.message) == ("ok", "2 subscriptions")


def test_dead_letters_are_a_warning(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{deployed_prefix}-curation-dlq")["QueueUrl"], MessageBody="x")
    check = told(deployment.resources(configured(deployed_prefix, aws_endpoint), aws))[f"queue {deployed_prefix}-curation-dlq"]
    assert (check.status, check.message) == ("warning", "1 dead letters")


def test_a_registry_item_written_by_hand_fails_alone_and_the_others_are_examined(aws_endpoint: str, deployed_prefix: str) -> None:
    aws = Aws(endpoint_url=aws_endpoint)
    Registry(aws, deployed_prefix).put(NORTH)
    item = {"tenant": {"S": "by_hand"}, "body": {"S": "{}"}, "registered_at": {"S": "2026-01-01T00:00:00+00:00"}}
    aws.client("dynamodb").put_item(TableName=f"{deployed_prefix}-tenants", Item=item)
    found = told(examine(lambda: configured(deployed_prefix, aws_endpoint)))
    assert found["tenant 'by_hand'"].status == "failed"
    assert "Field required" in found["tenant 'by_hand'"].message
    assert found["tenants"].message == "1 registered"
    assert (found["snowflake"].status, found["snowflake"].message) == ("failed", "The variable NO_SUCH_LOGIN is not set.")
    assert (
        "The registry does not hold"
        in told(examine(lambda: configured(deployed_prefix, aws_endpoint), ["nobody"]))["tenant nobody"].message
    )


def test_tenants_that_read_the_same_rows_are_told_by_source_whichever_are_looked_at(aws_endpoint: str, deployed_prefix: str) -> None:
    registry = Registry(Aws(endpoint_url=aws_endpoint), deployed_prefix)
    for name, key in (("north", "1"), ("south", "2"), ("west", "1")):
        registry.put(Tenant(id=tenant_id(name), key=key))
    shop, pooled = relational("mysql", "shop_{tenant}"), {"discriminator": {"schema": "pool", "column": "org", "value": "{key}"}}
    config = configured(deployed_prefix, aws_endpoint, shop=shop, pool={**shop, "tenancy": pooled}, one=relational("mysql", "same"))
    found = told(examine(lambda: config, ["south"]))
    alike = {name: check for name, check in found.items() if check.message == "these tenants read the same rows"}
    assert alike.keys() == {"source pool of north, west", "source one of north, south, west"}
    assert {(check.status, "a key of its own" in check.remedy) for check in alike.values()} == {("failed", True)}


def test_a_broken_configuration_is_one_failed_line_and_the_machine_is_examined_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Config:
        raise ConfigError("lab_insights.yaml:2: wrong.", remedy="mend it.")

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = list(examine(broken))
    assert found[0] == Check("configuration", "failed", "lab_insights.yaml:2: wrong.", "mend it.")
    assert {check.subject for check in found[1:]} == {"java", "dagster", "dagster home"}


def test_a_java_that_is_missing_or_too_old_fails_only_where_spark_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert [check.status for check in machine.java(needed=False)] == ["warning"]
    assert [check.status for check in machine.java(needed=True)] == ["failed"]
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    assert [check.message for check in machine.java(needed=True)] == ["Java 11 is not one that Spark runs on"]


def test_a_dagster_home_without_its_file_or_with_a_wrong_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert told(machine.dagster([]))["dagster home"].status == "failed"
    (tmp_path / "dagster.yaml").write_text("storage: {nonsense: 1}")
    assert told(machine.dagster([]))["dagster home"].status == "failed"
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    found = told(machine.dagster(["north"]))
    assert found["dagster home"].status == "ok"
    assert found["dagster partitions"].message == "no partition yet: north"


@pytest.mark.parametrize(
    ("row", "statuses"),
    [(("9.1", "LOADER", "LOAD"), ["ok", "ok", "ok"]), (("9.1", "PUBLIC", None), ["failed", "failed", "failed"])],
    ids=["as configured", "neither role nor warehouse nor integration"],
)
def test_a_role_a_warehouse_or_an_integration_that_is_not_granted_fails(row: tuple[str | None, ...], statuses: list[str]) -> None:
    class Scripted(Session):
        def __init__(self) -> None:
            pass

        def execute(self, sql: str, *_binds: Any) -> list[tuple[Any, ...]]:
            if "INTEGRATION" in sql and row[1] == "PUBLIC":
                raise WarehouseError("It does not exist or is not authorized.")
            return [row]

    section = configured().snowflake.model_copy(update={"host": None, "role": "LOADER", "warehouse": "LOAD"})
    assert [check.status for check in warehouse._account(section, Scripted())] == statuses


def test_what_nobody_foresaw_is_a_failed_line_without_its_text() -> None:
    with guarded("x", "look.") as trouble:
        raise ValueError(PASSWORD)
    assert trouble.check == Check("x", "failed", "ValueError was raised.", "look.")
