"""The AWS stand-in: a moto server as a process of its own, on a free port of the loopback, without persistence."""

from __future__ import annotations

import sys
from pathlib import Path

from lab_insights.local import processes


def start(log: Path, *, record: Path | None = None) -> processes.Handle:
    """Start the server and return its handle, whose `address` is the endpoint URL; ready in about 1.5 s."""
    port = processes.free_port()
    address = f"http://127.0.0.1:{port}"
    return processes.start(
        "AWS stand-in",
        [sys.executable, "-m", "lab_insights.local.moto_server", str(port)],
        address=address,
        log=log,
        ready=lambda: processes.answers(f"{address}/moto-api/lib.js"),
        record=record,
    )
