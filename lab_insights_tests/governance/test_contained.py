"""Errors of others quote rows: what Dagster and a terminal are told of them is their type and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
import typer

from lab_insights.commands import console
from lab_insights.errors import ConfigError, LabInsightsError, told
from lab_insights.io_managers.data import keyed
from lab_insights.resources.contained import contained

NAME = "Zzyxqvarnheim"


def _quotes() -> None:
    try:
        int(NAME)
    except ValueError as error:
        raise RuntimeError(f"can not convert {NAME}") from error


def test_an_error_of_another_is_told_by_type_and_place() -> None:
    with pytest.raises(RuntimeError) as caught:
        _quotes()
    assert told(caught.value).startswith("RuntimeError in _quotes (test_contained.py:")
    assert told(RuntimeError(NAME)) == "RuntimeError"
    assert told(ConfigError("no", remedy="mend it")) == "no Remedy: mend it"


def test_an_operation_lets_no_text_of_another_into_the_event_log() -> None:
    @dg.op
    @contained
    def quoting() -> None:
        _quotes()

    @dg.op
    @contained
    def ours() -> None:
        raise LabInsightsError("said by us", remedy="again")

    @dg.job
    def both() -> None:
        quoting()
        ours()

    with dg.DagsterInstance.ephemeral() as instance:
        result = both.execute_in_process(instance=instance, raise_on_error=False)
        said = "".join(map(str, instance.all_logs(result.run_id)))
    assert NAME not in said
    assert "RuntimeError in _quotes" in said
    assert "said by us" in said


class _Output:
    """What an IO manager is told of an output."""

    asset_key = dg.AssetKey(["transformed", "x"])


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"id": [1, NAME]}),
        duckdb.sql(f"SELECT CAST(name AS INTEGER) AS id FROM (VALUES ('{NAME}')) t(name)"),
    ],
    ids=["pandas", "duckdb"],
)
def test_data_that_can_not_be_converted_is_refused_without_its_values(data: Any) -> None:
    with pytest.raises(dg.Failure) as caught:
        keyed(_Output(), data if isinstance(data, pd.DataFrame) else _Lazy(data), ("id",))  # type: ignore[arg-type]
    assert "returned what can not be written" in str(caught.value)
    assert NAME not in str(caught.value)
    assert caught.value.__suppress_context__


class _Lazy:
    """A relation that is computed when it is read, as Ibis' are."""

    def __init__(self, relation: Any) -> None:
        self._relation = relation

    def to_pyarrow(self) -> Any:
        return self._relation.to_arrow_table()


def test_a_terminal_is_told_the_type_and_the_place_and_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(typer.Exit) as stopped, console.told():
        _quotes()
    assert stopped.value.exit_code == console.BROKEN
    captured = capsys.readouterr()
    assert NAME not in captured.out + captured.err
    assert "RuntimeError in _quotes" in captured.err
    monkeypatch.setenv("LAB_INSIGHTS_TRACEBACK", "1")
    with pytest.raises(RuntimeError), console.told():
        _quotes()
