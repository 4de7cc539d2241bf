"""Several readers of one table, side by side: each takes a range of keys of one snapshot and lands its own parts.

The parts, counts and marks of all ranges together are what one reader would have landed, and the table's own count in that snapshot must be the
sum of theirs. Where no snapshot can be shared one reader reads all, and the receipt says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lab_insights.errors import LandingMismatch
from lab_insights.extract import databases, kindness
from lab_insights.extract.ranges import KeyRange, cut
from lab_insights.extract.read import SourceRows, conditions, relation_of
from lab_insights.extract.resume import Journal, Progress, checksum, projection, still_held
from lab_insights.extract.snapshot import NoSnapshot, Snapshot, shared
from lab_insights.extract.streams import telling
from lab_insights.lake import parts
from lab_insights.lake.commit import Facts
from lab_insights.lake.manifest import Manifest, SourceProof
from lab_insights.lake.parts import Candidate, Landed, Writing
from lab_insights.lake.state import Intent
from lab_insights.lake.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

# A source's checksum of a range costs it about as much as reading it, so ranges are kept after a kill only where reading again takes minutes.
RESUMABLE_ROWS = 20_000_000


class _Moved(Exception):
    """A range that was to be kept has changed since: the attempt begins anew without it."""


@dataclass
class RangedRows:
    """The rows of a full load, read by at most `readers` connections at once; `rows` is the one reader that would do it alone."""

    rows: SourceRows
    key: tuple[str, ...]
    readers: int
    _facts: Facts | None = field(default=None, init=False)

    def land(self, storage: Storage, intent: Intent, older: Manifest | None = None) -> Landed:
        """Land every range of the key, unless all rows are those of `older`; raise `SourceError` or `LandingMismatch`."""
        try:
            return self._side_by_side(storage, intent, older)
        except NoSnapshot as error:
            why = str(error)
        # Once the error is gone, and the connections with it that its frames hold.
        landed = parts.land(storage, intent, self.rows, older)
        self._facts = replace(self.rows.facts(), note=f"one reader: {why}")
        return landed

    def facts(self) -> Facts:
        """Return the facts of all ranges as those of one read."""
        if self._facts is None:
            raise RuntimeError("rows are landed before they account for themselves")
        return self._facts

    def _side_by_side(self, storage: Storage, intent: Intent, older: Manifest | None) -> Landed:
        journal, its = Journal(storage, intent), projection(self.rows)
        with asking(self.rows):
            progress = journal.found(its) or Progress(projection=its, ranges=tuple(ranges_of(self.rows, self.key, self.readers)))
            if len(progress.ranges) < 2:
                raise NoSnapshot("this key can not be cut into ranges")
            if progress.finished:
                # Before a snapshot is opened, since readers of a locked table's snapshot can not be added later.
                with kindness.session(self.rows.target, self.rows.limits) as connection:
                    held = still_held(progress, lambda within: _sum(connection, self.rows, within))
                    progress = progress.model_copy(update={"finished": tuple(held)})
            try:
                return self._attempt(storage, intent, older, journal, progress)
            except _Moved:
                return self._attempt(storage, intent, older, journal, progress.model_copy(update={"finished": ()}))

    def _attempt(self, storage: Storage, intent: Intent, older: Manifest | None, journal: Journal, progress: Progress) -> Landed:
        journal.begin(progress)
        kept = {each.number: each for each in progress.finished}
        numbers = [number for number in range(len(progress.ranges)) if number not in kept]
        with shared(self.rows, len(numbers)) as snapshot:
            readers = {
                number: replace(self.rows, within=progress.ranges[number], session=session)
                for number, session in zip(numbers, snapshot.sessions, strict=True)
            }
            snapshot.start(readers.values())
            if len([*still_held(progress, lambda within: _sum(snapshot.connection, self.rows, within))]) < len(kept):
                raise _Moved
            landed = self._read(storage, intent, older, journal, progress, readers, snapshot)
            counted = count_of(self.rows, snapshot)
        facts = {number: reader.facts() for number, reader in readers.items()} | {number: each.facts for number, each in kept.items()}
        self._facts = merged(self.rows, [facts[number] for number in sorted(facts)], counted, f"{len(kept)} kept" if kept else "")
        every = landed | {number: each.landed() for number, each in kept.items()}
        journal.clear()
        return joined(self.rows.schema, [every[number] for number in sorted(every)])

    def _read(
        self,
        storage: Storage,
        intent: Intent,
        older: Manifest | None,
        journal: Journal,
        progress: Progress,
        readers: Mapping[int, SourceRows],
        snapshot: Snapshot,
    ) -> dict[int, Landed]:
        resumable = (self.rows.table.rows or 0) >= RESUMABLE_ROWS
        # A range that is to be found again after a kill is landed when it is read, and one that was found again is no part of the comparison.
        candidate = Candidate(older) if older and not resumable and not progress.finished else None
        stop, landed = threading.Event(), dict[int, Landed]()
        with ExitStack() as held, ThreadPoolExecutor(max_workers=max(len(readers), 1), thread_name_prefix="reader") as pool:
            writing = {
                number: held.enter_context(Writing(storage, intent, _Until(rows, stop), candidate, f"{number:03d}"))
                for number, rows in readers.items()
            }

            def one(number: int) -> None:
                try:
                    writing[number].take()
                    if candidate is None:
                        landed[number] = writing[number].land()
                except BaseException:
                    stop.set()
                    raise

            futures = {pool.submit(one, number): number for number in readers}
            try:
                within = {number: progress.ranges[number] for number in readers if resumable}
                sums = {number: _sum(snapshot.connection, self.rows, its) for number, its in within.items() if not stop.is_set()}
            except BaseException:
                stop.set()
                raise
            for future in as_completed(futures):
                number = futures[future]
                if future.exception() and not isinstance(future.exception(), _Stopped):
                    stop.set()
                elif number in landed and number in sums:
                    journal.add(number, sums[number], landed[number], readers[number].facts())
            # What stopped the others comes first.
            for failure in sorted(filter(None, (future.exception() for future in futures)), key=lambda each: isinstance(each, _Stopped)):
                raise failure
            return _settled(candidate, writing, pool) if candidate else landed


def _settled(candidate: Candidate, writing: Mapping[int, Writing], pool: ThreadPoolExecutor) -> dict[int, Landed]:
    """Return the parts of the older snapshot when all readers together hold its rows, else land what they hold."""
    if same := candidate.holding([*writing.values()]):
        return {0: same}
    return dict(zip(writing, pool.map(Writing.land, writing.values()), strict=True))


class _Stopped(Exception):
    """Another reader failed."""


@dataclass
class _Until:
    """The batches of a reader until another one fails."""

    rows: SourceRows
    stop: threading.Event

    def __post_init__(self) -> None:
        self.schema: pa.Schema = self.rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.rows:
            if self.stop.is_set():
                raise _Stopped
            yield batch


@contextmanager
def asking(rows: SourceRows) -> Iterator[None]:
    """Turn what goes wrong with statements about a table into a `SourceError`."""
    with databases.reaching(rows.table.source, rows.target, rows.table.tenant, rows.table.table_id), telling(rows.table):
        yield


def ranges_of(rows: SourceRows, key: tuple[str, ...], wanted: int) -> list[KeyRange]:
    """Return the ranges of `key` that cover all rows of a read, about equally long."""
    relation = relation_of(rows.table, "t")
    where = conditions(rows.table, relation, rows.cursor, rows.window)
    with kindness.session(rows.target, rows.limits) as connection:
        return cut(connection, rows.table, key, wanted, relation, where)


def any_of(rows: SourceRows) -> bool:
    """Return whether the source has any row of a read now."""
    import sqlalchemy as sa

    relation = relation_of(rows.table, "t")
    there = sa.select(sa.literal(1)).select_from(relation).where(*conditions(rows.table, relation, rows.cursor, rows.window)).limit(1)
    with asking(rows), kindness.session(rows.target, rows.limits) as connection:
        return connection.execute(there).first() is not None


def count_of(rows: SourceRows, snapshot: Snapshot) -> int:
    """Return the table's own count of all rows of a read, as of the snapshot."""
    import sqlalchemy as sa

    relation = relation_of(rows.table, "t")
    held = conditions(rows.table, relation, rows.cursor, rows.window)
    return int(snapshot.scalars(sa.select(sa.func.count()).select_from(relation).where(*held))[0])


def _sum(connection: sa.Connection, rows: SourceRows, within: KeyRange) -> str:
    counted, summed = connection.execute(checksum(rows, within)).one()
    return f"{counted}:{summed or 0}"


def merged(rows: SourceRows, every: Sequence[Facts], counted: int, kept: str = "") -> Facts:
    """Return the facts of all ranges of a read as one; raise `LandingMismatch` when they do not hold as many rows as the source counted in all."""
    held = sum(each.proof.rows for each in every if each.proof)
    if held != counted:
        raise LandingMismatch(
            f"The source counted {counted} rows in one snapshot, and its key ranges hold {held}.",
            remedy="materialize the partition again, with `ranges: 1` if it recurs; nothing was committed.",
            tenant=rows.table.tenant,
            table=rows.table.table_id,
        )
    counts: dict[str, int] = {}
    for each in every:
        for name, number in each.counts.items():
            counts[name] = counts.get(name, 0) + number
    # A column is as faithful as its least faithful range: `exact, or text in …` is told from `exact` by its length alone.
    fidelity = {name: max((each.fidelity[name] for each in every), key=len) for name in every[0].fidelity}
    how = next(each.proof.how for each in every if each.proof)
    proof = SourceProof(rows=counted, how=f"{how}, for each of {len(every)} key ranges of one snapshot, and count(*) of all in it")
    seconds = max((each.longest_statement or 0 for each in every), default=0)
    note = f"{len(every)} key ranges of one snapshot{f', {kept} from an attempt that broke off' if kept else ''}"
    return Facts(proof, counts, fidelity, longest_statement=seconds, ranges=len(every), note=note)


def joined(schema: pa.Schema, every: Sequence[Landed]) -> Landed:
    """Return what the readers landed as one batch's parts."""
    import pyarrow as pa

    whole = pa.unify_schemas([schema, *(each.schema for each in every)])
    return Landed(tuple(part for each in every for part in each.parts), whole, sum(each.total for each in every))
