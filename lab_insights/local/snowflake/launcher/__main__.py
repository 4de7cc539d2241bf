"""Serves the stand-in: `python -m launcher --port PORT --directory DIRECTORY --s3-endpoint URL`."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

import uvicorn

from .application import application
from .engine import Engine
from .sessions import Sessions

_A_DAY = 24 * 3600


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="launcher")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--s3-endpoint", required=True)
    asked = parser.parse_args()
    sessions = Sessions()
    served = application(Engine(asked.directory, asked.s3_endpoint), sessions)
    gc.freeze()  # the collector walks through fakesnow and all dialects again and again otherwise
    gc.set_threshold(50_000)  # and few cycles come of a request
    uvicorn.run(
        served,
        host="127.0.0.1",
        port=asked.port,
        http=sessions.protocol(),
        timeout_keep_alive=_A_DAY,  # an idle connection is never closed by us: a closed one means that its client left
        log_level="warning",
    )


if __name__ == "__main__":
    main()
