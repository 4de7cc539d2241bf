"""Taking away what nobody needs: objects of abandoned attempts, and batches that others replaced long ago.

An object is an orphan when its series has gone on to the next batch, its attempt was not the one that was committed, and no manifest names it (a later
attempt keeps what an earlier one had finished, and a later snapshot the parts of an equal one). Attempts at the batch that is still to be committed are
left alone however old they are, since the next run may adopt or keep them. Heads are read before the committed batches: a commit between the two is then
seen as committed, and not as abandoned. Only what is older than a grace goes, though no run could commit it any more: a writer that was overtaken is told
so by the commit, not by a part that is gone.

What is not guaranteed: nothing that this module can not name is taken away (it is counted as `unknown`), and buckets keep versions until their lifecycle ends.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from lab_insights.lake import compact
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.storage import Stored
from lab_insights.lake.tables import gone
from lab_insights.names import TenantId

GRACE = timedelta(days=1)
KEEP = timedelta(days=30)
# A part of one reader, of one of several, or of an attempt of a Spark task; a manifest, and what the readers or the tasks of an attempt wrote down.
_OBJECT = re.compile(
    r"tenant=[^/]+/table=([^/]+)/date=(\d{4}-\d\d-\d\d)/(\d{8}-\d{3})(?:(?:-\d{3}(?:t\d+)?)?-\d{5}\.parquet|(?:-[0-9a-f]{12})?\.\w+\.json)"
)


@dataclass(frozen=True)
class Swept:
    """The receipt of one tenant's layer: `objects` were looked at, `orphans` taken away (of so many `bytes`), `young` ones left for now.

    `retired` batches were replaced longer ago than they are kept; their objects are orphans from then on.
    """

    tenant: TenantId
    layer: Layer
    objects: int = 0
    orphans: int = 0
    bytes: int = 0
    young: int = 0
    unknown: int = 0
    retired: int = 0


@dataclass(frozen=True)
class _Object:
    partition: Partition
    batch_id: str
    stored: Stored

    @property
    def batch(self) -> int:
        return int(self.batch_id.partition("-")[0])

    @property
    def series_head(self) -> date | None:
        return None if self.partition.layer == "raw" else self.partition.day

    @property
    def committed_as(self) -> tuple[date, str]:
        return self.partition.day, self.batch_id


def sweep(lake: Lake, tenant: TenantId, layer: Layer, *, grace: timedelta = GRACE, keep: timedelta = KEEP, dry_run: bool = False) -> Swept:
    """Retire what was replaced longer than `keep` ago, by the lake's clock, and delete orphans that lie longer than `grace`, by the object store's.

    Safe beside running writers, and to repeat. With `dry_run` nothing is taken away, and the receipt says what would be.
    """
    retired = sum(retire(lake, tenant, layer, table, keep=keep, dry_run=dry_run) for table in lake.state.tables(layer, tenant))
    objects = unknown = young = orphans = size = 0
    before = datetime.now(UTC) - grace
    prefix = f"tenant={tenant}/"
    for table, group in itertools.groupby(lake.storage.stored(layer, prefix), lambda each: each.key.split("/")[1]):
        found, name = list(group), table.removeprefix("table=")
        objects += len(found)
        if compact.is_beside(name):
            needed = compact.named(lake, layer, tenant, name)
            strays: Iterable[Stored] = [stored for stored in found if stored.key not in needed]
        else:
            ours = [each for stored in found if (each := _named(tenant, layer, stored))]
            unknown += len(found) - len(ours)
            strays = _orphans(lake, layer, tenant, name, ours)
        for orphan in strays:
            if orphan.put_at > before:
                young += 1
                continue
            if not dry_run:
                lake.storage.delete(layer, orphan.key)
            orphans, size = orphans + 1, size + orphan.bytes
    return Swept(tenant, layer, objects, orphans, size, young, unknown, retired)


def sweep_all(
    lake: Lake, tenants: Iterable[TenantId], *, grace: timedelta = GRACE, keep: timedelta = KEEP, dry_run: bool = False
) -> list[Swept]:
    """Sweep every layer of tenants; return a receipt each."""
    return [sweep(lake, tenant, layer, grace=grace, keep=keep, dry_run=dry_run) for tenant in tenants for layer in LAYERS]


def retire(lake: Lake, tenant: TenantId, layer: Layer, table: str, *, keep: timedelta = KEEP, dry_run: bool = False) -> int:
    """Forget a table's batches that were replaced longer than `keep` ago and whose parts no other batch names; return how many."""
    live = lake.state.batches(layer, tenant, table)
    history = list(lake.state.history(layer, tenant, table))
    kept = {(batch.partition.day, batch.batch_id) for batch in live}
    replaced_at = {batch.partition.day: batch.committed_at for batch in history if batch.supersedes}
    old = [
        batch
        for batch in history
        if (batch.partition.day, batch.batch_id) not in kept and replaced_at[batch.partition.day] < lake.clock.now() - keep
    ]
    if not old:
        return 0
    needed = {
        _batch_of(key) for key in _named_parts(lake, layer, (batch for batch in history if batch not in old and batch.kind == "snapshot"))
    }
    free = [batch for batch in old if (batch.partition.day, batch.batch_id[:8]) not in needed]
    for batch in free:
        if not dry_run:
            lake.state.retire(batch)
    return len(free)


def _batch_of(key: str) -> tuple[date, str]:
    """Return day and number of the batch that a part was written for."""
    match = _OBJECT.fullmatch(key)
    if match is None:
        raise ValueError("not the key of a part")
    return date.fromisoformat(match[2]), match[3][:8]


def _named_parts(lake: Lake, layer: Layer, batches: Iterable[Committed]) -> set[str]:
    """Return the keys of the parts that the manifests of batches name; raise `LandingMismatch` when one is gone, since nobody knows what it named."""
    named: set[str] = set()
    for batch in batches:
        manifest = lake.storage.manifest(layer, batch.manifest)
        if manifest is None:
            raise gone(batch)
        named |= {part.key for part in manifest.parts}
    return named


def _named(tenant: TenantId, layer: Layer, stored: Stored) -> _Object | None:
    match = _OBJECT.fullmatch(stored.key)
    if match is None:
        return None
    table, day, batch_id = match.groups()
    return _Object(Partition(layer, tenant, table, date.fromisoformat(day)), batch_id, stored)


def _orphans(lake: Lake, layer: Layer, tenant: TenantId, table: str, objects: Iterable[_Object]) -> Iterator[Stored]:
    """Yield the objects of one table that no committed batch names, and that none will."""
    there = {(batch.partition.day, batch.batch_id) for batch in lake.state.history(layer, tenant, table)}
    strays = [each for each in objects if each.committed_as not in there]
    if not strays:
        return
    # all days of a raw table share one head
    heads = {of.series_head: lake.state.head(of.partition) for of in strays}
    history = list(lake.state.history(layer, tenant, table))
    there = {(batch.partition.day, batch.batch_id) for batch in history}
    numbers = {each.batch for each in strays}
    named = _named_parts(lake, layer, (batch for batch in history if batch.kind == "snapshot" or int(batch.batch_id[:8]) in numbers))
    for each in strays:
        if each.batch < heads[each.series_head].batch and each.committed_as not in there and each.stored.key not in named:
            yield each.stored
