"""Running jobs in this process: what is said when a run fails, and which runs a choice of tenants takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import typer

from lab_insights import config, definitions, runs
from lab_insights.commands.console import told
from lab_insights.commands.run import JOBS
from lab_insights.errors import ConfigError, LabInsightsError
from lab_insights.names import TenantId
from lab_insights_tests.assets.world import AURORA, FIRST, GHOST, World

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")


def test_a_failed_run_is_told_by_step_tenant_and_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    result = world.run("raw", [GHOST], [FIRST], assets=[dg.AssetKey(["raw", "crm", "account"])])
    said = runs.failures(result)
    assert list(runs.failed(result)) == [GHOST]
    assert said.splitlines()[0] == "raw_crm: 1 of 1 tenants failed: ghost_lab. The others are done."
    with pytest.raises(typer.Exit), told():
        raise LabInsightsError(said, remedy="look.")
    printed = capsys.readouterr().err
    assert f"[tenant ghost_lab] Source crm has no schema {world.base}_crm_ghost_lab for this tenant." in printed


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            ConfigError("The variable X is not set.", remedy="export X."),
            "step: lab_insights.errors.ConfigError: The variable X is not set.",
        ),
        (ValueError("patient Doe"), "step: ValueError"),
    ],
    ids=["ours", "any other"],
)
def test_an_error_of_ours_is_told_and_of_any_other_only_its_type_since_its_text_may_quote_a_row(error: Exception, shown: str) -> None:
    @dg.op
    def step() -> None:
        raise error

    @dg.job(logger_defs={"console": dg.LoggerDefinition(lambda _: __import__("logging").getLogger("quiet"))})
    def failing() -> None:
        step()

    with dg.DagsterInstance.ephemeral() as instance:
        said = runs.failures(failing.execute_in_process(instance=instance, raise_on_error=False))
    assert said.startswith(shown)
    assert "Doe" not in said


def test_a_range_of_neighbours_is_one_run_and_strangers_in_between_are_left_out() -> None:
    order = ["a", "x", "b", "c"]
    assert runs.stretches(order, [TenantId("c"), TenantId("a"), TenantId("b"), TenantId("a")]) == [["a"], ["b", "c"]]
    assert runs.stretches(order, []) == []


def test_tenants_become_partitions_once_and_behind_those_that_are_there() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("tenants", ["z"])
        assert runs.add_tenants(instance, [TenantId("b"), TenantId("z"), TenantId("a")]) == ["z", "b", "a"]
        assert runs.add_tenants(instance, [TenantId("a")]) == instance.get_dynamic_partitions("tenants") == ["z", "b", "a"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """Definitions of one source, which does not exist."""
    path = tmp_path_factory.mktemp("definitions") / "lab_insights.yaml"
    path.write_text(
        'lake: {prefix: x1}\nsnowflake: {account: x, credentials: "env:X"}\npartitions: {start: 2026-01-01}\n'
        'sources: {crm: {engine: mysql, url: "env:X", tenancy: {schema: {schema: "crm_{tenant}"}}}}\n'
    )
    return definitions.build(config.load(path), str(path))


def test_a_job_keeps_its_preset_and_takes_the_choices_that_it_has(built: dg.Definitions) -> None:
    def ops(job: str, **choices: Any) -> dict[str, Any]:
        tenants = choices.pop("tenants", [])
        configured = runs.configured(built.resolve_job_def(job), runs.Choices(**choices), tenants)
        assert configured["loggers"] == runs.QUIET["loggers"]
        return configured.get("ops", {})

    assert ops("full_load")["raw_crm"]["config"]["mode"] == "full"
    assert ops("incremental_load", reload=True)["raw_crm"]["config"] == {"mode": "incremental", "reload": True, "engine": "auto"}
    assert ops("raw") == {}
    assert ops("everything", mode="deletes", reload=True, engine="spark", scanned=frozenset({"crm"})) == {
        "raw_crm": {"config": {"mode": "deletes", "reload": True}},
        "raw_user_defined": {"config": {"mode": "deletes", "reload": True, "engine": "spark"}},
    }
    assert ops("crawl", tenants=["a"]) == {"crawl_sources": {"config": {"tenants": ["a"]}}}
    assert ops("raw", tenants=["a"]) == {}
    with pytest.raises(ConfigError, match="has a mode of its own"):
        ops("full_load", mode="full")
    with pytest.raises(ConfigError, match="reads no source"):
        ops("curation", engine="arrow")
    with pytest.raises(ConfigError, match="a full load the whole table as it is now"):
        ops("full_load", reload=True)


def test_a_table_whose_step_makes_others_with_it_brings_them_along() -> None:
    @dg.multi_asset(
        specs=[dg.AssetSpec(["reports", name]) for name in ("volume", "page")], partitions_def=dg.StaticPartitionsDefinition(["a"])
    )
    def reports() -> Iterator[dg.MaterializeResult]:
        """As the step of the reports does."""
        yield from ()

    job = dg.Definitions([reports], jobs=[dg.define_asset_job("all", "*")]).resolve_job_def("all")
    narrow, _ = runs.narrowed(job, ["page"])
    assert {key.path[-1] for key in narrow.asset_layer.selected_asset_keys} == {"volume", "page"}


def test_a_choice_of_tables_is_taken_in_every_layer_and_one_that_nobody_has_is_told(built: dg.Definitions) -> None:
    def assets(job: str, *tables: str) -> tuple[set[str], tuple[str, ...]]:
        found, others = runs.narrowed(built.resolve_job_def(job), tables)
        return {key.to_user_string() for key in found.asset_layer.selected_asset_keys}, others

    assert assets("everything", "account") == ({"raw/crm/account", "curated/account", "snowflake/account"}, ())
    assert assets("raw", "crm.account", "raw/crm/crm_case") == ({"raw/crm/account", "raw/crm/crm_case"}, ())
    assert assets("dynamic_full_load", "crm.udt_visit") == ({"raw/user_defined"}, ("crm.udt_visit",))
    chosen = runs.configured(
        runs.narrowed(built.resolve_job_def("dynamic_full_load"), ["crm.udt_visit"])[0], runs.Choices(user_defined=("crm.udt_visit",))
    )
    assert chosen["ops"] == {
        "raw_user_defined": {"config": {"mode": "full", "reload": False, "engine": "auto", "tables": ["crm.udt_visit"]}}
    }
    for job, table in (("curation", "no.such"), ("raw", "nothing"), ("crawl", "account")):
        with pytest.raises(ConfigError, match="has no table"):
            assets(job, table)


def test_the_shell_completes_the_jobs_that_there_are(built: dg.Definitions) -> None:
    assert set(JOBS) == {job.name for job in built.resolve_all_job_defs() if not job.name.startswith("__")}


def test_what_a_run_did_is_told_by_layer(world: World) -> None:
    steps: list[str] = []
    result = runs.execute(world.definitions.resolve_job_def("raw"), world.instance, ([AURORA], [FIRST]), stepped=steps.append)
    assert result.success
    [layer] = runs.layers(world.instance, result.run_id)
    assert (layer.name, layer.partitions) == ("raw", {f"{FIRST}|{AURORA}"})
    assert layer.rows > 0
    assert set(steps) == {node.name for node in world.definitions.resolve_job_def("raw").graph.node_defs}
