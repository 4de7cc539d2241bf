"""What makes the local stack a configured Lab Insights: `lab_insights.yaml`, `dagster.yaml`, clock and secrets."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.local import snowflake
from lab_insights.local.databases import Engine
from lab_insights.local.deployer import ACCOUNT

PREFIX = "lab-insights-local"
MODELS = "models"
# Without Java's second compiler and Spark's own, a session and its first read of a few thousand rows take 13 CPU seconds instead of 22.
_QUICK_SPARK = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
_RELATIONAL: Mapping[str, Engine] = {"crm": "mysql", "lis": "mysql", "audit": "postgresql", "messages": "postgresql"}


def write(
    directory: Path,
    base: str,
    aws: Aws,
    snowflake_port: int,
    urls: Mapping[Engine, str],
    first_day: date,
    overrides: Mapping[str, dict[str, Any]] | None = None,
) -> Path:
    """Write the Dagster home of the stack in `directory` and the secrets it names; return the path of that home.

    `base` starts the names of the source schemas; `urls` are SQLAlchemy URLs by engine, where MySQL may be missing.
    `overrides` are those of tables, by source. A clock that is there keeps its time.
    """
    home = directory / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    engines: dict[str, Engine] = {name: engine if engine in urls else "postgresql" for name, engine in _RELATIONAL.items()}
    for name, engine in engines.items():
        _secret(aws, f"{PREFIX}/{name}", urls[engine])
    _secret(aws, f"{PREFIX}/snowflake", json.dumps(snowflake.LOGIN))
    _secret(aws, f"{PREFIX}/pseudonyms", secrets.token_hex(32), kept=True)
    clock = Clock(directory / "clock")
    if not (directory / "clock").exists():
        clock.set(datetime.fromisoformat(f"{first_day}T00:00:00+00:00"))
    content = lab_insights(base, aws, snowflake_port, engines, directory / "clock", first_day)
    for name, declared in (overrides or {}).items():
        content["sources"][name]["overrides"] = declared
    # Beside the home: what a person wrote outlives a reset.
    models = directory / MODELS
    models.mkdir(exist_ok=True)
    content["models"] = str(models)
    _yaml(home / "lab_insights.yaml", content)
    _yaml(home / "dagster.yaml", dagster(home))
    return home


def lab_insights(base: str, aws: Aws, snowflake_port: int, engines: Mapping[str, Engine], clock: Path, first_day: date) -> dict[str, Any]:
    """Return the configuration of the product; tenants choose among the layouts that `crm` and `lis` offer."""
    pooled = {"column": "tenant_id", "value": "{key}"}

    def layouts(name: str) -> dict[str, Any]:
        return {
            "schema": {"schema": f"{base}_{name}_{{tenant}}"},
            "prefix": {"schema": f"{base}_{name}_shared", "prefix": "t{key}_"},
            "discriminator": {"schema": f"{base}_{name}_pooled", **pooled},
        }

    tenancies: dict[str, dict[str, Any]] = {
        "crm": layouts("crm"),
        "lis": layouts("lis"),
        "audit": {"discriminator": {"schema": f"{base}_audit", **pooled}},
        "messages": {"schema": {"schema": f"{base}_messages_{{tenant}}"}},
    }
    sources: dict[str, Any] = {
        name: {"engine": engine, "url": f"secret:{PREFIX}/{name}", "tenancy": tenancies[name]} for name, engine in engines.items()
    }
    notifications = {
        "engine": "dynamodb",
        "tenancy": {"discriminator": pooled},
        "tables": [f"{PREFIX}-src-critical_notification"],
    }
    return {
        "aws": {"region": aws.region, "endpoint_url": aws.endpoint_url, "tenant_role": f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-tenant"},
        "lake": {"prefix": PREFIX},
        "snowflake": {
            "account": "fakesnow",
            "host": "127.0.0.1",
            "port": snowflake_port,
            "protocol": "http",
            "credentials": f"secret:{PREFIX}/snowflake",
        },
        "sources": {**sources, "notifications": notifications},
        "partitions": {"start": first_day},
        "phi": {"pseudonym_key": f"secret:{PREFIX}/pseudonyms"},
        "spark": {"conf": _QUICK_SPARK},
        "clock": {"file": str(clock)},
    }


def dagster(home: Path) -> dict[str, Any]:
    """Return the settings of the Dagster instance: SQLite below `home`, two runs at a time, nothing sent to anybody."""
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "storage": {"custom": {"module": "lab_insights.event_log", "class": "LocalStorage", "config": {"base_dir": str(home / "storage")}}},
        "concurrency": {"runs": {"max_concurrent_runs": 2}},
        "run_monitoring": {"enabled": True},
        "retention": {"sensor": {"purge_after_days": {"skipped": 1}}},
    }


def _secret(aws: Aws, name: str, value: str, *, kept: bool = False) -> None:
    """Write a secret; one that is there stays as it is when it is to be `kept`."""
    manager = aws.client("secretsmanager")
    try:
        manager.create_secret(Name=name, SecretString=value)
    except manager.exceptions.ResourceExistsException:
        if not kept:
            manager.put_secret_value(SecretId=name, SecretString=value)


def _yaml(path: Path, content: dict[str, Any]) -> None:
    import yaml

    path.write_text(yaml.safe_dump(content, sort_keys=False))
