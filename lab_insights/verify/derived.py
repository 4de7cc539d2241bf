"""The second link: every raw row is accounted for in the curated layer, and a derived day computed again is what lies there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta

from lab_insights.errors import LabInsightsError
from lab_insights.findings import Fault, Finding, summed
from lab_insights.lab.derive import accounted_for
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.verify import recompute
from lab_insights.verify.derivations import Again, Derivation
from lab_insights.verify.parts import batch_faults
from lab_insights.verify.recompute import Content

PUBLISHED = "rows that a person published have no inputs to compute them from; only their parts are checked"
# A derived day of the same inputs and code is not made again, so what mends it begins at raw.
REMAKE = "restore the last good version of its objects, or materialize raw for this day with `reload: true`; the later layers follow"
WELL = "every input row is accounted for, and computing the day again gives the same rows"


def verify_derived(
    lake: Lake, tenant: TenantId, of: Derivation, days: Collection[date] | None, broken: Collection[Partition]
) -> list[Finding]:
    """Return one finding for each day that a derived table has, or should have by its inputs; `broken` partitions prove nothing."""
    made = _by_day(lake, of.layer, tenant, of.table)
    given = [_by_day(lake, of.source, tenant, name) for name in of.inputs]
    # a curated day is made of the sources that have it, a transformed one needs all of its inputs
    ready = (set[date]().union(*given) if of.layer == "curated" else set(given[0]).intersection(*given[1:])) if given else set()
    wanted = sorted(day for day in ready.union(made) if days is None or day in days)
    mangled, sound = _read(lake, of.layer, [batch for day in wanted for batch in made.get(day, [])])
    unlike = recompute.unlike(lake, list(sound.values()))
    found = []
    for day in wanted:
        batches = made.get(day, [])
        faults = [fault for batch in batches for fault in mangled.get(batch.manifest, [])]
        if not batches:
            faults = [Fault("pending", f"the {of.source} day is there, and its {of.layer} day was not made yet", _materialize(of))]
        elif manifest := sound.get(batches[-1].manifest):
            inputs = [batch for each in given for batch in each.get(day, [])]
            faults += _faults(lake, of, manifest, unlike.get(manifest.object_key), inputs, broken)
        rows = sum(batch.rows for batch in batches)
        found.append(Finding(of.link, tenant, of.layer, of.table, day, *summed(faults, WELL), rows=rows, batches=len(batches)))
    return found


def _by_day(lake: Lake, layer: Layer, tenant: TenantId, table: str) -> dict[date, list[Committed]]:
    found: dict[date, list[Committed]] = {}
    for batch in lake.state.batches(layer, tenant, table):
        found.setdefault(batch.partition.day, []).append(batch)
    return found


def _read(lake: Lake, layer: Layer, batches: list[Committed]) -> tuple[dict[str, list[Fault]], dict[str, Manifest]]:
    """Return, by the manifest's key, what is wrong with each batch as it lies there, and those with nothing wrong."""
    manifests = {batch.manifest: lake.storage.manifest(layer, batch.manifest) for batch in batches}
    faults = {batch.manifest: list(batch_faults(lake, batch, manifests[batch.manifest])) for batch in batches}
    return faults, {key: manifest for key, manifest in manifests.items() if manifest and not faults[key]}


def _materialize(of: Derivation) -> str:
    return f"materialize {of.layer} for this day; the sensors do it by themselves"


def _faults(
    lake: Lake, of: Derivation, manifest: Manifest, content: Content | None, inputs: list[Committed], broken: Collection[Partition]
) -> Iterator[Fault]:
    """What is wrong with a day whose objects are as committed; `content` lies in its parts where its manifest says otherwise."""
    if content:
        yield Fault("broken", f"the parts hold {content.told}, the manifest says {manifest.checksum}", REMAKE)
    if of.again is None:
        yield Fault("not proven", PUBLISHED, "publish the rows again from where they come from, to compare")
        return
    others = list(_inputs(of, manifest, inputs))
    yield from others
    if not others:
        yield from _again(lake, of, of.again, manifest, broken)


def _inputs(of: Derivation, manifest: Manifest, inputs: list[Committed]) -> Iterator[Fault]:
    """Which batches went in: all that are there; or those that did not are still to come."""
    used, there = set(manifest.inputs), {batch.manifest for batch in inputs}
    late = sorted(there - used)
    # batches of a raw table are numbered, so one that is older than a batch of it that went in was not late
    passed = [key for key in late if of.layer == "curated" and any(_table(key) == _table(each) and key < each for each in used)]
    if not there:
        yield Fault("broken", f"the {of.source} day that it was made from is not in the lake", f"materialize {of.source} for this day")
    elif passed:
        yield Fault("broken", f"batch {_name(passed[0])} was there and was not curated", REMAKE)
    elif late:
        yield Fault("pending", f"{len(late)} {of.source} batches came after it, the first is {_name(late[0])}", _materialize(of))
    elif used - there:
        yield Fault("pending", f"{of.source} batch {_name(min(used - there))} was replaced since", _materialize(of))


def _again(lake: Lake, of: Derivation, again: Again, manifest: Manifest, broken: Collection[Partition]) -> Iterator[Fault]:
    import duckdb
    import pyarrow as pa

    wrong = sorted(each for each in broken if _reads(of, manifest, each))
    if wrong:
        yield Fault("not proven", f"its input {wrong[0].layer}/{wrong[0].table} of {wrong[0].day} is broken", "mend the input first")
        return
    try:
        inputs = {name: partition_manifests(lake, Partition(of.source, manifest.tenant, name, manifest.day)) for name in of.inputs}
        given = {name: sum(batch.rows for batch in each) for name, each in inputs.items() if each}
        yield from _counts(of, manifest, given)
        if sum(given.values()) == manifest.rows == 0:
            return
        content, version = again(lake, manifest, inputs)
    except (LabInsightsError, OSError, pa.ArrowException, duckdb.Error) as error:
        yield Fault("broken", f"it can not be computed from its inputs ({type(error).__name__})", REMAKE)
        return
    if content == recompute.told_by(manifest):
        return
    if version != manifest.code_version:
        yield Fault("not proven", "another version of the code made it, and gives other rows today", f"materialize {of.layer} again")
    elif (of.stateful or "absent" in manifest.counts) and _older_day_changed(lake, of, manifest):
        yield Fault("not proven", "an older day of its inputs was curated again since it was made", REMAKE)
    else:
        message = f"computed again it has {content.told}, the manifest says {manifest.rows} and {manifest.checksum}"
        yield Fault("broken", message, REMAKE)


def _reads(of: Derivation, manifest: Manifest, each: Partition) -> bool:
    within = each.day <= manifest.day if of.stateful else each.day == manifest.day
    return each.layer == of.source and each.tenant == manifest.tenant and each.table in of.inputs and within


def _counts(of: Derivation, manifest: Manifest, given: Mapping[str, int]) -> Iterator[Fault]:
    counts = manifest.counts
    if counts.get("kept") != manifest.rows:
        yield Fault("broken", f"the manifest has {manifest.rows} rows and counts {counts.get('kept')} as kept", REMAKE)
    messages = sum(rows for name, rows in given.items() if name in of.records)
    if of.records.intersection(given):
        read, told = (sum(counts.get(name, 0) for name in names) for names in (("messages", "replaced"), ("parsed", "rejected")))
        if read != messages or told < counts.get("messages", 0):
            yield Fault("broken", f"{messages} messages went in, and {read} are accounted for: {told} parsed or rejected", REMAKE)
    if of.layer == "curated":
        sources = {name: name.partition(".")[0] for name in given}
        read_as_rows = {source for name, source in sources.items() if name not in of.records}
        for source in sorted(read_as_rows.difference(sources[name] for name in of.records.intersection(given))):
            rows = sum(rows for name, rows in given.items() if sources[name] == source)
            several = len({*sources.values()}) > 1
            accounted = accounted_for(counts, source if several else "")
            if accounted != rows:
                message = f"{rows} raw rows{f' of {source}' if several else ''} went in, and {accounted} are accounted for as kept, superseded or excluded"
                yield Fault("broken", message, REMAKE)


def _older_day_changed(lake: Lake, of: Derivation, manifest: Manifest) -> bool:
    """Whether a day that this one depends on was made again since: those of its inputs, and for tombstones the older ones of the table itself."""
    tables = [(of.source, name, manifest.day) for name in of.inputs]
    if not of.stateful:
        tables = [(of.layer, of.table, manifest.day - timedelta(days=1))]
    batches = (batch for layer, name, last in tables for batch in lake.state.batches(layer, manifest.tenant, name, None, last))
    return any(batch.committed_at > manifest.created_at for batch in batches)


def _table(key: str) -> str:
    return key.rpartition("/")[0]


def _name(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]
