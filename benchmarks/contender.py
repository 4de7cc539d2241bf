"""One load in a process of its own, so that its peak memory and CPU time are its own: `python -m benchmarks.contender` with a job on stdin.

Libraries are imported, and Spark's session is started, before the clock: what is measured is the load.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What a contender waits for at most, in seconds.
_PATIENCE = 1800


class ContenderFailed(Exception):
    """A contender ended with an error; the text is the last line that it wrote."""


@dataclass(frozen=True)
class Job:
    """What a contender is given: which table of which server, and a directory for its parquet files."""

    contender: str
    url: str
    engine: str
    schema: str
    table: str
    directory: str
    rows: int
    endpoint: str = ""
    tenant: str = "bench"
    first: int | None = None
    """How many of the rows a slow contender reads; its rate is per row, as everybody's."""
    seconds: int = 0
    """How long a contender goes on that repeats its load."""
    proof: str = "sums"
    store: str = "local"
    """`local`: parts in files below `directory`, as the peers write them; `s3`: on the AWS stand-in at `endpoint`."""


@dataclass(frozen=True)
class Outcome:
    """What a load took: wall and CPU seconds (of the process alone), peak resident megabytes, parquet bytes, and rows that lie there afterwards."""

    rows: int
    seconds: float
    cpu: float
    peak_mb: int
    bytes: int
    began: float
    """By the machine's monotonic clock."""
    note: str = ""

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@dataclass(frozen=True)
class Loaded:
    """What a load says of itself: rows where the parquet files do not tell, and the process beside this one that it needed."""

    rows: int | None = None
    note: str = ""
    helper: int | None = None
    stop: Callable[[], object] = list


Load = Callable[[], Loaded]


def measure(job: Job) -> Outcome:
    """Run a job in a process of its own; raise `ContenderFailed`."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.contender"],
        input=json.dumps(dataclasses.asdict(job)),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    told = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode or not told:
        raise ContenderFailed(f"{job.contender}: {(ran.stderr.strip().splitlines() or ['no output'])[-1][:300]}")
    return Outcome(**json.loads(told[-1]))


def peak_mb(process: int | str = "self") -> int:
    """Return the peak resident memory of a process, 0 of one that ended. Not `ru_maxrss`: across `exec` that is at least what the parent had."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 if process == "self" else 0
    told = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(told.get("VmHWM", "0").split()[0]) // 1024


def main() -> None:
    """Do the job on stdin and print its outcome."""
    import pyarrow.parquet as pq

    from benchmarks import ours, peers_of_extract

    job = Job(**json.loads(sys.stdin.read()))
    prepare = {**ours.CONTENDERS, **peers_of_extract.CONTENDERS, **peers_of_extract.BESIDE}[job.contender]
    load = prepare(job)
    cpu, began = time.process_time(), time.monotonic()
    loaded = load()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    peak, note = peak_mb(), loaded.note
    if loaded.helper:
        its = peak_mb(loaded.helper)
        peak, note = peak + its, f"{its} MB of it the JVM's; CPU without the JVM"
    files = list(Path(job.directory).rglob("*.parquet"))
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in files) if loaded.rows is None else loaded.rows
    size = sum(path.stat().st_size for path in files)
    print(json.dumps(dataclasses.asdict(Outcome(rows, round(seconds, 3), round(cpu, 3), peak, size, began, note))))
    sys.stdout.flush()
    loaded.stop()


if __name__ == "__main__":
    main()
