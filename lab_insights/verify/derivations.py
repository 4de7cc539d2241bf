"""How each derived table is made: from which tables, and by what it can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from lab_insights.findings import Link
from lab_insights.lab.contracts import contracts
from lab_insights.lab.declared import curated_from, raw_tables
from lab_insights.lab.mappings import mappings
from lab_insights.lab.pipeline import LONG_SUFFIX
from lab_insights.lab.transform import Wide
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.verify import recompute
from lab_insights.verify.recompute import Content

Inputs = Mapping[str, Sequence[Manifest]]
# Computes a batch's day again from its inputs' batches of the day; gives the content and the version of the code.
Again = Callable[[Lake, Manifest, Inputs], tuple[Content, str]]


@dataclass(frozen=True)
class Derivation:
    """One derived table, from the tables `inputs` of the layer `source`; without `again` its rows were published, not derived.

    `stateful` says that a day depends on older days of its inputs as well; of the inputs `records` the rows are records in the messages that went in.
    """

    layer: Layer
    table: str
    source: Layer
    inputs: tuple[str, ...]
    again: Again | None
    stateful: bool = False
    records: frozenset[str] = frozenset()

    @property
    def link(self) -> Link:
        """The link that ends in this table."""
        return "raw → curated" if self.layer == "curated" else "curated → transformed"


def curations(lake: Lake, tenant: TenantId) -> list[Derivation]:
    """Return the curated tables that a tenant has, and those that its raw tables are to become."""
    there = lake.state.tables("raw", tenant)
    becoming = {table for raw in there for table in curated_from(raw)}
    return [_curation(table, there) for table in sorted(becoming.union(lake.state.tables("curated", tenant)))]


def transformations(lake: Lake, tenant: TenantId) -> list[Derivation]:
    """Return the transformed tables that a tenant has, and the wide ones whose inputs it has."""
    there, curated = set(lake.state.tables("transformed", tenant)), set(lake.state.tables("curated", tenant))
    found = [_wide(wide) for wide in WIDE_TABLES if wide.table in there or curated.issuperset(wide.inputs)]
    for table in sorted(there.difference(wide.table for wide in WIDE_TABLES)):
        base = table.removesuffix(LONG_SUFFIX)
        found.append(_long(table, base) if table != base and base in curated else Derivation("transformed", table, "curated", (), None))
    return found


def _curation(table: str, there: Collection[str]) -> Derivation:
    contract = contracts().get(table)
    tables = raw_tables(contract) if contract else [table]

    def again(lake: Lake, manifest: Manifest, inputs: Inputs) -> tuple[Content, str]:
        return recompute.curated(lake, table, contract, manifest, inputs)

    records = frozenset(mapping.raw for mapping in mappings()[table] if mapping.source.records) if contract else frozenset[str]()
    return Derivation("curated", table, "raw", tuple(raw for raw in tables if raw in there) or (tables[0],), again, records=records)


def _wide(wide: Wide) -> Derivation:
    def again(lake: Lake, manifest: Manifest, inputs: Inputs) -> tuple[Content, str]:
        return recompute.wide(lake, wide, manifest, inputs)

    return Derivation("transformed", wide.table, "curated", wide.inputs, again, stateful=True)


def _long(table: str, base: str) -> Derivation:
    def again(lake: Lake, manifest: Manifest, inputs: Inputs) -> tuple[Content, str]:
        return recompute.long(lake, manifest, inputs[base][-1])

    return Derivation("transformed", table, "curated", (base,), again)
