"""Curation, denormalisation and columns to rows of 2 M results: our expressions on DuckDB and on Spark, and the same by hand in Polars and pandas.

Contenders take turns, each in a process of its own, from zstd parquet to zstd parquet on a local disk; libraries are imported and Spark's session is started
before the clock. Every round's outputs are compared by the lake's checksum, over all columns: whoever makes other rows is no contender.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.contender import peak_mb
from benchmarks.goals import Findings, Goal, Result, goal
from benchmarks.transform_data import RUN, STEPS, make, queries

if TYPE_CHECKING:
    import pyarrow as pa

OURS, SPARK, POLARS, PANDAS = "DuckDB", "Spark local[2]", "Polars, by hand", "pandas"
RATES = ((PANDAS, 5.0), (SPARK, 3.0), (POLARS, 0.8))
PEAK_MB = 2000
_PATIENCE = 3600


def run(rows: int = 2_000_000, rounds: int = 3) -> Findings:
    """Measure `rows` results; raise `AssertionError` when two contenders make other rows."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    missing = {} if importlib.util.find_spec("polars") else {POLARS: "polars is not installed: docs/how-to/develop.md says how"}
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "data"
        data.mkdir()
        make(data, rows)
        for number in range(rounds):
            made: dict[str, Any] = {}
            for name in CONTENDERS:
                if name not in missing:
                    out = Path(home) / f"{number}-{len(made)}"
                    out.mkdir()
                    found[name].append(_measure(name, data, out))
                    made[name] = _checksums(data, out)
            if any(each != made[OURS] for each in made.values()):
                raise AssertionError(made)
    results = [_result(name, its) for name, its in found.items()]
    return {"results": [*results, *({"contender": name, "note": why} for name, why in missing.items())], "goals": _goals(results, missing)}


def _measure(name: str, data: Path, out: Path) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.transform", name, str(data), str(out)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if ran.returncode:
        raise AssertionError(f"{name}: {ran.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    print(f"{name}  {found['seconds']:.2f} s", file=sys.stderr)
    return found


def _result(name: str, its: list[dict[str, Any]]) -> Result:
    steps = {f"{step}_s": median(each["steps"][step] for each in its) for step in STEPS}
    peak = {"peak_mb": max(each["peak_mb"] for each in its), "slowest": max(each["seconds"] for each in its)}
    return {"contender": name, "seconds": round(median(each["seconds"] for each in its), 2), **steps, **peak}


def _goals(results: list[Result], missing: dict[str, str]) -> list[Goal]:
    seconds = {result["contender"]: result["seconds"] for result in results}
    goals = []
    for other, times in RATES:
        name, aim = f"DuckDB against {other}", f"at least {times} times as fast"
        if other in missing:
            goals.append(goal(name, aim, missing[other], met=False))
            continue
        measured = seconds[other] / seconds[OURS]
        goals.append(goal(name, aim, f"{measured:.2f} times ({seconds[OURS]} s, {seconds[other]} s)", met=measured >= times))
    peak = next(result["peak_mb"] for result in results if result["contender"] == OURS)
    return [*goals, goal("peak memory of DuckDB", f"under {PEAK_MB} MB", f"{peak} MB", met=peak < PEAK_MB)]


def _checksums(data: Path, out: Path) -> dict[str, tuple[int, str]]:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as pads

    from lab_insights.lab.spark_engine import restored
    from lab_insights.lake.checksum import checksum_sql

    found = {}
    with duckdb.connect(config={"threads": 2}) as connection:
        for step, query in queries(data).items():
            made = pads.dataset(out / f"{step}.parquet", format="parquet").to_batches(columns=query.schema.names)
            connection.register("made", pa.RecordBatchReader.from_batches(query.schema, (restored(batch, query.schema) for batch in made)))
            columns = [(each.name, each.type) for each in query.schema]
            found[step] = connection.execute(checksum_sql(columns, "made", "duckdb")).fetchall()[0]
    return found


# What a contender's own process does.


def _run_row() -> pa.Table:
    import datetime as dt

    import pyarrow as pa

    return pa.table({name: [dt.date.fromisoformat(text) if name == "as_of" else text] for name, text in RUN.items()})


def _inputs(step: str, data: Path, out: Path) -> dict[str, Any]:
    """The inputs of a step as the lake gives them: lazy datasets over parquet files."""
    import pyarrow.dataset as pads

    def of(path: Path) -> Any:
        return pads.dataset(path, format="parquet")

    if step == "curated":
        return {"raw": of(data / "result.parquet")}
    if step == "long":
        return {"rows": of(data / "udt.parquet"), "run": _run_row()}
    return {
        "curated": of(out / "curated.parquet"),
        **{name: of(data / f"{name}.parquet") for name in ("lab_order", "patient")},
        "run": _run_row(),
    }


def _duckdb(step: str, data: Path, out: Path, query: Any) -> None:
    import pyarrow.parquet as pq

    from lab_insights.lab.engine import Duck

    with Duck(_inputs(step, data, out)) as engine:
        engine.run(query)
        with pq.ParquetWriter(out / f"{step}.parquet", engine.schema, compression="zstd") as writer:
            for batch in engine.batches():
                writer.write_batch(batch)


def _spark(step: str, data: Path, out: Path, query: Any, session: Any) -> None:
    from lab_insights.lab.spark_engine import Spark

    # what lies in files is read by Spark itself
    inputs = {name: given.files if hasattr(given, "files") else given for name, given in _inputs(step, data, out).items()}
    with Spark(inputs, session) as engine:
        engine.run(query)
        engine.frame.write.option("compression", "zstd").parquet(str(out / f"{step}.parquet"))


def _prepared(name: str, data: Path) -> Callable[[str, Path], object]:
    """Import, compile and start what a contender needs, and return what does a step."""
    made = queries(data) if name in {OURS, SPARK} else {}
    if name == OURS:
        from lab_insights.lake import duck

        duck.cursor(large=True).close()
        _ = [query.sql for query in made.values()]
        return lambda step, out: _duckdb(step, data, out, made[step])
    if name == SPARK:
        from lab_insights.config import SparkSection
        from lab_insights.resources.spark import session

        conf = {
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
            "spark.driver.memory": "3g",
            "spark.sql.shuffle.partitions": "4",
        }
        started = session(SparkSection(master="local[2]", conf=conf))
        started.range(1000).selectExpr("sum(id)").collect()
        _ = [query.spark for query in made.values()]
        return lambda step, out: _spark(step, data, out, made[step], started)
    from benchmarks import transform_peers

    importlib.import_module("polars" if name == POLARS else "pandas")
    peer = transform_peers.polars if name == POLARS else transform_peers.pandas
    return lambda step, out: peer(step, data, out)


CONTENDERS = (OURS, SPARK, POLARS, PANDAS)


def main(name: str, data: Path, out: Path) -> None:
    """Do all steps, and print what they took."""
    do, steps = _prepared(name, data), {}
    for step in STEPS:
        started = time.monotonic()
        do(step, out)
        steps[step] = round(time.monotonic() - started, 3)
    peak = peak_mb() + sum(peak_mb(process) for process in _children())
    print(json.dumps({"seconds": round(sum(steps.values()), 3), "steps": steps, "peak_mb": peak}))


def _children() -> Iterator[int]:
    """The processes that this one started: Spark's are the JVM and its workers."""
    from os import getpid

    todo = [getpid()]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                todo.append(child)
                yield child


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
