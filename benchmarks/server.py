"""The AWS stand-in with a meter: it counts requests and bytes sent, and can keep the answer to a write back until its client was killed.

As a program, `python -m benchmarks.server PORT` is the stand-in; `Metered` starts and asks it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from lab_insights.local import processes

_READS = {"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems", "DescribeTable"}


def kind(environ: dict[str, Any]) -> str:
    """Return what a request is: `s3 PUT`, `s3 LIST`, `dynamodb Query`, and so on."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        service, _, operation = target.rpartition(".")
        return f"{'dynamodb' if 'Dynamo' in service else 'sqs' if 'SQS' in service else service} {operation}"
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
    return "s3 LIST" if method == "GET" and ("list-type" in query or "prefix=" in query) else f"s3 {method}"


def writes(what: str) -> bool:
    """Return whether a request of this kind changes what is stored."""
    service, _, operation = what.partition(" ")
    return operation in {"PUT", "POST", "DELETE"} if service == "s3" else operation not in _READS


class Meter:
    """WSGI middleware; `/meter/reset` clears the counts, `/meter/hold/N` keeps back the answer to the Nth write from now, `/meter` tells."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application, self._lock = application, threading.Lock()
        self._counts: Counter[str] = Counter()
        self._left, self._held, self._released = 0, threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/meter"):
            return self._tell(environ["PATH_INFO"].split("/")[2:], start_response)
        what = kind(environ)
        body = list(self._application(environ, start_response))
        with self._lock:
            self._counts.update({what: 1, "bytes out": sum(map(len, body))})
            last = self._left == 1 and writes(what)
            self._left -= self._left > 0 and writes(what)
        if last:
            self._held.set()
            self._released.wait()
        return body

    def _tell(self, order: list[str], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = json.dumps(self._counts | {"held": self._held.is_set()}).encode()
        if order:
            self._released.set()
            self._counts.clear()
            self._left = int(order[1]) if order[0] == "hold" else 0
            self._held, self._released = threading.Event(), threading.Event()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [answer]


class Metered:
    """A running stand-in with its meter."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _ask(self, order: str = "") -> dict[str, int]:
        with urlopen(f"{self.address}/meter{order}", timeout=10) as answer:  # noqa: S310 - http of the loopback
            return json.load(answer)

    def hold(self, write: int) -> None:
        """Keep back the answer to the `write`-th write from now."""
        self._ask(f"/hold/{write}")

    @property
    def held(self) -> bool:
        """Whether that write has been done, and its client waits."""
        return bool(self._ask()["held"])

    def reset(self) -> None:
        """Clear the counts, and answer whoever still waits."""
        self._ask("/reset")

    def counts(self) -> Counter[str]:
        """Return requests by kind since the last reset, and the `bytes out`."""
        return Counter({what: number for what, number in self._ask().items() if what != "held"})


def requests(counts: Counter[str]) -> int:
    """Return the number of requests in counts."""
    return sum(number for what, number in counts.items() if what != "bytes out")


@contextmanager
def metered(directory: Path) -> Iterator[Metered]:
    """Start a stand-in for the block."""
    port = processes.free_port()
    address = f"http://127.0.0.1:{port}"
    handle = processes.start(
        "Metered AWS stand-in",
        [sys.executable, "-m", "benchmarks.server", str(port)],
        address=address,
        log=directory / "aws.log",
        ready=lambda: processes.answers(f"{address}/meter"),
        cwd=Path(__file__).parents[1],
    )
    try:
        yield Metered(address)
    finally:
        processes.stop(handle)


def serve(port: int) -> None:
    """Be the stand-in, until killed."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from moto.sqs.models import SQSBackend
    from werkzeug.serving import run_simple

    from lab_insights.local import moto_server

    moto_server.mend()
    # moto 5.2.5 counts the whole queue three times for each message it gives out: 1.1 s for ten of 400, which no SQS takes.
    SQSBackend.is_message_valid_based_on_retention_period = lambda *_: True  # type: ignore[method-assign]
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    meter = Meter(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, meter, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
