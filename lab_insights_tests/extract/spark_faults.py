"""Storage that breaks in a Spark task, once: imported by Spark's workers, so it imports little."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from lab_insights.lake.layout import Layer
from lab_insights.lake.storage import Storage


@dataclass(frozen=True)
class Faulty(Storage):
    """When the first part was written and is to be read back, the task fails, its process is killed, or its executor is."""

    fault: Literal["fails", "is killed", "loses its executor"] = "fails"
    marker: str = ""

    def download(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            super().download(layer, key, file)
            return
        Path(f"{self.marker}.part").write_text(key)
        if self.fault == "fails":
            raise OSError("the object store broke off")
        if self.fault == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        # The parent of a worker is PySpark's daemon, whose parent is the executor.
        os.kill(int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
