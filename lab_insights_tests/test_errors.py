"""Errors say where, what, and what to do."""

from __future__ import annotations

import inspect
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from lab_insights import errors
from lab_insights.errors import CommitConflict, LabInsightsError
from lab_insights.lab.pipeline import MissingInput


def test_an_error_says_where_it_happened_and_what_to_do() -> None:
    error = CommitConflict("Another run was first.", remedy="wait.", tenant="aurora", table="lis.result", partition="2026-03-01")
    assert str(error) == "[tenant aurora, table lis.result, partition 2026-03-01] Another run was first. Remedy: wait."


def test_what_is_not_known_is_not_said() -> None:
    assert str(LabInsightsError("No.", remedy="yes.")) == "No. Remedy: yes."
    assert str(LabInsightsError("No.", remedy="yes.", table="t")) == "[table t] No. Remedy: yes."


@pytest.mark.parametrize("kind", [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)])
def test_there_is_one_hierarchy_and_no_error_without_a_remedy(kind: type[Any]) -> None:
    assert issubclass(kind, LabInsightsError)
    assert kind.__doc__
    without_remedy: Any = kind
    with pytest.raises(TypeError):
        without_remedy("message alone")


def _raised(kind: type[LabInsightsError]) -> None:
    raise kind("No.", remedy="yes.", tenant="aurora", partition="2026-03-01")


@pytest.mark.parametrize("kind", [CommitConflict, MissingInput])
def test_an_error_comes_out_of_a_pool_of_processes_as_it_was_raised(kind: type[LabInsightsError]) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool, pytest.raises(kind) as raised:
        pool.submit(_raised, kind).result(60)
    told = raised.value
    assert (told.message, told.remedy, told.tenant, told.table, told.partition) == ("No.", "yes.", "aurora", None, "2026-03-01")
    assert str(told) == "[tenant aurora, partition 2026-03-01] No. Remedy: yes."
