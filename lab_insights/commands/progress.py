"""The bar of long work: how far it is, rows a second, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lab_insights.commands.console import err, out


def progress(*, unit: str = "steps") -> Progress:
    """Return a bar on standard error that goes away when the work is done; its tasks have a field `rate`."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}  {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        # Where results go into a file or a pipe they must not come out here.
        redirect_stdout=out.is_terminal,
    )


@contextmanager
def counted(told: Callable[[str], None]) -> Iterator[None]:
    """Tell how many rows this process has landed or merged since the context began, and how many a second."""
    from lab_insights import runs

    with runs.counting(rated(told)):
        yield


def rated(told: Callable[[str], None]) -> Callable[[int], None]:
    """Return what takes the rows of each piece of work, and tells how many there were by then, and how many a second."""
    began, seen = time.monotonic(), [0]

    def landed(rows: int) -> None:
        seen[0] += rows
        told(f"{seen[0]:,} rows, {seen[0] / max(time.monotonic() - began, 0.001):,.0f}/s")

    return landed
