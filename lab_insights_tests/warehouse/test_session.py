"""Logging in: what is refused, and in which words."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.errors import ConfigError, WarehouseError
from lab_insights.lake.storage import Storage
from lab_insights.local.processes import free_port
from lab_insights.names import TenantId, tenant_id
from lab_insights.warehouse.provision import provision, use
from lab_insights.warehouse.session import Session, connect


class Refusing(BaseHTTPRequestHandler):
    """Answers every login as Snowflake answers a wrong password, and keeps what it was asked."""

    asked: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {
            "success": False,
            "code": "390100",
            "message": "Incorrect username or password was specified.",
            "data": {},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def section(aws: Aws, port: int, secret: dict[str, str]) -> SnowflakeSection:
    name = f"session-tests-{uuid.uuid4().hex}"
    aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(secret))
    return SnowflakeSection(
        account="acme",
        host="127.0.0.1",
        port=port,
        protocol="http",
        credentials=f"secret:{name}",
        warehouse=None,
        role=None,
    )


def test_a_refused_login_names_the_credentials_and_not_the_password(aws: Aws, refusing: int) -> None:
    with pytest.raises(WarehouseError, match="refuses the login") as refused:
        connect(section(aws, refusing, {"user": "u", "password": "hunter2"}), aws)
    assert "secret:session-tests" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey, passphrase: bytes = b"") -> str:
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked).decode()


def test_a_private_key_logs_in_by_a_signed_token_and_the_session_is_tagged_with_its_run(
    aws: Aws, refusing: int, key: rsa.RSAPrivateKey
) -> None:
    secret = {"user": "u", "private_key": pem(key, b"phrase"), "private_key_passphrase": "phrase"}
    Refusing.asked.clear()
    with pytest.raises(WarehouseError):
        connect(section(aws, refusing, secret), aws, run_id="run 7")
    asked = json.loads(_plain(Refusing.asked[0]))["data"]
    assert asked["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    assert asked["TOKEN"].count(".") == 2
    sent = asked["SESSION_PARAMETERS"]
    assert json.loads(sent["QUERY_TAG"]) == {"lab_insights_run": "run 7"}
    assert (sent["LOCK_TIMEOUT"], sent["ABORT_DETACHED_QUERY"], sent["TIMEZONE"]) == (600, True, "UTC")


def test_only_the_key_that_the_user_was_given_logs_in_and_may_provision(
    account: SnowflakeSection, aws: Aws, session: Session, storage: Storage, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOWFLAKE_KEY", json.dumps({"user": "pipeline", "private_key": pem(key)}))
    by_key = account.model_copy(update={"credentials": "env:SNOWFLAKE_KEY"})

    def given(its: rsa.RSAPrivateKey) -> None:
        public = its.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        session.execute(f"ALTER USER PIPELINE SET RSA_PUBLIC_KEY = '{''.join(public.splitlines()[1:-1])}'")

    with pytest.raises(WarehouseError, match="refuses the login"):
        connect(by_key, aws)
    given(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(WarehouseError, match="refuses the login"):
        connect(by_key, aws)
    given(key)
    its = tenant_id(f"t{uuid.uuid4().hex[:10]}")
    with connect(by_key, aws) as opened:
        provision(opened, storage, its)
        assert opened.execute("SELECT COUNT(*) FROM OPS.LEDGER") == [(0,)]
    session.execute(f'DROP DATABASE "LAB_INSIGHTS_{its.upper()}"')


def _plain(body: bytes) -> bytes:
    import gzip

    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def test_an_unreachable_host_is_named(aws: Aws) -> None:
    port = free_port()
    with pytest.raises(WarehouseError, match=f"can not be reached at 127.0.0.1:{port}"):
        connect(section(aws, port, {"user": "u", "password": "p"}), aws)


def test_credentials_that_are_no_credentials_say_what_they_should_be(aws: Aws) -> None:
    with pytest.raises(ConfigError, match="private_key"):
        connect(section(aws, 1, {"login": "u"}), aws)


def test_a_tenant_that_was_not_provisioned_is_named(session: Session) -> None:
    with pytest.raises(WarehouseError, match="provision the tenant") as missing:
        use(session, tenant_id("nobody_here"))
    assert missing.value.tenant == "nobody_here"


def test_a_failed_statement_shows_no_value_and_rolls_back(session: Session, tenant: TenantId) -> None:
    session.execute("CREATE TABLE OPS.T (A NUMBER(19,0))")

    def two_inserts() -> None:
        with session.transaction():
            session.execute("INSERT INTO OPS.T VALUES (1)")
            session.execute("INSERT INTO OPS.T SELECT CAST(? AS NUMBER(19,0))", "Jane Doe")

    with pytest.raises(WarehouseError) as failed:
        two_inserts()
    assert "Jane" not in str(failed.value)
    assert session.execute("SELECT COUNT(*) FROM OPS.T") == [(0,)]


def test_closing_a_session_ends_its_open_transaction(account: SnowflakeSection, aws: Aws, session: Session, tenant: TenantId) -> None:
    session.execute("CREATE TABLE OPS.T (A NUMBER(19,0))")
    session.execute("INSERT INTO OPS.T VALUES (1)")
    with connect(account, aws) as other:
        use(other, tenant)
        other.execute("BEGIN")
        other.execute("UPDATE OPS.T SET A = 2")
    session.execute("UPDATE OPS.T SET A = A + 10")
    assert session.execute("SELECT A FROM OPS.T") == [(11,)]
