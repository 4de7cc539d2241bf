"""The definitions as a whole: cheap to load, nothing deprecated, jobs that run as they are and refuse what they do not know, and what is on from the start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lab_insights import config, definitions
from lab_insights_tests.graph import CONFIGURATION, built, path

__all__ = ["built", "path"]
_RUFF = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["tool"]["ruff"]
# What no module imports at its top, and what those that a run needs import there.
HEAVY = {*_RUFF["lint"]["flake8-tidy-imports"]["banned-module-level-imports"], "boto3", "pyarrow", "sqlglot"}


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
    assert found["prune_runs"] == {"dry_run"}
    assert found["crawl_sources"] == found["sync_schemas"] == found["reconcile_warehouse"] == found["compact_states"] == {"tenants"}


def test_the_reference_has_every_job_with_every_option(built: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    page = import_module("generated_models")._jobs(built)
    parts = dict(zip(*[iter(re.split(r"^## (\w+)$", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert set(parts) == {job.name for job in built.resolve_all_job_defs() if not job.name.startswith("__")}
    assert "| `grace_hours` | whole number | `24` | How old" in parts["keep_lake"]
    assert "| `mode` | `auto`, `full`, `incremental`, `deletes` | `full` |" in parts["full_load"]
    assert "`raw_crm`, `raw_lis`" in parts["raw"]


def test_the_reference_says_of_every_schedule_and_sensor_whether_it_is_on(built: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    page = import_module("generated_models")._ticks(built)
    rows = {name: cells for name, *cells in re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \| (.+?) \| ", page, flags=re.MULTILINE)}
    repository = built.get_repository_def()
    assert set(rows) == {each.name for each in (*repository.schedule_defs, *repository.sensor_defs)}
    assert rows["daily"] == ["`15 0 * * *`", "`raw`", "**off**"]
    assert rows["checking"][2] == "on"
    assert rows["curation_queue"] == ["30", "`curation`", "on"]


def test_the_asset_of_the_how_to_stands_beside_those_of_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    page = Path(__file__).parents[1] / "docs" / "how-to" / "own-assets.md"
    [example] = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(path))
    made: dict[str, Any] = {}
    exec(example, made)  # noqa: S102 (our own page)
    dg.Definitions.validate_loadable(made["defs"])
    graph, key = made["defs"].resolve_asset_graph(), dg.AssetKey("results_by_patient")
    [read] = graph.get(key).parent_keys
    assert read.path == ["curated", "result"]
    assert graph.get(read).is_materializable
    assert graph.get(key).partitions_def == graph.get(read).partitions_def
    rows = pd.DataFrame({"patient_id": ["p1", "p1", "p2"], "is_deleted": [False, False, True]})
    assert made["results_by_patient"](rows).to_dict("list") == {"patient_id": ["p1"], "results": [2]}


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
    assert {name for name in done.stdout.split() if name.split(".")[0] in HEAVY} == set()


def test_a_deployment_without_our_sources_has_the_generic_path_alone_and_one_with_some_has_what_they_feed() -> None:
    def graph(*kept: str) -> set[str]:
        written = yaml.safe_load(CONFIGURATION)
        written["sources"] = {name: written["sources"]["crm"] if name == "shop" else written["sources"][name] for name in kept}
        made = definitions.build(config.Config.model_validate(written))
        return {key.to_user_string() for key in made.resolve_asset_graph().materializable_asset_keys}

    assert graph("shop") == {f"{layer}/user_defined" for layer in ("raw", "curated", "transformed", "snowflake")}
    some = graph("crm", "shop")
    assert {"raw/crm/account", "curated/account", "snowflake/account", "reports/case_activity"} <= some
    assert (
        not {"curated/result", "transformed/patient_profile", "snowflake/patient_profile", "reports/daily_activity", "reports/daily_page"}
        & some
    )
