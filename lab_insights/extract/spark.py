"""The Spark engine: a table's key ranges of one snapshot, read and landed by Spark's tasks; what they landed is committed here as any batch is.

PostgreSQL's snapshot may be joined at any time, so a task that Spark tries again reads the same rows. MySQL's and MariaDB's may not: there as many ranges are
read as run at once, and when a task has to be tried again the whole table is read again, by one.
"""

from __future__ import annotations

import functools
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from lab_insights import errors
from lab_insights.errors import LabInsightsError, SourceError
from lab_insights.extract.read import SourceRows
from lab_insights.extract.readers import asking, count_of, joined, merged, ranges_of
from lab_insights.extract.resume import Finished
from lab_insights.extract.snapshot import NoSnapshot, Snapshot, shared
from lab_insights.extract.spark_tasks import ENVELOPE, FORMAT, REQUEST, Order, data_source, packed
from lab_insights.lake.commit import Facts
from lab_insights.lake.layout import batch_id
from lab_insights.lake.manifest import Manifest, encode_schema
from lab_insights.lake.parts import Landed
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Where a task fails, Spark passes on the text of its traceback; our errors are one line of it.
_OURS = re.compile(r"lab_insights\.errors\.(?P<kind>\w+): (?:\[[^\]]*\] )?(?P<message>.+?) Remedy: (?P<remedy>.+)$", re.MULTILINE)
# What `extract.streams` says of a reader that came too late for its snapshot.
_TOO_LATE = "came too late"
# A load at a time in one process: two would share the slots, and tasks of one snapshot wait until all of them run.
_ONE_AT_A_TIME = threading.Lock()


@dataclass
class SparkRows:
    """The rows of a read, landed by Spark tasks; `rows` is the one reader that would do it alone, `session` is called when reading begins."""

    rows: SourceRows
    key: tuple[str, ...]
    ranges: int
    session: Callable[[], SparkSession]
    _facts: Facts | None = field(default=None, init=False)

    def land(self, storage: Storage, intent: Intent, older: Manifest | None = None) -> Landed:  # noqa: ARG002 (no task knows what the others read)
        """Land every range; raise `SourceError` or `LandingMismatch` with what a task said."""
        with _ONE_AT_A_TIME:
            return self._land(_Job(self.session(), storage, intent, self.rows))

    def _land(self, job: _Job) -> Landed:
        note = ""
        if self.ranges > 1:
            try:
                return self._side_by_side(job)
            except NoSnapshot as why:
                note = f"one reader: {why}"
        [only] = job.run([self.rows])
        self._facts = replace(only.facts, note=note)
        return only.landed()

    def facts(self) -> Facts:
        """Return the facts of all ranges as those of one read."""
        if self._facts is None:
            raise RuntimeError("rows are landed before they account for themselves")
        return self._facts

    def _side_by_side(self, job: _Job) -> Landed:
        again = self.rows.table.engine == "postgresql"
        with asking(self.rows):
            ranges = ranges_of(self.rows, self.key, self.ranges if again else min(self.ranges, job.slots))
            if len(ranges) < 2:
                raise NoSnapshot("this key can not be cut into ranges")
            with shared(self.rows, len(ranges), elsewhere=True) as snapshot:
                readers = [
                    replace(self.rows, within=within, session=session) for within, session in zip(ranges, snapshot.sessions, strict=True)
                ]
                with _gathering(snapshot):
                    try:
                        done = job.run(readers)
                    except SourceError as error:
                        if _TOO_LATE in error.message:
                            raise NoSnapshot("a task had to be tried again, and this server's snapshots can not be joined again") from None
                        raise
                counted = count_of(self.rows, snapshot)
        self._facts = merged(self.rows, [each.facts for each in done], counted)
        return joined(self.rows.schema, [each.landed() for each in done])


@contextmanager
def _gathering(snapshot: Snapshot) -> Iterator[None]:
    """Let the readers of a job into its snapshot while the job runs; why there is none comes before what the job then says."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot") as pool:
        gathered = pool.submit(snapshot.gather)
        try:
            yield
        except (LabInsightsError, NoSnapshot):
            why = gathered.exception() if gathered.done() else None
            snapshot.give_up()
            if isinstance(why, NoSnapshot):
                raise why from None
            raise
        gathered.result()


@dataclass
class _Job:
    """The Spark job that lands a batch; a second one, after a first that failed, writes under names of its own."""

    spark: SparkSession
    storage: Storage
    intent: Intent
    rows: SourceRows

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return int(self.spark.sparkContext.defaultParallelism)

    def run(self, readers: Sequence[SourceRows]) -> list[Finished]:
        """Read and land `readers`, each in a task, and return what each landed, in order."""
        name = batch_id(self.intent.batch, self.intent.attempt)
        told = f"{self.intent.partition.directory}/{name}-{uuid.uuid4().hex[:12]}.tasks.json"
        order = Order(self.storage, self.intent, encode_schema(self.rows.schema), len(readers), told)
        _register(self.spark)
        # A writer is looked up in the thread's active session, and only the thread that started it has one.
        self.spark.createDataFrame([(0,)], "started INT")  # PySpark's only public way to make a session the active one
        frame = self.spark.read.format(FORMAT).schema(ENVELOPE).option(REQUEST, packed([*readers])).load()
        try:
            frame.write.format(FORMAT).option(REQUEST, packed(order)).mode("append").save()
        except Exception as error:  # noqa: BLE001 (what comes through Spark is of many classes, and may quote a row)
            order.sweep()
            raise _failed(error, self.rows) from None
        layer = self.intent.partition.layer
        done = TypeAdapter(list[Finished]).validate_json(self.storage.get(layer, told) or b"[]")
        self.storage.delete(layer, told)
        # An attempt that was killed, or that another one of the same task overtook, could not remove what it had written.
        order.sweep(kept=frozenset(part.key for each in done for part in each.parts))
        return sorted(done, key=lambda each: each.number)


@functools.lru_cache(maxsize=1)
def _register(spark: SparkSession) -> None:
    """Make the data source known to a session, once: Spark warns of every further time."""
    spark.dataSource.register(data_source())


def _failed(error: Exception, rows: SourceRows) -> LabInsightsError:
    """Say what a task said, or what kind of fault of Spark's own it was."""
    kind: type[LabInsightsError] = SourceError
    if told := _OURS.search(str(error)):
        message, remedy = told["message"], told["remedy"]
        kind = getattr(errors, told["kind"], SourceError)
    else:
        message = f"Spark broke off ({type(error).__name__})."
        remedy = "look at Spark's log of this run; the workers need this package, and a way to the source and to the lake."
    return kind(message, remedy=remedy, tenant=rows.table.tenant, table=rows.table.table_id)
