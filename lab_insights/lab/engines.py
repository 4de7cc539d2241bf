"""Which engine makes a derived table: DuckDB, unless the caller's `Engines` say Spark by name or by the size of its inputs.

No deployment has other engines than `DUCKDB`: what Spark's tasks land has not been shown to be what DuckDB would have landed.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_insights.lab.derive import Opened
from lab_insights.lab.engine import Duck
from lab_insights.lab.spark_engine import Spark
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Zstd parquet that DuckDB curates in about a quarter of an hour on two cores; a cluster is there for what takes longer.
SPARK_FROM_BYTES = 20 << 30


@dataclass(frozen=True)
class Engines:
    """The engines to choose from: `tables` are patterns such as `curated/result` or `transformed/*` of what is wanted on Spark."""

    session: Callable[[], SparkSession] | None = None
    tables: tuple[str, ...] = ()
    cluster: bool = False

    def declared(self, name: str) -> bool:
        """Return whether a table, as `layer/table`, is wanted on Spark."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.tables)

    def choose(self, partition: Partition, inputs: Iterable[Manifest]) -> Opened:
        """Return the engine for a partition that is made of `inputs`."""
        if self.session is None:
            return Duck
        large = self.cluster and sum(part.bytes for manifest in inputs for part in manifest.parts) >= SPARK_FROM_BYTES
        if large or self.declared(f"{partition.layer}/{partition.table}"):
            return functools.partial(Spark, session=self.session())
        return Duck


DUCKDB = Engines()
