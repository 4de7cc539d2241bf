"""Errors of operations: ours in their words, of any other its type and place. Dagster keeps the text of every exception, which may quote a row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import dagster as dg

from lab_insights.errors import LabInsightsError, told

_P = ParamSpec("_P")
_R = TypeVar("_R")


def contained(body: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return the body of an operation from which no error comes with a text that is not ours, nor with one that it came from."""

    @functools.wraps(body)
    def safe(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return body(*args, **kwargs)
        except (dg.Failure, LabInsightsError):
            raise
        except Exception as error:  # noqa: BLE001 (told by its type and place)
            unforeseen = told(error)
        # outside of the handler, so that it has no context
        raise dg.Failure(f"An error that nobody foresaw: {unforeseen}.", allow_retries=False)

    return safe
