"""`lab-insights ui` as a person has it: a process that answers, and that Ctrl-C ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lab_insights.local import processes
from lab_insights_tests.commands.test_commands import CONFIG


@pytest.mark.slow
def test_the_ui_answers_on_its_port_and_a_signal_ends_it(tmp_path: Path, aws_endpoint: str, deployed_prefix: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (home / "lab_insights.yaml").write_text(CONFIG.format(endpoint=aws_endpoint, prefix=deployed_prefix))
    port = processes.free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "ui.log"
    environment = {name: value for name, value in os.environ.items() if name != "LAB_INSIGHTS_CONFIG"}
    handle = processes.start(
        "UI",
        [str(Path(sys.executable).with_name("lab-insights")), "ui", "--port", str(port)],
        address=url,
        log=log,
        ready=lambda: processes.answers(f"{url}/server_info"),
        env={**environment, "DAGSTER_HOME": str(home)},
        seconds=240,
    )
    try:
        with urllib.request.urlopen(f"{url}/server_info") as answer:
            assert json.load(answer)["dagster_version"]
        assert f"Dagster UI: {url}   DAGSTER_HOME={home}" in log.read_text()
        os.kill(handle.pid, signal.SIGINT)
        deadline = time.monotonic() + 60
        while handle.alive():
            assert time.monotonic() < deadline, "the signal did not end it"
            time.sleep(0.05)
        assert not processes.answers(f"{url}/server_info")
    finally:
        processes.stop(handle, seconds=60)
