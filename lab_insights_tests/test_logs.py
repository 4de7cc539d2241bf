"""Logs of runs: a line of JSON each, which names where it happened, and quotes nothing of an exception."""

import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lab_insights import config, definitions
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.logs import JsonFormatter, json_logger
from lab_insights_tests.lake.world import fresh_tenant, ids, make_lake, put


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    logger = logging.getLogger("lab_insights")
    before = logger.level, list(logger.handlers)
    yield
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


def ran(job: dg.JobDefinition, capsys: pytest.CaptureFixture[str], level: str = "INFO") -> tuple[str, list[dict[str, Any]]]:
    """Run a job; return its id and the lines that it printed."""
    with dg.DagsterInstance.ephemeral() as instance:
        config = {"loggers": {"console": {"config": {"log_level": level}}}}
        result = job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    return result.run_id, [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_names_run_step_tenant_partition_table_and_batch(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = fresh_tenant()

    @dg.op
    def load(context: dg.OpExecutionContext) -> None:
        context.log.info("loaded", extra={"tenant": tenant, "partition": "2026-03-02", "rows": 3})
        put(lake, Partition("raw", tenant, "lis.result", date(2026, 3, 2)), ids(1, 2, 3))
        context.log_event(dg.AssetMaterialization(dg.AssetKey(["raw", "lis", "result"]), partition=f"2026-03-02|{tenant}"))

    @dg.job(logger_defs={"console": json_logger})
    def loading() -> None:
        load()

    run_id, lines = ran(loading, capsys, "DEBUG")
    where = {"run": run_id, "tenant": tenant, "partition": "2026-03-02"}
    [told] = [line for line in lines if line["message"] == "loaded"]
    assert told.items() >= (where | {"job": "loading", "step": "load", "rows": 3, "level": "INFO"}).items()
    [committed] = [line for line in lines if line["message"].startswith("committed")]
    assert committed.items() >= (where | {"layer": "raw", "table": "lis.result", "batch": "00000000-001", "rows": 3}).items()
    [landed] = [line for line in lines if line.get("event") == "ASSET_MATERIALIZATION"]
    assert landed.items() >= (where | {"layer": "raw", "table": "lis.result"}).items()
    assert all(line["run"] == run_id for line in lines)


def test_an_exception_is_its_type_since_its_text_may_quote_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.op
    def break_() -> None:
        try:
            raise ValueError("patient Doe")
        except ValueError:
            logging.getLogger("lab_insights.extract").exception("the row can not be read")
            raise

    @dg.job(logger_defs={"console": json_logger})
    def breaking() -> None:
        break_()

    _, lines = ran(breaking, capsys)
    assert "Doe" not in json.dumps(lines)
    [failed] = [line for line in lines if line.get("event") == "STEP_FAILURE"]
    assert (failed["step"], failed["error"], failed["level"]) == ("break_", "ValueError", "ERROR")
    [ours] = [line for line in lines if line["logger"] == "lab_insights.extract"]
    assert (ours["error"], ours["message"]) == ("ValueError", "the row can not be read")


def test_a_second_run_of_a_process_does_not_say_everything_twice_and_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.op
    def speak() -> None:
        logging.getLogger("lab_insights.lake").info("once")

    @dg.job(logger_defs={"console": json_logger})
    def speaking() -> None:
        speak()

    for _ in range(2):
        run_id, lines = ran(speaking, capsys)
        assert [(line["run"], line["message"]) for line in lines if line["logger"] == "lab_insights.lake"] == [(run_id, "once")]
    assert ran(speaking, capsys, "CRITICAL")[1] == []


def test_the_jobs_of_the_deployment_log_so(tmp_path: Path) -> None:
    path = tmp_path / "lab_insights.yaml"
    path.write_text('lake: {prefix: x1}\nsnowflake: {account: x, credentials: "env:X"}\nsources: {}\npartitions: {start: 2026-01-01}\n')
    built = definitions.build(config.load(path), str(path))
    assert {name: job.loggers for name in ("crawl", "everything") if (job := built.resolve_job_def(name))} == {
        name: {"console": json_logger} for name in ("crawl", "everything")
    }


def test_a_line_break_stays_within_its_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "one\ntwo", (), None)
    assert JsonFormatter("r").format(record).count("\n") == 0
