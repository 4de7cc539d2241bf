"""The first link: what the source itself counted when it was read lies in the raw layer, and no window of a table was skipped."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date

from lab_insights.findings import Fault, Finding, summed
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.verify.parts import batch_faults
from lab_insights.verify.windows import RELOAD, gaps, last_read

WELL = "what the source counted lies in the lake"
REREAD = "materialize raw for this day with `reload: true`"


def verify_raw(lake: Lake, tenant: TenantId, table: str, days: Collection[date] | None) -> list[Finding]:
    """Return one finding for each day of a raw table that has batches and is among `days` (None: all)."""
    committed = lake.state.batches("raw", tenant, table)
    wanted = [batch for batch in committed if days is None or batch.partition.day in days]
    if not wanted:
        return []
    # windows follow each other, so the batch before the first wanted one is looked at too
    first, last = committed.index(wanted[0]), wanted[-1]
    chain = committed[max(first - 1, 0) : committed.index(last) + 1]
    manifests = {batch.manifest: lake.storage.manifest("raw", batch.manifest) for batch in chain}
    broken_off = gaps(list(manifests.values()), from_the_beginning=first == 0)
    if last is committed[-1] and (beyond := _beyond(lake, last.partition, manifests.values())):
        broken_off[last.manifest] = beyond
    found = []
    for day in sorted({batch.partition.day for batch in wanted}):
        batches = [batch for batch in wanted if batch.partition.day == day]
        faults = [fault for batch in batches for fault in _faults(lake, batch, manifests[batch.manifest])]
        faults += [broken_off[batch.manifest] for batch in batches if batch.manifest in broken_off]
        rows = sum(batch.rows for batch in batches)
        found.append(Finding("source → raw", tenant, "raw", table, day, *summed(faults, WELL), rows=rows, batches=len(batches)))
    return found


def _faults(lake: Lake, batch: Committed, manifest: Manifest | None) -> Iterator[Fault]:
    yield from batch_faults(lake, batch, manifest)
    if manifest is None:
        return
    name, landed, quarantined = batch.batch_id, manifest.rows, manifest.counts.get("quarantined", 0)
    if manifest.proof is None:
        yield Fault("not proven", f"batch {name} holds no figure of the source", REREAD)
    elif manifest.proof.rows != landed + quarantined:
        message = f"batch {name}: the source counted {manifest.proof.rows} rows; {landed} landed and {quarantined} are in quarantine"
        yield Fault("broken", message, REREAD)
    if manifest.reconstructed:
        message = f"batch {name} was reconstructed after the day: rows that were updated since are missing from it"
        yield Fault("not proven", message, "nothing: a past day can only be read as the source is now")


def _beyond(lake: Lake, partition: Partition, chain: Collection[Manifest | None]) -> Fault | None:
    """A bookmark that stands after everything that was landed: what lies between will never be read."""
    there = [manifest for manifest in chain if manifest]
    position, read = lake.state.head(partition).position, last_read(there)
    if len(there) < len(chain) or position is None or read is None or position <= read:
        return None
    message = f"the bookmark stands at {position:%Y-%m-%d %H:%M:%S}, and nothing was landed after {read:%Y-%m-%d %H:%M:%S}"
    return Fault("broken", message, RELOAD)
