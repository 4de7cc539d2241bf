"""The asset graph as the UI shows it: what every asset says of itself, nothing deprecated, cheap to load, and a snapshot of all of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from lab_insights import config, definitions
from lab_insights.lab.contracts import contracts
from lab_insights.lab.kpis import REPORTS

SNAPSHOT = Path(__file__).with_name("graph.json")
# Set to rewrite the snapshot after a change that was meant: the difference is then read in the review.
REGENERATE = "LAB_INSIGHTS_SNAPSHOT"
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
HEAVY = {
    "pandas",
    "pyarrow",
    "duckdb",
    "ibis",
    "pyspark",
    "snowflake.connector",
    "connectorx",
    "adbc_driver_postgresql",
    "boto3",
    "sqlglot",
}


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


def test_the_graph_is_the_one_that_was_reviewed(built: dg.Definitions, specs: dict[str, dg.AssetSpec]) -> None:
    whole = built.resolve_asset_graph()
    graph = {key: _described(spec, whole) for key, spec in sorted(specs.items())}
    if os.environ.get(REGENERATE):
        SNAPSHOT.write_text(json.dumps(graph, indent=1) + "\n")
    assert graph == json.loads(SNAPSHOT.read_text()), f"if it was meant: {REGENERATE}=1 pytest {Path(__file__).name}"


def _described(spec: dg.AssetSpec, graph: AssetGraph) -> dict[str, Any]:
    schema = spec.metadata.get("dagster/column_schema")
    return {
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        # A line each, and without kinds, which Dagster keeps as tags, too.
        "tags": ", ".join(f"{name}={value}" for name, value in sorted(spec.tags.items()) if not name.startswith("dagster/kind/")),
        "code_version": spec.code_version,
        "checks": ", ".join(sorted(check.name for check in graph.asset_check_keys if check.asset_key == spec.key)),
        "partitions": ", ".join(getattr(graph.get(spec.key).partitions_def, "partition_dimension_names", [])),
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "description": bool(spec.description),
        "columns": {column.name: column.type for column in schema.columns} if schema else None,
        "table_name": spec.metadata.get("dagster/table_name"),
        "uri": spec.metadata.get("dagster/uri"),
    }


def test_what_spark_reads_by_configuration_is_of_that_kind_and_nothing_else(specs: dict[str, dg.AssetSpec], path: Path) -> None:
    assert [key for key, spec in specs.items() if "spark" in spec.kinds] == ["raw/user_defined"]
    written = yaml.safe_load(CONFIGURATION)
    written["sources"]["crm"]["overrides"] = {"account": {"engine": "spark"}, "contact": {"engine": "arrow"}}
    made = definitions.build(config.Config.model_validate(written), str(path))
    assert [spec.key.to_user_string() for spec in made.resolve_all_asset_specs() if "spark" in spec.kinds] == ["raw/crm/account"]


@pytest.mark.parametrize("facet", ["group_name", "kinds", "owners", "description"])
def test_every_asset_has(facet: str, specs: dict[str, dg.AssetSpec]) -> None:
    assert [key for key, spec in specs.items() if not getattr(spec, facet)] == []


@pytest.mark.parametrize("name", ["dagster/column_schema", "dagster/uri"])
def test_every_asset_has_metadata(name: str, specs: dict[str, dg.AssetSpec]) -> None:
    assert [key for key, spec in specs.items() if not spec.metadata.get(name)] == []


def test_every_asset_of_one_table_has_its_name(specs: dict[str, dg.AssetSpec]) -> None:
    assert [key for key, spec in specs.items() if not spec.metadata.get("dagster/table_name")] == [
        key for key in specs if key.endswith("user_defined") or key == "reports/daily_page"
    ]


def test_what_is_computed_has_the_version_by_which_it_is_computed_and_one_that_follows_its_definition(
    specs: dict[str, dg.AssetSpec],
) -> None:
    """What is copied has none, nor has the page of the report: it is code."""
    computed = {key: spec for key, spec in specs.items() if spec.group_name in {"curated", "transformed", "reports"}}
    assert [key for key, spec in computed.items() if not spec.code_version] == ["reports/daily_page"]
    result, of = contracts()["result"], computed["curated/result"].code_version
    assert result.version in str(of)
    assert result.version in str(computed["transformed/result_detail"].code_version)
    [turnaround] = [report for report in REPORTS if report.name == "turnaround"]
    changed = dataclasses.replace(turnaround, build=lambda relations, zone: f"{turnaround.build(relations, zone)} WHERE TRUE")
    assert computed["reports/turnaround"].code_version == turnaround.version != changed.version


def test_every_column_of_a_layer_is_described(specs: dict[str, dg.AssetSpec]) -> None:
    """Source and raw columns are named by the source."""
    described = {key: spec for key, spec in specs.items() if spec.group_name in {"curated", "transformed", "snowflake", "reports"}}
    silent = [
        f"{key}.{column.name}"
        for key, spec in described.items()
        for column in spec.metadata["dagster/column_schema"].columns
        if not column.description
    ]
    assert silent == []


def test_every_step_of_a_layer_has_tenants_and_days(built: dg.Definitions) -> None:
    graph = built.resolve_asset_graph()
    dimensions = {key: getattr(graph.get(key).partitions_def, "partition_dimension_names", None) for key in graph.materializable_asset_keys}
    assert set(map(str, dimensions.values())) == {"['date', 'tenant']"}


def test_the_lineage_of_a_report_begins_at_the_sources(built: dg.Definitions) -> None:
    graph = built.resolve_asset_graph()
    found, todo = set(), {dg.AssetKey(["reports", "daily_activity"])}
    while todo:
        found |= todo
        todo = {parent for key in todo for parent in graph.get(key).parent_keys} - found
    assert {key.path[0] for key in found} == {"reports", "snowflake", "curated", "raw", "sources"}


def test_a_kpis_column_leads_from_definition_to_definition_to_the_columns_of_the_sources(specs: dict[str, dg.AssetSpec]) -> None:
    found, todo = set(), {("reports/turnaround", "median_minutes")}
    while todo:
        found |= todo
        known = [(specs[asset].metadata.get("dagster/column_lineage"), column) for asset, column in todo]
        deps = [dep for lineage, column in known if lineage for dep in lineage.deps_by_column.get(column, [])]
        todo = {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps} - found
    assert {("sources/lis/result", "status_raw"), ("sources/lis/result", "verified_at"), ("curated/result", "status_norm")} <= found
    table = specs["reports/turnaround"].metadata["column lineage"].value
    assert "[sources/lis/result](/assets/sources/lis/result) `status_raw`" in table


def test_every_asset_of_a_layer_has_the_checks_of_that_layer(built: dg.Definitions) -> None:
    graph = built.resolve_asset_graph()
    names = {key: {check.name for check in graph.asset_check_keys if check.asset_key == key} for key in graph.get_all_asset_keys()}
    rows = {"unique_grain", "no_cross_tenant_row"}
    wanted = {
        "raw": {"schema_unchanged", "no_cross_tenant_row"},
        "curated": rows,
        "transformed": rows,
        "snowflake": {"reconciled"},
        "operations": {"fresh", "cost_as_usual", "no_partition_left_failed"},
        "reports": {"unique_grain"},
        "reports/data_quality": {"unique_grain", "no_orphans"},
        "reports/daily_page": set[str](),
    }
    assert {
        str(key): found for key, found in names.items() if found != wanted.get(key.to_user_string(), wanted.get(key.path[0], set()))
    } == {}
    assert not any(graph.get(key).blocking for key in graph.asset_check_keys), "one tenant's failure would stop every other"


def test_no_run_of_a_layer_answers_for_all_tenants(built: dg.Definitions) -> None:
    asking = {job.name for job in built.resolve_all_job_defs() if "check_deliveries" in {node.name for node in job.graph.node_defs}}
    assert asking - {"__ASSET_JOB"} == {"check"}


def test_a_description_leads_to_what_the_asset_is_made_from_and_to_the_reference(specs: dict[str, dg.AssetSpec], path: Path) -> None:
    said = str(specs["curated/account"].description)
    assert "[raw/crm/account](/assets/raw/crm/account)" in said
    assert "Reference" not in said, "the documentation has no address yet"
    told = yaml.safe_load(CONFIGURATION) | {"alerts": {"runbooks_url": "https://docs.example/lab/runbooks"}}
    made = definitions.build(config.Config.model_validate(told), str(path))
    found = {spec.key.to_user_string(): str(spec.description) for spec in made.resolve_all_asset_specs()}
    assert "[Reference](https://docs.example/lab/reference/tables.html#account)" in found["curated/account"]


def test_each_source_has_a_pool_of_its_own_and_so_have_the_warehouse_and_the_tables_that_users_made(built: dg.Definitions) -> None:
    pools = {node.name: node.pool for node in built.resolve_job_def("everything").graph.node_dict.values() for node in [node.definition]}  # type: ignore[union-attr]
    assert {name: pools[f"raw_{name}"] for name in ("crm", "lis", "audit", "messages", "notifications")} == {
        name: f"source_{name}" for name in ("crm", "lis", "audit", "messages", "notifications")
    }
    assert {pool for name, pool in pools.items() if name.endswith("user_defined")} == {"user_defined"}
    assert (pools["snowflake_modelled"], pools["reports"]) == ("snowflake", "snowflake")


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"engine": "hadoop"}, ("config:engine", "'auto', 'arrow', 'spark'", "hadoop")),
        ({"mode": "everything"}, ("config:mode", "'auto', 'full', 'incremental', 'deletes'", "everything")),
        ({"relaod": True}, ("relaod", "Expected", "engine?", "mode?", "reload?")),
        ({"reload": "soon"}, ("config:reload", '"Bool"', "soon")),
    ],
    ids=["engine", "mode", "a misspelt option", "a wrong type"],
)
def test_the_launchpad_refuses_an_option_that_is_none_and_says_which_there_are(
    built: dg.Definitions, chosen: dict[str, Any], told: tuple[str, ...]
) -> None:
    job = built.resolve_job_def("raw")
    dg.validate_run_config(job, {"ops": {"raw_lis": {"config": {"engine": "arrow", "mode": "full", "reload": False}}}})
    with pytest.raises(dg.DagsterInvalidConfigError) as refused:
        dg.validate_run_config(job, {"ops": {"raw_lis": {"config": chosen}}})
    assert [each for each in told if each not in str(refused.value)] == [], "what is wrong, and what would be right"


def test_every_job_runs_with_an_empty_config_and_every_option_has_a_default_and_help(built: dg.Definitions) -> None:
    found: dict[str, set[str]] = {}
    for job in built.resolve_all_job_defs():
        dg.validate_run_config(job, {})
        for node in job.nodes:
            fields = getattr(node.definition.config_schema.config_type, "fields", {})  # type: ignore[union-attr]
            found.setdefault(node.name, set()).update(fields)
            assert [(job.name, node.name, name) for name, its in fields.items() if not its.description or not its.default_provided] == []
    load = {"mode", "reload", "engine"}
    assert (found["raw_lis"], found["raw_user_defined"]) == (load, {*load, "tables"})
    assert found["sweep_lake"] == {"tenants", "grace_hours", "keep_days", "dry_run"}
    assert found["crawl_sources"] == found["sync_schemas"] == found["reconcile_warehouse"] == found["compact_states"] == {"tenants"}


def test_the_reference_has_every_job_with_every_option(built: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    page = import_module("generated_models")._jobs(built)
    parts = dict(zip(*[iter(re.split(r"^## (\w+)$", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert set(parts) == {job.name for job in built.resolve_all_job_defs() if not job.name.startswith("__")}
    assert "| `grace_hours` | whole number | `24` | How old" in parts["keep_lake"]
    assert "| `mode` | `auto`, `full`, `incremental`, `deletes` | `full` |" in parts["full_load"]
    assert "`raw_crm`, `raw_lis`" in parts["raw"]


def test_what_only_looks_is_on_and_every_schedule_and_sensor_says_what_it_does(built: dg.Definitions) -> None:
    repository = built.get_repository_def()
    running = {each.name for each in repository.schedule_defs if each.default_status is dg.DefaultScheduleStatus.RUNNING}
    assert running == {"checking"}
    assert [each.name for each in repository.sensor_defs if each.default_status is not dg.DefaultSensorStatus.RUNNING] == []
    assert [each.name for each in (*repository.schedule_defs, *repository.sensor_defs) if not each.description] == []
    assert [each.name for each in repository.schedule_defs if each.name not in running and "Off until" not in str(each.description)] == []


def test_the_definitions_can_be_loaded(built: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(built)
    jobs = {job.name for job in built.resolve_all_job_defs()}
    assert {
        "crawl",
        "schema_sync",
        "keep_lake",
        "full_load",
        "incremental_load",
        "dynamic_full_load",
        "dynamic_incremental_load",
        "curated_to_snowflake",
    } <= jobs


def test_nothing_of_the_definitions_is_deprecated_superseded_or_unfinished(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = definitions.build(config.load(path), str(path))
        built.resolve_asset_graph()
        built.resolve_all_job_defs()


def test_loading_the_definitions_imports_no_heavy_library_and_reads_no_secret(path: Path) -> None:
    program = (
        "import sys; at_start = set(sys.modules); from lab_insights.definitions import defs; "
        "defs().resolve_all_job_defs(); print(*(set(sys.modules) - at_start))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LAB_INSIGHTS_CONFIG": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {heavy for heavy in HEAVY if heavy in loaded} == set()


def test_a_deployment_without_our_sources_has_the_generic_path_alone_and_one_with_some_has_what_they_feed() -> None:
    def graph(*kept: str) -> set[str]:
        written = yaml.safe_load(CONFIGURATION)
        written["sources"] = {name: written["sources"]["crm"] if name == "shop" else written["sources"][name] for name in kept}
        made = definitions.build(config.Config.model_validate(written))
        return {key.to_user_string() for key in made.resolve_asset_graph().materializable_asset_keys}

    assert graph("shop") == {f"{layer}/user_defined" for layer in ("raw", "curated", "transformed", "snowflake")}
    some = graph("crm", "shop")
    assert {"raw/crm/account", "curated/account", "snowflake/account"} <= some
    assert not {"curated/result", "transformed/patient_profile", "snowflake/patient_profile", "reports/daily_activity"} & some
