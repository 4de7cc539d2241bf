"""`lab-insights scaffold`: the one file of a new table, which passes through curation as it is written, and of a new KPI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from lab_insights import config, definitions
from lab_insights.errors import ConfigError
from lab_insights.lab import contracts as module
from lab_insights.lab.kpis import REPORTS, declared
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.lab.world import STAMP, Lab, at
from lab_insights_tests.lake.world import fresh_tenant, make_lake

CONFIGURATION = {
    "lake": {"prefix": "scaffolded"},
    "snowflake": {"account": "test", "credentials": "env:NONE"},
    "sources": {"couriers": {"engine": "mysql", "url": "env:NONE", "tenancy": {"schema": {"schema": "couriers_{tenant}"}}}},
    "partitions": {"start": "2026-01-01"},
    "models": "models",
}
KPI = {
    "name": "stops",
    "description": "Stops by day.",
    "source": "Ours.",
    "key": ["event_day"],
    "reads": {"patient": ["patient_id", "updated_at"]},
    "after": ["ordered_test"],
    "columns": {"event_day": {"type": "DATE", "definition": "The day."}, "n": {"type": "NUMBER(19,0)", "definition": "How many."}},
    "sql": "SELECT TO_DATE(UPDATED_AT) AS EVENT_DAY, COUNT(*) AS N FROM {patient} AS P, {ordered_test} AS T GROUP BY 1 -- {zone}",
}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    (tmp_path / "models").mkdir()
    (tmp_path / "lab_insights.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(tmp_path / "lab_insights.yaml"))
    yield Cli(tmp_path)
    module.use(None)


def as_a_new_process(models: Path) -> None:
    module._contracts.cache_clear()
    declared._kpis.cache_clear()
    module.use(models)


def test_a_scaffolded_table_passes_through_curation(cli: Cli, aws_endpoint: str) -> None:
    cli("scaffold", "table", "courier_stop", "--source", "couriers", "--from", "stop", "--domain", "logistics", code=0)
    written = cli.path / "models" / "contracts" / "courier_stop.yaml"
    assert written.read_text().count("# ") >= 9, "comments that teach"
    as_a_new_process(cli.path / "models")
    lab = Lab(make_lake(aws_endpoint, cli.path / "clock"), fresh_tenant())
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("updated_at", STAMP)])
    lab.land("couriers.stop", 1, [{"id": 7, "name": "Dock", "updated_at": at(1)}], schema)
    [row] = lab.rows(lab.curate("couriers.stop", 1))
    assert (row["courier_stop_id"], row["name"], row["updated_at"]) == ("7", "Dock", at(1))


def test_a_scaffolded_kpi_is_read_and_follows_those_of_the_package(cli: Cli) -> None:
    cli("scaffold", "kpi", "results_by_day", "--reads", "result", code=0)
    as_a_new_process(cli.path / "models")
    *package, own = declared.reports()
    assert (tuple(package), own.name, own.inputs) == (REPORTS, "results_by_day", ("results_by_day__result",))
    [read] = [each for name, each in declared.inputs().items() if name in own.inputs]
    assert (read.table, dict(read.columns), read.counted_once) == ("result", {"updated_at": "TIMESTAMP_NTZ"}, True)
    assert 'FROM "R" AS T' in own.select({"results_by_day__result": '"R"'}, "America/New_York")


def test_a_deployment_of_one_source_has_assets_of_the_kpis_that_it_can_compute_and_no_page(cli: Cli) -> None:
    cli("scaffold", "table", "courier_stop", "--source", "couriers", "--from", "stop", "--domain", "logistics", code=0)
    as_a_new_process(cli.path / "models")
    for name, table in (("stops_by_day", "courier_stop"), ("results_by_day", "result")):
        cli("scaffold", "kpi", name, "--reads", table, code=0)
    as_a_new_process(cli.path / "models")
    graph = definitions.build(config.load(cli.path / "lab_insights.yaml")).resolve_asset_graph()
    own = dg.AssetKey(["reports", "stops_by_day"])
    assert {key for key in graph.materializable_asset_keys if key.path[0] == "reports"} == {own}
    assert graph.get(own).parent_keys == {dg.AssetKey(["snowflake", "courier_stop"])}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("table", "patient", "--source", "couriers"), "There is a contract patient already"),
        (("table", "../x", "--source", "couriers"), "is no name of a contract"),
        (("table", "stop", "--source", "lis"), "There is no source lis"),
        (("kpi", "ordered_test", "--reads", "result"), "There is a KPI table ordered_test already"),
        (("kpi", "mine", "--reads", "nothing"), "There is no contract of nothing"),
        (("kpi", "mine", "--reads", "reject_reason"), "reject_reason has no timestamp"),
    ],
)
def test_what_can_not_be_scaffolded_is_refused_with_the_remedy_and_writes_nothing(cli: Cli, words: tuple[str, ...], said: str) -> None:
    output = cli("scaffold", *words, code=2).output
    assert said in output
    assert "remedy:" in output
    assert list((cli.path / "models").rglob("*.yaml")) == []


def test_a_file_that_is_there_is_not_written_over_and_json_names_it(cli: Cli) -> None:
    words = ("scaffold", "kpi", "mine", "--reads", "result", "--json")
    path = Path(json.loads(cli(*words, code=0).stdout)["file"])
    path.write_text("mine: ours")
    assert "mine.yaml" in cli(*words, code=2).output
    assert path.read_text() == "mine: ours"


def test_without_a_directory_of_models_the_remedy_says_how_to_get_one(cli: Cli) -> None:
    (cli.path / "lab_insights.yaml").write_text(yaml.safe_dump({name: each for name, each in CONFIGURATION.items() if name != "models"}))
    assert "models: models" in cli("scaffold", "table", "stop", "--source", "couriers", code=2).output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key": ["nothing"]}, "must be one of `columns`"),
        ({"sql": "SELECT 1 FROM {result}"}, "{result} is neither in `reads`"),
        ({"sql": "SELECT {"}, "a brace is not closed"),
        ({"reads": {"ordered_test": ["state"]}}, "in `reads` and in `after`"),
        ({"reads": {"patient": ["weight"]}}, "patient has no column weight"),
        ({"reads": {"patient": [], "nothing": []}}, "there is no contract of nothing"),
        ({"after": ["ordered_test", "later"]}, "there is no KPI table later"),
        ({"name": "test_volume"}, "there is a KPI table test_volume already"),
        ({"columns": {**KPI["columns"], "n": {"type": "INT; DROP", "definition": "x"}}}, "not a type"),  # type: ignore[dict-item]
        ({"columns": {**KPI["columns"], "time_zone": {"type": "VARCHAR", "definition": "x"}}}, "time_zone is the tenant's zone"),  # type: ignore[dict-item]
        ({"tile": {"label": "x", "kind": "share", "column": "n"}}, "a share has `numerator`"),
        ({"tile": {"label": "x", "numerator": "n", "column": "n"}}, "a count has `column`"),
        ({"tile": {"label": "x", "column": "event_day"}}, "event_day must be one of `columns`, of type NUMBER(p,0)"),
        (
            {
                "tile": {"label": "x", "column": "n"},
                "columns": {**KPI["columns"], "event_day": {"type": "TIMESTAMP_NTZ", "definition": "x"}},
            },
            "event_day must be a DATE",
        ),  # type: ignore[dict-item]
    ],
)
def test_a_kpi_that_can_not_be_is_refused_with_its_file(cli: Cli, changed: dict[str, object], said: str) -> None:
    path = cli.path / "models" / "kpis" / "stops.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({**KPI, **changed}))
    as_a_new_process(cli.path / "models")
    with pytest.raises(ConfigError) as refused:
        declared.reports()
    assert said in refused.value.message
    assert str(path) in refused.value.message


def test_a_kpi_of_a_deployment_that_has_instants_is_given_the_tenants_zone(cli: Cli) -> None:
    directory = cli.path / "models" / "kpis"
    directory.mkdir()
    timed = {**KPI["columns"], "at": {"type": "TIMESTAMP_NTZ", "definition": "x"}}  # type: ignore[dict-item]
    (directory / "stops.yaml").write_text(yaml.safe_dump({**KPI, "columns": timed}))
    (directory / "untimed.yaml").write_text(yaml.safe_dump({**KPI, "name": "untimed"}))
    as_a_new_process(cli.path / "models")
    own, untimed = declared.reports()[len(REPORTS) :]
    assert own.columns.keys() == {*timed, "time_zone"}
    assert untimed.columns.keys() == KPI["columns"].keys()  # type: ignore[attr-defined]
    relations = {name: name for name in (*own.inputs, *own.after)}
    assert "CAST('America/New_York' AS VARCHAR) AS TIME_ZONE" in own.select(relations, "America/New_York")


def test_kpis_of_a_deployment_may_follow_each_other_whatever_their_files_are_called(cli: Cli) -> None:
    directory = cli.path / "models" / "kpis"
    directory.mkdir()
    (directory / "a.yaml").write_text(yaml.safe_dump({**KPI, "name": "later", "after": ["ordered_test", "stops"]}))
    (directory / "b.yaml").write_text(yaml.safe_dump(KPI))
    as_a_new_process(cli.path / "models")
    assert [report.name for report in declared.reports()[len(REPORTS) :]] == ["stops", "later"]
