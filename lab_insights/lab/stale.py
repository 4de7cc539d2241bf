"""Curated and transformed partitions that another version of the code, a contract or a mapping made than today's, and how to make them again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from lab_insights.lab import curation, unpivot
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.declared import Sources, curated_from, served, served_wide
from lab_insights.lab.pipeline import LONG_SUFFIX, wide_version
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.tables import loaded
from lab_insights.names import TenantId

# What stands for all tables that no contract describes: they are made by one step.
GENERIC = "user_defined"


@dataclass(frozen=True)
class Stale:
    """A partition, the version that it was `made_by`, and today's; they are the same where only what it was made from is stale."""

    partition: Partition
    made_by: str
    today: str

    @property
    def step(self) -> str:
        """The name that makes its table, as `layer/table`."""
        layer, table = self.partition.layer, self.partition.table
        modelled = table in contracts() if layer == "curated" else "." not in table
        return f"{layer}/{table if modelled else GENERIC}"


@dataclass(frozen=True)
class Rectangle:
    """Steps of one layer, to be done for tenants and days."""

    layer: Layer
    steps: tuple[str, ...]
    tenants: tuple[TenantId, ...]
    days: tuple[date, ...]


def stale(lake: Lake, tenant: TenantId, sources: Sources, since: date | None = None) -> list[Stale]:
    """Return the stale partitions of a tenant from the day `since` on, curated ones first; tables that `sources` do not serve any more have none.

    Rows that a person published were made by no code of ours.
    """
    curated = list(_curated(lake, tenant, sources, since))
    again = {(each.partition.table, each.partition.day) for each in curated}
    return [*curated, *_transformed(lake, tenant, sources, since, again)]


def rectangles(found: Iterable[Stale]) -> list[Rectangle]:
    """Return what makes these partitions again and no others, in order: curated before transformed, days that follow each other and tenants together."""
    cells: dict[tuple[Layer, TenantId, date], set[str]] = {}
    for each in found:
        its = each.partition
        cells.setdefault((its.layer, its.tenant, its.day), set()).add(each.step)
    alike: dict[tuple[Layer, tuple[str, ...], tuple[date, ...]], list[TenantId]] = {}
    for (layer, tenant, steps), days in _stretched(cells):
        alike.setdefault((layer, steps, days), []).append(tenant)
    return [
        Rectangle(layer, steps, tuple(tenants), days) for (layer, steps, days), tenants in sorted(alike.items(), key=lambda item: item[0])
    ]


def _stretched(
    cells: dict[tuple[Layer, TenantId, date], set[str]],
) -> Iterator[tuple[tuple[Layer, TenantId, tuple[str, ...]], tuple[date, ...]]]:
    """Yield days that follow each other and need the same steps, together."""
    open_: tuple[Layer, TenantId, tuple[str, ...]] | None = None
    days: list[date] = []
    for (layer, tenant, day), steps in sorted(cells.items()):
        of = layer, tenant, tuple(sorted(steps))
        if open_ and (of != open_ or day != days[-1] + timedelta(days=1)):
            yield open_, tuple(days)
            days = []
        open_ = of
        days.append(day)
    if open_:
        yield open_, tuple(days)


def _curated(lake: Lake, tenant: TenantId, sources: Sources, since: date | None) -> Iterator[Stale]:
    landed = {
        raw: {batch.partition.day for batch in lake.state.batches("raw", tenant, raw, since)} for raw in lake.state.tables("raw", tenant)
    }
    described, modelled = served(sources), contracts()
    for raw in landed:
        yield from _described_since(lake, tenant, raw, described, since)
    for table in lake.state.tables("curated", tenant, since):
        if table in modelled and table not in described:
            continue
        for batch in _newest(lake.state.batches("curated", tenant, table, since)):
            there = {raw for raw, days in landed.items() if batch.partition.day in days}
            # Without its raw rows a partition can not be made again.
            today = curation.version_of_day(described.get(table), there if table in described else there & {table})
            if today and (made_by := _made_by(lake, batch)) != today:
                yield Stale(batch.partition, made_by, today)


def _described_since(lake: Lake, tenant: TenantId, raw: str, described: Mapping[str, Contract], since: date | None) -> Iterator[Stale]:
    """Yield the days that a table had when no contract described it."""
    found = {table: contract for table, contract in curated_from(raw).items() if contract and table in described}
    generic = {batch.partition.day: batch for batch in lake.state.batches("curated", tenant, raw, since)} if found else {}
    for table, contract in found.items():
        there = {batch.partition.day for batch in lake.state.batches("curated", tenant, table, since)} if generic else set()
        for day in sorted(generic.keys() - there):
            today = curation.version_of_day(contract, {raw})
            yield Stale(Partition("curated", tenant, table, day), _made_by(lake, generic[day]), today)


def _transformed(
    lake: Lake, tenant: TenantId, sources: Sources, since: date | None, again: Collection[tuple[str, date]]
) -> Iterator[Stale]:
    wide = {each.table: each for each in served_wide(sources)}
    curated = set(lake.state.tables("curated", tenant, since))
    for table in lake.state.tables("transformed", tenant, since):
        base = table.removesuffix(LONG_SUFFIX)
        if table in wide:
            today, inputs = wide_version(wide[table]), wide[table].inputs
        elif base != table and base in curated:
            today, inputs = unpivot.CODE_VERSION, (base,)
        else:
            continue
        for batch in _newest(lake.state.batches("transformed", tenant, table, since)):
            made_by = _made_by(lake, batch)
            if made_by != today or any((name, batch.partition.day) in again for name in inputs):
                yield Stale(batch.partition, made_by, today)


def _newest(batches: Sequence[Committed]) -> Iterable[Committed]:
    return {batch.partition.day: batch for batch in batches}.values()


def _made_by(lake: Lake, batch: Committed) -> str:
    # Batches from before the status table kept the version have it in their manifests.
    return batch.code_version if batch.code_version is not None else loaded(lake, [batch])[0].code_version
