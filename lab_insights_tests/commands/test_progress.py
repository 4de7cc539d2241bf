"""The bar of long work: on standard error, with a rate and the time that is left, and never among the results."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys

import pytest

from lab_insights.commands import progress as bars
from lab_insights.commands.console import print_json
from lab_insights_tests.commands.cli import seen_bars


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return seen_bars(monkeypatch)


def test_the_bar_shows_rows_a_second_and_the_time_that_is_left(seen: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lab_insights")  # as the logger of a run does
    with bars.progress() as bar:
        task = bar.add_task("raw", total=4, rate="")
        with bars.counted(lambda rate: bar.update(task, rate=rate)):
            for rows in (1_000, 500, 250):
                logging.getLogger("lab_insights.lake.commit").info("committed", extra={"rows": rows})
                bar.update(task, advance=1)
        bar.refresh()
    last = seen.getvalue().rsplit("raw", 1)[1]
    assert re.search(r"3/4 steps +1,750 rows, [\d,]+/s +\d:\d\d:\d\d +\d:\d\d:\d\d", re.sub(r"\x1b\[[\d;?]*\w", "", last)), last


def test_what_is_printed_beside_a_bar_is_the_result_alone(seen: io.StringIO) -> None:
    results = io.StringIO()
    with contextlib.redirect_stdout(results), bars.progress() as bar:
        bar.add_task("raw", total=1, rate="")
        bar.refresh()
        print_json({"ok": True})
        sys.stdout.flush()
    assert json.loads(results.getvalue()) == {"ok": True}
    assert "raw" in seen.getvalue()
