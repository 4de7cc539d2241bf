"""Servers are started, found again and stopped by their handle alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_insights.errors import StackError
from lab_insights.local import processes


@pytest.fixture
def foreigner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the code under test did not start."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def web(tmp_path: Path) -> processes.Handle:
    port = processes.free_port()
    address = f"http://127.0.0.1:{port}"
    return processes.start(
        "web",
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        address=address,
        log=tmp_path / "web.log",
        ready=lambda: processes.answers(address),
        record=tmp_path / "web.json",
    )


def test_a_started_server_answers_is_found_again_by_its_record_and_ends_with_its_handle(tmp_path: Path) -> None:
    handle = web(tmp_path)
    assert processes.answers(handle.address)
    assert processes.recorded(tmp_path / "web.json") == handle
    assert processes.stop(handle)
    assert not handle.alive()
    assert not processes.answers(handle.address)
    assert processes.recorded(tmp_path / "web.json") is None
    assert not processes.stop(handle)


def test_a_pid_that_went_to_another_process_is_not_killed(tmp_path: Path, foreigner: subprocess.Popen[bytes]) -> None:
    ended = web(tmp_path)
    processes.stop(ended)
    recycled = dataclasses.replace(ended, pid=foreigner.pid)
    assert not recycled.alive()
    assert not processes.stop(recycled)
    assert foreigner.poll() is None


def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"exit code 3[^\n]*\nno such port"):
        processes.start(
            "broken",
            [sys.executable, "-c", "import sys; print('no such port'); sys.exit(3)"],
            address="",
            log=tmp_path / "log",
            ready=lambda: False,
        )


def test_a_server_that_is_never_ready_is_stopped_even_when_it_ignores_the_polite_signal(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    record = tmp_path / "stubborn.json"
    log = tmp_path / "log"
    handles: list[processes.Handle] = []

    def never() -> bool:
        if log.read_text() == "up\n" and (found := processes.recorded(record)):
            handles.append(dataclasses.replace(found, record=None))
        return False

    with pytest.raises(StackError, match="not ready after"):
        processes.start("stubborn", [sys.executable, "-c", stubborn], address="", log=log, ready=never, record=record, seconds=1)
    assert not handles[0].alive()
    assert not record.exists()


def test_a_start_that_is_killed_while_it_waits_leaves_a_record_by_which_the_server_can_be_stopped(
    tmp_path: Path,
) -> None:
    record = tmp_path / "orphan.json"
    starter = (
        "import sys; from pathlib import Path; from lab_insights.local import processes; "
        "processes.start('orphan', [sys.executable, '-c', 'import time; time.sleep(60)'], address='', "
        f"log=Path({str(tmp_path / 'log')!r}), ready=lambda: False, record=Path({str(record)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], cwd=Path(processes.__file__).parents[2])
    deadline = time.monotonic() + 20
    while processes.recorded(record) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    orphan = processes.recorded(record)
    assert orphan is not None
    assert orphan.alive()
    assert processes.stop(orphan)


def test_a_preferred_port_is_given_back_only_while_it_is_free(tmp_path: Path) -> None:
    port = processes.free_port()
    assert processes.free_port(port) == port
    handle = web(tmp_path)
    taken = int(handle.address.rpartition(":")[2])
    assert processes.free_port(taken) != taken
    processes.stop(handle)
