"""Clients and secrets: a local server is never shown the operator's own credentials, and a secret's text never an error."""

from __future__ import annotations

import uuid

import pytest

from lab_insights.aws import Aws, resolve
from lab_insights.errors import ConfigError


def test_clients_are_made_once_and_go_where_the_configuration_says() -> None:
    local = Aws("us-east-1", "http://127.0.0.1:1")
    assert local.client("s3") is Aws("us-east-1", "http://127.0.0.1:1").client("s3")
    assert local.client("s3").meta.endpoint_url == "http://127.0.0.1:1"
    assert "amazonaws.com" in Aws("eu-west-1").client("s3").meta.endpoint_url


def test_a_local_server_is_shown_credentials_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "operators-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operators-secret")
    credentials = Aws("us-east-1", "http://127.0.0.1:2").client("sqs")._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == ("local", "local")


def test_a_reference_is_a_variable_or_a_secret(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "value")
    aws, name = Aws(endpoint_url=aws_endpoint), f"test/{uuid.uuid4().hex}"
    assert resolve("env:SOME_URL", aws) == "value"
    aws.client("secretsmanager").create_secret(Name=name, SecretString="mysql://x:y@z:1/a?b=c")
    assert resolve(f"secret:{name}", aws) == "mysql://x:y@z:1/a?b=c"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_told_by_name(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_URL", value)
    with pytest.raises(ConfigError, match="SOME_URL is not set") as raised:
        resolve("env:SOME_URL", Aws())
    assert "export SOME_URL" in raised.value.remedy


def test_a_secret_that_is_not_there_is_told_by_name(aws_endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"no/such can not be read \(ResourceNotFoundException\)") as raised:
        resolve("secret:no/such", Aws(endpoint_url=aws_endpoint))
    assert "Secrets Manager" in raised.value.remedy


def test_secrets_that_can_not_be_reached_are_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"can not be read \(EndpointConnectionError\)"):
        resolve("secret:some/name", Aws("us-east-1", "http://127.0.0.1:3"))
