"""CPU seconds of work that shares a process: what the process used while several were at work is split evenly among them.

Readers, Arrow and DuckDB work in threads of their own, so that no thread's time is a batch's. The shares add up to what the process used while anything
was metered, children aside: a JVM that reads with Spark is another process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Share:
    """What one piece of work has used so far."""

    seconds: float = 0.0


class Meter:
    """Who is at work in this process."""

    def __init__(self) -> None:
        self._lock, self._at_work, self._since = threading.Lock(), list[Share](), 0.0

    @contextmanager
    def metered(self) -> Iterator[Share]:
        """Add to the share, while the context lasts and each time that anybody comes or goes."""
        mine = Share()
        with self._lock:
            self._settle()
            self._at_work.append(mine)
        try:
            yield mine
        finally:
            with self._lock:
                self._settle()
                self._at_work = [each for each in self._at_work if each is not mine]

    def _settle(self) -> None:
        now = time.process_time()
        for share in self._at_work:
            share.seconds += (now - self._since) / len(self._at_work)
        self._since = now


PROCESS = Meter()
