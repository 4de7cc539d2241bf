"""A curated day: which raw tables go into it and how, whether together they are the whole table, and how their rows are accounted for.

A source that has no raw partition of the day is not there for the tenant. When every table that feeds a curated one gave a snapshot, so is the curated
day. Otherwise the day is a delta, and of a source whose rows were all read it holds tombstones for the live rows that it no longer has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lab_insights.lab import curate, records
from lab_insights.lab.contracts import Contract
from lab_insights.lab.derive import RawRows, raw_reader, without_key
from lab_insights.lab.engine import Duck, Query
from lab_insights.lab.mappings import mappings
from lab_insights.lab.parsed import parsed
from lab_insights.lab.united import absent, accounted, united
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import since_snapshot
from lab_insights.lake.compact import compacted
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Kind, Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import TableState, relation, small
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

    from lab_insights.lab.derive import Inputs


@dataclass(frozen=True)
class Input:
    """One raw table of a curated day, with the day's live batches."""

    raw: str
    curation: curate.Curation
    every: tuple[Manifest, ...]

    @property
    def counted(self) -> Sequence[Manifest]:
        """The batches from the day's newest snapshot on; where versions are kept, all."""
        return self.every if self.curation.versions else since_snapshot(self.every)

    @property
    def is_whole(self) -> bool:
        """Whether the day has a snapshot of it; none replaces the versions that were seen before it."""
        return not self.curation.versions and any(manifest.kind == "snapshot" for manifest in self.every)

    @property
    def schema(self) -> pa.Schema:
        """The schema of its rows."""
        return records.schema(self.curation.records) if self.curation.records else TableState(self.every).schema

    def rows(self, storage: Storage) -> pa.Table | pa.RecordBatchReader:
        """Return its rows: few as a table, more as a stream that is read once."""
        kind = self.curation.records
        stream = parsed(storage, self.counted).reader(kind) if kind else raw_reader(storage, self.counted, self.schema)
        return stream.read_all() if small(self.counted) else stream


def inputs_of(raw_table: str, contract: Contract | None, landed: MappingOf[str, Sequence[Manifest]]) -> list[Input]:
    """Return what goes into a curated table, of the batches that were `landed` of a day, by raw table."""
    if contract is None:
        every = landed[raw_table]
        curation = curate.Curation(raw_table.split(".", maxsplit=1)[0], every[-1].key, every[-1].cursor)
        return [Input(raw_table, curation, tuple(every))]
    return [
        Input(each.raw, curate.Curation(each.source.name, each.source.key, each.source.cursor, contract, each), tuple(landed[each.raw]))
        for each in mappings()[contract.table]
        if landed.get(each.raw)
    ]


def query_of(storage: Storage, inputs: Sequence[Input]) -> tuple[Query, Inputs]:
    """Return the rows of a day as a query, and its inputs, of which streams are read once."""
    if len(inputs) == 1:
        return curate.curated(inputs[0].schema, inputs[0].curation), {"raw": inputs[0].rows(storage)}
    query = united(tuple((each.schema, each.curation) for each in inputs))
    return query, {f"raw_{number}": each.rows(storage) for number, each in enumerate(inputs)}


def version_of(inputs: Sequence[Input]) -> str:
    """Return what the rows of a day depend on besides their inputs."""
    return "+".join(each.curation.code_version for each in inputs)


def version_of_day(contract: Contract | None, landed: Collection[str]) -> str:
    """Return the same of a day whose raw tables `landed`, of those that feed a curated one; empty when none of them did."""
    if contract is None:
        return curate.Curation("", (), None).code_version if landed else ""
    feeding = [each for each in mappings()[contract.table] if each.raw in landed]
    return "+".join(curate.Curation(each.source.name, each.source.key, each.source.cursor, contract, each).code_version for each in feeding)


def kind_of(lake: Lake, tenant: TenantId, day: date, inputs: Sequence[Input]) -> Kind:
    """Return whether the day is the whole table: a snapshot of each raw table that the tenant has had up to it."""
    if not all(each.is_whole for each in inputs):
        return "delta"
    return "delta" if _unread(lake, tenant, day, inputs) else "snapshot"


def _unread(lake: Lake, tenant: TenantId, day: date, inputs: Sequence[Input]) -> set[str]:
    """Return the sources of raw tables that feed the curated one and that the tenant has had up to the day, though they are no input of it."""
    contract, given = inputs[0].curation.contract, {each.raw for each in inputs}
    others = [each for each in mappings()[contract.table] if each.raw not in given] if contract else []
    return {each.source.name for each in others if lake.state.batches("raw", tenant, each.raw, None, day)}


def gone_of(
    lake: Lake,
    tenant: TenantId,
    day: date,
    inputs: Sequence[Input],
    state: Callable[[Lake, Layer, TenantId, str, date], TableState] = compacted,
) -> tuple[Query, dict[str, Any]] | None:
    """Return the tombstones that a delta day needs, as a query beside its rows, and its inputs; None where no source was read whole, or no day is older."""
    import pyarrow as pa

    contract = inputs[0].curation.contract
    read = {each.curation.source for each in inputs} - {each.curation.source for each in inputs if not each.is_whole}
    whole = sorted(read - _unread(lake, tenant, day, inputs)) if read else []
    older = lake.state.batches("curated", tenant, contract.table, None, day - timedelta(days=1)) if contract and whole else []
    if not contract or not older:
        return None
    before = state(lake, "curated", tenant, contract.table, day - timedelta(days=1))
    newest = {each.curation.source: each.counted[0] for each in inputs if each.is_whole}
    taken = [{"source": name, "at": newest[name].created_at.replace(tzinfo=None), "batch": newest[name].batch_id} for name in whole]
    schema = pa.schema([("source", pa.string()), ("at", pa.timestamp("us")), ("batch", pa.string())])
    rows = relation(lake.storage, before.manifests, curate.contract_schema(contract))
    return absent(contract, tuple(whole)), {"before": rows, "taken": pa.Table.from_pylist(taken, schema)}


def accounts_of(storage: Storage, inputs: Sequence[Input]) -> list[RawRows]:
    """Return how the rows of each raw table are accounted for."""
    return [_account(storage, each) for each in inputs]


def _account(storage: Storage, of: Input) -> RawRows:
    curation, source = of.curation, of.curation.source
    given, more = sum(manifest.rows for manifest in of.every), dict[str, int]()
    versions, lacking = given, 0
    unmapped = curation.contract.unmapped if curation.contract else {}
    if kind := curation.records:
        found = parsed(storage, of.counted)
        more = {**found.counts(), "replaced": given - found.messages}
        versions, lacking = found.rows[kind], found.without_id[kind]
    if curation.is_plain:
        excluded = lacking if curation.records else without_key(storage, of.counted, curation.key)
        return RawRows(versions, excluded, more, source, unmapped=unmapped)
    with Duck({"raw": of.rows(storage)}) as engine:
        engine.run(accounted(of.schema, curation))
        [counts] = engine.table().to_pylist()
    if curation.mapping and curation.mapping.place:
        more |= {"unmatched": counts["unmatched"]} if curation.mapping.split else {}
        return RawRows(versions, counts["excluded"], more, source, counts["newest"], unmapped)
    return RawRows(versions, counts["excluded"], more, source, unmapped=unmapped)
