"""The asset graph as the UI shows it: what every asset says of itself, where it comes from, who checks it, and a snapshot of all of it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from lab_insights import config, definitions
from lab_insights.lab.contracts import contracts
from lab_insights.lab.kpis import REPORTS
from lab_insights_tests.graph import CONFIGURATION, built, path, specs

__all__ = ["built", "path", "specs"]
SNAPSHOT = Path(__file__).with_name("graph.json")
# Set to rewrite the snapshot after a change that was meant: the difference is then read in the review.
REGENERATE = "LAB_INSIGHTS_SNAPSHOT"


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
