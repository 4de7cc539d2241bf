"""A deployment on the stand-ins and its tenants, for the commands that are about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lab_insights.commands import console
from lab_insights.governance import glue
from lab_insights.lake.commit import Draft, Lake, commit, settled_head
from lab_insights.lake.layout import LAYERS, Partition
from lab_insights.local import snowflake
from lab_insights.names import TenantId
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.lake.world import Rows, day, fresh_tenant, make_lake

META = {"source_updated_at": pa.timestamp("us"), "batch_id": pa.string(), "is_deleted": pa.bool_()}


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")
    made.storage.aws.client("s3").create_bucket(Bucket=made.storage.bucket("reports"))
    for layer in LAYERS:
        made.storage.aws.client("glue").create_database(DatabaseInput={"Name": glue.database(made.storage.prefix, layer)})
        made.storage.aws.client("s3").put_bucket_versioning(
            Bucket=made.storage.bucket(layer), VersioningConfiguration={"Status": "Enabled"}
        )
    return made


@pytest.fixture
def cli(lake: Lake, snowflake_server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A deployment on the stand-ins; commands are run in its directory."""
    host, port = snowflake_server
    monkeypatch.setenv("SNOWFLAKE_LOGIN", json.dumps(snowflake.LOGIN))
    monkeypatch.chdir(tmp_path)
    for name in ("LAB_INSIGHTS_CONFIG", "DAGSTER_HOME", "LAB_INSIGHTS_LOCAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 300)
    account = {"account": "fakesnow", "host": host, "port": port, "protocol": "http", "credentials": "env:SNOWFLAKE_LOGIN"}
    config = {
        "aws": {"endpoint_url": lake.storage.aws.endpoint_url},
        "lake": {"prefix": lake.storage.prefix},
        "snowflake": account,
        "sources": {},
        "partitions": {"start": "2026-01-01"},
    }
    (tmp_path / "lab_insights.yaml").write_text(yaml.safe_dump(config))
    return Cli(tmp_path / "lab_insights.yaml")


@pytest.fixture
def tenant(cli: Cli) -> TenantId:
    its = fresh_tenant()
    cli("tenant", "add", its, "--key", "1", code=0)
    return its


def put(
    lake: Lake, tenant: TenantId, table: str, layer: Any = "curated", number: int = 1, *, deleted: bool | None = None, **columns: Any
) -> None:
    nothing = {name: pa.nulls(2, kind) for name, kind in META.items()}
    rows = pa.record_batch({"id": [1, 2], **columns, **nothing, "is_deleted": pa.array([deleted, deleted], pa.bool_())})
    draft = Draft(Partition(layer, tenant, table, day(number)), "delta", key=("id",))
    commit(lake, settled_head(lake, draft.partition), draft, Rows([rows]))
