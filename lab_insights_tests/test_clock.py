"""The clock: the system's, or a file's that a simulation moves."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lab_insights.clock import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_systems_clock_moves_by_itself_and_by_nobody_else() -> None:
    before, told = datetime.now(UTC), Clock().now()
    assert before <= told <= datetime.now(UTC)
    with pytest.raises(ValueError, match="can not be moved"):
        Clock().set(NOON)


def test_a_simulated_clock_stands_where_it_was_set_in_utc(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "new" / "clock")
    clock.set(NOON.astimezone(timezone(timedelta(hours=-5))))
    assert clock.now() == NOON
    assert clock.now().tzinfo == UTC
    assert Clock(clock.file).now() == NOON
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clock"]


def test_a_reader_never_finds_a_clock_that_is_half_written(tmp_path: Path) -> None:
    clock, done, wrong = Clock(tmp_path / "clock"), threading.Event(), list[Exception]()
    clock.set(NOON)

    def read() -> None:
        while not done.is_set():
            try:
                clock.now()
            except (ValueError, OSError) as error:
                wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(500):
        clock.set(NOON + timedelta(seconds=number))
    done.set()
    reader.join(30)
    assert wrong == []
