"""The definitions of a configuration that has all five sources, none of which exists."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from lab_insights import config, definitions

CONFIGURATION = """
lake: {prefix: lab-insights-test}
snowflake: {account: test, credentials: "env:NONE"}
sources:
  crm:
    engine: mysql
    url: "env:NONE"
    tenancy: {schema: {schema: "crm_{tenant}"}}
    overrides: {udt_instrument_log: {engine: spark}}
  lis: {engine: mysql, url: "env:NONE", tenancy: {schema: {schema: "lis_{tenant}"}}}
  audit: {engine: postgresql, url: "env:NONE", tenancy: {schema: {schema: "audit_{tenant}"}}}
  messages: {engine: postgresql, url: "env:NONE", tenancy: {schema: {schema: "messages_{tenant}"}}}
  notifications: {engine: dynamodb, tenancy: {discriminator: {column: tenant_id, value: "{key}"}}, tables: [critical_notification]}
partitions: {start: 2026-01-01}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of all five sources, of which none exists."""
    written = tmp_path_factory.mktemp("definitions") / "lab_insights.yaml"
    written.write_text(CONFIGURATION)
    return written


@pytest.fixture(scope="module")
def built(path: Path) -> dg.Definitions:
    return definitions.build(config.load(path), str(path))


@pytest.fixture(scope="module")
def specs(built: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in built.resolve_all_asset_specs()}
