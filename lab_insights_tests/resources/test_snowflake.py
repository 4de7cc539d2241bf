"""Dagster's own Snowflake resource, configured as everything else is: for the SQL of engineers' own assets."""

import json
import traceback
import uuid
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster_snowflake import SnowflakeResource

from lab_insights.aws import Aws
from lab_insights.errors import ConfigError
from lab_insights.local import snowflake
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import SnowflakeFactory


@dg.asset
def selected(context: dg.AssetExecutionContext, snowflake: dg.ResourceParam[SnowflakeResource]) -> list[int]:
    with snowflake.get_connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT column1 + 1 FROM VALUES (1), (2) ORDER BY 1")
        return [int(row[0]) for row in cursor.fetchall() if isinstance(row, tuple)]


def _factory(endpoint: str, port: int, home: Path, secret: str) -> SnowflakeFactory:
    name = f"resources-{uuid.uuid4().hex[:8]}/snowflake"
    Aws(endpoint_url=endpoint).client("secretsmanager").create_secret(Name=name, SecretString=secret)
    account = {"account": "fakesnow", "host": "127.0.0.1", "port": port, "protocol": "http", "credentials": f"secret:{name}"}
    content = {"aws": {"endpoint_url": endpoint}, "lake": {"prefix": "resources"}, "snowflake": account, "sources": {}}
    path = home / "lab_insights.yaml"
    path.write_text(yaml.safe_dump({**content, "partitions": {"start": "2026-01-01"}}))
    return SnowflakeFactory(lake=LakeResource(config_path=str(path)))


def _refusal(factory: SnowflakeFactory) -> str:
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize([selected], resources={"snowflake": factory})
    assert isinstance(caught.value.__cause__, ConfigError)
    return "".join(traceback.format_exception(caught.value))


def test_an_asset_selects_through_the_configured_account(aws_endpoint: str, snowflake_server: tuple[str, int], tmp_path: Path) -> None:
    factory = _factory(aws_endpoint, snowflake_server[1], tmp_path, json.dumps(snowflake.LOGIN))
    result = dg.materialize([selected], resources={"snowflake": factory})
    assert result.output_for_node("selected") == [2, 3]


def test_definitions_load_without_the_configuration_or_its_secrets(tmp_path: Path) -> None:
    factory = SnowflakeFactory(lake=LakeResource(config_path=str(tmp_path / "nowhere.yaml")))
    dg.Definitions.validate_loadable(dg.Definitions(assets=[selected], resources={"snowflake": factory}))
    assert "There is no configuration" in _refusal(factory)


@pytest.mark.parametrize(
    "secret", ["not json: p4ssw0rd", '["p4ssw0rd"]', json.dumps({"user": "p4ssw0rd"}), json.dumps({"password": "p4ssw0rd"})]
)
def test_credentials_that_are_not_usable_are_told_and_not_shown(aws_endpoint: str, tmp_path: Path, secret: str) -> None:
    said = _refusal(_factory(aws_endpoint, 1, tmp_path, secret))
    assert "credentials are not usable" in said
    assert "p4ssw0rd" not in said
